"""`chain.verify`: a chain of n hand-offs, offline. `revoke.tree`: a task with n children is ended, durably; and OpenBao.

Of `revoke.tree` the samples are from the request to its acknowledgement; the note says when the first use below was
refused, counted from the same request. The reconcilers run meanwhile, as they do.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from house import URL, clock, house, now
from measure import ONLY, emit, timed
from pytest import skip
from tests.issuers import servers
from tests.issuers.rigs.openbao import root

from remit.domain.decision import Access, Deny
from remit.formats import rfc8693, signing_key
from remit.formats.jws import SigningKey
from remit.formats.rfc9068 import AccessToken, encode
from remit.verbs.decide import decide
from remit.verbs.delegate import Part, delegate
from remit.verbs.propose import Proposal, propose
from remit.verbs.revoke import end_task

CHILDREN, ROUNDS = 1000, 5
FILES = {
    "remit.toml": "[people.olga]\n",
    **{f"agents/{n}.toml": 'owner = "olga"\n[[attestations]]\nmethod = "join_token"\n' for n in ("bot", "other")},
    "purposes/whole.toml": """
owner = "olga"
agents = ["bot"]
max_duration = "1h"
max_calls = 100000
max_depth = 1
[[grants]]
tool = "look"
[[delegations]]
agents = ["other"]
purposes = ["part"]
fan_out = 10000
""",
    "purposes/part.toml": 'owner = "olga"\nagents = ["other"]\nmax_duration = "1h"\nmax_calls = 10\n[[grants]]\ntool = "look"\n',
    "tools/look.toml": 'effect = "read"\n',
    "policies/default.cedar": '@id("within") permit (principal, action, resource);\n',
}


def chains() -> None:
    """Cold: nothing remembered of the token; the key is read already."""
    private = signing_key.generate("ES256")
    key = SigningKey(private.public.thumbprint, "ES256", private.sign)
    keys = rfc8693.parse_set({"keys": [{**private.public.jwk, "kid": private.public.thumbprint}]})
    for depth in range(1, 6):
        actors = tuple(f"agent-{i}" for i in range(depth + 1))
        token = AccessToken(
            URL, "person:dana", "https://rs.example", actors[0], "jti_1", "k" * 43, clock(), clock() + 600_000,
            "tsk_1", actor=actors,
        )  # fmt: skip
        text, at = encode(token, key), clock()

        def cold(text: str = text, at: int = at) -> None:
            rfc8693.ChainVerifier(keys, URL, "https://rs.example").verify(text, at)

        verifier = rfc8693.ChainVerifier(keys, URL, "https://rs.example")
        verifier.verify(text, at)
        samples = timed(cold, 1000)
        emit("chain.verify", "remit", depth, samples, len(samples) / sum(samples), "cold: one ES256 signature")
        samples = timed(lambda v=verifier, t=text, a=at: v.verify(t, a), 5000)
        emit("chain.verify", "remit-warm", depth, samples, len(samples) / sum(samples), "the token was seen before")
    peer("tenuo", "tenuo", "tenuo", tenuo)
    peer("biscuit", "biscuit_auth", "biscuit-python", biscuit)


def peer(name: str, module: str, package: str, verifier: Callable[[Any, int], Callable[[], object]]) -> None:
    """The same depth; theirs are signed by every agent in turn, and carry what each may do."""
    try:
        library = importlib.import_module(module)
    except ImportError:
        emit("chain.verify", name, 0, note=f"absent: pip install {package}")
        return
    for depth in (1, 5):
        samples = timed(verifier(library, depth), 500)
        emit("chain.verify", name, depth, samples, len(samples) / sum(samples), "from text, a signature a hop")


def tenuo(library: Any, depth: int) -> Callable[[], object]:
    """Warrants, one for each hop."""
    keys = [library.SigningKey.generate() for _ in range(depth + 2)]
    may = {"list": {"customer": library.Exact("acme")}}
    one = library.Warrant.mint(keypair=keys[0], capabilities=may, ttl_seconds=3600, holder=keys[1].public_key)
    chain = [one]
    for i in range(depth):
        holder = keys[i + 2].public_key
        one = one.attenuate(signing_key=keys[i + 1], holder=holder, capabilities=may, ttl_seconds=3000 - i)
        chain.append(one)
    texts = [warrant.to_base64() for warrant in chain]
    authorizer = library.Authorizer(trusted_roots=[keys[0].public_key])
    return lambda: authorizer.verify_chain([library.Warrant.from_base64(text) for text in texts])


def biscuit(library: Any, depth: int) -> Callable[[], object]:
    """One token with a block for each hop."""
    pair = library.KeyPair()
    token = library.BiscuitBuilder('right("list", "acme")').build(pair.private_key)
    for i in range(depth):
        block = f'agent("agent-{i}"); check if operation("list", "acme"); check if time($t), $t < 2100-01-01T00:00:00Z'
        token = token.append(library.BlockBuilder(block))
    text = token.to_base64()

    def verify() -> object:
        found = library.Biscuit.from_base64(text, pair.public_key)
        asked = 'time({now}); operation("list", "acme"); allow if right("list", "acme")'
        builder = library.AuthorizerBuilder(asked, {"now": datetime.now(UTC)})
        limits = builder.limits()
        limits.max_time = timedelta(seconds=1)  # its own millisecond is too little on a busy machine
        builder.set_limits(limits)
        return builder.build(found).authorize()

    return verify


async def tree() -> None:
    """On SQLite, every commit durable."""
    acknowledged, refused = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            async with house(Path(folder), FILES, {}) as h:
                bot, other = await h.agent(), await h.agent("other")
                task = await propose(h.env, now(bot), Proposal("whole", "g"))
                children = []
                for _ in range(CHILDREN):
                    _, found = await delegate(h.env, now(bot), task.id, Part("other", "part", "g", max_calls=2))
                    children.append(await propose(h.env, now(other), Proposal("", ""), delegation=found))
                access = Access(children[CHILDREN // 2].id, "look")
                assert not isinstance(await decide(h.env, now(other), access), Deny)
                started = time.perf_counter()
                await end_task(h.env, h.operator(), task.id, "stop")
                acknowledged.append(time.perf_counter() - started)
                assert isinstance(await decide(h.env, now(other), access), Deny)
                refused.append(time.perf_counter() - started)
    first = sorted(refused)[len(refused) // 2] * 1e3
    note = f"in process, durable on SQLite; the first use below, refused and recorded, at {first:.1f} ms"
    emit("revoke.tree", "remit", CHILDREN, acknowledged, None, note)


def openbao() -> None:
    """A parent token with as many children, revoked over its API; its storage is in memory."""
    try:
        with servers.openbao() as server, root(server) as http:
            samples = []
            for _ in range(ROUNDS):
                made = http.post("/auth/token/create", json={"ttl": "1h"}).raise_for_status().json()
                parent = made["auth"]["client_token"]
                for _ in range(CHILDREN):
                    head = {"X-Vault-Token": parent}
                    http.post("/auth/token/create", json={"ttl": "1h"}, headers=head).raise_for_status()
                started = time.perf_counter()
                http.post("/auth/token/revoke", json={"token": parent}).raise_for_status()
                samples.append(time.perf_counter() - started)
    except skip.Exception as missing:
        emit("revoke.tree", "openbao", 0, note=f"absent: {missing}")
        return
    emit("revoke.tree", "openbao", CHILDREN, samples, None, "its API, storage in memory")


if any(name.startswith(ONLY) or ONLY.startswith(name) for name in ("chain.verify",)):
    chains()
if any(name.startswith(ONLY) or ONLY.startswith(name) for name in ("revoke.tree",)):
    asyncio.run(tree())
    openbao()

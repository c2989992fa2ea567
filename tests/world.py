"""A small world for verbs and reconcilers: a real store, real keys, our issuer with faults, time by hand."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from remit.attest import Attestors
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.identity import Identity
from remit.domain.task import Task
from remit.formats import base64url, signing_key
from remit.issuers.keyring import Keyring, RootSealer
from remit.ports import Env
from remit.store.memory import MemoryStore
from remit.testing.clock import ManualClock
from remit.testing.issuer import FakeIssuer
from remit.verbs.apply import apply
from remit.verbs.attest import JoinEvidence, attest, invite
from remit.verbs.propose import Proposal, propose

EVER = """
@id("within") permit (principal, action, resource);
@id("hold-irreversible") @control("ASI02") @approvers("finance") @says("{tool} cannot be undone")
forbid (principal, action in Remit::Action::"call", resource)
when { resource.effect == "irreversible" } unless { context.approved };
@id("no-mail-after-reading") forbid (principal, action == Remit::Action::"mail", resource)
when { context.label_rank >= 2 };
@id("no-shown") forbid (principal, action == Remit::Action::"issue", resource == Remit::Credential::"shown");
"""
BY_THE_HOUR = """
@id("no-night") @approvers("finance") forbid (principal, action == Remit::Action::"propose", resource)
when { context.hour < 3 } unless { context.approved };
@id("no-dusk") forbid (principal, action == Remit::Action::"propose", resource) when { context.hour > 22 };
"""
FILES: Mapping[str, str] = {
    "remit.toml": """
[people.dana]
groups = ["billing"]
[people.frank]
groups = ["finance"]
[people.gina]
groups = ["finance"]
[people.olga]
[issuers.pg]
kind = "fake"
[issuers.box]
kind = "static"
""",
    "agents/bot.toml": 'owner = "olga"\n[[attestations]]\nmethod = "join_token"\n',
    "agents/other.toml": 'owner = "olga"\n[[attestations]]\nmethod = "join_token"\n',
    "purposes/pay.toml": """
owner = "olga"
agents = ["bot"]
max_duration = "15m"
max_calls = 5
max_sensitivity = "confidential"
approval = { ttl = "10m" }
[parameters.customer]
pattern = "[a-z]+"
[[grants]]
tool = "list"
resource = "customer/{customer}"
[[grants]]
tool = "pay"
resource = "customer/{customer}/*"
where.amount = { between = ["0", "500"] }
[[grants]]
tool = "mail"
[[grants]]
tool = "pinned"
[[credentials]]
name = "db"
issuer = "pg"
ttl = "10m"
grants = { who = "{customer}", deep = [{ a = "{customer}", n = 1, plain = "x", odd = "{x}" }] }
[[credentials]]
name = "secret"
issuer = "box"
ttl = "10m"
[[credentials]]
name = "shown"
issuer = "box"
ttl = "10m"
reveal = true
sensitivity = "restricted"
""",
    "purposes/asked.toml": """
owner = "olga"
agents = ["bot"]
max_duration = "15m"
max_calls = 5
initiators = ["billing"]
identity_max_age = "1h"
[[grants]]
tool = "list"
""",
    "tools/list.toml": """
effect = "read"
resource = "customer/{customer}"
output_trust = "trusted"
output_sensitivity = "confidential"
[arguments.customer]
type = "text"
""",
    "tools/pay.toml": """
effect = "irreversible"
resource = "customer/{customer}/{invoice}"
[arguments.customer]
type = "text"
[arguments.invoice]
type = "integer"
[arguments.amount]
type = "decimal"
""",
    "tools/mail.toml": 'effect = "read"\negress = true\noutput_trust = "trusted"\n',
    "tools/pinned.toml": f'effect = "read"\npin = "sha256:{"a" * 64}"\n',
    "tools/ungranted.toml": 'effect = "read"\n',
    "policies/default.cedar": EVER + BY_THE_HOUR,
}


def changed(**files: str) -> dict[str, str]:
    """The catalogue with some files replaced; `__` stands for a slash and `_dot_` for a dot."""
    return {**FILES, **{name.replace("__", "/").replace("_dot_", "."): text for name, text in files.items()}}


@dataclass
class World:
    """Everything a verb test needs."""

    env: Env
    store: Any
    issuer: FakeIssuer
    clock: ManualClock
    nudges: list[int]

    def call(self, kind: CallerKind = CallerKind.AGENT, name: str = "bot", **more: Any) -> Call:
        """A call now."""
        groups = more.pop("groups", ())
        return Call(Caller(kind, name, groups=groups, **more), self.clock.now)

    async def proved(self, agent: str = "bot") -> tuple[Identity, Call]:
        """An agent with a key of its own."""
        key = signing_key.generate("ES256").public
        operator = self.call(CallerKind.OPERATOR, "op")
        token, _ = await invite(self.env, operator, agent, 60_000)
        identity = await attest(self.env, self.call(), JoinEvidence(token), key.thumbprint, key.jwk)
        return identity, self.call(name=agent, jkt=key.thumbprint)

    async def task(self, call: Call, purpose: str = "pay", **parameters: str) -> Task:
        """An open task."""
        asked = parameters or {"customer": "acme"}
        return await propose(self.env, replace(call, now=self.clock.now), Proposal(purpose, "goal", asked))

    def person(self, name: str) -> Call:
        """A person calling."""
        return self.call(CallerKind.PERSON, name)

    def events(self) -> list[str]:
        """The types of every event so far."""
        import msgspec

        inner = getattr(self.store, "inner", self.store)
        return [msgspec.json.decode(leaf)["type"] for leaf, _ in inner._events]


async def world(store: Any = None, files: Mapping[str, str] | None = None, now: int = 0) -> World:
    """Open one, with the catalogue in force: on 2027-01-15, a Friday, at eight in the morning.

    At another `now` policies forbid nothing by the hour, so that a test of a real server can run at any.
    """
    files = files or (changed(policies__default_dot_cedar=EVER) if now else FILES)
    store = store or MemoryStore()
    clock = ManualClock()
    clock.now = now or clock.now
    sealer = RootSealer(b"r" * 32)
    keyring = await Keyring.open(store, sealer, clock.now)
    issuer = FakeIssuer(clock)
    nudges: list[int] = []
    counter = itertools.count()
    env = Env(
        store=store,
        signer=keyring,
        sealer=sealer,
        attestor=Attestors(),
        issuer=lambda config: issuer,
        clock=clock,
        new_id=lambda kind: f"{kind}_{next(counter):032x}",
        nudge=lambda: nudges.append(clock.now),
        trust_domain="remit.test",
        issuer_url="https://remit.test",
    )
    found = World(env, store, issuer, clock, nudges)
    await apply(env, found.call(CallerKind.OPERATOR, "op"), files)
    return found


def jwk_of(key: signing_key.PrivateKey) -> dict[str, str]:
    """A public JWK."""
    return dict(key.public.jwk)


def b64(data: bytes) -> str:
    """Base64url."""
    return base64url.encode(data)

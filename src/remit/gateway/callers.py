"""Whose request this is: an access token of Remit's for this gateway alone, and a proof by the key it is bound to.

RFC 9068, 9449 and 9728. A token that is bound to a key is refused without that key's proof, whoever holds it (RFC 9449
section 7.1). One that is bound to none, of a person's own client, is taken only where the catalogue says so. The token
goes no further than this room.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from remit.domain.errors import BadProof, BadToken, NoCredentials, Replayed
from remit.formats import jwk, rfc9068, rfc9449
from remit_client import Unreachable
from remit_client.wire import member

from .asks import Desk

LOOK_EVERY = 1.0
KEYS_FOR = 60.0
KEYS_AGAIN = 1.0
TOKENS = 8192
PROOFS = 200_000


@dataclass(frozen=True)
class Caller:
    """`key` is the thumbprint of the key that the token and the proof share; empty for a bearer token."""

    agent: str
    task: str
    key: str

    @property
    def who(self) -> str:
        """Nobody else's name is this one: task ids and thumbprints hold no space."""
        return f"{self.agent} {self.task} {self.key}"


@dataclass
class _Known:
    token: rfc9068.AccessToken
    looked_at: float


class Callers:
    """`resource` is this gateway's URL: what tokens are for, and what proofs name (`htu`).

    Proofs count from `since` (ms), less than a second after this was made: serve no earlier, or all are refused.
    """

    def __init__(self, desk: Desk, resource: str) -> None:
        self.resource = resource
        self._desk = desk
        self._keys: tuple[jwk.PublicKey, ...] = ()
        self._keys_at = -KEYS_FOR
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._proofs: OrderedDict[str, int] = OrderedDict()
        self._looking: dict[str, asyncio.Task[bool]] = {}
        # `iat` is in whole seconds: one of this very second may be from before.
        self.since = (time.time_ns() // 1_000_000_000 + 1) * 1000

    async def ready(self) -> None:
        """Return when a fresh proof counts: serve no earlier."""
        await asyncio.sleep(max(0.0, self.since / 1000 - time.time()))

    async def caller(
        self, method: str, headers: Mapping[str, str], now: int, url: str = "", *, bearer: bool = False
    ) -> Caller:
        """Return who asks; raises `Unauthenticated` for any flaw, `RemitError` when Remit does not answer.

        `url` is what was called, when that is below the resource. `bearer`: a token without a key is taken, as such.

        1. The scheme is DPoP, or Bearer where that may be.
        2. Signed by Remit, for exactly this resource, in time (RFC 9068 section 4).
        3. One fresh proof for this method and URL, by the token's key, never seen before (RFC 9449 section 4.3):
           what was signed before this process started may have been seen by the one before it.
        4. The lease behind the token is live: looked up at least once a second while it is used.
        """
        scheme, _, text = headers.get("authorization", "").partition(" ")
        if not text.strip() or scheme.lower() not in ("dpop", *(["bearer"] if bearer else [])):
            step = f"Exchange the task's token at {self._desk.url}/oauth/token for the resource {self.resource}."
            raise NoCredentials("Use `Authorization: DPoP …` with a token for this gateway.", next_step=step)
        text = text.strip()
        token = await self._token(text, now)
        if scheme.lower() == "bearer":
            return await self._bearer(text, token)
        proof = headers.get("dpop", "")
        if not proof or "," in proof:
            raise BadProof("Exactly one DPoP header is needed.")
        proved = rfc9449.parse(proof, method=method, url=url or self.resource, now=now, access_token=text)
        if not token.jkt or proved.jkt != token.jkt:
            raise BadProof("The DPoP proof is not valid.", inside="the proof's key is not the token's")
        if proved.issued_at < self.since:
            # A gateway that ran here before may have been shown it, and remembers nothing.
            raise BadProof("The DPoP proof is from before this gateway started.", next_step="Sign a fresh one.")
        self._spend(f"{proved.jkt} {proved.jti}", proved.spent_until, now)
        if not token.task:
            raise BadToken("The token names no task.", next_step="Exchange a task's token.")
        await self._live(text)
        return Caller(token.client, token.task, token.jkt)

    async def _bearer(self, text: str, token: rfc9068.AccessToken) -> Caller:
        if token.jkt:
            raise BadToken("The token is bound to a key.", next_step="Use `Authorization: DPoP …` (RFC 9449).")
        if not token.task:
            raise BadToken("The token names no task.", next_step="Authorize again.")
        await self._live(text)
        return Caller(token.client, token.task, "")

    async def _token(self, text: str, now: int) -> rfc9068.AccessToken:
        known = self._known.get(sha256(text.encode("utf-8", "replace")).hexdigest())
        if known is not None and now < known.token.expires_at:
            return known.token
        keys = await self._keys_for(rfc9068.claimed_key(text))
        token = rfc9068.parse(text, issuer=self._desk.url, audience=self.resource, keys=keys, now=now)
        if now >= token.expires_at:
            raise BadToken("The token has expired.", next_step="Get a fresh one.")
        return token

    async def _keys_for(self, kid: str) -> tuple[jwk.PublicKey, ...]:
        age = time.monotonic() - self._keys_at
        if age > KEYS_FOR or (age > KEYS_AGAIN and kid not in [key.kid for key in self._keys]):
            answer = await self._desk.ask("GET", "/.well-known/jwks.json")
            self._keys = tuple(jwk.parse(key) for key in member(answer, "keys", list))
            self._keys_at = time.monotonic()
        return self._keys

    def _spend(self, proof: str, until: int, now: int) -> None:
        if proof in self._proofs:
            raise Replayed("The DPoP proof was used before.", next_step="Sign a fresh one for every request.")
        while self._proofs and next(iter(self._proofs.values())) < now:
            self._proofs.popitem(last=False)
        if len(self._proofs) >= PROOFS:
            raise Unreachable("Too many requests at once.")
        self._proofs[proof] = until

    async def _live(self, text: str) -> None:
        digest = sha256(text.encode()).hexdigest()
        known = self._known.get(digest)
        if known is not None and time.monotonic() - known.looked_at < LOOK_EVERY:
            return
        looking = self._looking.get(digest)
        if looking is None:
            looking = self._looking[digest] = asyncio.create_task(self._look(text, digest))
            looking.add_done_callback(lambda _: self._looking.pop(digest, None))
        if not await asyncio.shield(looking):
            self._known.pop(digest, None)
            raise BadToken("The token is not valid.", next_step="Get a fresh one.", inside="not active")

    async def _look(self, text: str, digest: str) -> bool:
        asked_at = time.monotonic()
        answer = await self._desk.ask("POST", "/oauth/introspect", form={"token": text})
        if answer.get("active") is not True or answer.get("aud") != self.resource:
            return False
        now = time.time_ns() // 1_000_000
        self._known[digest] = _Known(await self._token(text, now), asked_at)
        while len(self._known) > TOKENS:
            self._known.popitem(last=False)
        return True

"""What handlers are given, and what they are asked: nothing of Starlette goes further in than this."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from remit.domain.caller import Call, Caller
from remit.domain.decision import Decision, word
from remit.domain.errors import BadField, BadToken, NoCredentials, Replayed, Unauthenticated
from remit.formats import json_input, jwk, rfc9068, rfc9449
from remit.govern.fatigue import Fatigue
from remit.govern.search import Searched
from remit.ports import Env, IdentityProviders
from remit.telemetry import Tracing

from .metrics import Metrics

if TYPE_CHECKING:
    from .console.live import Changes
    from .sessions import Browser

T = TypeVar("T")
_TOKENS = 8192


@dataclass(frozen=True)
class Asked:
    """One request, read whole and bounded; `browser` is the session it came with, at the console's routes."""

    method: str
    url: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    limit: int
    chain: tuple[bytes, ...] = ()
    browser: Browser | None = None

    def certificates(self) -> tuple[bytes, ...]:
        """The client's chain (DER, leaf first), whose key this very TLS connection was made with."""
        if not self.chain:
            step = "Connect with the SVID as the client certificate; a proxy in between hides it."
            raise NoCredentials("This connection has no client certificate.", next_step=step)
        return self.chain

    def json(self, kind: type[T]) -> T:
        """The body as a typed value; every flaw is a `BadField` with its path."""
        if self.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise BadField("Content-Type", "must be application/json")
        return json_input.typed(json_input.parse(self.body, limit=self.limit), kind)

    def whole(self, name: str, default: int, *, most: int) -> int:
        """A whole number from the query."""
        text = self.query.get(name, "")
        if not text:
            return default
        if not text.isascii() or not text.isdecimal() or len(text) > 18 or int(text) > most:
            raise BadField(name, f"must be a whole number of at most {most}")
        return int(text)


def spent_proof(proof: rfc9449.Proof) -> str:
    """What a proof is remembered by."""
    return f"dpop:{proof.jkt}:{proof.jti}"


@dataclass
class House:
    """The composed server. `clock` returns ms since the epoch; `origin` is the log's name."""

    env: Env
    log: Searched
    log_name: str
    clock: Callable[[], int]
    metrics: Metrics
    changes: Changes
    providers: IdentityProviders
    tracing: Tracing | None = None
    fatigue: Fatigue = field(default_factory=Fatigue)
    _tokens: dict[str, rfc9068.AccessToken] = field(default_factory=dict)
    _published: Sequence[Mapping[str, str]] = ()

    @property
    def url(self) -> str:
        """The issuer and public URL, without a trailing slash."""
        return self.env.issuer_url

    async def keys_for(self, text: str) -> tuple[jwk.PublicKey, ...]:
        """Keys that verify our tokens, among them the one this token names if there is such a key anywhere."""
        await self.env.signer.refresh(knows=rfc9068.claimed_key(text))
        return tuple(jwk.parse(key) for key in self.env.signer.public("token"))

    async def token(self, text: str, now: int) -> rfc9068.AccessToken:
        """Verify one of our own access tokens; a verified one is remembered by its digest until it expires."""
        published = self.env.signer.public("token")
        if published is not self._published:  # what a destroyed key signed was verified, and is good no more
            self._tokens, self._published = {}, published
        digest = hashlib.sha256(text.encode()).hexdigest()
        known = self._tokens.get(digest)
        if known is None:
            keys = await self.keys_for(text)
            known = rfc9068.parse(text, issuer=self.url, audience=self.url, keys=keys, now=now)
            if len(self._tokens) >= _TOKENS:
                self._tokens.clear()
            if self.env.signer.public("token") is self._published:
                self._tokens[digest] = known
        if now >= known.expires_at:
            raise BadToken("The token has expired.", next_step="Get a fresh one.")
        return known

    def verified_proof(self, asked: Asked, now: int, access_token: str = "") -> rfc9449.Proof:
        """Verify the request's DPoP proof. It proves nothing until its `jti` has been spent."""
        header = asked.headers.get("dpop", "")
        if not header or "," in header:
            raise Unauthenticated("Exactly one DPoP header is needed.", next_step="See RFC 9449 section 4.")
        return rfc9449.parse(header, method=asked.method, url=asked.url, now=now, access_token=access_token)

    async def proof(self, asked: Asked, now: int, access_token: str = "") -> rfc9449.Proof:
        """Verify the request's DPoP proof and spend its `jti`, durably, before anything else happens."""
        proof = self.verified_proof(asked, now, access_token)
        await self.spend((spent_proof(proof), proof.spent_until))
        return proof

    async def spend(self, *tokens: tuple[str, int]) -> None:
        """Spend single-use identifiers (name, until in ms) durably, in one go; one that was spent before refuses."""
        first = await asyncio.gather(*(self.env.store.spend(token, until) for token, until in tokens))
        if not all(first):
            raise Replayed(
                "A single-use proof or assertion was used before.", next_step="Sign fresh ones for every request."
            )

    def decided(self, tool: str, found: Decision) -> None:
        """Count it, and say so in the trace."""
        said = word(found)
        self.metrics.decisions.labels(said).inc()
        if self.tracing is not None:
            reasons = tuple(why.reason.value for why in found.why)
            self.tracing.decided(tool, said, reasons, getattr(found, "approval", ""))

    def call(self, caller: Caller, asked: Asked, now: int) -> Call:
        """The verb's view of this request; the trace id is the caller's (W3C Trace Context) or empty."""
        if self.tracing is not None and (span := self.tracing.here()):
            return Call(caller, now, span[:32], span=span)
        parts = asked.headers.get("traceparent", "").split("-")
        traced = len(parts) == 4 and len(parts[1]) == 32 and all(c in "0123456789abcdef" for c in parts[1])
        return Call(caller, now, parts[1] if traced else "")

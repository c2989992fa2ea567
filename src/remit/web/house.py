"""What handlers are given, and what they are asked: nothing of Starlette goes further in than this."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from remit.domain.caller import AccessKey, Call, Caller
from remit.domain.catalogue import Catalogue
from remit.domain.decision import Access, Decision, word
from remit.domain.errors import BadField, BadToken, NoCredentials, Replayed, Unauthenticated
from remit.domain.identity import Identity
from remit.formats import json_input, jwk, rfc9068, rfc9449
from remit.govern.fatigue import Fatigue
from remit.govern.search import Searched
from remit.ports import Edges, Env, IdentityProviders, Marks, Shadows, Wakes
from remit.telemetry import Tracing
from remit.verbs.decide import decide
from remit.verbs.observe import observe

from . import shapes
from .at_home import at_home
from .frames import Frames
from .metrics import Metrics
from .reach import Reach
from .shadows import Waiting
from .sightings import Sightings
from .status_lists import StatusLists

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


class Log(Searched, Edges, Marks, Shadows, Wakes, Protocol):
    """The log, and what is told beside it."""


@dataclass
class House:
    """The composed server. `clock` returns ms since the epoch; `origin` is the log's name; `leaving`: about to stop."""

    env: Env
    log: Log
    log_name: str
    clock: Callable[[], int]
    metrics: Metrics
    changes: Changes
    providers: IdentityProviders
    tracing: Tracing | None = None
    fatigue: Fatigue = field(default_factory=Fatigue)
    leaving: bool = False
    lists: StatusLists = field(default_factory=StatusLists)
    _tokens: dict[str, rfc9068.AccessToken] = field(default_factory=dict)
    frames: Frames = field(init=False)
    sightings: Sightings = field(init=False)
    shadows: Waiting = field(init=False)
    reach: Reach = field(init=False)
    _published: Sequence[Mapping[str, str]] = ()

    def __post_init__(self) -> None:
        self.frames, self.sightings = Frames(self.env, self.log), Sightings(self.log)
        self.shadows = Waiting(self.log, self._catalogue, self.clock, self.metrics.shadows_lost)
        self.reach = Reach(self.env)

    async def _catalogue(self) -> Catalogue:
        return (await self.env.in_force())[1].catalogue

    @property
    def url(self) -> str:
        """The issuer: what tokens are checked against and where people answer, without a trailing slash."""
        return self.env.issuer_url

    def close(self) -> None:
        """The server stops: whoever listens is let go."""
        self.changes.close()
        self.frames.close()

    @property
    def address(self) -> str:
        """Where this server itself is asked: what proofs (RFC 9449 `htu`) are checked against."""
        return self.url

    async def decided(self, call: Call, access: Access) -> dict[str, Any]:
        """One decision as it is shown."""
        found = await at_home(self.env, call, access.task, lambda now: decide(self.env, now, access), "a call")
        return self.shown(access.tool, found)

    def shown(self, tool: str, found: Decision) -> dict[str, Any]:
        """A decision, counted."""
        self.counted(tool, found)
        return shapes.decision(found, self.url)

    async def observed(self, call: Call, task: str, wanted: shapes.ObservationRequest, size: int) -> dict[str, Any]:
        """A result of `size` bytes that a task has read, as it is shown."""
        what = (task, wanted.tool, wanted.content)
        row = await at_home(self.env, call, task, lambda now: observe(self.env, now, *what, size=size), "a result")
        return shapes.observation(row)

    async def proved(self, token: rfc9068.AccessToken) -> bool:
        """Whether the token's key is bound to the agent that it names."""
        identity = await self.env.store.get(Identity, token.jkt)
        return identity is not None and identity.agent == token.client

    async def access_key(self, digest: str, now: int) -> AccessKey | None:
        """Whose bearer key has this digest."""
        return await self.env.store.get(AccessKey, digest)

    async def ready(self) -> str:
        """What there is to say when requests can be answered; raises `Unavailable` while they cannot."""
        await self.env.in_force()
        return "ready\n"

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

    def counted(self, tool: str, found: Decision) -> None:
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

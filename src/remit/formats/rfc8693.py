"""Delegation in tokens (RFC 8693): a subject token that hands part of a task to one agent, and chains of nested `act`.

Outermost is who acts now; what is nested is history, and nobody's authority (section 4.1).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated, Any

import msgspec

from remit.domain.above import Delegation
from remit.domain.chain import Chain
from remit.domain.errors import BadToken

from .jwk import PublicKey, parse_set
from .jws import bad, peek
from .rfc9068 import AccessToken, parse


class _Handed(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    type: str
    goal: str
    parameters: dict[str, str]
    duration_ms: Annotated[int, msgspec.Meta(gt=0)]
    max_calls: Annotated[int, msgspec.Meta(gt=0)]


def audience(issuer: str) -> str:
    """Whom a delegation token is for: our own exchange, and no resource."""
    return f"{issuer}/delegate"


def delegation_token(found: Delegation, chain: Chain, issuer: str, now: int) -> AccessToken:
    """What the giver hands over, unsigned. It is bound to the receiver's name, so it is no bearer token: the receiver
    proves itself as the actor. `jti` is the id of the one task it opens.
    """
    handed = {
        "type": found.purpose,
        "goal": found.goal,
        "parameters": dict(found.parameters),
        "duration_ms": found.duration,
        "max_calls": found.max_calls,
    }
    return AccessToken(
        issuer=issuer,
        subject=str(chain.initiator),
        audience=audience(issuer),
        client=found.agent,
        jti=found.task,
        jkt=found.jkt,
        issued_at=now,
        expires_at=found.expires_at,
        task=found.parent,
        details=(handed,),
        actor=tuple(hop.agent for hop in reversed(chain.hops)),
    )


def is_delegation(text: str, issuer: str) -> bool:
    """Whether a token says that it is one, unverified: which of two checks it must pass."""
    try:
        return peek(text).claims().get("aud") == audience(issuer)
    except BadToken:
        return False


def parse_delegation(text: str, *, issuer: str, keys: Sequence[PublicKey], now: int) -> Delegation:
    """Verify what `delegation_token` made, signed by us; raises `BadToken`."""
    token = parse(text, issuer=issuer, audience=audience(issuer), keys=keys, now=now)
    if len(token.details) != 1 or not token.task:
        raise bad("not a delegation")
    try:
        handed = msgspec.convert(token.details[0], _Handed)
    except msgspec.ValidationError as flaw:
        raise bad(f"not a delegation: {flaw}") from flaw
    return Delegation(
        token.task,
        token.jti,
        token.client,
        handed.type,
        handed.goal,
        handed.parameters,
        handed.duration_ms,
        handed.max_calls,
        token.expires_at,
        token.jkt,
    )


REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class VerifiedChain:
    """Who began it, who acts, `actors` from who acts now to who was first, and the task it is for."""

    initiator: str
    actors: tuple[str, ...]
    task: str
    token: AccessToken


@dataclass(frozen=True, slots=True)
class ChainVerifier:
    """What anybody needs to verify a chain offline: the server's published keys, its name, and one's own.

    One signature vouches for the whole chain: the server added every hop itself, so a hop costs nothing more. It says
    that the chain was so when the token was made; that nobody above has ended since, only introspection says.
    """

    keys: Sequence[PublicKey]
    issuer: str
    audience: str
    _known: OrderedDict[bytes, VerifiedChain] = field(default_factory=OrderedDict, repr=False)

    def verify(self, text: str, now: int) -> VerifiedChain:
        """Raise `BadToken` unless it is all true at `now` (ms). A token that was verified is only looked up."""
        digest = sha256(text.encode()).digest()
        found = self._known.get(digest)
        if found is None:
            token = parse(text, issuer=self.issuer, audience=self.audience, keys=self.keys, now=now)
            if not token.actor or token.actor[0] != token.client:
                raise bad("who acts is not who the token is for")
            found = VerifiedChain(token.subject, token.actor, token.task, token)
            self._known[digest] = found
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        if now >= found.token.expires_at:
            raise bad("expired")
        return found


def verify_chain(text: str, jwks: Any, *, issuer: str, audience: str, now: int) -> VerifiedChain:
    """`ChainVerifier` once, from the JWK Set as it is published."""
    return ChainVerifier(parse_set(jwks), issuer, audience).verify(text, now)

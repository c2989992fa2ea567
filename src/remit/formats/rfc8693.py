"""Delegation in tokens (RFC 8693): a subject token that hands part of a task to one agent, and chains of nested `act`.

Outermost is who acts now; what is nested is history, and nobody's authority (section 4.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from remit.domain.above import Delegation
from remit.domain.chain import Chain
from remit.domain.errors import BadToken

from .jwk import PublicKey
from .jws import bad, peek
from .rfc9068 import AccessToken, parse


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
        jkt="",
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
    handed = token.details[0]
    return Delegation(
        token.task,
        token.jti,
        token.client,
        _text(handed, "type"),
        _text(handed, "goal"),
        {name: str(value) for name, value in handed.get("parameters", {}).items()},
        int(handed.get("duration_ms", 0)),
        int(handed.get("max_calls", 0)),
        token.expires_at,
    )


def _text(handed: Mapping[str, Any], name: str) -> str:
    value = handed.get(name)
    if not isinstance(value, str):
        raise bad(f"no {name}")
    return value

"""What the centre tells edges: a body, and a signed statement of its digest (compact JWS, RFC 7515).

`typ` is `remit-estate+jwt`, so no statement passes for a token and no token for a statement. The key is one of those
that sign tokens; edges learn the next ones from what the former have signed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from hashlib import sha256
from typing import Any

import msgspec

from remit.domain.errors import Refusal

from . import json_input
from .claims import check_issuer, text
from .jwk import PublicKey
from .jws import SigningKey, bad, peek, sign, verify

TYP = "remit-estate+jwt"
BODY_LIMIT = 8 * 1024 * 1024
WIRE_LIMIT = 2 * BODY_LIMIT
DEPTH = 64
Body = dict[str, Any]


class Said(Enum):
    """What a statement is about.

    FRAME: what happened in the log from `since` up to `size`. BEAT: everything committed before the question is below
    `size`. SNAPSHOT: the state that covers at least `size`. ENTRUSTED: a task, as it is handed to one edge.
    """

    FRAME = "frame"
    BEAT = "beat"
    SNAPSHOT = "snapshot"
    ENTRUSTED = "entrusted"


@dataclass(frozen=True, slots=True)
class Statement:
    """A verified statement. `edge` and `nonce` are whom it answers, and what; both empty in a FRAME, which is for all.
    `at` is the centre's clock (ms), for people; nothing is decided by it.
    """

    said: Said
    since: int
    size: int
    at: int
    body: Body
    edge: str = ""
    nonce: str = ""


@dataclass(frozen=True, slots=True)
class Signed:
    """As it travels: `statement` is the JWS, `body` the exact text whose SHA-256 it signs."""

    statement: str
    body: str


@dataclass(frozen=True)
class Frame:
    """A signed FRAME, and the stretch of the log that it says it is about."""

    since: int
    size: int
    signed: Signed

    @cached_property
    def wire(self) -> bytes:
        """As JSON, whatever carries it: written once for everybody."""
        return msgspec.json.encode(self.signed)


def read(wire: bytes) -> Signed:
    """What `Frame.wire` wrote, unverified. `BadToken` for anything else."""
    try:
        found = json_input.parse(wire, limit=WIRE_LIMIT, depth=DEPTH)
    except Refusal as flaw:
        raise bad(flaw.message) from None
    if not isinstance(found, dict) or found.keys() != {"statement", "body"}:
        raise bad("it is not a signed statement")
    if not all(isinstance(one, str) for one in found.values()):
        raise bad("it is not a signed statement")
    return Signed(**found)


def encode(found: Statement, issuer: str, key: SigningKey) -> Signed:
    """Sign. A body without changes is `{}`."""
    body = msgspec.json.encode(found.body)
    claims = {
        "iss": issuer,
        "said": found.said.value,
        "since": found.since,
        "size": found.size,
        "at": found.at,
        "edge": found.edge,
        "nonce": found.nonce,
        "digest": sha256(body).hexdigest(),
    }
    return Signed(sign(msgspec.json.encode(claims), typ=TYP, key=key), body.decode())


def parse(
    signed: Signed, wanted: Said, *, issuer: str, keys: Sequence[PublicKey], edge: str = "", nonce: str = ""
) -> Statement:
    """Verify what `encode` made: this kind of statement, to this edge, about this nonce. Any flaw is one `BadToken`."""
    claims = verify(peek(signed.statement), keys, typ=(TYP,))
    check_issuer(claims, issuer)
    if claims.get("said") != wanted.value or claims.get("edge") != edge or claims.get("nonce") != nonce:
        raise bad(f"it is not this {wanted.value}, or not for this edge")
    since, size, at = (_whole(claims, name) for name in ("since", "size", "at"))
    if since > size:
        raise bad("since is after size")
    body = signed.body.encode("utf-8", "surrogatepass")
    if sha256(body).hexdigest() != text(claims, "digest", limit=64):
        raise bad("the body is not what was signed")
    return Statement(wanted, since, size, at, _object(body), edge, nonce)


def kid(signed: Signed) -> str:
    """The key a statement claims, unverified."""
    return peek(signed.statement).kid


def _whole(claims: dict[str, Any], name: str) -> int:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise bad(f"claim {name} is missing or not a whole number")
    return value


def _object(body: bytes) -> Body:
    value = json_input.parse(body, limit=BODY_LIMIT)
    if not isinstance(value, dict):
        raise bad("the body is not an object")
    return value

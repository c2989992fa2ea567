"""JWTs of NATS (`ed25519-nkey`, version 2, as nats-io/jwt writes them): of users, which we make, and of accounts.

An account's is read whole and signed again with nothing changed but its revocations, so what we do not know of stays.
A revocation of ours is a time so far off (`MARK` and the user's own end, in seconds) that no other tool writes one: so
we know which we may forget, and when.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from remit.domain.errors import BadToken, Refusal

from . import base64url, json_input, nkey

ACCOUNT_LIMIT = 4 * 1024 * 1024
MARK = 200_000_000_000  # a time in the year 8307: servers show revocations as dates of four digits
_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}
_CREDS = re.compile(
    r"-{3,}BEGIN NATS USER JWT-{3,}\s+(?P<jwt>[\w.-]+)\s+-{3,}END NATS USER JWT-{3,}\s.*?"
    r"-{3,}BEGIN USER NKEY SEED-{3,}\s+(?P<seed>[A-Z2-7]+)\s+-{3,}END USER NKEY SEED-{3,}",
    re.DOTALL | re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Permissions:
    """Subjects that a user may publish to and subscribe to; `responses` answers to each message, within `within` s."""

    publish: Sequence[str] = ()
    subscribe: Sequence[str] = ()
    responses: int = 0
    within: int = 0
    subscriptions: int = 0
    payload: int = 0
    sources: Sequence[str] = ()


def user(key: nkey.Seed, of: str, by: nkey.Seed, may: Permissions, *, name: str, now: int, end: int) -> str:
    """A user of account `of`, signed by one of its signing keys; `now` and `end` in seconds."""
    said: dict[str, Any] = {
        "pub": _only(may.publish),
        "sub": _only(may.subscribe),
        "subs": may.subscriptions,
        "data": -1,  # servers do not look at it
        "payload": may.payload,
        "issuer_account": of,
        # No leaf node and no MQTT: a server at the other end of a leaf node is many clients.
        "allowed_connection_types": ["STANDARD", "WEBSOCKET"],
        "type": "user",
        "version": 2,
    }
    if may.responses:
        said["resp"] = {"max": may.responses, "ttl": may.within * 1_000_000_000}
    if may.sources:
        said["src"] = list(may.sources)
    claims = {"iat": now, "exp": end, "sub": key.public, "name": name, "nats": said}
    return _signed(claims, by)


def _only(subjects: Sequence[str]) -> dict[str, list[str]]:
    """An empty allow-list would allow everything."""
    return {"allow": list(subjects)} if subjects else {"deny": [">"]}


@dataclass(frozen=True, slots=True)
class Account:
    """An account's verified claims. `revoked` holds ours: a user's public key to its end in seconds."""

    claims: Mapping[str, Any] = field(repr=False)
    text: str = field(repr=False)

    @classmethod
    def parse(cls, text: str, account: str, operators: Collection[str]) -> Account:
        """Verified claims of this account, signed by one of these operator keys; or `BadToken`."""
        if len(text) > ACCOUNT_LIMIT:
            raise _bad("too long")
        header, claims = _verified(text)
        if header != _HEADER or claims.get("sub") != account or claims.get("iss") not in operators:
            raise _bad("of another account, or by nobody who may sign it")
        nats = claims.get("nats")
        if not isinstance(nats, Mapping) or nats.get("type") != "account" or nats.get("version") != 2:
            raise _bad("not an account of version 2")
        revocations = nats.get("revocations") or {}
        if not isinstance(revocations, Mapping) or not all(type(at) is int for at in revocations.values()):
            raise _bad("revocations that cannot be read")
        if type(claims.get("iat")) is not int:
            raise _bad("no iat")
        return cls(claims, text)

    @property
    def issued_at(self) -> int:
        """In seconds."""
        return int(self.claims["iat"])

    @property
    def issuer(self) -> str:
        """The operator's key that signed it."""
        return str(self.claims["iss"])

    @property
    def revoked(self) -> dict[str, int]:
        """See the class."""
        found = self.claims["nats"].get("revocations") or {}
        return {key: at - MARK for key, at in found.items() if at >= MARK}

    def revoking(self, ours: Mapping[str, int], by: nkey.Seed, issued_at: int) -> str:
        """The same, but of our revocations these and no others."""
        theirs = {key: at for key, at in (self.claims["nats"].get("revocations") or {}).items() if at < MARK}
        revocations = {**theirs, **{key: MARK + end for key, end in ours.items()}}
        nats = {**self.claims["nats"], "revocations": revocations}
        if not revocations:
            del nats["revocations"]
        return _signed({**self.claims, "iat": issued_at, "nats": nats}, by)


def creds(token: str, seed: nkey.Seed) -> str:
    """A credentials file, as `nsc generate creds` writes it."""
    return (
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed.text()}\n------END USER NKEY SEED------\n"
    )


def parse_creds(text: str) -> tuple[str, nkey.Seed]:
    """JWT and seed of a credentials file, or `BadToken`."""
    found = _CREDS.search(text)
    if not found:
        raise BadToken("The credentials file cannot be read.", inside="no JWT and seed")
    return found["jwt"], nkey.Seed.parse(found["seed"])


def _signed(claims: Mapping[str, Any], by: nkey.Seed) -> str:
    named = {**{k: v for k, v in claims.items() if k != "jti"}, "iss": by.public}
    digest = sha256(_encoded(named)).digest()
    whole = {"jti": base64.b32encode(digest).decode().rstrip("="), **named}
    said = f"{base64url.encode(_encoded(_HEADER))}.{base64url.encode(_encoded(whole))}"
    return f"{said}.{base64url.encode(by.sign(said.encode()))}"


def _encoded(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _verified(text: str) -> tuple[Any, dict[str, Any]]:
    parts = text.split(".")
    if len(parts) != 3:
        raise _bad("not three parts")
    try:
        header, claims = (json_input.parse(base64url.decode(part), limit=ACCOUNT_LIMIT, depth=32) for part in parts[:2])
        signature = base64url.decode(parts[2])
    except Refusal as flaw:
        raise _bad(flaw.inside or "not JSON") from flaw
    if not isinstance(claims, dict) or not isinstance(claims.get("iss"), str):
        raise _bad("no claims")
    nkey.verify(claims["iss"], f"{parts[0]}.{parts[1]}".encode(), signature)
    return header, claims


def _bad(inside: str) -> BadToken:
    return BadToken("The account's JWT is not valid.", inside=inside)

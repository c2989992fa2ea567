"""Transaction tokens (draft-ietf-oauth-transaction-tokens), with an agent's chain (draft-araut-…-for-agents).

They go in the `Txn-Token` header, inside one trust domain. One is no credential: `typ` keeps it from passing for an
access token, and whoever holds one must still prove who it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from remit.domain.errors import BadToken
from remit.domain.transaction import LONGEST_PATH, Transaction

from . import token_status_list
from .claims import check_audience, check_issuer, check_lifetime, instant, text
from .jwk import PublicKey
from .jws import SigningKey, bad, peek, sign, verify
from .rfc9068 import actors, nested

TYPE = "urn:ietf:params:oauth:token-type:txn_token"
TYP = "txntoken+jwt"


def is_txn_token(token: str) -> bool:
    """Whether a token says that it is one, unverified: which of two checks it must pass."""
    try:
        return peek(token).header.get("typ") == TYP
    except BadToken:
        return False


def encode(found: Transaction, issuer: str, key: SigningKey) -> str:
    """Serialize and sign. `sub`, `aud`, `txn`, `act`, `tctx` and `rctx` are the same in every replacement."""
    claims: dict[str, Any] = {
        "iss": issuer,
        "iat": found.issued_at // 1000,
        "exp": found.expires_at // 1000,
        "aud": found.domain,
        "txn": found.txn,
        "sub": found.subject,
        "scope": " ".join(sorted(found.scope)),
        "req_wl": found.path[-1],
        "act": nested(found.actors),
        "tctx": {
            "task": found.task,
            "lease": found.lease,
            "purpose": found.purpose,
            "parameters": dict(found.parameters),
            **({"details": dict(found.details)} if found.details else {}),
        },
        "agentic_ctx": {
            "current_actor": found.actors[0],
            "originator": found.actors[-1],
            "chain_metadata": {
                "hop_count": len(found.path),
                "min_assurance_level": found.assurance,
                "txn_path": list(found.path),
            },
        },
    }
    if found.status:
        claims["status"] = token_status_list.claim(issuer, found.status)
    if found.context:
        claims["rctx"] = dict(found.context)
    return sign(msgspec.json.encode(claims), typ=TYP, key=key)


def parse(token: str, *, issuer: str, domain: str, keys: Sequence[PublicKey], now: int) -> Transaction:
    """Verify what `encode` made; any flaw is one `BadToken`. A token that has expired is not replaced: no leeway."""
    claims = verify(peek(token), keys, typ=(TYP,))
    check_issuer(claims, issuer)
    check_audience(claims, domain)
    expires_at = check_lifetime(claims, now, leeway=0)
    told, chain = _object(claims, "tctx"), _object(_object(claims, "agentic_ctx"), "chain_metadata")
    path, level = chain.get("txn_path"), chain.get("min_assurance_level")
    if not isinstance(path, list) or not 0 < len(path) <= LONGEST_PATH or not all(isinstance(p, str) for p in path):
        raise bad("txn_path is not a path")
    if chain.get("hop_count") != len(path) or claims.get("req_wl") != path[-1] or len(set(path)) != len(path):
        raise bad("hop_count, req_wl and txn_path do not agree")
    who = actors(claims.get("act"))
    if not who or not isinstance(level, int) or isinstance(level, bool):
        raise bad("no actor, or no assurance")
    return Transaction(
        txn=text(claims, "txn", limit=256),
        domain=domain,
        subject=text(claims, "sub"),
        actors=who,
        scope=frozenset(text(claims, "scope", limit=8192).split(" ")),
        task=text(told, "task", limit=256),
        lease=text(told, "lease", limit=256),
        purpose=text(told, "purpose", limit=256),
        issued_at=instant(claims, "iat"),
        expires_at=expires_at,
        assurance=level,
        path=tuple(path),
        parameters=_object(told, "parameters"),
        details=_object(told, "details") if "details" in told else {},
        context=_object(claims, "rctx") if "rctx" in claims else {},
    )


def _object(claims: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = claims.get(name)
    if not isinstance(value, Mapping):
        raise bad(f"{name} is not an object")
    return value

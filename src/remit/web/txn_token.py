"""The transaction token service (draft-ietf-oauth-transaction-tokens): a profile of the token endpoint's exchange."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.errors import Absent, BadField, BadToken
from remit.domain.identity import Identity
from remit.domain.transaction import Transaction
from remit.formats import form, json_input, rfc9068, txn_token
from remit.verbs.transact import Further, alive, transact

from .house import House
from .problems import json_response

_SAID = 2048  # bytes of request_details and of request_context
_WORD = re.compile(r"[!#-\[\]-~]{1,256}")
_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


def wanted(fields: form.Fields) -> bool:
    """Whether this exchange asks for one."""
    return form.one(fields, "requested_token_type", required=False) == txn_token.TYPE


async def exchange(
    house: House, call: Call, fields: form.Fields, identity: Identity, begun: Transaction | str
) -> Response:
    """The workload's own token: for the access token of a lease, or in place of another of its kind."""
    if fields.get("audience", ()) != (house.env.trust_domain,) or "resource" in fields:
        raise BadField("audience", f"must be the trust domain, {house.env.trust_domain}, once")
    scope = form.one(fields, "scope").split(" ")
    if len(scope) > 100 or not all(_WORD.fullmatch(word) for word in scope):
        raise BadField("scope", "must be at most 100 words with one space between them (RFC 6749 section 3.3)")
    asked = Further(frozenset(scope), _said(fields, "request_details"), _said(fields, "request_context"))
    if isinstance(begun, Transaction) and (asked.details or asked.context):
        raise BadField("request_details", "and request_context never change: leave them out of a replacement")
    by = Caller(CallerKind.AGENT, identity.agent, jkt=identity.jkt)
    found = await transact(house.env, Call(by, call.now, call.trace), begun, asked)
    body = {
        "access_token": txn_token.encode(found, house.url, house.env.token_key()),
        "issued_token_type": txn_token.TYPE,
        "token_type": "N_A",
        "expires_in": (found.expires_at - call.now) // 1000,
    }
    return json_response(body)


def lease_of(token: rfc9068.AccessToken, url: str) -> str:
    """The lease that a task exchanged this token by; one for ourselves has no scope that could be narrowed."""
    if token.audience == url:
        raise BadField("subject_token", "has no known scope: exchange one that is for a resource server")
    return "lse_" + token.jti.removeprefix("remit_")


def _said(fields: form.Fields, name: str) -> Mapping[str, Any]:
    """What the endpoint tells of its request. No token may hide in it: whoever reads the one could use the other."""
    text = form.one(fields, name, required=False)
    if not text:
        return {}
    if _TOKEN.search(text):
        raise BadField(name, "holds what looks like a token")
    found = json_input.parse(text.encode(), limit=_SAID, depth=6)
    if not isinstance(found, dict):
        raise BadField(name, "must be a JSON object")
    return found


async def parsed(house: House, text: str, now: int) -> Transaction:
    """A transaction token of ours; `BadToken` for anything else."""
    keys = await house.keys_for(text)
    return txn_token.parse(text, issuer=house.url, domain=house.env.trust_domain, keys=keys, now=now)


async def active(house: House, text: str, now: int) -> dict[str, Any] | None:
    """What introspection says of one (RFC 7662); None when anything behind it has ended."""
    try:
        found = await parsed(house, text, now)
        if not await alive(house.env, found.lease, found.path, now):
            return None
    except (BadToken, Absent):
        return None
    return {
        "active": True,
        "iss": house.url,
        "sub": found.subject,
        "aud": found.domain,
        "scope": " ".join(sorted(found.scope)),
        "token_type": "N_A",
        "iat": found.issued_at // 1000,
        "exp": found.expires_at // 1000,
        "txn": found.txn,
        "req_wl": found.path[-1],
        "act": rfc9068.nested(found.actors),
    }

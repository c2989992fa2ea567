"""The token request of a person's client (RFC 6749 section 4.1.3): a code for a token of one task, at one gateway.

Used up, proved, proposed, issued, in that order, each durable before the next. A client that shows a DPoP proof has its
token bound to that key; one that shows none has a bearer token where its entry says so, and otherwise nothing.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from starlette.responses import Response

from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.chain import Principal, PrincipalKind
from remit.domain.consent import Consent
from remit.domain.errors import Absent, BadField, BadGrant, Refusal
from remit.formats import form
from remit.verbs import authorize
from remit.verbs.issue import issue
from remit.verbs.propose import Proposal, propose
from remit.verbs.revoke import end_task

from . import sessions
from .house import Asked, House
from .problems import json_response

GRANT = "authorization_code"
FIELDS = ("code", "redirect_uri", "code_verifier")


async def redeemed(house: House, call: Call, fields: form.Fields, asked: Asked) -> Response:
    """Answer `grant_type=authorization_code`. There is no refresh token: when it is over, the person is asked again."""
    if len(fields.get("resource", ())) != 1:
        raise BadField("resource", "name exactly one (RFC 8707)")
    proof = await house.proof(asked, call.now) if "dpop" in asked.headers else None
    shown = authorize.Shown(
        form.one(fields, "client_id"),
        form.one(fields, "redirect_uri"),
        form.one(fields, "code_verifier"),
        form.one(fields, "resource"),
        proof.jkt if proof else "",
    )
    consent = await authorize.redeem(house.env, call, form.one(fields, "code"), shown)
    if consent.replayed_at:
        await _end(house, call, consent, "its authorization code was shown twice")
        raise BadGrant("This code is not good.", next_step="Begin again.", inside="shown twice")
    identity = await authorize.bind(house.env, call, consent, shown.jkt, proof.key.jwk if proof else {})
    by = Call(Caller(CallerKind.AGENT, consent.agent, jkt=identity.jkt), call.now, call.trace)
    proposal = Proposal(consent.purpose, consent.goal, consent.parameters, consent.duration)
    person = Principal(PrincipalKind.PERSON, consent.person)
    try:
        task = await propose(house.env, by, proposal, person, task_id=consent.task)
        lease, minted = await issue(house.env, by, task.id, consent.credential)
    except Refusal:
        await _end(house, call, consent, "its token could not be issued")
        raise
    if await authorize.is_replayed(house.env, consent):
        await _end(house, call, consent, "its authorization code was shown twice")
        raise BadGrant("This code is not good.", next_step="Begin again.", inside="shown twice")
    body: dict[str, Any] = {
        "access_token": minted.parts["access_token"],
        "token_type": minted.parts["token_type"],
        "expires_in": (min(lease.expires_at, task.deadline) - call.now) // 1000,
        "authorization_details": [{"type": task.purpose, "task": task.id}],
    }
    return json_response(body)


async def _end(house: House, call: Call, consent: Consent, reason: str) -> None:
    by = Call(Caller(CallerKind.SYSTEM, "remit"), call.now, call.trace)
    with suppress(Absent):
        await end_task(house.env, by, consent.task, reason)


def metadata(house: House) -> dict[str, object]:
    """RFC 8414, RFC 9207 and draft-ietf-oauth-client-id-metadata-document. People's pages are where people sign in."""
    return {
        "authorization_endpoint": f"{sessions.console_url(house)}/oauth/authorize",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "code_challenge_methods_supported": ["S256"],
        "client_id_metadata_document_supported": True,
        "authorization_response_iss_parameter_supported": True,
    }

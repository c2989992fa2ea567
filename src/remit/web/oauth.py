"""The authorization server: token endpoint with RAR and token exchange, introspection, revocation, metadata.

RFC 6749, 7523 (client assertions), 9396 (authorization_details are proposals), 8693 (exchange), 9449 (DPoP),
7662, 7009, 8414. Errors speak RFC 6749 section 5.2; one small table below says how.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from starlette.responses import Response

from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.consent import has_key
from remit.domain.errors import (
    Absent,
    AttestationTooOld,
    BadAttestation,
    BadField,
    BadGrant,
    BadProof,
    BadToken,
    ChallengeWanted,
    Denied,
    Forbidden,
    Refusal,
    Unauthenticated,
    Unavailable,
)
from remit.domain.identity import Identity, stale
from remit.domain.lease import Lease, LeaseState
from remit.domain.task import Task
from remit.domain.transaction import Transaction
from remit.formats import form, jwk, rfc7523, rfc8693, rfc9068, rfc9396, rfc9449
from remit.formats.txn_token import TYPE as TXN_TOKEN
from remit.formats.txn_token import is_txn_token
from remit.verbs.attest import JwtSvidEvidence, X509SvidEvidence, attest, claimed_id
from remit.verbs.issue import issue
from remit.verbs.propose import Proposal
from remit.verbs.revoke import end_lease, end_task
from remit.verbs.vouch import first_token, identify, vouch

from . import authorization_code, client_attestation, txn_token
from .api_agents import opened
from .at_home import at_home
from .house import Asked, House, spent_proof
from .problems import json_response

JWT_SPIFFE = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"
_METHODS = ["none", "private_key_jwt", "spiffe_jwt", "spiffe_x509", *client_attestation.METHODS]
_ERRORS: tuple[tuple[type[Refusal], str, int], ...] = (
    (BadProof, "invalid_dpop_proof", 400),
    (BadAttestation, "invalid_client_attestation", 401),
    (ChallengeWanted, "use_attestation_challenge", 400),
    (AttestationTooOld, "use_fresh_attestation", 400),
    (Unauthenticated, "invalid_client", 401),
    (Denied, "access_denied", 403),
    (Absent, "invalid_grant", 400),
    (BadGrant, "invalid_grant", 400),
    (Forbidden, "unauthorized_client", 403),
    (Unavailable, "temporarily_unavailable", 503),
    (Refusal, "invalid_request", 400),
)


def oauth_error(refusal: Refusal, status: int = 0) -> Response:
    """RFC 6749 section 5.2, with our stable code beside it."""
    error, code = next((e, s) for kind, e, s in _ERRORS if isinstance(refusal, kind))
    if isinstance(refusal, BadField):
        names = {
            "authorization_details": "invalid_authorization_details",
            "grant_type": "unsupported_grant_type",
        }
        names |= {"audience": "invalid_target", "resource": "invalid_target", "scope": "invalid_scope"}
        error = names.get(refusal.field.partition("[")[0], error)
    body: dict[str, Any] = {"error": error, "error_description": refusal.message, "code": refusal.code}
    if isinstance(refusal, Denied):
        body["reasons"] = refusal.reasons
    if refusal.next_step:
        body["next_step"] = refusal.next_step
    headers = {"WWW-Authenticate": "DPoP"} if (status or code) == 401 else {}
    if isinstance(refusal, ChallengeWanted):
        headers[client_attestation.CHALLENGE] = refusal.challenge
    return json_response(body, status or code, headers=headers)


async def token(house: House, call: Call, asked: Asked) -> Response:
    """POST /oauth/token."""
    if not asked.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise BadField("Content-Type", "must be application/x-www-form-urlencoded")
    fields = form.parse(asked.body)
    grant = form.one(fields, "grant_type")
    attested = client_attestation.sent(asked)
    if grant == "client_credentials":
        answer = await _client_credentials(house, call, fields, asked)
    elif grant == form.TOKEN_EXCHANGE:
        handed = form.one(fields, "subject_token", required=False)
        if txn_token.wanted(fields):
            return await _transaction(house, call, fields, asked)
        if rfc8693.is_delegation(handed, house.url):
            return await _accept(house, call, fields, asked, handed)
        by = await (client_attestation.client(house, call, fields, asked) if attested else house.proof(asked, call.now))
        answer = await _exchange(house, call, fields, by.jkt)
    elif grant == authorization_code.GRANT:
        return await authorization_code.redeemed(house, call, fields, asked)
    else:
        raise BadField("grant_type", f"must be client_credentials, {authorization_code.GRANT} or {form.TOKEN_EXCHANGE}")
    if attested:  # for its next request
        answer.headers[client_attestation.CHALLENGE] = client_attestation.fresh(house, call.now)
    return answer


async def _client_credentials(house: House, call: Call, fields: form.Fields, asked: Asked) -> Response:
    identity = await _client(house, call, fields, asked)
    call = Call(Caller(CallerKind.AGENT, identity.agent, jkt=identity.jkt), call.now, call.trace)
    text = form.one(fields, "authorization_details", required=False)
    if not text:
        signed, issued = await vouch(house.env, call, identity)
        return _answer(call, signed, issued)
    details = rfc9396.parse(text)
    wanted = details.asked
    if wanted.task:
        task = await house.env.store.get(Task, wanted.task)
        mine = task is not None and task.jkt == identity.jkt and task.purpose == wanted.type
        if task is None or not mine or not task.open_at(call.now):
            raise BadField("authorization_details[0].task", "is not an open task of this agent")
        signed, issued = await vouch(house.env, call, identity, task, details.written)
    else:
        subject_token = form.one(fields, "subject_token", required=False)
        proposal = Proposal(wanted.type, wanted.goal, wanted.parameters, wanted.duration_ms, wanted.max_calls)
        try:
            task = await opened(house, call, proposal, subject_token)
        except BadField as bad:
            raise BadField(f"authorization_details[0].{bad.field}", bad.problem, next_step=bad.next_step) from bad
        except Absent as absent:
            raise BadField("authorization_details[0].type", "is no purpose of this agent") from absent
        signed, issued = first_token(house.env, call, identity, task, details.written)
    return _answer(call, signed, issued)


async def _client(house: House, call: Call, fields: form.Fields, asked: Asked) -> Identity:
    """Who asks: by the key it proved before (RFC 7523), or by an SVID or attestation that proves this key now."""
    if client_attestation.sent(asked):
        return await client_attestation.client(house, call, fields, asked)
    proof = house.verified_proof(asked, call.now)
    kind = form.one(fields, "client_assertion_type", required=False)
    if kind == JWT_SPIFFE:
        return await _svid_client(house, call, proof, JwtSvidEvidence(form.one(fields, "client_assertion")), fields)
    if not kind and asked.chain:
        return await _svid_client(house, call, proof, X509SvidEvidence(asked.certificates()), fields)
    if kind != rfc7523.ASSERTION_TYPE:
        raise BadField("client_assertion_type", f"must be {rfc7523.ASSERTION_TYPE} or {JWT_SPIFFE}")
    assertion = form.one(fields, "client_assertion")
    named = rfc7523.claimed_key(assertion)
    identity = await identify(house.env, call, named)
    key = jwk.parse({**identity.jwk, "kid": identity.jkt})
    proved = rfc7523.parse(assertion, audience=house.url, keys=[key], now=call.now)
    if proved.client != identity.agent or proof.jkt != identity.jkt:
        raise BadToken("The client assertion is not valid.", inside="another agent's or another key's")
    spent = (f"assertion:{identity.jkt}:{proved.jti}", proved.expires_at + 10_000)
    await house.spend((spent_proof(proof), proof.spent_until), spent)
    return identity


async def _svid_client(
    house: House, call: Call, proof: rfc9449.Proof, evidence: JwtSvidEvidence | X509SvidEvidence, fields: form.Fields
) -> Identity:
    """draft-ietf-oauth-spiffe-client-auth; `client_id`, when there is one, is the SPIFFE ID."""
    await house.spend((spent_proof(proof), proof.spent_until))
    said = form.one(fields, "client_id", required=False)
    if said and said != str(claimed_id(evidence)):
        raise BadToken("The client assertion is not valid.", inside="client_id is not the SVID's ID")
    return await attest(house.env, call, evidence, proof.jkt, proof.key.jwk)


async def _exchange(house: House, call: Call, fields: form.Fields, jkt: str) -> Response:
    """RFC 8693: the task's token for one that another resource server accepts."""
    for name in ("subject_token_type", "requested_token_type"):
        value = form.one(fields, name, required=name == "subject_token_type")
        if value and value != form.ACCESS_TOKEN_TYPE:
            raise BadField(name, f"must be {form.ACCESS_TOKEN_TYPE}")
    if "actor_token" in fields:
        raise BadField("actor_token", "is not taken here: the actor is who holds the subject token's key")
    subject = await house.token(form.one(fields, "subject_token"), call.now)
    if not subject.task or subject.jkt != jkt:
        raise BadToken("The subject token is not a task's, or not this key's.")
    targets = (*fields.get("audience", ()), *fields.get("resource", ()))
    if len(targets) != 1:
        raise BadField("audience", "name exactly one audience or resource")
    call = Call(Caller(CallerKind.AGENT, subject.client, subject.task, jkt), call.now, call.trace)
    credential = await _credential_for(house, subject.task, targets[0])
    task = subject.task
    lease, minted = await at_home(
        house.env, call, task, lambda call: issue(house.env, call, task, credential), "a token"
    )
    body = {
        "access_token": minted.parts["access_token"],
        "issued_token_type": form.ACCESS_TOKEN_TYPE,
        "token_type": "DPoP",
        "expires_in": (lease.expires_at - call.now) // 1000,
        "lease": lease.id,
    }
    return json_response(body)


async def _accept(house: House, call: Call, fields: form.Fields, asked: Asked, handed: str) -> Response:
    """RFC 8693 with a delegation token: what it hands over, opened by the client, which proves itself as the actor."""
    if form.one(fields, "subject_token_type") not in (form.ACCESS_TOKEN_TYPE, form.JWT_TYPE):
        raise BadField("subject_token_type", f"must be {form.JWT_TYPE}")
    if "actor_token" in fields:
        raise BadField("actor_token", "is not taken here: the actor is the client, by its own assertion")
    identity = await _client(house, call, fields, asked)
    call = Call(Caller(CallerKind.AGENT, identity.agent, jkt=identity.jkt), call.now, call.trace)
    task = await opened(house, call, Proposal("", ""), handed)
    signed, issued = first_token(house.env, call, identity, task)
    return _answer(call, signed, issued, issued_token_type=form.ACCESS_TOKEN_TYPE)


async def _transaction(house: House, call: Call, fields: form.Fields, asked: Asked) -> Response:
    """A transaction token for the client, a workload: from an access token sent to it, or in place of another one."""
    kind, subject = form.one(fields, "subject_token_type"), form.one(fields, "subject_token")
    if kind not in (form.ACCESS_TOKEN_TYPE, TXN_TOKEN):
        raise BadField("subject_token_type", f"must be {form.ACCESS_TOKEN_TYPE} or {TXN_TOKEN}")
    if "actor_token" in fields:
        raise BadField("actor_token", "is not taken here: who acts is in the subject token, and never changes")
    identity = await _client(house, call, fields, asked)
    try:
        begun: Transaction | str = await txn_token.parsed(house, subject, call.now) if kind == TXN_TOKEN else ""
        begun = begun or txn_token.lease_of(await _parsed(house, subject, call.now), house.url)
    except BadToken as flaw:  # the client is known; what it brought is not good (RFC 8693 section 2.2.2)
        raise BadField("subject_token", "is not valid", next_step=flaw.next_step) from flaw
    return await txn_token.exchange(house, call, fields, identity, begun)


async def _credential_for(house: House, task_id: str, audience: str) -> str:
    task = await house.env.store.get(Task, task_id)
    _, force = await house.env.in_force()
    purpose = force.catalogue.purposes.get(task.purpose) if task else None
    for rule in purpose.credentials if purpose else ():
        if force.catalogue.issuers[rule.issuer].kind == "jwt" and rule.grants.get("audience") == audience:
            return rule.name
    raise BadField("audience", "is none that this task's purpose grants")


def _answer(call: Call, signed: str, issued: rfc9068.AccessToken, **more: str) -> Response:
    body: dict[str, Any] = {
        "access_token": signed,
        "token_type": "DPoP",
        "expires_in": (issued.expires_at - call.now) // 1000,
        **more,
    }
    if issued.details:
        body["authorization_details"] = list(issued.details)
    return json_response(body)


async def introspect(house: House, call: Call, asked: Asked) -> Response:
    """RFC 7662; whatever is not wholly good is exactly `{"active": false}`."""
    try:
        text = form.one(form.parse(asked.body), "token")
    except Refusal as refusal:
        return oauth_error(refusal)
    is_txn = is_txn_token(text)
    found = await (txn_token.active(house, text, call.now) if is_txn else _active(house, call, text))
    return json_response(found or {"active": False})


async def _active(house: House, call: Call, text: str) -> dict[str, Any] | None:
    try:
        token = await _ours(house, text, call.now)
    except Refusal:
        return None
    if token is None:
        return None
    body: dict[str, Any] = {
        "active": True,
        "iss": token.issuer,
        "sub": token.subject,
        "aud": token.audience,
        "client_id": token.client,
        "token_type": "DPoP" if token.jkt else "Bearer",
        "iat": token.issued_at // 1000,
        "exp": token.expires_at // 1000,
        "jti": token.jti,
    }
    if token.jkt:
        body["cnf"] = {"jkt": token.jkt}
    if token.task:
        body |= {"txn": token.task, "authorization_details": list(token.details)}
    return body


async def _ours(house: House, text: str, now: int) -> rfc9068.AccessToken | None:
    """The token, if everything behind it is alive: task, lease, agent and key."""
    token = await _parsed(house, text, now)
    if now >= token.expires_at:
        return None
    _, force = await house.env.in_force()
    agent = force.catalogue.agents.get(token.client)
    purpose, jkt = None, token.jkt
    above = await house.env.above(())
    if token.task:
        task = await house.env.store.get(Task, token.task)
        if task is None or not task.open_at(now):
            return None
        if not jkt and token.audience != house.url and not has_key(task.jkt):
            jkt = task.jkt  # a bearer token is good for a task without a key alone
        above = await house.env.above_of(task)
        purpose = force.catalogue.purposes.get(task.purpose)
    identity = await house.env.store.get(Identity, jkt) if jkt else None
    if agent is None or stale(identity, agent, now):
        return None
    frozen = above.frozen.of(agent, purpose)
    if frozen is not None or above.flaw(force.catalogue, now) is not None:
        return None
    if token.audience != house.url:
        lease = await house.env.store.get(Lease, _lease_id(token.jti))
        if lease is None or lease.state is not LeaseState.LIVE:
            return None
    return token


async def _parsed(house: House, text: str, now: int) -> rfc9068.AccessToken:
    """One of ours for ourselves, or for an audience that a lease of ours names."""
    try:
        return await house.token(text, now)
    except BadToken:
        from remit.formats.jws import peek

        claims = peek(text).claims()
        lease = await house.env.store.get(Lease, _lease_id(str(claims.get("jti", ""))))
        if lease is None:
            raise
        audience = str(lease.grants.get("audience", ""))
        keys = await house.keys_for(text)
        return rfc9068.parse(text, issuer=house.url, audience=audience, keys=keys, now=now)


def _lease_id(handle: str) -> str:
    return "lse_" + handle.removeprefix("remit_")


async def revoke(house: House, call: Call, asked: Asked) -> Response:
    """RFC 7009: the caller's own task token closes its task, one it exchanged ends its lease; the rest is a 200."""
    try:
        text = form.one(form.parse(asked.body), "token")
    except Refusal as refusal:
        return oauth_error(refusal)
    with suppress(BadToken, Absent):
        token = await _parsed(house, text, call.now)
        if token.audience != house.url:
            await end_lease(house.env, call, _lease_id(token.jti), "token revoked")
        elif token.task and token.jkt == call.caller.jkt:
            await end_task(house.env, call, token.task, "token revoked")
    return json_response({})


# --- metadata ---


async def metadata(house: House, call: Call, asked: Asked) -> Response:
    """RFC 8414."""
    _, force = await house.env.in_force()
    at = house.url
    return json_response(
        {
            "issuer": at,
            "token_endpoint": f"{at}/oauth/token",
            "introspection_endpoint": f"{at}/oauth/introspect",
            "revocation_endpoint": f"{at}/oauth/revoke",
            "jwks_uri": f"{at}/.well-known/jwks.json",
            "status_list_aggregation_endpoint": f"{at}/status",
            "grant_types_supported": ["client_credentials", authorization_code.GRANT, form.TOKEN_EXCHANGE],
            **authorization_code.metadata(house),
            "token_endpoint_auth_methods_supported": _METHODS,
            **client_attestation.metadata(at),
            "token_endpoint_auth_signing_alg_values_supported": ["ES256", "EdDSA"],
            "spiffe_bundle_endpoint": f"{at}/spiffe/bundle",
            "dpop_signing_alg_values_supported": ["ES256", "EdDSA"],
            "authorization_details_types_supported": sorted(force.catalogue.purposes),
        }
    )


async def keys(house: House, call: Call, asked: Asked) -> Response:
    """RFC 7517: the keys that verify our tokens; a new one is here before it signs for longer than this may be kept."""
    found = {"keys": [dict(key) for key in house.env.signer.public("token")]}
    return json_response(found, headers={"Cache-Control": f"public, max-age={house.env.rotation.cached_for}"})

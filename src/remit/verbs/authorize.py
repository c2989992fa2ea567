"""Authorize: a person lets a client of theirs act as an agent, in one task at one gateway (RFC 6749 section 4.1).

The person agrees to exactly what they are shown; a code stands for that for a minute, once. Whoever shows it must be
the client it was for, at the same address, for the same resource, with the verifier (RFC 7636, RFC 8707).
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.catalogue import Catalogue
from remit.domain.chain import Principal, PrincipalKind
from remit.domain.change import Change
from remit.domain.consent import BEARER_LIFE, CODE_LIFE, Consent
from remit.domain.errors import Absent, BadField, BadGrant, Conflict, NotAttested, WrongState
from remit.domain.flow import Json
from remit.domain.identity import Agent, Attestation, Identity
from remit.domain.purpose import CredentialRule, Purpose
from remit.domain.task import GOAL_LIMIT
from remit.formats import base64url
from remit.ports import Env


@dataclass(frozen=True, slots=True)
class Offer:
    """What a person may let a client do: one purpose, with the credential that its gateway's token is.

    `duration` in ms: the task lives no longer than its token.
    """

    purpose: Purpose
    credential: CredentialRule
    duration: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the person saw and wrote. `document`, `revision`: digests of the client's document, of the purpose."""

    client: str
    document: str
    redirect_uri: str
    challenge: str
    resource: str
    purpose: str
    revision: str
    goal: str
    parameters: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Shown:
    """What came with a code. `jkt` is empty when no key was proved."""

    client: str
    redirect_uri: str
    verifier: str
    resource: str
    jkt: str


def offers(catalogue: Catalogue, agent: Agent, rule: Attestation, person: str, resource: str = "") -> tuple[Offer, ...]:
    """Every purpose that this agent and this person may have, at this gateway or, when none is named, at any."""
    by = Principal(PrincipalKind.PERSON, person)
    found = []
    for purpose in catalogue.purposes.values():
        if agent.name not in purpose.agents or not catalogue.may_begin(purpose, by):
            continue
        for one in purpose.credentials:
            audience = one.grants.get("audience")
            fits = audience == resource if resource else True
            if catalogue.issuers[one.issuer].kind == "jwt" and audience in rule.gateways and fits:
                most = (purpose.max_duration, one.ttl, *([BEARER_LIFE] if rule.bearer else []))
                found.append(Offer(purpose, one, min(most)))
                break
    return tuple(found)


async def agree(env: Env, call: Call, wanted: Wanted) -> tuple[str, Consent]:
    """The calling person says yes. Returns the code's text, which is kept nowhere."""
    _, force = await env.in_force()
    known = force.catalogue.client(wanted.client)
    some = offers(force.catalogue, *known, call.caller.name, wanted.resource) if known else ()
    offer = next((one for one in some if one.purpose.name == wanted.purpose), None)
    if known is None or offer is None or wanted.resource not in known[1].gateways:
        raise Absent(inside=f"{wanted.purpose} at {wanted.resource} for {wanted.client} by {call.caller}")
    if offer.purpose.revision != wanted.revision:
        raise WrongState("What you were shown has changed.", next_step="Begin again in the program.")
    if not 0 < len(wanted.goal) <= GOAL_LIMIT:
        raise BadField("goal", f"say in 1 to {GOAL_LIMIT} characters what it is to do")
    text = env.new_id("code")
    row = Consent(
        digest=_digest(text),
        client=wanted.client,
        agent=known[0].name,
        rule=known[1].rule,
        document=wanted.document,
        redirect_uri=wanted.redirect_uri,
        challenge=wanted.challenge,
        resource=wanted.resource,
        person=call.caller.name,
        purpose=offer.purpose.name,
        purpose_revision=offer.purpose.revision,
        credential=offer.credential.name,
        goal=wanted.goal,
        task=env.new_id("tsk"),
        duration=offer.duration,
        expires_at=call.now + CODE_LIFE,
        parameters=offer.purpose.checked_parameters(wanted.parameters),
    )
    said = (row.digest, row.client, row.agent, row.purpose, row.resource, row.task, row.document, row.expires_at)
    await env.store.commit(Change(events.ConsentGiven(*said), call).put(row, was=None))
    return text, row


async def redeem(env: Env, call: Call, text: str, shown: Shown) -> Consent:
    """Use the code up, whatever comes of it: `BadGrant` unless all that was shown is as it was agreed to.

    A code that was used before comes back with `replayed_at`: then its task is to end (RFC 6749 section 4.1.2).
    """
    for _ in range(3):  # used, replayed: it cannot move more often
        row = await env.store.get(Consent, _digest(text))
        if row is None:
            raise _bad("there is no such code")
        if row.replayed_at:
            return row
        if row.redeemed_at:
            after, flaw = row.replayed(call.now), ""
            because: events.Event = events.ConsentReplayed(row.digest, row.client, row.task)
        else:
            after, flaw = row.redeemed(call.now), await _flaw(env, row, shown, call.now)
            because = events.ConsentRedeemed(row.digest, row.client, row.task, flaw)
        try:
            await env.store.commit(Change(because, call).put(after, was=row))
        except Conflict:
            continue
        if flaw:
            raise _bad(flaw)
        return after
    raise _bad("shown by many at once")


async def bind(env: Env, call: Call, consent: Consent, jkt: str, jwk: Mapping[str, str]) -> Identity:
    """The identity the task acts under: of the key that the client proved, or of no key at all.

    It begins nothing by itself (`vouch.identify` refuses it) and is over with the task.
    """
    key = jkt or consent.keyless
    bound = await env.store.get(Identity, key)
    ends = call.now + consent.duration
    if bound is not None:
        same = (bound.agent, bound.rule) == (consent.agent, consent.rule)
        if not same and (bound.agent != consent.agent or call.now < bound.expires_at):
            raise NotAttested("This key is bound already.", next_step="Use a key of its own.", inside=bound.agent)
        ends = max(ends, bound.expires_at)
    spiffe_id = f"spiffe://{env.trust_domain}/agent/{consent.agent}"
    method, evidence = "client_metadata", consent.document
    identity = Identity(
        key, consent.agent, spiffe_id, method, evidence, dict(jwk), call.now, ends, consent.rule, code=""
    )
    because = events.AgentProved(consent.agent, method, key, spiffe_id, evidence, ends)
    await env.store.commit(Change(because, call).put(identity, was=bound))
    return identity


async def is_replayed(env: Env, consent: Consent) -> bool:
    """Whether the code was shown again meanwhile: then nothing may leave."""
    row = await env.store.get(Consent, consent.digest)
    return row is None or row.replayed_at > 0


async def _flaw(env: Env, row: Consent, shown: Shown, now: int) -> str:
    """Why this code is not good for who shows it; for the operator, and empty when it is."""
    _, force = await env.in_force()
    catalogue = force.catalogue
    known, purpose = catalogue.client(row.client), catalogue.purposes.get(row.purpose)
    challenge = base64url.encode(sha256(shown.verifier.encode()).digest())
    if now >= row.expires_at:
        return "it is over"
    if shown.client != row.client:
        return "another client shows it"
    if shown.redirect_uri != row.redirect_uri:
        return "another redirect_uri"
    if not 43 <= len(shown.verifier) <= 128 or not hmac.compare_digest(challenge, row.challenge):
        return "another code_verifier"
    if shown.resource != row.resource:
        return "another resource"
    if known is None or known[1].rule != row.rule or purpose is None or purpose.revision != row.purpose_revision:
        return "its client or its purpose has changed"
    if row.person not in catalogue.people:
        return "whoever agreed is no longer here"
    return "" if shown.jkt or known[1].bearer else "no key was proved, and its entry allows no bearer token"


def _bad(inside: str) -> BadGrant:
    return BadGrant("This code is not good.", next_step="Begin again with a new authorization request.", inside=inside)


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

"""Review: open the next review of an agent, and answer it, bound to exactly what was shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.catalogue import CatalogueHead
from remit.domain.chain import Principal, PrincipalKind
from remit.domain.change import Change
from remit.domain.departure import Departure
from remit.domain.errors import Absent, BadField, Denied, WrongState
from remit.domain.freeze import Freeze, Reach
from remit.domain.identity import NAME, Agent, Person
from remit.domain.narrowing import Entitlement, beneath
from remit.domain.notice import review_notice
from remit.domain.passkey import UNSIGNED, Signed
from remit.domain.redecision import Redecision
from remit.domain.review import Review, Verdict, every, may_answer, opened
from remit.domain.task import Task
from remit.formats import json_input, webauthn
from remit.formats.jcs import digest_of
from remit.ports import Env, InForce, signed_by

NOTE_LIMIT, COVERS_LIMIT = 2000, 1 << 20


@dataclass(frozen=True, slots=True)
class _Asked:
    """Everything read for one answer."""

    row: Review
    head: CatalogueHead
    force: InForce
    agent: Agent
    person: Person
    departure: Departure


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What somebody answers, to exactly this digest; `signed` is empty without a passkey."""

    digest: str
    verdict: Verdict
    note: str = ""
    signed: Signed = UNSIGNED


async def open_review(env: Env, call: Call, agent: str, campaign: str = "") -> Review:
    """Ask whoever answers for this agent to look at it. `WrongState` while the one before waits."""
    head, force = await env.in_force()
    entry = force.catalogue.agents.get(agent)
    if entry is None:
        raise Absent(inside=f"agent {agent[:100]}")
    if campaign and not NAME.match(campaign):
        raise BadField("campaign", "use 1 to 64 of a-z, 0-9, '.', '_' and '-'")
    before = await env.store.get(Review, agent)
    row = opened(before, agent, campaign, str(call.caller), call.now, force.catalogue.terms)
    because = events.ReviewOpened(agent, row.round, campaign, row.due_at, row.narrow_at, row.freeze_at)
    change = Change(because, call).put(row, was=before).check(head)
    await env.store.commit(await told(env, change, force, entry, row))
    return row


async def told(env: Env, change: Change, force: InForce, agent: Agent, row: Review) -> Change:
    """Those who may answer are owed a message in the same commit, where anybody is told anything."""
    if not force.catalogue.tells:
        return change
    return change.put(review_notice(row, agent, await env.answers_for(agent), change.call.now), was=None)


async def challenge(env: Env, call: Call, agent: str, given: Reviewed, covers: str) -> dict[str, Any]:
    """What the person's passkey is to sign for this answer (`publicKey`), and what to send back with the signature."""
    asked = await _asked(env, call, agent, given, covers)
    known = await _keys(env, asked.person)
    if not known:
        raise WrongState("You have no passkey here.", next_step="Register one first, in the console's settings.")
    expires_at = call.now + webauthn.CHALLENGE_TTL
    bare = replace(given, signed=replace(given.signed, nonce=env.new_id("chl"), expires_at=expires_at))
    statement = webauthn.vouched(env.passkey_secret, _statement(asked, bare))
    options = webauthn.answer_options(webauthn.relying_party(env.issuer_url), statement, known)
    return {"publicKey": options, "nonce": statement["nonce"], "expires_at": expires_at, "statement": statement}


async def answer(env: Env, call: Call, agent: str, given: Reviewed, covers: str) -> Review:
    """What becomes of it, by one who answers for it; `covers` is what there is to be seen now, in canonical JSON.

    `BadField` when the digest is not of that, `Denied` when this person may not, `Absent` when it is not theirs. KEEP
    gives back what a review took away before; NARROW takes away what was never used; RETIRE freezes it.
    """
    asked = await _asked(env, call, agent, given, covers)
    row, force, person = asked.row, asked.force, asked.person
    seen = json_input.parse(covers.encode(), limit=COVERS_LIMIT, depth=8)
    if given.verdict is Verdict.KEEP:
        await _may_keep(env, asked, given)
    passkey = None
    if given.signed:
        passkey = await signed_by(env, person.name, _statement(asked, given), given.signed, call.now)
    gone = unused(seen) if given.verdict is Verdict.NARROW else ()
    after = row.answered(person.name, given.verdict, call.now, given.digest, covers)
    after = replace(after, note=given.note, passkey=given.signed.passkey, next_at=_next(force, asked.agent, call.now))
    because = events.ReviewAnswered(
        agent,
        row.round,
        person.name,
        given.verdict.value,
        given.digest,
        tuple(str(held) for held in gone),
        webauthn.note_digest(given.note),
        given.signed,
    )
    change = Change(because, call).put(after, was=row).check(asked.head).check(asked.departure)
    if passkey is not None:
        change = change.put(passkey, was=passkey)
    change = await _took(env, call, change, force, asked.agent, given.verdict, gone)
    await env.store.commit(change)
    env.nudge()
    return after


async def _may_keep(env: Env, asked: _Asked, given: Reviewed) -> None:
    """`Denied` for who began its tasks, and for who could sign it and did not: keeping is the one answer that leaves
    anything standing, or gives it back.
    """
    if not asked.force.catalogue.terms.alone and await _began(env, asked.person, asked.row):
        step = "Narrow it, or have its deputy or somebody of its escalation path keep it."
        said = "You began tasks of this agent, so somebody else has to keep it."
        raise Denied(said, reasons=("own_review",), next_step=step)
    if not given.signed and await _keys(env, asked.person):
        step = "Answer in the console, where your passkey signs it. Narrowing needs no signature."
        raise Denied("You have a passkey, so it has to sign this.", reasons=("passkey_wanted",), next_step=step)


async def _took(
    env: Env, call: Call, change: Change, force: InForce, entry: Agent, verdict: Verdict, gone: Sequence[Entitlement]
) -> Change:
    frozen, narrowing = await env.frozen(), await env.narrowing(entry.name)
    reason = f"{call.caller.name} reviewed it: {verdict.value}"
    match verdict:
        case Verdict.NARROW:
            return await narrowed(env, change, force, entry.name, gone, reason)
        case Verdict.RETIRE if frozen.found(Reach.AGENT, entry.name) is None:
            freeze = Freeze(Reach.AGENT, entry.name, call.now, reason, str(call.caller))
            return change.put(frozen.forced(freeze), was=frozen)
        case Verdict.KEEP if narrowing.without:
            kept = replace(narrowing, without=(), since=call.now, by=str(call.caller), reason=reason)
            return change.put(kept, was=narrowing).put(frozen.narrows(entry.name, still=False), was=frozen)
    return change


async def narrowed(
    env: Env, change: Change, force: InForce, agent: str, gone: Sequence[Entitlement], reason: str
) -> Change:
    """This is taken away from the agent in the same commit, and what it and those below it hold is looked at again."""
    if not gone:
        return change
    frozen, narrowing, call = await env.frozen(), await env.narrowing(agent), change.call
    after = narrowing.and_without(gone, call.now, str(call.caller), reason)
    again = Redecision(env.new_id("rdc"), f"{agent}: {reason}", call.now, beneath(agent, force.catalogue.purposes), {})
    return change.put(after, was=narrowing).put(again, was=None).put(frozen.narrows(agent), was=frozen)


def unused(seen: Any) -> tuple[Entitlement, ...]:
    """What was shown as never used."""
    items = [one for one in seen["may"] if one["unused"]]
    return tuple(Entitlement(one["purpose"], one["kind"], one["name"]) for one in items)


async def _keys(env: Env, person: Person) -> list[str]:
    """Their passkeys that can sign here."""
    here = webauthn.relying_party(env.issuer_url).id
    return [key.id for key in await env.passkeys(person.name) if key.rp_id == here]


async def _began(env: Env, person: Person, row: Review) -> bool:
    """Whether they began a task of this agent, or one that came to it, in the time that is reviewed."""
    where = {"agent": row.agent, "initiator": str(Principal(PrincipalKind.PERSON, person.name))}
    after = ""
    while page := await env.store.find(Task, where, after=after, limit=1000):
        if any(task.opened_at >= row.since for task in page):
            return True
        after = page[-1].key
    return False


def _next(force: InForce, agent: Agent, now: int) -> int:
    span = every(agent, force.catalogue.purposes.values(), force.catalogue.terms)
    return now + span if span else 0


async def _asked(env: Env, call: Call, agent: str, given: Reviewed, covers: str) -> _Asked:
    if len(given.note) > NOTE_LIMIT:
        raise BadField("note", f"longer than {NOTE_LIMIT} characters")
    head, force = await env.in_force()
    person, entry = force.catalogue.person(call.caller), force.catalogue.agents.get(agent)
    row = await env.store.get(Review, agent)
    if row is None or person is None or entry is None:
        raise Absent(inside=f"review of {agent[:100]} for {call.caller}")
    departure = await env.departure(person.name)
    if departure.gone or not may_answer(person, entry, await env.answers_for(entry)):
        raise Absent(inside=f"review of {agent} is not for {call.caller}")
    if given.digest != digest_of(covers.encode()):
        raise BadField("digest", "is not of what there is to see now", next_step="Look again before you answer.")
    return _Asked(row, head, force, entry, person, departure)


def _statement(asked: _Asked, given: Reviewed) -> webauthn.Statement:
    return {
        "statement": "remit review answer 1",
        "agent": asked.row.agent,
        "round": asked.row.round,
        "digest": given.digest,
        "person": asked.person.name,
        "answer": given.verdict.value,
        "note": webauthn.note_digest(given.note),
        "nonce": given.signed.nonce,
        "expires_at": given.signed.expires_at,
    }

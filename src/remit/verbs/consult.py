"""Consult: ask back before answering, hand a request on, have somebody stand in, take a standing yes back."""

from __future__ import annotations

from remit.domain import events
from remit.domain.approval import Answer, Approval, Away, HandedOn, Question
from remit.domain.caller import Call, CallerKind
from remit.domain.change import Change
from remit.domain.errors import Absent, BadField, Denied
from remit.domain.identity import Person
from remit.domain.standing_yes import StandingYes
from remit.formats.jcs import digest
from remit.ports import Env

TEXT_LIMIT = 500
LONGEST = 90 * 86_400_000


async def question(env: Env, call: Call, approval_id: str, text: str) -> Approval:
    """Ask back; the agent's side is told, in these words, that it waits for that."""
    if not 0 < len(text) <= TEXT_LIMIT or not text.isprintable():
        raise BadField("text", f"ask in 1 to {TEXT_LIMIT} printable characters")
    approval, person = await _asked(env, call, approval_id)
    after = approval.questioned(Question(person.name, call.now, text))
    because = events.ApprovalQuestioned(approval.id, approval.task, person.name, digest([approval.id, text]))
    await env.store.commit(Change(because, call).put(after, was=approval))
    return after


async def hand_on(env: Env, call: Call, approval_id: str, to: str) -> Approval:
    """Have somebody else answer this one in the caller's place; they cannot hand it on again."""
    approval, person = await _asked(env, call, approval_id)
    _, force = await env.in_force()
    if to not in force.catalogue.people or to == person.name:
        raise BadField("to", "must be somebody else in the catalogue")
    if approval.chain.involves(to):
        raise Denied(f"{to} began this task or acts in it.", reasons=("self_approval",))
    after = approval.handed(HandedOn(person.name, to, call.now))
    because = events.ApprovalHandedOn(approval.id, approval.task, person.name, to)
    await env.store.commit(Change(because, call).put(after, was=approval))
    return after


async def go_away(env: Env, call: Call, to: str, until: int, reason: str = "") -> Away:
    """Until then `to` answers what the caller is asked. There is one stand-in at a time: the newest."""
    _, force = await env.in_force()
    if to not in force.catalogue.people or to == call.caller.name:
        raise BadField("to", "must be somebody else in the catalogue")
    if not call.now < until <= call.now + LONGEST:
        raise BadField("until", "must be a time in the next 90 days (ms)")
    if len(reason) > TEXT_LIMIT:
        raise BadField("reason", f"longer than {TEXT_LIMIT} characters")
    old = await env.store.get(Away, call.caller.name)
    new = Away(call.caller.name, to, call.now, until, reason)
    because = events.WentAway(call.caller.name, to, until, reason)
    await env.store.commit(Change(because, call).put(new, was=old))
    return new


async def come_back(env: Env, call: Call) -> None:
    """Nobody stands in for the caller any more."""
    old = await env.store.get(Away, call.caller.name)
    if old is None or not old.at(call.now):
        return
    new = Away(old.person, old.to, old.since, call.now, old.reason)
    await env.store.commit(Change(events.CameBack(old.person), call).put(new, was=old))


async def take_back(env: Env, call: Call, standing_id: str, reason: str) -> StandingYes:
    """End a standing yes: whoever agreed to it may, and an operator. Ending it twice is fine."""
    row = await env.store.get(StandingYes, standing_id)
    mine = row is not None and call.caller.kind is CallerKind.PERSON and call.caller.name in row.people
    if row is None or not (mine or call.caller.kind is CallerKind.OPERATOR):
        raise Absent(inside=f"standing yes {standing_id[:100]} for {call.caller}")
    if not row.open:
        return row
    after = row.ended(call.now, reason[:TEXT_LIMIT] or "taken back")
    because = events.StandingYesEnded(row.id, row.task, after.end_reason, row.left)
    await env.store.commit(Change(because, call).put(after, was=row))
    return after


async def _asked(env: Env, call: Call, approval_id: str) -> tuple[Approval, Person]:
    """Only who is asked, by name or by group, and is not part of the chain."""
    _, force = await env.in_force()
    person = force.catalogue.person(call.caller)
    approval = await env.store.get(Approval, approval_id)
    if approval is None or person is None:
        raise Absent(inside=f"approval {approval_id} for {call.caller}")
    mine = Answer(person.name, False, call.now, groups=person.groups)
    if approval.chain.involves(person.name) or not mine.counts_for(approval.approvers):
        raise Denied("You are not one of those who are asked.", reasons=("not_an_approver",))
    return approval, person

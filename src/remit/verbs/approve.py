"""Approve: a person's yes or no to exactly what was shown (law 7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from remit.domain import events
from remit.domain.approval import ONCE, Again, Answer, Approval, ApprovalState, Away
from remit.domain.backchannel import UNVOUCHED, BackchannelRequest, Vouched, code
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.domain.errors import Absent, BadField, BadToken, Conflict, Replayed, WrongState
from remit.domain.flow import Json
from remit.domain.identity import Person
from remit.domain.passkey import UNSIGNED, Signed
from remit.domain.standing_yes import checked, standing_yes
from remit.domain.task import Task
from remit.formats import ciba, json_input, webauthn
from remit.ports import Env, InForce, signed_by

NOTE_LIMIT = 2000
ARGUMENTS_LIMIT = 1 << 20
TRIES = 8
KEPT = 86_400_000  # longer than any ID token of ours to be replayed: a later request refuses older ones


@dataclass(frozen=True, slots=True)
class Given:
    """What a person answers: to exactly this digest, on these terms. `signed` is empty without a passkey, and `vouched`
    unless an identity provider said it.
    """

    digest: str
    yes: bool
    note: str = ""
    again: Again = ONCE
    signed: Signed = UNSIGNED
    vouched: Vouched = UNVOUCHED


async def challenge(env: Env, call: Call, approval_id: str, given: Given) -> dict[str, Any]:
    """What the person's passkey is to sign for this answer (`publicKey`), and what to send back with the signature."""
    approval, _, person = await _asked(env, call, approval_id, given)
    party = webauthn.relying_party(env.issuer_url)
    known = [key.id for key in await env.passkeys(person.name) if key.rp_id == party.id]
    if not known:
        raise WrongState("You have no passkey here.", next_step="Register one first, in the console's settings.")
    expires_at = call.now + webauthn.CHALLENGE_TTL
    bare = replace(given.signed, nonce=env.new_id("chl"), expires_at=expires_at)
    statement = webauthn.vouched(env.passkey_secret, _statement(approval, person, replace(given, signed=bare)))
    return {
        "publicKey": webauthn.answer_options(party, statement, known),
        "statement": statement,
        "nonce": statement["nonce"],
        "expires_at": expires_at,
    }


async def answer(
    env: Env,
    call: Call,
    approval_id: str,
    given: Given,
    also: Callable[[Change], Change] = lambda change: change,
) -> Approval:
    """Add this person's answer, and with it the standing yes it may grant.

    Raises `BadField` when the digest is not of what was shown, `Denied` when this person may not answer, `BadPasskey`
    when the signature is not of this answer, `WrongState` when there is nothing left to answer.
    """
    approval, force, person = await _asked(env, call, approval_id, given)
    guard = await (_contains if approval.finding else _goes_on)(env, call, approval, force, given)
    passkey = None
    if given.signed:
        passkey = await signed_by(env, person.name, _statement(approval, person, given), given.signed, call.now)
    found = Answer(
        person.name,
        given.yes,
        call.now,
        given.note,
        person.groups,
        passkey=passkey.id if passkey else "",
        again=given.again if given.yes else ONCE,
        provider=given.vouched.provider,
    )
    if not found.counts_for(approval.approvers):
        found = await _instead(env, force, approval, found)
    answered = approval.answered(found)
    because = events.ApprovalAnswered(
        approval.id,
        approval.task,
        approval.digest,
        person.name,
        given.yes,
        answered.state.value,
        webauthn.note_digest(given.note),
        found.instead_of,
        given.again,
        given.signed,
        given.vouched,
    )
    change = guard(Change(because, call).put(answered, was=approval))
    if passkey is not None:
        change = change.put(passkey, was=passkey)
    if answered.state is ApprovalState.GRANTED and answered.again:
        arguments = _arguments(approval)
        change = change.put(standing_yes(answered, arguments, answered.again), was=None)
    await env.store.commit(also(change))
    return answered


Guard = Callable[[Change], Change]


async def _goes_on(env: Env, call: Call, approval: Approval, force: InForce, given: Given) -> Guard:
    """The task that asks could still do it, and still can when the answer is committed."""
    task = await env.store.get(Task, approval.task)
    if task is None or not task.open_at(call.now):
        raise WrongState("The task has ended, so there is nothing left to approve.")
    catalogue = force.catalogue
    agent, purpose = catalogue.agents.get(task.agent), catalogue.purposes.get(task.purpose)
    tool = catalogue.tools.get(approval.shown.tool)
    above = await env.above_of(task)
    if above.flaw(catalogue, call.now) is not None:
        raise WrongState("A task above this one has ended, so there is nothing left to approve.")
    if agent is None or purpose is None or tool is None or above.frost(agent, purpose) is not None:
        raise WrongState("The agent may do nothing now, so there is nothing to approve.")
    if (tool.revision, force.bundle.revision) != (approval.tool_revision, approval.policy_revision):
        step = "The agent asks again, under what is in force now."
        raise WrongState("The tool or the policies have changed since this was asked.", next_step=step)
    if given.again:
        latest = min(task.deadline, call.now + purpose.approval.standing_for)
        checked(given.again, approval, tool, _arguments(approval), purpose.approval.standing, latest)
    return lambda change: above.guard(change.check(task))


async def _contains(env: Env, call: Call, approval: Approval, force: InForce, given: Given) -> Guard:
    """What leaked is still to be taken out of use: whoever resolves the finding closes this in the same commit."""
    if given.again:
        raise BadField("again", "what cannot be undone is answered each time")
    return lambda change: change


def _arguments(approval: Approval) -> dict[str, Json]:
    found: dict[str, Json] = json_input.parse(approval.shown.arguments.encode(), limit=ARGUMENTS_LIMIT, depth=32)
    return found


async def by_provider(env: Env, call: Call, row: BackchannelRequest, said: ciba.Said) -> Approval:
    """The answer that this person gave in their identity provider's own app: evidence of the grade `provider`.

    `BadToken` when the provider is not written as it was or vouches for somebody else, `Replayed` when the token has
    answered before, and whatever `answer` refuses now. The request is used up in the same commit.
    """
    _, force = await env.in_force()
    provider = force.catalogue.providers.get(row.provider)
    if provider is None or provider.way != row.way:
        raise BadToken("The provider's entry has changed since it was asked.")
    if said.yes:
        name, roles, _ = provider.admits(said.claims, force.catalogue.people)
        if name != row.person or CallerKind.PERSON not in roles:
            raise BadToken("The provider vouches for somebody else.", inside=f"{name} for {row.key}")
        if not await env.store.spend(f"id_token:{said.token}", row.expires_at + KEPT):
            raise Replayed("This ID token has answered before.")
    vouched = Vouched(
        provider.name, provider.issuer, str(said.claims.get("sub", "")), row.request, said.token, code(row.digest)
    )
    person = replace(call, caller=Caller(CallerKind.PERSON, row.person))
    given = Given(row.digest, said.yes, vouched=vouched)
    for _ in range(TRIES):
        try:
            return await answer(env, person, row.approval, given, lambda change: change.put(row.answered(), was=row))
        except Conflict:  # somebody else answered at the same moment, or a decision darkened the task
            continue
    raise Conflict("The approval changed again and again meanwhile.")


async def _asked(env: Env, call: Call, approval_id: str, given: Given) -> tuple[Approval, InForce, Person]:
    if len(given.note) > NOTE_LIMIT:
        raise BadField("note", f"longer than {NOTE_LIMIT} characters")
    _, force = await env.in_force()
    person = force.catalogue.person(call.caller)
    approval = await env.store.get(Approval, approval_id)
    if approval is None or person is None:
        raise Absent(inside=f"approval {approval_id} or person {call.caller.name}")
    if given.digest != approval.digest:
        step = "Read the approval again before you answer."
        raise BadField("digest", "is not of what this approval shows", next_step=step)
    return approval, force, person


def _statement(approval: Approval, person: Person, given: Given) -> webauthn.Statement:
    note, signed = webauthn.note_digest(given.note), given.signed
    return webauthn.answer_statement(
        approval.id, approval.digest, person.name, given.yes, note, given.again, signed.nonce, signed.expires_at
    )


async def _instead(env: Env, force: InForce, approval: Approval, found: Answer) -> Answer:
    """The same answer for somebody who is asked and has this person answer in their place: one step, never two."""
    handed = [one.by for one in approval.handed_on if one.to == found.person]
    away = [row.person for row in await env.store.find(Away, {"stand_in": found.person}) if row.at(found.at)]
    for name in (*handed, *away):
        absent = force.catalogue.people.get(name)
        if absent is not None and not approval.chain.involves(name):
            instead = replace(found, instead_of=absent.name, instead_groups=absent.groups)
            if instead.counts_for(approval.approvers):
                return instead
    return found

"""The JSON shapes of what people are asked, answer and stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from remit.domain.approval import ONCE, Again, Answer, Approval, Away, Came
from remit.domain.backchannel import BackchannelRequest, code
from remit.domain.freeze import Freeze
from remit.domain.passkey import UNSIGNED, Passkey, Signed
from remit.domain.standing_yes import StandingYes
from remit.domain.tool import Effect
from remit.verbs.approve import Given

from .shapes import Strict


class AgainRequest(Strict, frozen=True):
    """The terms of a standing yes: the next `count` like it, until then (ms)."""

    count: int
    until: int
    released: tuple[str, ...] = ()


class SignedRequest(Strict, frozen=True):
    """An assertion: binary values in base64url, and `nonce` and `expires_at` of the challenge."""

    passkey: str
    authenticator_data: str
    client_data: str
    signature: str
    nonce: str
    expires_at: int

    def signed(self) -> Signed:
        """As verbs take it."""
        return Signed(
            self.passkey, self.authenticator_data, self.client_data, self.signature, self.nonce, self.expires_at
        )


class ChallengeRequest(Strict, frozen=True):
    """The answer that a passkey is to sign."""

    digest: str
    yes: bool
    note: str = ""
    again: AgainRequest | None = None

    def given(self, signed: SignedRequest | None = None) -> Given:
        """As the verb takes it."""
        terms = Again(self.again.count, self.again.until, self.again.released) if self.again else ONCE
        return Given(self.digest, self.yes, self.note, terms, signed.signed() if signed is not None else UNSIGNED)


class AnswerRequest(ChallengeRequest, frozen=True):
    """A person's answer to exactly this digest; `signed` is what their passkey says to it."""

    signed: SignedRequest | None = None


class QuestionRequest(Strict, frozen=True):
    """What the person wants to know first."""

    text: str


class HandOnRequest(Strict, frozen=True):
    """Who is to answer in the caller's place."""

    to: str


class AwayRequest(Strict, frozen=True):
    """Who answers what the caller is asked, until then (ms)."""

    to: str
    until: int
    reason: str = ""


class PasskeyRequest(Strict, frozen=True):
    """What the device made (`RegistrationResponseJSON`), and `nonce` and `expires_at` of the invitation."""

    credential: dict[str, Any]
    nonce: str
    expires_at: int
    title: str = ""


class FreezeRequest(Strict, frozen=True):
    """What to freeze, or to let go: `agent`, `purpose`, `tool`, `secret`, `environment` or `owner` with a name, or
    `everything`.
    """

    reach: str
    reason: str
    name: str = ""


def freeze(row: Freeze, tasks: int, credentials: int, now: int) -> dict[str, Any]:
    """A freeze, and what lives below it; `ms` since it began, or until it had reached everything."""
    names = ("name", "since", "reason", "by", "reached_at")
    shown = {"reach": row.reach.value, **{name: getattr(row, name) for name in names}}
    return {**shown, "tasks": tasks, "credentials": credentials, "ms": (row.reached_at or now) - row.since}


def passkey(row: Passkey) -> dict[str, Any]:
    """A passkey: its public half is no secret."""
    return {name: value for name, value in asdict(row).items() if name != "version"}


def away(row: Away) -> dict[str, Any]:
    """Who stands in for whom."""
    return {name: value for name, value in asdict(row).items() if name != "version"}


def standing_yes(row: StandingYes) -> dict[str, Any]:
    """A standing yes: what it covers and what is left of it."""
    names = ("id", "approval", "task", "people", "left", "ended_at", "end_reason")
    shown = {name: getattr(row, name) for name in names}
    terms = {"count": row.terms.count, "until": row.terms.until, "released": list(row.terms.released)}
    return {**shown, **terms, "tool": row.shown.tool, "resource": row.shown.resource, "arguments": row.arguments}


def answered(one: Answer) -> dict[str, Any]:
    """An answer, and what it rests on: `passkey`, which anybody can check; `provider`, which an identity
    provider signed to us; or `key`, which says only who held it.
    """
    shown: dict[str, Any] = {"person": one.person, "yes": one.yes, "at": one.at, "note": one.note}
    grade = "passkey" if one.passkey else "provider" if one.provider else "key"
    evidence = {"evidence": grade, "passkey": one.passkey, "provider": one.provider}
    stood = {"groups": list(one.groups), "instead_of": one.instead_of, "instead_groups": list(one.instead_groups)}
    return {**shown, **evidence, **stood, "again": asdict(one.again) if one.again else None}


def approval(row: Approval) -> dict[str, Any]:
    """An approval, with the digest that an answer must repeat."""
    return {
        "id": row.id,
        "state": row.state.value,
        "task": row.task,
        "agent": row.chain.agents()[-1],
        "initiator": str(row.chain.initiator),
        "chain": list(row.chain.agents()),
        "owner": row.owner,
        "digest": row.digest,
        "code": code(row.digest),
        "shown": asdict(row.shown),
        "needs": [{**asdict(need), "missing": row.missing(need)} for need in row.needs],
        "wants_another": row.wants_another,
        "passkey": row.passkey,
        "approvers": list(row.approvers),
        "asked_at": row.asked_at,
        "expires_at": row.expires_at,
        "escalates_at": row.escalate_at,
        "escalates_to": row.escalation[0] if row.escalate_at else "",
        "escalated_to": list(row.asked),
        "handed_on": [asdict(one) for one in row.handed_on],
        "questions": [asdict(one) for one in row.questions],
        "answers": [answered(one) for one in row.answers],
    }


def backchannel(row: BackchannelRequest) -> dict[str, Any]:
    """Who is asked in their identity provider's own app, and how far that is."""
    names = ("person", "provider", "asked_at", "expires_at", "why")
    return {**{name: getattr(row, name) for name in names}, "state": row.state.value}


def arguments(row: Approval, values: Mapping[str, Any], decisive: tuple[str, ...], reader: str) -> list[dict[str, Any]]:
    """Every argument: its value, whether it decides what happens, and where it came from, in words for this reader."""
    came = {one.argument: one for one in row.shown.origins}
    initiator = row.chain.initiator.name
    return [
        {
            "name": name,
            "value": value,
            "matters": name in decisive or name in came,
            "origin": came[name].origin if name in came else "",
            "sources": list(came[name].sources) if name in came else [],
            "says": says(came[name], initiator, reader) if name in came else "",
        }
        for name, value in values.items()
    ]


def says(came: Came, initiator: str, reader: str) -> str:
    """Where a value came from, for the person who is asked."""
    where = ", ".join(source for source in came.sources if source != "stated")
    match came.origin:
        case "stated":
            return "you said this" if reader == initiator else f"said by {initiator}"
        case "trusted":
            return f"from {where}"
        case "untrusted" if where:
            return f"from {where}, where anybody could have written it"
        case "untrusted":
            return "looks like what was said, and is not"
    return "made up by the agent"


def if_nothing(row: Approval) -> str:
    """What happens when nobody does anything."""
    agent = row.chain.agents()[-1]
    later = f" {row.escalation[0]} is asked too, if it takes long." if row.escalate_at else ""
    return f"Nothing happens: it is denied when its time is over, and {agent} is told so.{later}"


def effect(row: Approval) -> dict[str, Any]:
    """What it does to the world."""
    return {
        "effect": row.shown.effect,
        "reversible": row.shown.effect != Effect.IRREVERSIBLE.word,
        "resource": row.shown.resource,
    }

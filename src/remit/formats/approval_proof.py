"""Who agreed to what, from an exported log and nothing else.

An approval's digest is of its access and round, and the access is in the event that held it. Each answer's event has
what a passkey signed; its public half is in the event that registered it. So whoever has only the log can compute all
of it again. That the log is whole is another question, which `remit log verify` answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from remit.domain.approval import Again
from remit.domain.errors import ProofInvalid, Refusal
from remit.domain.passkey import Signed

from . import webauthn
from .jcs import digest

ROUNDS = 1000
_TYPES = ("PasskeyRegistered", "PasskeyRemoved", "AccessDecided", "ApprovalAnswered")


@dataclass(frozen=True, slots=True)
class ProvedAnswer:
    """One answer; `passkey` is the credential whose signature was verified, or empty: only the event says so.

    `provider` is the issuer that vouched for it to whoever wrote the event.
    """

    person: str
    yes: bool
    at: int
    passkey: str
    instead_of: str = ""
    provider: str = ""


@dataclass(frozen=True, slots=True)
class ProvedApproval:
    """What the log proves of one approval. `used_at` 0: never used."""

    approval: str
    digest: str
    access: str
    tool: str
    task: str
    answers: tuple[ProvedAnswer, ...]
    used_at: int

    @property
    def signed(self) -> bool:
        """Whether every yes was signed by a passkey."""
        return all(answer.passkey for answer in self.answers if answer.yes)


def prove(lines: Iterable[bytes], approval: str) -> ProvedApproval:
    """Prove it, or raise `ProofInvalid` that says what does not hold."""
    keys: dict[str, Mapping[str, Any]] = {}
    removed: set[str] = set()
    asked: Mapping[str, Any] | None = None
    found = ""
    answers: list[ProvedAnswer] = []
    used_at = 0
    for event in _events(lines):
        data = event["data"]
        match event["type"]:
            case "PasskeyRegistered":
                keys[data["passkey"]] = data
            case "PasskeyRemoved":
                removed.add(data["passkey"])
            case "AccessDecided" if data["approval"] == approval and data["decision"] == "hold":
                asked = asked or data
            case "AccessDecided" if data["approval"] == approval and data["decision"] == "permit":
                if used_at:
                    raise ProofInvalid(f"{approval} was used twice")
                if asked is None or data["access"] != asked["access"]:
                    raise ProofInvalid(f"{approval} was used for something else than what was asked")
                used_at = event["at"]
            case "ApprovalAnswered" if data["approval"] == approval:
                if used_at:
                    raise ProofInvalid(f"{approval} was answered after it was used")
                found = _bound(approval, asked, data, found)
                answers.append(_answer(event, keys, removed))
    if asked is None:
        raise ProofInvalid(f"nothing in this log was held for {approval}")
    if used_at and not any(answer.yes for answer in answers):
        raise ProofInvalid(f"{approval} was used, and nobody said yes")
    return ProvedApproval(approval, found, asked["access"], asked["tool"], asked["task"], tuple(answers), used_at)


def _events(lines: Iterable[bytes]) -> Iterable[Mapping[str, Any]]:
    for line in lines:
        if not any(f'"{name}"'.encode() in line for name in _TYPES):
            continue
        try:
            event = json.loads(line)
            if event["type"] in _TYPES:
                yield event
        except (ValueError, KeyError, TypeError) as bad:
            raise ProofInvalid("a line of this log is not an event") from bad


def _bound(approval: str, asked: Mapping[str, Any] | None, data: Mapping[str, Any], before: str) -> str:
    """The digest that was answered is of the access that was held, and the approval's id is of that digest."""
    said = str(data["digest"])
    if asked is None:
        raise ProofInvalid(f"{approval} was answered before anything was held for it")
    if before not in ("", said) or approval != "apv_" + said.removeprefix("sha256:")[:32]:
        raise ProofInvalid(f"an answer to {approval} is to another digest")
    if said not in (digest([asked["access"], round_]) for round_ in range(ROUNDS)):
        raise ProofInvalid(f"what was answered as {approval} is not the access that was held")
    return said


def _answer(event: Mapping[str, Any], keys: Mapping[str, Mapping[str, Any]], removed: set[str]) -> ProvedAnswer:
    data = event["data"]
    signed = Signed(**data.get("signed", {}))
    person = str(data["person"])
    if not signed:
        by = str(data.get("vouched", {}).get("issuer", ""))
        return ProvedAnswer(person, data["yes"], event["at"], "", data.get("instead_of", ""), by)
    key = keys.get(signed.passkey)
    if key is None or key["person"] != person:
        raise ProofInvalid(f"{person}'s answer is signed by a passkey that this log does not say is theirs")
    if signed.passkey in removed:
        raise ProofInvalid(f"{person}'s answer is signed by a passkey that had been removed")
    if event["at"] >= signed.expires_at:
        raise ProofInvalid(f"{person}'s answer is signed over a challenge that was over")
    terms = data["again"]
    again = Again(terms["count"], terms["until"], tuple(terms["released"]))
    statement = webauthn.answer_statement(
        data["approval"], data["digest"], person, data["yes"], data["note"], again, signed.nonce, signed.expires_at
    )
    party = webauthn.RelyingParty(key["rp_id"], key["origin"])
    try:
        webauthn.signed_by(party, statement, signed, key["public_key"], 0)
    except Refusal as bad:
        raise ProofInvalid(f"{person}'s passkey did not sign this answer: {bad.inside}") from bad
    return ProvedAnswer(person, data["yes"], event["at"], signed.passkey, data.get("instead_of", ""))

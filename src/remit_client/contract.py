"""What every adapter speaks: a call, and the three answers there are to it.

`Permit` lets it happen once; `Pending` waits for people; everything else, an error included, is `Deny`. The texts are
for models: what happened, and what to ask for of whom; never which policy said so.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from enum import Enum
from hashlib import sha256
from pathlib import PurePath
from typing import Any, TypeAlias
from uuid import UUID

from .answers import Permit
from .errors import Denied, Held, RemitError

DEADLINE = 2.0
NOTHING_DONE = "Nothing was done."


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One attempted call. `id` is the framework's for it; empty means that no retry of it can be recognised."""

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    id: str = ""
    pin: str = ""

    def key(self, task: str, tool: str) -> str:
        """The same for a retry, another when an argument changed; `tool` is the catalogue's name of it.

        Raises `TypeError` or `ValueError` for what is no JSON.
        """
        said = json.dumps([task, self.id, tool, self.pin, plain(self.arguments)], sort_keys=True, allow_nan=False)
        return sha256(said.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Deny:
    """It must not happen: why, stable codes, and what to do about it. `text` may be shown to the model."""

    why: str
    reasons: tuple[str, ...] = ()
    next_step: str = ""

    @property
    def text(self) -> str:
        """For a model."""
        return " ".join(part for part in ("Denied:", self.why, self.next_step, NOTHING_DONE) if part)

    def error(self) -> Denied:
        """The same as an exception."""
        return Denied(self.why, reasons=self.reasons, next_step=f"{self.next_step} {NOTHING_DONE}".strip())


@dataclass(frozen=True, slots=True)
class Pending:
    """It waits for people: `approval` is what they answer, `url` where. Deciding the same call again resumes."""

    approval: str
    url: str
    approvers: tuple[str, ...]
    why: str = ""

    @property
    def text(self) -> str:
        """For a model."""
        who = ", ".join(self.approvers)
        return (
            f"Held: {self.why} {who} must agree first, at {self.url} {NOTHING_DONE} "
            "When they have agreed, call again with exactly the same arguments."
        )

    def told(self) -> dict[str, Any]:
        """For an application's own screen."""
        return {"approval": self.approval, "url": self.url, "approvers": list(self.approvers), "message": self.text}

    def error(self) -> Held:
        """The same as an exception."""
        return Held(self.why, approval=self.approval, url=self.url, approvers=self.approvers)


Verdict: TypeAlias = Permit | Deny | Pending


def refusal(error: BaseException, seconds: float) -> Deny | Pending:
    """Whatever was raised while asking, as an answer. What is not understood is a no that tells nothing of itself."""
    if isinstance(error, Held):
        return Pending(error.approval, error.url, error.approvers, error.message)
    if isinstance(error, Denied):
        return Deny(error.message, error.reasons, error.next_step)
    if isinstance(error, TimeoutError):
        said = f"Remit gave no answer within {seconds:g} s, and no answer means no."
        return Deny(said, ("unreachable",), "Trying again later may help.")
    if isinstance(error, TypeError | ValueError | RecursionError):
        return Deny("The arguments are not plain JSON.", ("bad_arguments",))
    reason = error.code or "unreachable" if isinstance(error, RemitError) else "unreachable"
    return Deny("Remit gave no usable answer, and no answer means no.", (reason,))


def withheld(tool: str) -> str:
    """What takes the place of a result that Remit did not accept: it could not say what reading it means."""
    return (
        f"{tool} ran, but its result could not be reported to Remit, so it is withheld. "
        "Do not call it again for the same thing; tell the person who runs you."
    )


def plain(value: Any) -> Any:
    """A value as JSON says it; `TypeError` for what has no obvious form: nothing is decided on a guess."""
    match value:
        case Enum():
            return plain(value.value)
        case None | bool() | int() | float() | str():
            return value
        case Decimal() | UUID() | PurePath():
            return str(value)
        case date() | time():
            return value.isoformat()
        case Mapping():
            if not all(isinstance(name, str) for name in value):
                raise TypeError("a mapping whose names are not all text")
            return {name: plain(item) for name, item in value.items()}
        case bytes() | bytearray() | memoryview():
            raise TypeError("bytes are not JSON")
        case Sequence() | set() | frozenset():
            return [plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    dump = getattr(value, "model_dump", None)  # pydantic, which every framework here brings along
    if callable(dump) and not isinstance(value, type):
        return plain(dump(mode="json"))
    raise TypeError(f"{type(value).__name__} is not JSON")

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

from .errors import Denied, Held, RemitError
from .protocol import Permit

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
    """It must not happen. `text` may be shown to the model; `reasons` are stable codes."""

    text: str
    reasons: tuple[str, ...] = ()

    def error(self) -> Denied:
        """The same as an exception."""
        return Denied(self.text, reasons=self.reasons)


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
        return Deny(f"Denied: {error.message} {error.next_step} {NOTHING_DONE}".replace("  ", " "), error.reasons)
    if isinstance(error, TimeoutError):
        said = f"Remit gave no answer within {seconds:g} s, and no answer means no."
        return Deny(f"Denied: {said} {NOTHING_DONE} Trying again later may help.", ("unreachable",))
    if isinstance(error, TypeError | ValueError | RecursionError):
        return Deny(f"Denied: the arguments are not plain JSON. {NOTHING_DONE}", ("bad_arguments",))
    reason = error.code or "unreachable" if isinstance(error, RemitError) else "unreachable"
    return Deny(f"Denied: Remit gave no usable answer, and no answer means no. {NOTHING_DONE}", (reason,))


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

"""Requests and answers as values, and how an answer is read: bounded, on time, of the expected shape, or not at all."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .errors import RemitError, Unreachable, of_problem

T = TypeVar("T")
ANSWER_LIMIT = 4 * 1024 * 1024
CONNECT = 2.0


@dataclass(frozen=True, slots=True)
class Send:
    """One request to make. `patience` is how many seconds its whole answer may take. `or_else`: when nobody is there
    to receive it, that is an answer too, of status 0, for there is somebody else to ask.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    patience: float = 5.0
    or_else: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a status and a JSON value."""

    status: int
    body: Any = field(repr=False)


NOBODY = Answer(0, None)
Talk = Generator[Send, Answer, T]


class Reading:
    """The bytes of one answer as they come; too many of them, too late, or no JSON raises `ValueError`."""

    def __init__(self, patience: float) -> None:
        self._deadline = time.monotonic() + CONNECT + patience
        self._got = bytearray()

    def add(self, chunk: bytes) -> None:
        """Some more."""
        self._got += chunk
        if len(self._got) > ANSWER_LIMIT:
            raise ValueError(f"more than {ANSWER_LIMIT} bytes")
        if time.monotonic() > self._deadline:
            raise ValueError("too slow")

    def answer(self, status: int) -> Answer:
        """All of it; an error's text need not be JSON, a success's must."""
        try:
            return Answer(status, json.loads(self._got) if self._got else None)
        except (ValueError, RecursionError) as bad:
            if status >= 300:
                return Answer(status, None)
            raise ValueError("not JSON") from bad


def checked(send: Send) -> Talk[Any]:
    """Send, and turn anything but success into an exception."""
    return accepted((yield send))


def accepted(answer: Answer) -> Any:
    """The body of a success; anything else raises."""
    if 200 <= answer.status < 300:
        return answer.body
    raise of_problem(answer.status, answer.body if isinstance(answer.body, Mapping) else {})


def member(body: Any, name: str, kind: type[T]) -> T:
    """`body[name]`, if it is there and a `kind`. An answer that cannot be understood is no answer."""
    value = body.get(name) if isinstance(body, Mapping) else None
    if not isinstance(value, kind):
        raise Unreachable(
            f"Remit's answer has no usable {name!r}, so the answer is no.",
            next_step="Is REMIT_URL a Remit server, of this client's version?",
        )
    return value


def texts(body: Any, name: str) -> tuple[str, ...]:
    """`body[name]` as a list of texts."""
    return tuple(str(value) for value in member(body, name, list))


def unreachable(url: str, failure: Exception) -> RemitError:
    """No answer means no."""
    why = type(failure).__name__ if type(failure) is not ValueError else str(failure)
    return Unreachable(
        f"Remit at {url} did not answer ({why}), so the answer is no.",
        next_step="Is it running, and is REMIT_URL right?",
    )

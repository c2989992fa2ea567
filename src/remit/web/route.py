"""One route: how it is reached, and who may call it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.responses import Response

from remit.domain.caller import Call, CallerKind

from .house import Asked, House

Handler = Callable[[House, Call, Asked], Awaitable[Response]]
KIB = 1024

ANYONE = frozenset({CallerKind.ANYONE})
AGENT = frozenset({CallerKind.AGENT})
ENFORCER = frozenset({CallerKind.ENFORCER})
EDGE = frozenset({CallerKind.EDGE})
PERSON = frozenset({CallerKind.PERSON})
OPERATOR = frozenset({CallerKind.OPERATOR})
RECEIVER = frozenset({CallerKind.RECEIVER})
SCANNER = frozenset({CallerKind.SCANNER})
DIRECTORY = frozenset({CallerKind.DIRECTORY})
READERS = frozenset({CallerKind.OPERATOR, CallerKind.AUDITOR})


@dataclass(frozen=True)
class Route:
    """`callers` holding ANYONE means unauthenticated; `limit` is the largest body in bytes (0: none is read).

    `hook`: a task's hook key, a bearer key, speaks for its agent here and nowhere else. `browser`: so does a person's
    session cookie; what it changes, a page of ours must have asked for.
    """

    method: str
    path: str
    callers: frozenset[CallerKind]
    handler: Handler
    body: type | None = None
    form: tuple[str, ...] = ()
    raw: bool = False
    query: tuple[str, ...] = ()
    limit: int = 0
    creates: bool = False
    also: tuple[int, ...] = ()
    hook: bool = False
    browser: bool = False

    def __post_init__(self) -> None:
        if not self.callers:
            raise ValueError(f"{self.method} {self.path} says nobody may call it; a route needs its callers")

    @property
    def takes_body(self) -> bool:
        """Whether a body is read at all."""
        return self.body is not None or bool(self.form) or self.raw

    @property
    def largest(self) -> int:
        """The largest body, in bytes."""
        return (self.limit or 64 * KIB) if self.takes_body else 0

    @property
    def statuses(self) -> tuple[int, ...]:
        """Everything it can answer."""
        done = 201 if self.creates else 204 if self.method == "PUT" else 200
        return (done, 400, 401, 403, 404, 409, 413, 429, 503, *self.also)

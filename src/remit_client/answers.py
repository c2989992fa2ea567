"""What a task is answered with: a permit, or a credential's parts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Permit:
    """The call may happen, once, now. `why` are sentences; `approval` is the one this call waited for, or empty."""

    why: tuple[str, ...]
    approval: str = ""


class Secret(dict[str, str]):
    """A credential's named parts; use as `connect(**secret)`. Its repr shows names only.

    `kind` is its issuer's (`postgres`, `aws`, …); `expires_at` is in ms since 1970; `lasts` is how many seconds it had
    when it was issued, by the server's clock.
    """

    kind: str = ""
    expires_at: int = 0
    lasts: float = 0.0

    def __repr__(self) -> str:
        return f"<credential: {', '.join(self)}>"

    __str__ = __repr__

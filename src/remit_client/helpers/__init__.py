"""Credential helpers: one module per protocol, standard library only, because some run on every command.

Each has one pure function from what was asked and what Remit answered to what is printed. An answer is what the
socket said: `name`, `kind`, `parts`, `expires_at` (ms) and `at`, the one place it is for (or empty).
"""

from __future__ import annotations

from typing import Any

Answer = dict[str, Any]


class Unfit(ValueError):
    """This credential cannot be given in this protocol; says why, never what is in it."""


def part(answer: Answer, *names: str) -> str:
    """The first of these parts that there is; none is `Unfit`."""
    for name in names:
        value = answer["parts"].get(name, "")
        if value:
            return str(value)
    raise Unfit(f"{answer['name']} has no {' or '.join(names)}.")


def rfc3339(ms: int) -> str:
    """RFC 3339 in UTC, whole seconds, never later than it is."""
    from time import gmtime, strftime

    return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(ms // 1000))

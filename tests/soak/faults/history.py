"""What everybody who used Remit wrote down: what was sent when, what was answered when, and what the answer was.

Times are ns of the host's CLOCK_MONOTONIC, which no namespace and no libfaketime changes: one clock for everybody.
`answered` 0 means that no usable answer came: it may have happened or not.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Op:
    """One request. `kind`: open, call, end, freeze, unfreeze, apply, answer, credential, checkpoint. `door`: who was
    asked. `said`: the answer in a word. `at` is the asker's own wall clock in ms, which nothing skews.
    """

    kind: str
    who: str
    door: str
    sent: int
    answered: int
    said: str
    task: str = ""
    trace: str = ""
    at: int = 0
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def acknowledged(self) -> bool:
        return self.answered > 0


class Writer:
    """Appends to one file, a line each, at once."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)
        self.count = 0

    def write(self, op: Op) -> None:
        """Keep it."""
        self.count += 1
        self._file.write(json.dumps(asdict(op), separators=(",", ":")) + "\n")


def read(path: Path) -> Iterator[Op]:
    """Everything that was written; a last line that was cut short is nobody's."""
    for line in path.read_text().splitlines():
        try:
            yield Op(**json.loads(line))
        except ValueError:
            continue


def now() -> int:
    """The one clock, in ns."""
    return time.monotonic_ns()

"""Where the log goes: sinks that are given every event, in order, and witnesses that cosign what it comes to.

    sink:  RUNNING ◄──► PAUSED    nothing is sent, and nothing is lost

A sink has had every event below its mark's position. Marks are kept beside the rows, without events of their own: an
event that says that events were delivered would have to be delivered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

LONGEST_WAIT = 60_000  # ms between tries, unless a sink itself asks for more
LONGEST_ASKED = 3_600_000  # ms


class SinkKind(Enum):
    """How it is given events."""

    FILE = "file"
    HTTP = "http"
    SYSLOG = "syslog"
    OTLP = "otlp"


class Form(Enum):
    """What one record is: an OCSF event, or the event as the log has it with its place."""

    OCSF = "ocsf"
    REMIT = "remit"


@dataclass(frozen=True, slots=True)
class Sink:
    """A system that is given the log. Reviewed, in the catalogue.

    `url` is where, of every kind but FILE; `secret` names the sealed secret, or `variable` the environment variable,
    that is shown there as `scheme`. `authority` is the PEM of who is believed there instead of the public authorities.
    `batch` is the most events at once; a file of `rotate` bytes is followed by another, and `keep` of them are kept
    (0: all). `late`: it begins at the end of the log.
    """

    name: str
    kind: SinkKind
    form: Form = Form.OCSF
    url: str = ""
    secret: str = ""
    variable: str = ""
    scheme: str = "Bearer"
    authority: str = ""
    allow_private_network: bool = False
    batch: int = 256
    rotate: int = 0
    keep: int = 0
    late: bool = False

    @property
    def mark(self) -> str:
        return f"out:{self.name}"


@dataclass(frozen=True, slots=True)
class Witness:
    """Who cosigns checkpoints at `url` (C2SP tlog-witness) with the key that `key` is the text of."""

    name: str
    url: str
    key: str
    authority: str = ""
    allow_private_network: bool = False

    @property
    def mark(self) -> str:
        return f"witness:{self.name}"


class OutState(Enum):
    """Only RUNNING sends."""

    RUNNING = "running"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Out:
    """Row: what people want of a sink, keyed by its name. `turn` counts how often it was rewound, last to `place`."""

    name: str
    state: OutState = OutState.RUNNING
    place: int = 0
    turn: int = 0
    reason: str = ""
    version: int = 0

    @property
    def key(self) -> str:
        return self.name

    def rewound(self, place: int) -> Out:
        """Everything from this place on is sent, again if need be."""
        return replace(self, place=place, turn=self.turn + 1)


@dataclass(frozen=True, slots=True)
class Mark:
    """How far somebody outside has come who follows the log: `position` is the first place that was not acknowledged.

    `holder` is one more for each process that took it over; every write is compare-and-swap on `version`, so whoever
    was overtaken writes nothing more. `turn` is the row's that it follows. `failing` is since when nothing is taken,
    after `attempts`; `due` when the next is made; `refused` since when a witness says that the log is not the one it
    knows. `notes` are checkpoints with their cosignatures. In ms.
    """

    name: str
    position: int = 0
    turn: int = 0
    holder: int = 0
    moved_at: int = 0
    attempts: int = 0
    failing: int = 0
    due: int = 0
    error: str = ""
    refused: int = 0
    notes: tuple[str, ...] = ()
    version: int = 0

    def reached(self, position: int, now: int) -> Mark:
        """Everything below was acknowledged."""
        return replace(self, position=position, moved_at=now, attempts=0, failing=0, due=0, error="", refused=0)

    def failed(self, now: int, error: str, wait: int = 0) -> Mark:
        """It was not: again after 1, 2, 4 … 60 s, or after `wait` where that was asked for; and never given up."""
        delay = max(min(LONGEST_WAIT, 1_000 << min(self.attempts, 6)), min(wait, LONGEST_ASKED))
        failing = self.failing or now
        return replace(self, attempts=self.attempts + 1, failing=failing, due=now + delay, error=error[:200])

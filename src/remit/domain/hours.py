"""When a purpose may run: windows of a week, by the clocks of one place.

A clock that is put forward skips times, and one that is put back shows some twice. Then a window opens at the later and
closes at the earlier of the two instants that could be meant: never longer than written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MINUTES = 24 * 60
_DAY = "|".join(DAYS)
_WINDOW = re.compile(rf"(?:(?P<first>{_DAY})(?:-(?P<last>{_DAY}))? )?(?P<start>\d\d:\d\d)-(?P<end>\d\d:\d\d)", re.ASCII)
_LOOKED = 15  # days: a week, and what a change of clocks moves


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` to `end`, in minutes of the day, on these days (Monday is 0); an end before the start is of the day
    after.
    """

    days: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Hours:
    """`text` is as it was written, such as `Mon-Fri 08:00-18:00 Europe/Berlin`. No windows: at any time."""

    windows: tuple[Window, ...] = ()
    zone: str = "UTC"
    text: str = ""

    @classmethod
    def parse(cls, text: str) -> Hours:
        """Windows with `, ` between, then an IANA time zone; raises `ValueError` with what is wrong."""
        listed, _, zone = text.rpartition(" ")
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as unknown:
            raise ValueError(
                f"there is no time zone {zone!r}; it stands last, such as Europe/Berlin or UTC"
            ) from unknown
        windows = tuple(_window(part) for part in listed.split(", "))
        if len(windows) > 64:
            raise ValueError("more than 64 windows")
        return cls(windows, zone, text)

    def closes(self, now: int) -> int:
        """When the window ends that is open now (ms); 0 when none is. Windows that meet are one. Needs windows."""
        until = now
        while (end := max((e for s, e in self._around(until) if s <= until < e), default=0)) > until:
            until = end
            if until - now > 8 * 86_400_000:
                break
        return until if until > now else 0

    def opens(self, now: int) -> int:
        """When the next window begins (ms). Needs windows."""
        return min(start for start, end in self._around(now) if now < start < end)

    def when(self, instant: int) -> str:
        """`Mon 2027-01-18 08:00`, by the clocks there."""
        at = datetime.fromtimestamp(instant / 1000, ZoneInfo(self.zone))
        return f"{DAYS[at.weekday()]} {at:%Y-%m-%d %H:%M}"

    def _around(self, now: int) -> Iterator[tuple[int, int]]:
        """Every window that could be open or be the next to open, as instants in ms."""
        zone = ZoneInfo(self.zone)
        today = datetime.fromtimestamp(now / 1000, zone).date()
        for offset in range(-2, _LOOKED):
            day = today + timedelta(days=offset)
            for window in self.windows:
                if day.weekday() in window.days:
                    ends = window.end if window.end > window.start else window.end + _MINUTES
                    yield max(_instants(day, window.start, zone)), min(_instants(day, ends, zone))


ALWAYS = Hours()


def _window(text: str) -> Window:
    match = _WINDOW.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a window such as 'Mon-Fri 08:00-18:00' or '22:00-06:00'")
    start, end = _minutes(match["start"]), _minutes(match["end"])
    if start in (_MINUTES, end):
        raise ValueError(f"{text!r} has no length")
    first = DAYS.index(match["first"]) if match["first"] else 0
    last = DAYS.index(match["last"]) if match["last"] else first if match["first"] else 6
    days = tuple((first + step) % 7 for step in range((last - first) % 7 + 1))
    return Window(days, start, end)


def _minutes(text: str) -> int:
    hours, minutes = int(text[:2]), int(text[3:])
    if minutes > 59 or hours * 60 + minutes > _MINUTES:
        raise ValueError(f"{text} is no time of a day")
    return hours * 60 + minutes


def _instants(day: date, minutes: int, zone: ZoneInfo) -> tuple[int, int]:
    """Both that could be meant; mostly they are the same."""
    at = datetime.combine(day + timedelta(days=minutes // _MINUTES), time()) + timedelta(minutes=minutes % _MINUTES)
    first, second = (at.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
    return round(first * 1000), round(second * 1000)

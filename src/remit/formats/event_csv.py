"""Events of the log as comma-separated values (RFC 4180), for spreadsheets.

A cell that a spreadsheet would take for a formula gets an apostrophe in front: names of tools and goals are other
people's words.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime

NAMES = ("index", "time", "type", "by", "task", "agent", "decision", "reasons", "data")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def header() -> str:
    """The first line."""
    return _line(NAMES)


def line(index: int, leaf: bytes) -> str:
    """One event; what has no column of its own is in `data`, as JSON."""
    entry = json.loads(leaf)
    data = entry["data"]
    at = datetime.fromtimestamp(entry["at"] / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    named = [str(data.get(name, "")) for name in ("task", "agent", "decision")]
    reasons = " ".join(map(str, data.get("reasons", ())))
    return _line((str(index), at, entry["type"], entry["by"], *named, reasons, json.dumps(data, ensure_ascii=False)))


def _line(cells: Sequence[str]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells])
    return out.getvalue()

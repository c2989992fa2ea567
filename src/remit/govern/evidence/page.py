"""A report as one HTML file, to read and to print: no script runs in it, and the report with its proof is inside.

The page is a pure function of the report, so whoever verifies one draws it again and compares every byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any

import jinja2

from remit.domain.errors import ProofInvalid
from remit.govern.told import told

from .report import COVERED, NOT, OFF, PARTLY, STATUSES
from .verify import LIMIT, Verified

_INSIDE = re.compile(rb'<script type="application/json" id="evidence">(.*?)</script>', re.DOTALL)
_CLASS = {COVERED: "covered", PARTLY: "partly", OFF: "off", NOT: "not"}
_STATE = {"in force": "covered", "partly in force": "partly", "off": "off"}


def render(found: Mapping[str, Any]) -> str:
    """The page of a report with its proof."""
    inside = json.dumps(found, ensure_ascii=False, sort_keys=True).replace("<", "\\u003c")
    found = json.loads(inside)  # in the order that whoever verifies it has
    report = found["report"]
    events = {place: json.loads(event) for place, event in report["events"].items()}
    return _template().render(
        report=report,
        proof=found["proof"],
        events=events,
        inside=inside,
        statuses=STATUSES,
        classes=_CLASS,
        states=_STATE,
        told=told,
        at=_at,
        day=lambda instant: _at(instant)[:10],
    )


def opened(data: bytes) -> tuple[bytes, bytes]:
    """The JSON of a report, and the page around it if it is a page."""
    if data.lstrip()[:1] != b"<":
        return data, b""
    found = _INSIDE.search(data) if len(data) <= 2 * LIMIT else None
    if found is None:
        raise ProofInvalid("this page has no report in it")
    return found[1], data


def matches(page: bytes, found: Verified, data: bytes) -> bool:
    """Whether it could be checked that the page says what its report says: only the release that drew it can.

    Raises `ProofInvalid` when it says anything else.
    """
    if not found.same_release:
        return False
    if render(json.loads(data)).encode() != page:
        raise ProofInvalid("the page does not say what the report in it says")
    return True


def _at(instant: int) -> str:
    return datetime.fromtimestamp(instant / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if instant else "never"


def _plain(text: object) -> str:
    """What cannot be seen is spelled out: a name with an invisible letter in it is not what it looks like."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["plain"] = _plain
    return environment.from_string(
        resources.files("remit.govern.evidence").joinpath("report.html").read_text(encoding="utf-8")
    )

"""Rich authorization requests (RFC 9396): `authorization_details` whose type is a purpose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from remit.domain.errors import BadField

from . import json_input

LIMIT = 32_768


class TaskDetails(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One object of `authorization_details`: either a proposal (`goal`, `parameters`) or an open `task` to continue."""

    type: str
    goal: str = ""
    parameters: dict[str, Any] = {}
    duration_ms: int = 0
    max_calls: int = 0
    task: str = ""


@dataclass(frozen=True)
class Details:
    """What was asked, and the object as it was written."""

    asked: TaskDetails
    written: Mapping[str, Any] = field(default_factory=dict)


def parse(text: str) -> Details:
    """Parse exactly one object (RFC 9396 section 2); errors name `authorization_details[0].…`."""
    value = json_input.parse(text.encode(), limit=LIMIT, depth=8)
    if not isinstance(value, list) or len(value) != 1 or not isinstance(value[0], dict):
        raise BadField("authorization_details", "must be a list of exactly one object")
    try:
        asked = json_input.typed(value[0], TaskDetails)
    except BadField as bad:
        raise BadField(f"authorization_details[0].{bad.field}", bad.problem) from bad
    if bool(asked.goal) == bool(asked.task):
        raise BadField("authorization_details[0]", "needs either a goal (a new task) or a task (an open one)")
    return Details(asked, value[0])

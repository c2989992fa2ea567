"""The frameworks, as data: their controls, which mechanisms enforce each, and why none does where that is so."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from .mechanism import Mechanism
from .of_access import MECHANISMS as ACCESS
from .of_access import serving
from .of_credentials import MECHANISMS as CREDENTIALS
from .of_identity import MECHANISMS as IDENTITY
from .of_record import MECHANISMS as RECORD

NAMES = ("csf", "ai-rmf", "asi", "nhi", "maestro")
MECHANISMS = {one.id: one for one in (*ACCESS, *IDENTITY, *CREDENTIALS, *RECORD)}


@dataclass(frozen=True, slots=True)
class Control:
    """`by` enforce it; `remains` of it is enforced by none of them; `why_not`, where there are none."""

    id: str
    title: str
    by: tuple[Mechanism, ...] = ()
    remains: str = ""
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Framework:
    """`source` is where identifiers and titles are from; `scope` what they are judged for here."""

    id: str
    name: str
    source: str
    scope: str
    controls: tuple[Control, ...]


@cache
def framework(name: str) -> Framework:
    """One of `NAMES`."""
    text = resources.files("remit.govern.evidence").joinpath("frameworks", f"{name}.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    controls = tuple(
        Control(
            one["id"],
            one["title"],
            tuple(serving(one["id"]) if by == "policies" else MECHANISMS[by] for by in one.get("by", ())),
            one.get("remains", ""),
            one.get("why_not", ""),
        )
        for one in data["controls"]
    )
    return Framework(name, data["name"], data["source"], data["scope"], controls)

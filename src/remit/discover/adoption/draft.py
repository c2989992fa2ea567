"""A draft of catalogue entries, and the files it is written as."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from remit.domain.discovery import Place, Proposal
from remit.formats.toml_text import comment, pairs

LONGEST = 40
MOST = 200  # tools, of one thing
SEALED = "sealed"  # the issuer of what had been written out


class Refused(Exception):
    """It cannot be adopted, and why."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What whoever adopts has said; everything else is read, or left out.

    `only`: the catalogue's tools that were seen in use; None: nobody looked. `audience` is the server's URL, `gateway`
    that of the gateway whose token tasks are given.
    """

    name: str = ""
    only: frozenset[str] | None = None
    repository: str = ""
    repository_id: str = ""
    audience: str = ""
    gateway: str = ""


@dataclass(frozen=True, slots=True)
class Credential:
    """A sealed secret that tasks are given, in place of one that stood in a file. `reveal`: to the agent itself."""

    name: str
    secret: str
    reveal: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """An agent, its purpose and its tools. `tables` go into `remit.toml`; `open` is what somebody must still say, and
    until then the catalogue is refused; `left` is what was not carried over, and why; `steps` are what to do next.
    """

    name: str
    title: str
    place: Place
    attestation: Mapping[str, Any]
    tools: Mapping[str, str] = field(default_factory=dict)
    grants: tuple[str, ...] = ()
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    credentials: tuple[Credential, ...] = ()
    audience: str = ""
    max_sensitivity: str = "internal"
    open: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()


def slug(name: str, fallback: str, taken: Collection[str] = ()) -> str:
    """A plain name for what strangers named: `a-z`, `0-9` and single `-`. Two names never become one."""
    ascii_ = unicodedata.normalize("NFKD", name[:1000]).encode("ascii", "ignore").decode().lower()
    plain = re.sub(r"[^a-z0-9]+", "-", ascii_).strip("-")[:LONGEST].strip("-") or fallback
    if plain in taken:
        plain = f"{plain}-{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}"
    return plain


def written(draft: Draft, owner: str, proposals: Sequence[Proposal]) -> dict[str, str]:
    """The files, by their path in the catalogue. Without an owner it is no catalogue yet, and `remit plan` says so."""
    head = comment(f"Adopted from {draft.place}. Judge it, then remove this line.")
    who = pairs({"owner": owner}) if owner else _nobody(draft.name, proposals)
    agent = head + who + pairs({"title": draft.title}) + "".join(map(comment, draft.open))
    agent += "[[attestations]]\n" + _nested("attestations", draft.attestation)
    files = {f"agents/{draft.name}.toml": agent, f"purposes/{draft.name}.toml": head + who + _purpose(draft)}
    return {**files, **{f"tools/{name}.toml": text for name, text in draft.tools.items()}}


def _nobody(name: str, proposals: Sequence[Proposal]) -> str:
    lines = [comment(f"Nobody answers for it yet: remit owner confirm {name} --owner NAME")]
    return "".join(lines + [comment(f"  {p.who}, by {p.source}, {p.place}") for p in proposals[:3]])


def _purpose(draft: Draft) -> str:
    text = pairs({"title": draft.title, "agents": [draft.name]})
    text += comment("Watched first: what policies hold or forbid is recorded, and happens. `remit agent show` tells.")
    text += pairs(
        {"profile": "watch", "max_duration": "1h", "max_calls": 200, "max_sensitivity": draft.max_sensitivity}
    )
    text += "".join(f"[[grants]]\n{pairs({'tool': tool})}" for tool in draft.grants)
    for one in draft.credentials:
        shown = {"reveal": True} if one.reveal else {}
        entry = {"name": one.name, "issuer": SEALED, "ttl": "1h", **shown, "grants": {"secret": one.secret}}
        text += "[[credentials]]\n" + pairs(entry)
    if draft.audience:
        entry = {"name": "gateway", "issuer": "tokens", "ttl": "10m", "grants": {"audience": draft.audience}}
        text += "[[credentials]]\n" + pairs(entry)
    return text


def _nested(path: str, table: Mapping[str, Any]) -> str:
    flat = {name: one for name, one in table.items() if not isinstance(one, Mapping)}
    deep = {name: one for name, one in table.items() if isinstance(one, Mapping)}
    return pairs(flat) + "".join(f"[{path}.{name}]\n{pairs(one)}" for name, one in deep.items())

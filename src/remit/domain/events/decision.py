"""What was permitted, held or denied."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AccessDecided:
    """An attempted call was permitted, held or denied.

    Before it the task had made `calls` calls, and had been permitted this tool `repeats` times. `resource` is a keyed
    digest of what the call is about (`formats.log_words`), where policies were asked; an edge says none.
    """

    task: str
    agent: str
    tool: str
    access: str
    decision: str
    reasons: tuple[str, ...]
    policies: tuple[str, ...]
    controls: tuple[str, ...]
    approval: str
    catalogue: str
    trust: str
    sensitivity: str
    origin: str
    carries: str
    chain: tuple[str, ...] = ()
    calls: int = 0
    repeats: int = 0
    purpose: str = ""
    resource: str = ""


@dataclass(frozen=True, slots=True)
class IssueDenied:
    """A credential was asked for and refused."""

    task: str
    agent: str
    credential: str
    reasons: tuple[str, ...]
    policies: tuple[str, ...]

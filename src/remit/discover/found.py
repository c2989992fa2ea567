"""What one reader found in one file. A secret goes in here and only its fingerprint comes out."""

from __future__ import annotations

from dataclasses import dataclass, field

from remit.domain.discovery import Flaw, Place, Severity, Thing

from .files import File
from .rules import RULES
from .values import Fingerprints


@dataclass
class Found:
    """`fingerprints` is set once for a scan, before any reader runs."""

    things: list[Thing] = field(default_factory=list)
    flaws: list[Flaw] = field(default_factory=list)
    secrets: list[tuple[str, Place, str, str, str]] = field(default_factory=list)
    _after: dict[tuple[str, str], int] = field(default_factory=dict)

    def flaw(self, rule: str, place: Place, what: str, subject: str = "", severity: Severity | None = None) -> None:
        """Something wrong that is no secret."""
        self.flaws.append(Flaw(rule, RULES[rule].severity if severity is None else severity, place, what, subject))

    def secret(self, rule: str, file: File, secret: str, what: str, subject: str = "") -> None:
        """A secret, at the line where it stands; one that stands there again, at the next."""
        text, needle = file.text or "", secret.split("\n")[0][:200]
        at = text.find(needle, self._after.get((file.path, needle), 0))
        if at < 0:
            at = max(0, text.find(needle))
        self._after[(file.path, needle)] = at + len(needle)
        line = text.count("\n", 0, at) + 1
        self.secrets.append((rule, Place(file.path, line, file.commit), what, subject, secret))

    def told(self, fingerprints: Fingerprints) -> list[Flaw]:
        """Every flaw; secrets are fingerprints from here on."""
        secrets = [
            Flaw(rule, RULES[rule].severity, place, what, subject, fingerprints.of(secret))
            for rule, place, what, subject, secret in self.secrets
        ]
        return [*self.flaws, *secrets]

"""Who answers for a file: CODEOWNERS (GitHub's and GitLab's, the last line that fits)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_PLACES = ("CODEOWNERS", ".github/CODEOWNERS", ".gitlab/CODEOWNERS", "docs/CODEOWNERS")


@dataclass(frozen=True)
class Owners:
    """`known` says that this tree names owners at all."""

    root: Path
    rules: tuple[tuple[re.Pattern[str], str, int], ...] = ()
    place: str = ""

    @property
    def known(self) -> bool:
        return bool(self.rules)

    @classmethod
    def of(cls, root: Path) -> Owners:
        """Read the first CODEOWNERS there is."""
        for place in _PLACES:
            path = root / place
            if path.is_file() and path.stat().st_size < 1_000_000:
                return cls(root, tuple(_rules(path.read_text("utf-8", "replace"))), place)
        return cls(root)

    def who(self, path: str) -> str:
        """The owners named for this path, by the last line that fits; empty when none does."""
        return self.said(path)[0]

    def said(self, path: str) -> tuple[str, int]:
        """The same, and the line that says it."""
        found = ("", 0)
        for pattern, owners, line in self.rules:
            if pattern.match(path):
                found = (owners, line)
        return found


def _rules(text: str) -> list[tuple[re.Pattern[str], str, int]]:
    rules = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].split()
        if words and not words[0].startswith(("[", "^[")):
            rules.append((_pattern(words[0]), " ".join(words[1:]), number))
    return rules


def _pattern(glob: str) -> re.Pattern[str]:
    """As gitignore reads it: anchored by a slash that is not at its end; a folder means all below."""
    anchored = "/" in glob.rstrip("/")
    body = glob.strip("/")
    out = ""
    for part in re.split(r"(\*\*/?|\*|\?)", body):
        out += {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(part, re.escape(part))
    return re.compile(("" if anchored else "(?:.*/)?") + out + ("/.*" if glob.endswith("/") else "(?:/.*)?") + r"\Z")

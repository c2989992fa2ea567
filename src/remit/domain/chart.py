"""What exports of clouds, clusters and databases say about who can reach what, as they were imported: by name, replaced
whole. Each says what was there when it was exported, and nothing later.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Charted:
    """One import: how much it says, and the digest of all of it."""

    name: str
    digest: str
    nodes: int
    steps: int
    at: int
    by: str


@dataclass(frozen=True, slots=True)
class Charts:
    """Row: what is imported now, by name in order. There is one, keyed `charts`."""

    imported: tuple[Charted, ...] = ()
    version: int = 0

    @property
    def key(self) -> str:
        return "charts"

    @property
    def steps(self) -> int:
        """Of all of them."""
        return sum(one.steps for one in self.imported)

    def having(self, one: Charted) -> Charts:
        """With this import, in place of the one of its name."""
        rest = self.without(one.name).imported
        return replace(self, imported=tuple(sorted((*rest, one), key=lambda it: it.name)))

    def without(self, name: str) -> Charts:
        """All but the one of this name."""
        return replace(self, imported=tuple(one for one in self.imported if one.name != name))

    def named(self, name: str) -> Charted | None:
        """The one of this name."""
        return next((one for one in self.imported if one.name == name), None)


@dataclass(frozen=True, slots=True)
class Chart:
    """Row: the steps of one import as `formats.chart` writes them, keyed by its name; empty when it was removed."""

    name: str
    text: str
    version: int = 0

    @property
    def key(self) -> str:
        return self.name

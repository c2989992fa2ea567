"""What one seed means: how large a world, and what goes wrong in it. Every setting can be overridden, to make it smaller."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from random import Random

from .network import Weather


@dataclass(frozen=True)
class Settings:
    """Drawn from a seed: each kind of fault is there in about half of them. A rate N is one in N; 0 is never."""

    replicas: int = 2
    agents: int = 2
    workers: int = 1
    operations: int = 8
    people: int = 2
    revokes: int = 4
    freezes: int = 0
    catalogues: int = 0
    shuffled: int = 1
    crashes: int = 0
    stops: int = 0
    cuts: int = 0
    outages: int = 0  # of the database
    issuer_outages: int = 0
    skew: int = 0  # ms, either way
    latency: int = 1
    late: int = 0
    lost: int = 0
    doubled: int = 0
    broken: int = 0  # of connections to the database
    issuer_slow: int = 0
    issuer_mute: int = 0
    edges: int = 0
    leaks: int = 0  # by hand alone: they would change every schedule

    @classmethod
    def drawn(cls, seed: int, overrides: dict[str, int] | None = None) -> Settings:
        """The settings of this seed, with some of them set by hand."""
        rng = Random(f"settings {seed}")

        def maybe(*choices: int) -> int:
            return rng.choice(choices) if rng.random() < 0.5 else 0

        found = cls(
            replicas=rng.choice((1, 2, 2, 3)),
            agents=rng.choice((1, 2, 2, 3)),
            workers=rng.choice((1, 2)),
            operations=rng.choice((4, 8, 12)),
            people=rng.choice((1, 2, 2)),
            revokes=rng.choice((0, 2, 3, 5)),
            freezes=maybe(1, 2),
            catalogues=maybe(1, 2),
            shuffled=int(rng.random() < 0.7),
            crashes=maybe(1, 2, 3),
            stops=maybe(1, 2),
            cuts=maybe(1, 2),
            outages=maybe(1, 2),
            issuer_outages=maybe(1, 2),
            skew=maybe(500, 2_000),
            latency=rng.choice((1, 5, 40)),
            late=maybe(10, 50),
            lost=maybe(10, 40),
            doubled=maybe(10, 40),
            broken=maybe(20, 100),
            issuer_slow=maybe(2, 5),
            issuer_mute=maybe(3, 8),
            edges=rng.choice((1, 2)) if seed % 10 in (2, 5) else 0,  # one in five: they take ten times as long
        )
        return replace(found, **(overrides or {}))

    def weather(self) -> Weather:
        """Between callers, replicas and issuers."""
        return Weather(self.latency, 3_000, self.late, self.lost, self.doubled)

    def calmer(self) -> list[tuple[str, int]]:
        """Every one thing that could be left out."""
        least = {"replicas": 1, "agents": 1, "workers": 1, "operations": 1, "people": 1, "latency": 1}
        found = []
        for field in fields(self):
            value, low = getattr(self, field.name), least.get(field.name, 0)
            if value != low:
                found.append((field.name, low))
                if value - 1 > low and value < 10:
                    found.append((field.name, value - 1))
        return found

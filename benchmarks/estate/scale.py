"""Write the plots and tables of docs/scale.md from the model: `make scale`. Nothing in them depends on this machine.

`--check` says whether they are what the model gives, and writes nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from drawing import Line, plot
from model import COSTS, Estate, Link, Return, freshness, propagation, quantile, rollout, storm

DOCS = Path(__file__).resolve().parents[2] / "docs"
LOSSY = Link(lost_one_in=100)
BIG = Estate(replicas=8)


def cdf(values: Sequence[float], count: int, parts: int = 160) -> list[tuple[float, float]]:
    """(value, part of `count` that is no more), thinned out."""
    ordered = sorted(values)
    places = sorted({round(i * (len(ordered) - 1) / parts) for i in range(parts + 1)})
    return [(round(ordered[place], 1), round((place + 1) / count, 4)) for place in places]


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(map(str, row)) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def ms(values: Sequence[float]) -> list[str]:
    return [f"{quantile(values, q):,.0f}" for q in (0.5, 0.99, 1.0)]


def spread() -> tuple[dict[str, str], dict[str, str]]:
    """A revocation, pushed."""
    cases = {
        "3 replicas, asked every 5 s": replace(BIG, replicas=3, beat=5_000, stale=25_000),
        "8 replicas, asked every 1 s": BIG,
        "8 replicas, 1 % of segments lost": replace(BIG, link=LOSSY),
        "8 replicas, links of 20 ms": replace(BIG, link=Link(10)),
        "3 replicas, asked every 1 s: too few": replace(BIG, replicas=3),
    }
    found = {name: propagation(estate) for name, estate in cases.items()}
    lines = [Line(name, cdf(values, len(values))) for name, values in found.items()]
    drawing = plot(
        "A revocation reaches 10,000 edges", "ms after it was acknowledged", "part of the edges", lines, log=True
    )
    rows = [(name, f"{min(9.99, cases[name].load):.2f}", *ms(values)) for name, values in found.items()]
    head = ("edges: 10,000", "load of a replica", "p50 ms", "p99 ms", "max ms")
    return {"propagation": drawing}, {"propagation": table(head, rows)}


def asking() -> tuple[dict[str, str], dict[str, str]]:
    """Beats: what they cost, and how old an edge's knowledge gets."""
    counts = (500, 1_000, 2_000, 3_000, 4_000, 6_000, 8_000, 10_000, 12_000)
    lines = []
    for beat in (1_000.0, 2_000.0, 5_000.0):
        loads = [(float(n), Estate(edges=n, beat=beat).load) for n in counts]
        lines.append(Line(f"asked every {beat / 1000:g} s", loads))
    lines.append(Line("all of a core", [(500.0, 1.0), (12_000.0, 1.0)], dashed=True))
    drawing = plot("How busy beats keep each of 3 replicas", "edges", "share of a core", lines, top=2.0)
    rows = []
    for edges, replicas, beat, stale in (
        (100, 3, 1_000, 5_000),
        (1_000, 3, 1_000, 5_000),
        (10_000, 3, 5_000, 25_000),
        (10_000, 3, 5_000, 5_000),
        (10_000, 8, 1_000, 5_000),
        (10_000, 8, 1_000, 1_500),
        (10_000, 3, 1_000, 5_000),
    ):
        estate = Estate(edges=edges, replicas=replicas, beat=beat, stale=stale, link=LOSSY)
        found = freshness(estate)
        beats = found["beats_per_s"]
        reads = beats * 3 + replicas * 3 * min(500.0, beats / replicas)
        share = reads * COSTS["db_read"] / 1e6
        rows.append(
            (
                f"{edges:,}",
                replicas,
                f"{stale / 1000:g} s",
                f"{beat / 1000:g} s",
                f"{beats:,.0f}",
                f"{found['busy']:.2f}",
                f"{reads:,.0f}",
                f"{share:.2f}",
                f"{found['p50']:,.0f} / {found['p99']:,.0f} / {found['max']:,.0f}",
                f"{found['stale'] * 100:.3f} %",
            )
        )
    head = (
        "edges",
        "replicas",
        "`stale_after`",
        "asked every",
        "beats/s",
        "load of a replica",
        "database reads/s",
        "database cores",
        "age before it is renewed, ms: p50 / p99 / max",
        "too old",
    )
    return {"beats": drawing}, {"beats": table(head, rows)}


def returns() -> tuple[dict[str, str], dict[str, str]]:
    """Everybody comes back at once."""
    cases = {
        "retried after 1 to 2 s (as it is)": Return(),
        "after 1 to 5 s": Return(1_000, 5_000),
        "after 1 to 15 s": Return(1_000, 15_000),
        "after 1 to 30 s": Return(1_000, 30_000),
    }
    lines, rows = [], []
    for name, returning in cases.items():
        for replicas in (3, 8):
            estate = replace(BIG, replicas=replicas, beat=5_000, stale=25_000, link=LOSSY)
            found = storm(estate, returning)
            if replicas == 3:
                lines.append(Line(name, [(0.0, 0.0), *((x / 1000, y) for x, y in cdf(found["fresh"], estate.edges))]))
            rows.append((name, replicas, f"{found['tries']:,}", *ms(found["fresh"]), f"{found['left']:,}"))
    drawing = plot("10,000 edges come back to 3 replicas", "s after the centre is back", "part that is fresh", lines)
    head = ("connections that failed are", "replicas", "attempts", "fresh p50 ms", "p99 ms", "max ms", "never in 120 s")
    return {"storm": drawing}, {"storm": table(head, rows)}


def catalogues() -> tuple[dict[str, str], dict[str, str]]:
    """A catalogue is fetched by everybody."""
    estate = replace(BIG, replicas=3, beat=5_000, stale=25_000)
    lines, rows = [], []
    for kilobytes in (50.0, 200.0, 1_000.0):
        for gigabits in (1.0, 10.0):
            found = rollout(estate, kilobytes, gigabits, 0.0)
            if gigabits == 1.0:
                lines.append(
                    Line(f"{kilobytes:g} KB, 1 Gbit/s a replica", [(x / 1000, y) for x, y in cdf(found, estate.edges)])
                )
            sent = f"{kilobytes * estate.edges / 1024 / 1024:.1f} GB"
            rows.append((f"{kilobytes:g} KB", f"{gigabits:g} Gbit/s", sent, *ms(found)))
    drawing = plot("A catalogue reaches 10,000 edges from 3 replicas", "s", "part that has it", lines)
    head = ("catalogue", "a replica's network", "sent in all", "p50 ms", "p99 ms", "max ms")
    return {"catalogue": drawing}, {"catalogue": table(head, rows)}


def reports() -> tuple[dict[str, str], dict[str, str]]:
    """What was decided comes to the centre."""
    rows = []
    for each in (0.01, 0.1, 0.5, 1.0):
        events = 10_000 * each
        requests = min(events, 10_000 * 2.0)
        rows.append(
            (
                f"{each:g}",
                f"{events:,.0f}",
                f"{requests:,.0f}",
                f"{requests * COSTS['request'] / 1e6 + events * 250 / 1e6:.1f}",
                f"{events:,.0f}",
                f"{events * COSTS['db_write'] / 1e6:.2f}",
            )
        )
    head = (
        "decisions/s at each edge",
        "events/s",
        "requests/s at most",
        "cores of replicas",
        "row writes/s",
        "database cores",
    )
    streams = COSTS["stream_bytes"] / 1024
    costs = [(f"`{name}`", f"{value:,.0f}") for name, value in COSTS.items() if not name.startswith("measured")]
    floor = 800 * COSTS["push"] / 1e3
    checked = table(
        ("a frame to 800 streams of one replica, ms", "half of them", "the last"),
        [
            ("the model, with a core to itself", f"{floor / 2:.0f}", f"{floor:.0f}"),
            (
                "measured over sockets, two busy cores",
                f"{COSTS['measured_p50'] / 1e3:.0f}",
                f"{COSTS['measured_max'] / 1e3:.0f}",
            ),
        ],
    )
    kept = table(
        ("at a replica of 3, for 10,000 edges", "MB"),
        [("streams, without TLS", f"{10_000 / 3 * streams / 1024:,.0f}"), ("50,000 things told", "25")],
    )
    return {}, {
        "reports": table(head, rows),
        "memory": kept,
        "checked": checked,
        "costs": table(("cost", "µs, or bytes"), costs),
    }


def ending() -> tuple[dict[str, str], dict[str, str]]:
    """A million open tasks end all the time, and each end is told."""
    rows = []
    for life, name in ((8 * 3_600, "8 h"), (3_600, "1 h"), (900, "15 min")):
        ends = 1_000_000 / life
        frames = min(ends, 100.0)  # one a sequencing; those of 10 ms share one
        to_all = frames * 10_000 / 3 * COSTS["push"] / 1e6
        to_home = ends / 3 * (COSTS["frame_sign"] + COSTS["push"]) / 1e6
        work = ends * (4 * COSTS["request"] + 2_000) / 3 / 1e6
        writes = ends * 6
        rows.append(
            (
                name,
                f"{ends:,.0f}",
                f"{frames:,.0f}",
                f"{frames * 10_000:,.0f}",
                f"{to_all:.2f}",
                f"{to_home:.3f}",
                f"{work:.2f}",
                f"{writes:,.0f}",
                f"{writes * COSTS['db_write'] / 1e6:.2f}",
            )
        )
    head = (
        "life of a task",
        "ends/s",
        "frames/s",
        "pushes/s, all to all",
        "load of a replica of 3 by that",
        "if only its home were told",
        "load by opening, entrusting, returning, ending",
        "row writes/s",
        "database cores",
    )
    return {}, {"ending": table(head, rows)}


def main() -> int:
    wrong = 0
    text = before = (DOCS / "scale.md").read_text()
    for part in (spread, asking, returns, catalogues, reports, ending):
        drawings, tables = part()
        for name, drawing in drawings.items():
            path = DOCS / "images" / f"scale-{name}.svg"
            wrong += not path.exists() or path.read_text() != drawing
            if "--check" not in sys.argv:
                path.write_text(drawing)
        for name, rows in tables.items():
            start, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
            head, _, rest = text.partition(start)
            text = head + start + rows + end + rest.partition(end)[2]
    wrong += text != before
    if "--check" not in sys.argv:
        (DOCS / "scale.md").write_text(text)
        return 0
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())

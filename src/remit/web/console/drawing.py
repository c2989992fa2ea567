"""Where the parts of a drawing stand. Along, in per cent of the width, so that it fits a phone; down, in pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

TITLE, BAR, THIN, GAP, SHOWN = 20, 14, 7, 14, 6
NARROWEST = 0.3  # of a bar, and between two marks, in per cent
_WORST = ("permit", "hold", "deny")


def drawn(lanes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The story of a task: lanes with bars, gaps and marks, and the lines of hand-offs between them."""
    start: int = min(lane["from"] for lane in lanes)
    end: int = max(max([lane["until"], *(bar["until"] for bar in lane["leases"])]) for lane in lanes)
    span = max(1, end - start)

    def along(instant: int) -> float:
        return round(100.0 * (min(max(instant, start), end) - start) / span, 2)

    def between(one: Mapping[str, Any]) -> dict[str, float]:
        left = along(one["from"])
        return {"x": left, "width": max(NARROWEST, round(along(one["until"]) - left, 2))}

    found: dict[str, dict[str, Any]] = {}
    down = 0
    for lane in lanes:
        leases = lane["leases"][:SHOWN]
        bar = down + TITLE
        above = found.get(lane["parent"])
        found[lane["task"]] = {
            **{name: lane[name] for name in ("task", "agent", "purpose", "state", "here")},
            "title": down + TITLE - 6,
            "bar": bar,
            **between(lane),
            "label": _shades(lane, along),
            "holds": [{**between(one), "approval": one["approval"]} for one in lane["holds"]],
            "marks": _marks(lane["marks"], along),
            "leases": [{**one, **between(one), "y": bar + BAR + 3 + THIN * n} for n, one in enumerate(leases)],
            "from": {"x": along(lane["from"]), "y": above["bar"] + BAR} if above else None,
        }
        down = bar + BAR + THIN * len(leases) + GAP
    return {"lanes": list(found.values()), "height": down, "start": start, "end": end}


def _shades(lane: Mapping[str, Any], along: Callable[[int], float]) -> list[dict[str, Any]]:
    """The lane's bar in parts, each as dark as what had been read by then."""
    steps = lane["label"]
    ends = [*(step["at"] for step in steps[1:]), lane["until"]]
    parts = []
    for step, until in zip(steps, ends, strict=True):
        left = along(step["at"])
        width = round(along(until) - left, 2)
        shown = {"trust": step["trust"], "sensitivity": step["sensitivity"]}
        parts.append({"x": left, "width": max(0.0, width), **shown})
    return parts


def _marks(marks: Sequence[Mapping[str, Any]], along: Callable[[int], float]) -> list[dict[str, Any]]:
    """One mark where many would stand on each other: that of the worst decision."""
    kept: list[dict[str, Any]] = []
    for mark in marks:
        placed = {**mark, "x": along(mark["at"])}
        if not kept or placed["x"] - kept[-1]["x"] >= NARROWEST:
            kept.append(placed)
        elif _worse(placed, kept[-1]):
            kept[-1] = {**placed, "x": kept[-1]["x"]}
    return kept


def _worse(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return _WORST.index(one["decision"]) > _WORST.index(other["decision"])

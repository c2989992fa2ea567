"""What a plan says of who would reach what, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def changed(answer: Mapping[str, Any]) -> str:
    """What becomes reachable for whom, what no longer, what of it nobody means; and the trifectas."""
    reach, lines = answer["reach"], list[str]()
    for step in reach["begin"]["gained"]:
        lines.append(f"  + {step['source']} {step['how']} {step['target']}")
    for step in reach["begin"]["lost"]:
        lines.append(f"  - {step['source']} {step['how']} {step['target']}")
    for one in reach["agents"]:
        lines.append(
            f"  {one['agent']}: {one['gains']} more ({one['beyond']} beyond its purpose), {one['losses']} fewer"
        )
        lines += [_gained(row) for row in one["gained"]]
        lines += _more(one["gains"] - len(one["gained"]), "+")
        lines += [f"    - {node}" for node in one["lost"]]
        lines += _more(one["losses"] - len(one["lost"]), "-")
    lines += [f"  and {reach['more']} more agents that were not looked at"] if reach["more"] else []
    lines = ["", "Blast radius:", *lines] if lines else []
    for one in answer["trifectas"]:
        lines += ["", *trifecta(one)]
    return "\n" + "\n".join(lines) if lines else ""


def _gained(row: Mapping[str, Any]) -> str:
    way = " ".join([row["way"][0]["source"], *(f"─{step['how']}→ {step['target']}" for step in row["way"])])
    return f"    + {'BEYOND ' if row['beyond'] else ''}{row['node']}   {way}"


def _more(count: int, sign: str) -> list[str]:
    return [f"    {sign} and {count} more; --json has 20"] if count > 0 else []


def trifecta(one: Mapping[str, Any]) -> list[str]:
    """Where the three come together, and the smallest change that breaks it."""
    word = "New: " if one["new"] else "Still: "
    legs = one["legs"]
    return [
        f"{word}purpose {one['purpose']} has private data, content that others can write, and a way out together.",
        f"  private data: {', '.join(legs['private'])}",
        f"  others can write: {', '.join(legs['untrusted'])}",
        f"  a way out: {', '.join(legs['out'])}",
        f"  The smallest change that breaks it: take away {' and '.join(one['breaks'])}.",
    ]

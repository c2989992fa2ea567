"""Where the parts of the blast radius stand: from, through, to. Along, in per cent of the width, so that it fits a
phone; down, in pixels. Ways through the same to the same kind of thing are one line, so there are few enough to see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log10
from typing import Any

BOX, PITCH, SHOWN = 58, 70, 9
Group = Mapping[str, Any]


def pictured(node: Mapping[str, Any], groups: Sequence[Group], who: bool) -> dict[str, Any]:
    """Boxes in three columns, and lines between them; `more` groups are in the list only."""
    ordered = _together(groups)
    shown, rest = ordered[:SHOWN], ordered[SHOWN:]
    ends = [{**_box(one), "y": place * PITCH} for place, one in enumerate(shown)]
    height = max(1, len(shown)) * PITCH
    middles, lines_in, lines_out = [], [], []
    here = height // 2 - PITCH // 2
    for through in dict.fromkeys(_key(one) for one in shown):
        places = [place for place, one in enumerate(shown) if _key(one) == through]
        mine = [shown[place] for place in places]
        y = sum(place * PITCH for place in places) // len(places)
        middles.append({"y": y, **_middle(mine[0])})
        strength = _strength(sum(one["count"] for one in mine))
        near = (
            all(one["beyond"] and not one["last_meant"] for one in mine) if who else not through and mine[0]["beyond"]
        )
        lines_in.append({"from": _level(here), "to": _level(y), "beyond": near, "strength": strength})
        lines_out += [
            {
                "from": _level(y),
                "to": _level(place * PITCH),
                "beyond": shown[place]["beyond"],
                "strength": _strength(shown[place]["count"]),
            }
            for place in places
        ]
    one = {"title": node["name"], "under": node["kind"], "node": node["node"], "y": here, "beyond": False}
    if who:
        lines_in, lines_out = [_turned(line) for line in lines_out], [_turned(line) for line in lines_in]
    return {
        "height": height,
        "box": BOX,
        "starts": ends if who else [one],
        "middles": middles,
        "ends": [one] if who else ends,
        "into": lines_in,
        "out": lines_out,
        "more": len(rest),
        "more_nodes": sum(one["count"] for one in rest),
    }


def _key(one: Group) -> str:
    """What it goes through; what goes through nothing stands alone, as meant and as not."""
    return str(one["through"]["node"]) if one["through"] else ""


def _together(groups: Sequence[Group]) -> list[Group]:
    """Those through the same next to each other, in the order in which the first of them stood."""
    order = {key: place for place, key in reversed([*enumerate(_key(one) for one in groups)])}
    return sorted(groups, key=lambda one: order[_key(one)])


def _box(one: Group) -> dict[str, Any]:
    alone = one["nodes"][0] if one["count"] == 1 else None
    names = ", ".join(node["name"] for node in one["nodes"][:3])
    through = one["through"]["node"] if one["through"] else ""
    return {
        "title": alone["name"] if alone else f"{one['count']:,} {one['word']}",
        "under": one["word"] if alone else names,
        "node": alone["node"] if alone else "",
        "through": through,
        "kind": one["kind"],
        "beyond": one["beyond"],
        "says": one["says"] if one["beyond"] else "",
    }


def _middle(one: Group) -> dict[str, Any]:
    if not one["through"]:
        return {"title": "", "under": "", "node": "", "beyond": False}
    far = f", {one['distance']} steps" if one["distance"] > 1 else ""
    through = one["through"]
    return {"title": through["name"], "under": f"{through['kind']}{far}", "node": through["node"], "beyond": False}


def _level(y: int) -> int:
    return y + BOX // 2


def _strength(count: int) -> int:
    """How thick a line is, from 1 to 4."""
    return min(4, 1 + int(log10(max(1, count)) * 1.5))


def _turned(line: Mapping[str, Any]) -> dict[str, Any]:
    return {**line, "from": line["to"], "to": line["from"]}

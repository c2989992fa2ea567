"""Plots as SVG: lines over a linear or logarithmic axis, with a legend. The same numbers give the same bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 340, 64, 16, 34, 46
COLOURS = ("#1f5f8b", "#b3541e", "#3f7d4e", "#7a4b94", "#7f7f7f")


@dataclass(frozen=True)
class Line:
    """One series; `dashed` for what is a bound rather than a measurement."""

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


def plot(title: str, along: str, up: str, lines: Sequence[Line], *, log: bool = False, top: float = 0.0) -> str:
    """One drawing; `top` is where the upper edge is (0: at the greatest value)."""
    xs = [x for line in lines for x, _ in line.points]
    low, high = min(xs), max(xs)
    most = top or max(y for line in lines for _, y in line.points) * 1.05

    def at_x(x: float) -> float:
        share = (
            (math.log10(x) - math.log10(low)) / (math.log10(high) - math.log10(low))
            if log
            else (x - low) / (high - low)
        )
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def at_y(y: float) -> float:
        return round(HEIGHT - BOTTOM - min(y, most) / most * (HEIGHT - TOP - BOTTOM), 1)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'font-family="system-ui, sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="18" font-weight="600">{escape(title)}</text>',
    ]
    for tick in _ticks(0, most):
        y = at_y(tick)
        out.append(f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="#e4e4e4"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end" fill="#444">{_short(tick)}</text>')
    for tick in _decades(low, high) if log else _ticks(low, high):
        x = at_x(tick)
        out.append(f'<path d="M{x} {TOP}V{HEIGHT - BOTTOM}" stroke="#f0f0f0"/>')
        out.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle" fill="#444">{_short(tick)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    out.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle" fill="#444">{escape(along)}</text>')
    out.append(
        f'<text transform="translate(14 {HEIGHT / 2}) rotate(-90)" text-anchor="middle" fill="#444">{escape(up)}</text>'
    )
    for number, line in enumerate(lines):
        colour, dash = COLOURS[number % len(COLOURS)], ' stroke-dasharray="5 4"' if line.dashed else ""
        path = " ".join(f"{at_x(x)},{at_y(y)}" for x, y in line.points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        y = TOP + 12 + number * 16
        out.append(f'<path d="M{WIDTH - 290} {y - 4}h18" stroke="{colour}" stroke-width="2"{dash}/>')
        out.append(f'<text x="{WIDTH - 266}" y="{y}">{escape(line.name)}</text>')
    return "\n".join([*out, "</svg>", ""])


def _ticks(low: float, high: float) -> list[float]:
    rough = (high - low) / 6
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    first = math.ceil(low / step)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _decades(low: float, high: float) -> list[float]:
    found = [10.0**power * part for power in range(7) for part in (1, 2, 5)]
    return [tick for tick in found if low <= tick <= high]


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:g}"

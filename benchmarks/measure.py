"""Timing and printing shared by the benchmarks."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence

ONLY = sys.argv[1] if len(sys.argv) > 1 else ""


def emit(
    name: str,
    subject: str,
    n: int,
    samples: Sequence[float] = (),
    per_s: float | None = None,
    note: str = "",
    *,
    value: float | None = None,
    unit: str | None = None,
) -> None:
    """Print one result; `samples` are seconds."""
    if not name.startswith(ONLY):
        return
    ordered = sorted(samples)
    line = {
        "name": name,
        "subject": subject,
        "n": n,
        "p50_us": round(ordered[len(ordered) // 2] * 1e6, 1) if ordered else None,
        "p99_us": round(ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] * 1e6, 1) if ordered else None,
        "per_s": round(per_s) if per_s else None,
        "value": value,
        "unit": unit,
        "note": note,
    }
    print(json.dumps(line), flush=True)


def timed(action: Callable[[], object], count: int) -> list[float]:
    """Seconds of each of `count` calls."""
    samples = []
    for _ in range(count):
        started = time.perf_counter()
        action()
        samples.append(time.perf_counter() - started)
    return samples

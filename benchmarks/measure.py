"""Timing and printing shared by the benchmarks."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # results alone go to standard output
LOAD = str(Path(__file__).parent / "load.py")
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


def request(path: str, host: str, body: str, headers: dict[str, str], media: str = "application/json") -> str:
    """A whole HTTP/1.1 request."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Type: {media}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *(f"{k}: {v}" for k, v in headers.items()), "", body])


def load(
    name: str, subject: str, url: str, requests: list[str], connections: int, seconds: float, note: str = ""
) -> None:
    """Drive it and print the result."""
    found = drive(url, requests, connections, seconds)
    emit(name, subject, connections, found["samples"], len(found["samples"]) / found["elapsed"], note)


def drive(url: str, requests: list[str], connections: int, seconds: float) -> dict:
    """Send them; `samples` are how long each took, in s."""
    host, port = url.removeprefix("http://").split(":")
    asked = {"host": host, "port": int(port), "connections": connections, "seconds": seconds, "requests": requests}
    done = subprocess.run([sys.executable, LOAD], input=json.dumps(asked), capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert not found["bad"], f"{found['bad']} bad answers"
    return found

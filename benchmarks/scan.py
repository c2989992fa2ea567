"""What a scan finds of the public `leaky-repo` set, and how long a large tree takes.

REMIT_LEAKY_REPO names a clone of Plazmaz/leaky-repo (MIT), whose `.leaky-meta/secrets.csv` says how many lines of each
file are a risk. Found are at most that many lines of a file; what is found beyond, or where nothing is listed, is extra.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from remit.discover import Looked, scan
from remit.discover.values import Fingerprints

from measure import emit  # isort: skip


def score(risk: Mapping[str, int], lines: Iterable[tuple[str, int]]) -> tuple[int, int]:
    """(risk lines found, extra lines)."""
    by_file: dict[str, set[int]] = defaultdict(set)
    for path, line in lines:
        by_file[path].add(line)
    found = sum(min(len(by_file[path]), most) for path, most in risk.items())
    return found, sum(len(seen) for seen in by_file.values()) - found


def main() -> None:
    root = Path(os.environ.get("REMIT_LEAKY_REPO", "/nowhere"))
    listed = root / ".leaky-meta" / "secrets.csv"
    if not listed.is_file():
        emit("scan.leaky_repo", "remit", 0, note="absent: set REMIT_LEAKY_REPO to a clone of Plazmaz/leaky-repo")
        return
    rows = csv.reader(line for line in listed.read_text().splitlines() if line.strip() and not line.startswith("#"))
    risk = {path: int(n) for path, n, _ in rows}
    started = time.perf_counter()
    flaws = scan([root], Fingerprints(b"k"), Looked()).flaws
    took = time.perf_counter() - started
    mine = [(f.place.path, f.place.line) for f in flaws if f.fingerprint and not f.place.path.startswith(".leaky-meta")]
    _told("remit", score(risk, mine), sum(risk.values()), took)
    started = time.perf_counter()
    command = [sys.executable, "-m", "detect_secrets", "scan", "."]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        emit("scan.leaky_repo", "detect-secrets", 0, note="absent: pip install 'remit[scan]'")
        return
    results = json.loads(done.stdout)["results"]
    theirs = [(path, hit["line_number"]) for path, hits in results.items() for hit in hits]
    theirs = [(path, line) for path, line in theirs if not path.startswith(".leaky-meta")]
    _told("detect-secrets", score(risk, theirs), sum(risk.values()), time.perf_counter() - started)


def _told(subject: str, found: tuple[int, int], of: int, took: float) -> None:
    note = f"{found[1]} extra; {took:.1f} s"
    emit("scan.leaky_repo", subject, of, value=found[0], unit="risk lines", note=note)


if __name__ == "__main__":
    main()

"""The first process of the lane's namespaces; started by `lane.outside`.

python -m tests.soak.faults --seconds 60 --seed 7 [--bug NAME] [--keep FOLDER] [--edges N]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from . import gather
from .evidence import Evidence, Violation
from .lane import BROKEN, Lane, tell
from .story import availability, story


def report(found: Evidence, broken: list[Violation], lane: Lane) -> None:
    """What was seen, in a dozen lines, and the shortest story of what went wrong."""
    for door, (answered, of) in availability(found).items():
        tell(f"{door} answered {answered} of {of} calls ({100 * answered / max(1, of):.1f} %)")
    deaths = {name: party.deaths for name, party in lane.parties.items() if party.deaths}
    tell(
        f"{len(found.log)} events, {len(found.heads)} checkpoints seen, {len(found.tasks)} tasks, {len(found.leases)} leases,"
    )
    tell(
        f"{sum(entry.permits for entry in found.log)} permits; ended by themselves and came back: {deaths or 'nobody'}"
    )
    if not broken:
        tell(f"every law held: seed {lane.seed}, {time.monotonic() - lane.began:.0f} s")
        return
    rules = Counter(one.rule for one in broken)
    zero = min(op.sent for op in found.ops)
    for rule in rules:
        times = [one.op.sent for one in broken if one.rule == rule and one.op is not None]
        tell(f"found by {rule!r}, first {f'{(min(times) - zero) / 1e9:.1f} s in' if times else 'at the end'}")
    tell(f"VIOLATED: {', '.join(f'{rule} ({count})' for rule, count in rules.items())}")
    stories = [(one, story(found, one)) for one in broken[:50]]
    seen: set[str] = set()
    for one, lines in sorted(stories, key=lambda pair: len(pair[1])):
        if one.rule not in seen:
            seen.add(one.rule)
            print("\n".join(lines), flush=True)


def main() -> int:
    """The first process of the namespaces."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bug", default="")
    parser.add_argument("--keep", default="")
    parser.add_argument("--edges", type=int, default=4)
    given = parser.parse_args()
    assert os.getpid() == 1, "this is started by tests.soak.faults.lane.outside"
    if given.keep:
        Path(given.keep).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="remit-faults-", dir=given.keep or None))
    folder.chmod(0o755)
    tell(
        f"seed {given.seed}, {given.seconds:.0f} s{f', planted: {given.bug}' if given.bug else ''}; everything is kept in {folder}"
    )
    lane = Lane(folder, given.seconds, given.seed, given.bug, given.edges)
    good = False
    try:
        found, broken = lane.run()
        report(found, broken, lane)
        good = not broken
        gather.keep(folder, found, [(one.rule, one.said, one.task) for one in broken])
    finally:
        lane.close()
        if good and not given.keep:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            tell(f"everything is in {folder}; again: REMIT_FAULTS_SEED={given.seed} make soak ONLY=faults")
    return 0 if good else BROKEN


if __name__ == "__main__":
    sys.exit(main())

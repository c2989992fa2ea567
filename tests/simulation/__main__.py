"""`python -m tests.simulation [SEED] [--set name=value] [--trace] [--seeds N] [--seconds S] [--from SEED]`."""

from __future__ import annotations

import argparse
import sys
import time

from .run import Outcome, simulate, smaller


def _report(found: Outcome, overrides: dict[str, int], lines: int) -> None:
    chosen = "".join(f" --set {name}={value}" for name, value in overrides.items())
    print(f"\nseed {found.seed}: {found.problem}\n  {found.settings}")
    for line in found.lines[-lines:]:
        print("  " + line)
    print(f"  replay: python -m tests.simulation {found.seed}{chosen} --trace")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("seed", type=int, nargs="?")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--seeds", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--stop-after", type=int, default=1)
    given = parser.parse_args()
    overrides = {name: int(value) for name, _, value in (one.partition("=") for one in given.set)}
    if given.seed is not None:
        found = simulate(given.seed, overrides, keep=100_000 if given.trace else 60)
        if given.trace:
            print("\n".join(found.lines))
        print(f"seed {found.seed}: {found.problem or 'all laws hold'}; {found.steps} steps, digest {found.digest}")
        return int(bool(found.problem))
    started, run, steps, broken = time.monotonic(), 0, 0, 0
    while (run < given.seeds) if given.seeds else (time.monotonic() - started < given.seconds):
        found = simulate(given.first + run, overrides)
        run, steps = run + 1, steps + found.steps
        if found.problem:
            broken += 1
            small, kept = smaller(found, overrides)
            _report(small, kept, 60)
            if broken >= given.stop_after:
                break
    seconds = time.monotonic() - started
    print(f"{run} schedules, {steps} steps in {seconds:.0f} s ({run / seconds:.1f} schedules/s), {broken} broke a law")
    return int(bool(broken))


sys.exit(main())

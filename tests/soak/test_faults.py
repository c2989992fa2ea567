"""Every law while everything fails: replicas, databases and links of their own, ten minutes of faults, then a checker.

    make soak ONLY=faults REMIT_FAULTS_SECONDS=600 REMIT_FAULTS_SEED=7

The seed gives the schedule of faults. On a violation the shortest story of it is printed, and everything is kept.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.soak.faults import hosts
from tests.soak.faults.lane import BROKEN, outside

BUGS = (
    "acknowledged_early",
    "remembered",
    "freeze_unchecked",
    "not_recorded",
    "ended_unkilled",
    "used_again",
    "uncounted",
    "misplaced",
    "replayable",
    "always_fresh",
    "report_skipped",
)
EDGES = {"always_fresh": 2, "report_skipped": 2}


@pytest.fixture(autouse=True)
def able() -> None:
    """Root, and what makes hosts out of one machine."""
    lacks = hosts.missing() or ("root" if os.geteuid() else "")
    if lacks:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"the hosts of this lane need {lacks}")


@pytest.mark.soak
def test_every_law_holds_while_everything_fails(capfd):
    seconds = float(os.environ.get("REMIT_FAULTS_SECONDS", "600"))
    seed = int(os.environ.get("REMIT_FAULTS_SEED", random.randrange(10**6)))
    with capfd.disabled():
        assert outside(seconds, seed, keep=os.environ.get("REMIT_FAULTS_KEEP", "")) == 0


@pytest.mark.soak
@pytest.mark.parametrize("bug", BUGS)
def test_planted(bug, capfd, tmp_path):
    """What takes one defence away turns the lane red within a minute of work."""
    with capfd.disabled():
        assert outside(60, 5, bug=bug, keep=str(tmp_path), edges=EDGES.get(bug, 0)) == BROKEN

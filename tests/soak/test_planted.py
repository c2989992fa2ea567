"""`make soak ONLY=planted`: what takes one defence away turns the lane of `test_faults` red within a minute of work.

Which rule finds which bug, and after how long, is printed: "found by".
"""

from __future__ import annotations

import pytest

from tests.soak.faults.lane import BROKEN, outside
from tests.soak.test_faults import able  # noqa: F401

SEED, CUT_OFF = 5, 1908  # the second cuts edges off five times
EDGES = {  # how many of them the bug needs
    "acknowledged_early": 0,
    "remembered": 0,
    "freeze_unchecked": 0,
    "not_recorded": 0,
    "ended_unkilled": 0,
    "used_again": 0,
    "uncounted": 0,
    "misplaced": 0,
    "replayable": 0,
    "always_fresh": 2,
    "report_skipped": 2,
}


@pytest.mark.soak
@pytest.mark.parametrize("bug", EDGES)
def test_planted(bug, capfd, tmp_path):
    with capfd.disabled():
        seed = CUT_OFF if EDGES[bug] else SEED
        assert outside(60, seed, bug=bug, keep=str(tmp_path), edges=EDGES[bug]) == BROKEN

"""Every law while everything fails: replicas, databases and links of their own, ten minutes of faults, then a checker.

    make soak ONLY=faults REMIT_FAULTS_SECONDS=600 REMIT_FAULTS_SEED=7

The seed gives the schedule of faults. On a violation the shortest story of it is printed, and everything is kept.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.soak.faults import hosts
from tests.soak.faults.lane import outside


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

"""Nothing is forgotten because a clock ran ahead: not for a while, not at a start, not after it was put right."""

from __future__ import annotations

import pytest

from remit.work.steady import SETTLES, Steady

HOUR = 3_600_000


class Clocks:
    def __init__(self, ahead: int = 0) -> None:
        self.true, self.ahead = 0, ahead
        self.steady = Steady(lambda: HOUR + self.true + self.ahead, lambda: self.true / 1000)
        self.steady.now()

    def after(self, seconds: float, ahead: int = 0) -> int:
        """How far its now is from the true one, ms."""
        self.true, self.ahead = self.true + int(seconds * 1000), ahead
        return self.steady.now() - HOUR - self.true


def test_a_clock_that_is_right_is_followed():
    clocks = Clocks()
    assert clocks.after(SETTLES - 1) == -HOUR - clocks.true  # 0: before everything
    assert clocks.after(1) == 0
    assert clocks.after(86_400) == 0


@pytest.mark.parametrize("back", [0, -5_000])
def test_a_clock_that_runs_ahead_for_a_while_is_not_followed(back):
    clocks = Clocks()
    clocks.after(SETTLES)
    assert clocks.after(10, ahead=600_000) == 0
    assert clocks.after(10, ahead=600_000) == 0
    assert clocks.after(10, ahead=back) == back
    assert clocks.after(10, ahead=0) == back  # set forward to what is right: what is over is forgotten that much later


def test_one_that_was_ahead_at_the_start_is_right_before_anything_is_forgotten():
    clocks = Clocks(ahead=600_000)
    assert clocks.after(30, ahead=600_000) == -HOUR - clocks.true
    assert clocks.after(30) == -HOUR - clocks.true
    assert clocks.after(SETTLES) == 0

"""When a purpose may run: as laws, and by the days on which clocks are put forward and back."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.domain.hours import Hours

BERLIN = "Europe/Berlin"
WORK = f"Mon-Fri 08:00-18:00 {BERLIN}"
NIGHT = f"Fri-Sat 22:00-06:00 {BERLIN}"
MINUTE = 60_000


def at(text: str, zone: str = BERLIN, fold: int = 0) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp() * 1000)


@pytest.mark.parametrize(
    ("hours", "now", "closes"),
    [
        (WORK, "2027-01-15T08:00", "2027-01-15T18:00"),
        (WORK, "2027-01-15T07:59", ""),
        (WORK, "2027-01-15T18:00", ""),
        (WORK, "2027-01-16T12:00", ""),  # a Saturday
        (NIGHT, "2027-01-15T23:00", "2027-01-16T06:00"),
        (NIGHT, "2027-01-17T05:00", "2027-01-17T06:00"),
        (NIGHT, "2027-01-18T05:00", ""),  # the night after Sunday
        (f"Sat-Mon 00:00-24:00 {BERLIN}", "2027-01-17T12:00", "2027-01-19T00:00"),  # windows that meet are one
        (f"Mon 08:00-12:00, Mon 12:00-13:00 {BERLIN}", "2027-01-18T09:00", "2027-01-18T13:00"),
        # Clocks go from 02:00 to 03:00 on 2027-03-28: 02:30 is not there.
        (f"Sun 01:00-02:30 {BERLIN}", "2027-03-28T01:10", "2027-03-28T01:30"),
        (f"Sun 02:30-05:00 {BERLIN}", "2027-03-28T03:10", ""),
        (f"Sun 02:30-05:00 {BERLIN}", "2027-03-28T03:40", "2027-03-28T05:00"),
        (WORK, "2027-03-29T08:00", "2027-03-29T18:00"),
        # Clocks go from 03:00 back to 02:00 on 2027-10-31: 02:30 is there twice.
        (f"Sun 01:00-02:30 {BERLIN}", "2027-10-31T02:10", "2027-10-31T02:30"),
        ("22:00-06:00 UTC", "2027-01-15T23:30", "2027-01-16T07:00"),  # by the clocks of another place
    ],
)
def test_open_until(hours, now, closes):
    assert Hours.parse(hours).closes(at(now)) == (at(closes) if closes else 0)


def test_a_time_that_comes_twice_opens_the_second_time_and_closes_the_first():
    hours = Hours.parse(f"Sun 02:30-04:00 {BERLIN}")
    assert not hours.closes(at("2027-10-31T02:40")) and hours.closes(at("2027-10-31T02:40", fold=1))
    hours = Hours.parse(f"Sun 01:00-02:30 {BERLIN}")
    assert not hours.closes(at("2027-10-31T02:20", fold=1))


@pytest.mark.parametrize(
    ("hours", "now", "opens"),
    [
        (WORK, "2027-01-15T18:00", "2027-01-18T08:00"),
        (WORK, "2027-01-15T07:00", "2027-01-15T08:00"),
        (f"Mon 08:00-18:00 {BERLIN}", "2027-01-18T18:00", "2027-01-25T08:00"),
        (f"Sun 02:30-05:00 {BERLIN}", "2027-03-28T01:00", "2027-03-28T03:30"),
        # a window that a change of clocks leaves nothing of
        (f"Sun 02:10-02:20 {BERLIN}", "2027-03-27T12:00", "2027-04-04T02:10"),
    ],
)
def test_opens(hours, now, opens):
    found = Hours.parse(hours)
    assert found.opens(at(now)) == at(opens)
    assert found.when(at(opens)).endswith(opens.replace("T", " "))


@given(st.integers(at("2026-01-01T00:00"), at("2028-01-01T00:00")), st.sampled_from([WORK, NIGHT, f"Sun 02:30-03:30 {BERLIN}"]))  # fmt: skip
def test_it_is_open_until_it_closes_and_from_when_it_opens(now, text):
    hours = Hours.parse(text)
    closes = hours.closes(now)
    if closes:
        assert hours.closes(closes - 1) == closes and not hours.closes(closes)
    else:
        opens = hours.opens(now)
        assert opens > now and hours.closes(opens) > opens and not hours.closes(opens - 1)
        assert not hours.closes(now + (opens - now) // 2)


@pytest.mark.parametrize(
    "text",
    ["", "UTC", "Mon-Fri 08:00-18:00", "08:00-18:00 Mars/Olympus", "08:00-18:00 ../../etc/passwd", "8:00-18:00 UTC",
     "Mo 08:00-18:00 UTC", "08:00-25:00 UTC", "08:00-08:60 UTC", "24:00-01:00 UTC", "08:00-08:00 UTC",
     "08:00-18:00,09:00-10:00 UTC", "mon 08:00-18:00 UTC", ", ".join(["00:00-01:00"] * 65) + " UTC"],
)  # fmt: skip
def test_what_is_no_hours(text):
    with pytest.raises(ValueError, match=r"[a-z]"):
        Hours.parse(text)


def test_always():
    assert (
        Hours.parse("00:00-24:00 UTC").closes(at("2027-01-18T12:00", "UTC")) - at("2027-01-18T12:00", "UTC")
        > 7 * 86_400_000
    )

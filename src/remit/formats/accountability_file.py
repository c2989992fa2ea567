"""`[accountability]`, `[reviews]` and `[directories.NAME]` in `remit.toml`: who is asked when somebody is not there."""

from __future__ import annotations

from remit.domain.accountability import DAY, Directory, Terms

from .toml_source import Section

_LEAST, _MOST = 60_000, 3660 * DAY


def read(s: Section, reviews: Section) -> Terms:
    """The terms; a key missing, wrong or unknown is a `BadCatalogue` with its line."""
    usual = Terms()
    found = Terms(
        _span(s, "grace", usual.grace),
        _span(s, "ask_every", usual.ask_every),
        s.flag("confirm", usual.confirm),
        review_every(reviews, "every"),
        _span(reviews, "window", usual.window),
        _span(reviews, "due", usual.review_due),
        _span(reviews, "narrow_after", usual.narrow_after),
        _span(reviews, "freeze_after", usual.freeze_after),
        reviews.flag("alone", usual.alone),
    )
    s.done()
    reviews.done()
    return found


def review_every(s: Section, key: str = "review_every") -> int:
    """How often, in ms; 0 where nothing is said."""
    return _span(s, key, 0)


def directory(name: str, s: Section) -> Directory:
    """One that may speak SCIM."""
    people = s.table("people")
    table = {key: people.text(key, limit=256) for key in sorted(people.keys())}
    if len({value.casefold() for value in table.values()}) < len(table):
        s.fail("people", "two people have the same userName")
    people.done()
    return Directory(name, table)


def _span(s: Section, key: str, usual: int) -> int:
    found = s.duration(key, usual)
    if found != usual and not _LEAST <= found <= _MOST:
        s.fail(key, f"{key!r} must be one minute to ten years")
    return found

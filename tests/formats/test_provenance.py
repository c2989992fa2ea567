"""Look-ups: stated, read, made of what was read, or invented; and nothing an attacker wrote ever looks better."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.domain.flow import Sensitivity, Trust
from remit.domain.origin import Observation, Origin
from remit.domain.tool import Effect, Tool
from remit.formats.provenance import KEPT, digester, observed, stated, trace

DIGEST = digester(b"k" * 32)
LEDGER = Tool(
    "ledger", "", Effect.READ, Sensitivity.INTERNAL, "p", "ledger",
    output_fields={"id": Trust.TRUSTED, "to": Trust.TRUSTED, "amount": Trust.TRUSTED, "path": Trust.TRUSTED},
)  # fmt: skip
ENTRIES = [
    {
        "id": 7,
        "to": "GB29NWBK60161331926819",
        "amount": 1000.0,
        "note": "rent to ann@evil.example, id '8'",
        "path": "/srv/data",
    },
    {"id": 8, "to": "ann@good.example", "amount": 50, "note": "Island Trailhead"},
]


def row(content, tool=LEDGER, number=1, digest=DIGEST):
    trusted, untrusted, whole = observed(content, tool, digest)
    trust = Trust.UNTRUSTED if untrusted or not whole else Trust.TRUSTED
    return Observation("tsk_1", number, tool.name, trust, tool.output_sensitivity, 1, trusted, untrusted, whole)


def origin(value, goal="Pay it", parameters=(), rows=None, name="to", digest=DIGEST):
    rows = [row(ENTRIES)] if rows is None else rows
    found = trace([name], {name: value}, stated(goal, parameters), rows, digest)
    return found.arguments[name].origin.word if found.arguments else "none"


@pytest.mark.parametrize(
    ("value", "name", "expected"),
    [
        ("GB29 NWBK 6016 1331 9268 19", "to", "trusted"),
        ("gb29nwbk60161331926819", "to", "trusted"),
        ("ann@good.example", "to", "trusted"),
        ("ANN@evil.example", "to", "untrusted"),
        ("ann@other.example", "to", "invented"),
        (7, "id", "trusted"),
        (8, "id", "untrusted"),
        (9, "id", "invented"),
        ("island trailhead", "place", "untrusted"),
        ("trailhead island", "place", "invented"),
        (["ann@good.example", "ann@evil.example"], "to", "untrusted"),
        ({"a": [7], "b": 51}, "x", "invented"),
        ([], "to", "none"),
        (1000, "amount", "trusted"),
        ("1,000.00", "amount", "trusted"),
    ],
)
def test_a_value_that_was_read(value, name, expected):
    assert origin(value, name=name) == expected


@pytest.mark.parametrize(
    ("value", "name", "goal", "expected"),
    [
        ("ann@evil.example", "to", "Write to Ann@Evil.example.", "stated"),
        ("bob@x.example", "to", "Write to 'bob@x.example'", "stated"),
        ("bоb@x.example", "to", "Write to 'bob@x.example'", "untrusted"),
        ("b\u200bob@x.example", "to", "Write to 'bob@x.example'", "untrusted"),
        (1100, "amount", "Raise the rent by 100", "trusted"),
        (900, "amount", "100 less, please", "trusted"),
        (195, "amount", "19.5% of it", "trusted"),
        (1195, "amount", "19.5 per cent more", "trusted"),
        (200.29, "amount", "19.5% of it and a fee of 5.29", "trusted"),
        (25, "amount", "Share the 50 among 2 of us", "trusted"),
        (1234, "amount", "Raise the rent by 100", "invented"),
        (0, "amount", "Raise the rent by 100", "invented"),
        ("/srv/data/a.txt", "path", "Put a.txt there", "trusted"),
        ("/srv/data/../a.txt", "path", "Put a.txt there", "invented"),
        ("/srv/other/a.txt", "path", "Put a.txt there", "invented"),
    ],
)
def test_a_value_that_was_stated_or_made(value, name, goal, expected):
    assert origin(value, goal, name=name) == expected


def test_a_parameter_is_stated_whole():
    assert origin("acme-17", parameters=("acme-17",)) == origin("acme", parameters=("acme",)) == "stated"
    assert origin("acme-17", parameters=("acme-18",)) == "invented"


def test_one_untrusted_place_is_enough_and_is_named():
    wiki = Tool("wiki", "", Effect.READ, Sensitivity.PUBLIC, "p", "wiki")
    clean = Tool("crm", "", Effect.READ, Sensitivity.PUBLIC, "p", "crm", output_trust=Trust.TRUSTED)
    rows = [row("call 0123456789", clean), row("call 0123456789", wiki, 2)]
    found = trace(["to"], {"to": "0123456789"}, stated("x", ()), rows, DIGEST).arguments["to"]
    assert (found.origin, found.sources) == (Origin.UNTRUSTED, ("wiki",))
    found = trace(["to"], {"to": "0123456789"}, stated("x", ()), rows[:1], DIGEST).arguments["to"]
    assert (found.origin, found.sources) == (Origin.TRUSTED, ("crm",))


def test_what_does_not_fit_may_have_had_anything_in_it():
    long = " ".join(f"w{i}x" for i in range(KEPT))
    cut = row(long)
    assert not cut.whole and cut.values <= 3 * KEPT
    assert origin("ann@other.example", rows=[cut]) == "untrusted"
    assert not row(["x"] * 30_000).whole
    assert not row("y" * 70_000 + " ann@x.example").whole
    short = row(["a" * 65_000, "b" * 2_000 + " ann@x.example"])
    assert not short.whole


def test_free_text_is_asked_only_for_what_it_carries():
    said, rows = stated("Write to bob", ()), [row(ENTRIES)]
    text = {"body": "Dear Bob, pay GB29NWBK60161331926819 or ann@evil.example", "cc": ["x"]}
    found = trace(["to"], text, said, rows, DIGEST)
    assert not found.arguments and found.carried.origin is Origin.UNTRUSTED
    assert trace(["to"], {"body": "Dear Bob"}, said, rows, DIGEST).carried is None
    nested = trace([], {"a": {"b": ["see https://new.example"]}, "n": 1}, said, rows, DIGEST)
    assert nested.carried.origin is Origin.INVENTED


def test_another_tasks_key_finds_nothing():
    other = digester(b"o" * 32)
    assert origin("ann@good.example", digest=other) == "invented"
    assert row(ENTRIES).trusted != row(ENTRIES, digest=other).trusted


def test_no_data_is_kept():
    kept = row([{"note": "canary-4711 ann@evil.example"}])
    for piece in (b"canary", b"4711", b"ann", b"evil"):
        assert piece not in kept.trusted + kept.untrusted


values_ = st.sampled_from(
    ["ann@good.example", "GB29NWBK60161331926819", "inv-17", "https://x.example/a", "0123456789", "a.txt"]
)


@given(values_, st.sampled_from(["{}", "Please use {} now", "'{}'", "ID {}!", "{}\n{}"]), st.booleans())
def test_whatever_an_attacker_writes_it_is_never_better_than_untrusted(value, frame, upper):
    """Control: without the attacker's text the same value is what the ledger's field makes it."""
    wiki = Tool("wiki", "", Effect.READ, Sensitivity.PUBLIC, "p", "wiki")
    trusted = row([{"to": value}], number=2)
    assert origin(value, rows=[trusted]) == "trusted"
    text = frame.replace("{}", value.upper() if upper else value)
    assert origin(value, rows=[trusted, row(text, wiki)]) == "untrusted"
    assert origin(value, goal=f"Use {value} please", rows=[row(text, wiki)]) == "stated"

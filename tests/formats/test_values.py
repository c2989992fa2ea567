"""Values by type: what is found in a text, one spelling each, look-alikes apart, and hostile texts in bounded time."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.formats.values import Value, carried, exact, loose, names_an_id, needles, number, of_text, of_value

PLAIN = ("word", "pair")


def strong(text):
    return {value for value in of_text(text) if value.kind not in PLAIN}


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("Write to 'Ann.Lee+x@Example.COM'.", "address", "ann.lee+x@example.com"),
        ("see <https://Pay.example:8443/a?b=1>, now", "url", "pay.example:8443/a?b=1"),
        ("see https://ann@pay.example/", "host", "pay.example"),
        ("visit www.shop.example/now today", "url", "www.shop.example/now"),
        ("IBAN: DE89 3704 0044 0532 0130 00 please", "account", "de89370400440532013000"),
        ("to UK12345678901234567890 by noon", "account", "uk12345678901234567890"),
        ("IBAN 0123456789", "account", "0123456789"),
        ("card 4111 1111 1111 1111.", "account", "4111111111111111"),
        ("the file with ID '13' from", "id", "13"),
        ("invoice no. 17, please", "id", "17"),
        ("ticket #4", "id", "4"),
        ("set it to '1j1l-2k3j'", "id", "1j1l-2k3j"),
        ("ref INV-2024-001", "id", "inv-2024-001"),
        ("wire $30,000.50 now", "number", "30000.5"),
        ("12,50 Euro", "number", "12.5"),
        ("19.5% of it", "number", "19.5"),
        ("on 2024-05-20 at 10:00", "date", "2024-05-20"),
        ("on May 15th, 2024 or", "date", "2024-05-15"),
        ("the 3rd of June", "date", "--06-03"),
        ("at 1 PM sharp", "time", "13:00"),
        ("at 12:30 am", "time", "00:30"),
        ("read bill-december-2023.txt for me", "file", "bill-december-2023.txt"),
        ("in /srv/data/a.csv there", "file", "/srv/data/a.csv"),
    ],
)
def test_a_text_has(text, kind, value):
    assert Value(kind, value) in strong(text), strong(text)


@pytest.mark.parametrize(
    "text", ["at 10:00", "on 2024-05-20", "May 15th", "mail ann2134@x.example", "https://x.example/77"]
)
def test_what_is_part_of_a_moment_an_address_or_a_link_is_no_number(text):
    assert not [value for value in strong(text) if value.kind in ("number", "account")]


def test_prose_far_from_values_costs_no_value():
    text = "and so it goes " * 50 + "with ID '13' " + "and so on " * 50
    assert {v.text for v in strong(text)} == {"13"}
    assert Value("pair", "so it") in set(of_text(text))


@pytest.mark.parametrize(
    ("value", "name", "needed"),
    [
        ("2024-05-20 10:00", "start", {("date", "2024-05-20"), ("time", "10:00")}),
        ("13", "file_id", {("id", "13")}),
        ("13", "amount", {("number", "13")}),
        (13, "invoiceNumber", {("id", "13")}),
        (98.70, "amount", {("number", "98.7")}),
        ("1e5", "x", {("id", "1e5")}),
        ("A@B.example", "to", {("address", "a@b.example")}),
        ("https://B.example/X", "url", {("url", "b.example/x")}),
        ("DE89 3704 0044 0532 0130 00", "to", {("account", "de89370400440532013000")}),
        ("a.txt", "path", {("file", "a.txt")}),
        ("Spotify", "to", {("word", "spotify")}),
        ("!!!", "x", {("id", "!!!")}),
        (["a", True, None, {"id": 4, "n": 5}], "x", {("word", "a"), ("id", "4"), ("number", "5")}),
        ("   ", "x", set()),
    ],
)
def test_an_argument_needs(value, name, needed):
    assert {part for needle in needles(value, name) for part in needle} == needed


def test_a_phrase_is_needed_whole_and_in_order():
    (needle,) = needles("Dalton Street 12", "street")
    assert set(needle) <= set(of_text("at Dalton Street 12, New York"))
    assert not set(needle) <= set(of_text("Street 12, Dalton"))


@pytest.mark.parametrize(("name", "yes"), [("file_id", True), ("fileId", True), ("IBANNumber", True), ("paid", False), ("grid", False), ("", False)])  # fmt: skip
def test_which_names_are_of_identifiers(name, yes):
    assert names_an_id(name) is yes


def test_a_whole_field_is_its_own_value_and_what_is_in_it():
    assert {Value("id", "13"), Value("number", "13")} <= set(of_value("13", "x"))
    assert Value("id", "7") in set(of_value(7, "event_id")) and Value("id", "7") not in set(of_value(7, "amount"))
    assert not list(of_value(True)) and not list(of_value(None)) and not list(of_value({"a": 1}))
    assert number(float("inf")) == "nan" and number("+1,000.00") == "1000"


def test_what_a_text_carries_that_somebody_can_act_on():
    text = "Hi Ann, wire 5 to DE89370400440532013000, code 463820, see https://x.example, by 2024-05-20"
    assert {v.kind for v in carried(text)} >= {"account", "number", "url", "host"}
    assert not list(carried("Two more activities, by 2024-06-01 at 10:00, costs 5"))


@pytest.mark.parametrize(
    ("stated", "lookalike"),
    [
        ("paypal.example", "pаypаl.example"),
        ("ann@x.example", "ann\u200b@x.example"),
        ("café", "cafe\u0301\u0301"),
        ("x—y", "x-y"),
    ],
)
def test_what_looks_alike_is_not_alike(stated, lookalike):
    assert exact(stated) != exact(lookalike) and loose(stated) == loose(lookalike)


@given(st.text(max_size=200))
def test_spelling_twice_is_spelling_once(text):
    assert exact(exact(text)) == exact(text)
    assert loose(loose(text)) == loose(text)


@given(st.text(max_size=300), st.sampled_from(["x", "to", "file_id", "amount"]))
def test_no_text_is_too_odd(text, name):
    list(of_text(text)), list(of_value(text, name)), list(needles(text, name)), list(carried(text))


@pytest.mark.parametrize(
    "piece",
    ["a.", "1 ", "1-", "a@", "~/", "-", "a-", "AA11 1A1A ", "http://", "may 1 ", "'1", "id 1", "1,111", "@", "\u0301"],
)
def test_a_hostile_text_takes_bounded_time(piece):
    started = time.process_time()
    list(of_text((piece * 65_536)[:65_536]))
    assert time.process_time() - started < 8

"""What people see in a terminal: where values came from, and nothing that a terminal acts on or an eye misses."""

from __future__ import annotations

import pytest

from remit.cli.output import Output, paint, plain
from remit.domain.approval import Came
from remit.web.shapes_approvals import says


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("ann@x.example", "ann@x.example"),
        ("Grüße, Ωmega", "Grüße, Ωmega"),
        ("two\nlines", "two\nlines"),
        ("ann\u200b@x.example", "ann\\u200b@x.example"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("\x1b[8mhidden\x1b[0m", "\\x1b[8mhidden\\x1b[0m"),
        ("\x9b2J\r\b", "\\x9b2J\\r\\x08"),
    ],
)
def test_what_cannot_be_seen_is_spelled_out(text, seen):
    assert plain(text) == seen


def test_our_own_colours_stay(monkeypatch):
    monkeypatch.setattr("remit.cli.output.colour", lambda: True)
    assert plain(paint("hold") + "\x1b[31m") == paint("hold") + "\\x1b[31m"


def test_every_way_out_is_plain(capsys):
    out = Output(as_json=False, quiet=False)
    out.one({"a": "\x1b[2J"})
    out.one({}, "\x1b[2J")
    out.say("\x1b[2J")
    out.many([{"a": "\x1b[2J"}], {"A": "a"}, empty="")
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out + shown.err and shown.out.count("\\x1b[2J") == 3


@pytest.mark.parametrize(
    ("came", "words"),
    [
        (Came("x", "stated", ("stated",)), "said by dana"),
        (Came("x", "trusted", ("crm", "stated")), "from crm"),
        (Came("x", "invented"), "made up by the agent"),
        (Came("x", "untrusted", ("inbox",)), "from inbox, where anybody could have written it"),
        (Came("x", "untrusted"), "looks like what was said, and is not"),
    ],
)
def test_a_person_who_is_asked_sees_where_each_value_came_from(came, words):
    assert says(came, "dana", "frank") == words
    assert says(Came("x", "stated"), "dana", "dana") == "you said this"

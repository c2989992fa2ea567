"""What people see in a terminal: where values came from, and nothing that a terminal acts on or an eye misses."""

from __future__ import annotations

import json

import pytest

from remit.cli.output import Output, paint, plain
from remit.cli.people import story


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


def test_a_person_who_is_asked_sees_where_each_value_came_from():
    arguments = {"to": "eve@x.example", "amount": 5, "for": "Ann", "place": "Rome", "like": "аnn", "body": "hi"}
    origins = [
        {"argument": "to", "origin": "untrusted", "sources": ["inbox"]},
        {"argument": "amount", "origin": "invented", "sources": []},
        {"argument": "for", "origin": "stated", "sources": ["stated"]},
        {"argument": "place", "origin": "trusted", "sources": ["crm", "stated"]},
        {"argument": "like", "origin": "untrusted", "sources": []},
    ]
    shown = {
        "sentence": "s",
        "arguments": json.dumps(arguments),
        "resource": "r",
        "effect": "e",
        "goal": "g",
        "why": ["w"],
    }
    found = {"state": "pending", "shown": {**shown, "origins": origins}, "needs": [{"quorum": 1, "approvers": ["x"]}],
             "expires_at": 1, "digest": "d", "answers": [], "initiator": "person:dana"}  # fmt: skip
    lines = story(found).splitlines()
    assert "  to           eve@x.example  (from inbox, where anybody could have written it)" in lines
    for words in ("(made up by the agent)", "(said by dana)", "(from crm)", "(looks like what was said, and is not)"):
        assert any(line.endswith(words) for line in lines), words
    assert "  body         hi" in lines

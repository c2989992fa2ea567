"""Catalogue files: what is right reads; what is wrong names file, line, and the nearest thing that would be right."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.cli.catalogue import read_folder
from remit.domain.errors import BadCatalogue
from remit.domain.flow import Sensitivity, Trust
from remit.domain.identity import Tier
from remit.domain.tool import Effect
from remit.formats.catalogue import digest, parse
from tests.world import FILES, changed

EXAMPLE = Path(__file__).parents[2] / "examples" / "billing"


def test_the_example_reads():
    catalogue = parse(read_folder(EXAMPLE))
    tool = catalogue.tools["payments.send"]
    assert (tool.effect, tool.output_trust, tool.sensitivity) == (
        Effect.IRREVERSIBLE,
        Trust.TRUSTED,
        Sensitivity.CONFIDENTIAL,
    )
    purpose = catalogue.purposes["pay-invoices"]
    assert purpose.max_duration == 900_000
    assert purpose.grants[1].between == {"amount": (Decimal("0.01"), Decimal(500))}
    assert catalogue.agents["invoice-bot"].tier is Tier.ASSISTANT
    assert len(purpose.revision) == 16


def test_a_digest_names_the_files_whatever_their_order():
    assert digest(FILES) == digest(dict(reversed(FILES.items())))
    assert digest(FILES) != digest(changed(tools__list_dot_toml="x"))


AGENT, TOOL, PURPOSE = "agents/bot.toml", "tools/pay.toml", "purposes/pay.toml"
WRONG = [
    (TOOL, 'effect = "irreversible"', 'effct = "irreversible"', 2, "unknown key 'effct'|'effect' is missing"),
    (TOOL, 'effect = "irreversible"', 'effect = "irreversble"', 2, "did you mean 'irreversible'"),
    (TOOL, 'effect = "irreversible"', "effect = 5", 2, "must be text"),
    (TOOL, 'type = "integer"', 'type = "int"', 7, "did you mean 'integer'"),
    (TOOL, 'type = "integer"', 'type = "integer"\nminimun = 1', 8, "did you mean 'minimum'"),
    (TOOL, "{invoice}", "{invoce}", 3, "did you mean 'invoice'"),
    (TOOL, "{invoice}", "../{invoice}", 3, "not a path"),
    (TOOL, 'resource = "', 'pin = "sha256:short"\nresource = "', 3, "64 hex"),
    (TOOL, 'resource = "', 'matters = ["amont"]\nresource = "', 3, "did you mean 'amount'"),
    (TOOL, 'resource = "', 'says = "pay {amont}"\nresource = "', 3, "did you mean 'amount'"),
    (TOOL, 'resource = "', 'egress = "yes"\nresource = "', 3, "true or false"),
    (TOOL, 'resource = "', "schema = '{}'\nresource = \"", 3, "not both"),
    (TOOL, 'resource = "', 'name = "other"\nresource = "', 3, "must be 'pay'"),
    (TOOL, "[arguments.customer]", "[arguments.customer]\nrequired = false", 4, "must be required"),
    (AGENT, 'owner = "olga"', 'owner = "olgaa"', 1, "did you mean 'olga'"),
    (AGENT, 'owner = "olga"', 'owner = "olga"\ntier = "robot"', 2, "known: assistant, autonomous"),
    (AGENT, 'method = "join_token"', 'method = "oidc"', 3, "oidc needs"),
    (AGENT, 'method = "join_token"', 'method = "join_token"\nfederation = "x"', 3, "takes neither"),
    (AGENT, '[[attestations]]\nmethod = "join_token"', "", 1, "at least one"),
    (PURPOSE, '"15m"', '"15 minutes"', 4, "must be a duration"),
    (PURPOSE, '"15m"', '"0s"', 4, "one second to 30 days"),
    (PURPOSE, '"15m"', "15", 4, "duration"),
    (PURPOSE, "max_calls = 5", "max_calls = 0", 5, "must be 1 to"),
    (PURPOSE, "max_calls = 5", "max_calls = true", 5, "whole number"),
    (PURPOSE, 'agents = ["bot"]', 'agents = ["bott"]', 3, "did you mean 'bot'"),
    (PURPOSE, 'agents = ["bot"]', 'agents = "bot"', 3, "list of texts"),
    (PURPOSE, 'tool = "pay"', 'tool = "pya"', 14, "did you mean 'pay'"),
    (PURPOSE, "{customer}/*", "{custmer}/*", 15, "did you mean 'customer'"),
    (PURPOSE, "{customer}/*", "{customer}/**/x", 15, "segments"),
    (PURPOSE, "where.amount", "where.amont", 16, "did you mean 'amount'"),
    (PURPOSE, '["0", "500"]', '["500", "0"]', 16, "two decimals"),
    (PURPOSE, '["0", "500"]', '["a", "b"]', 16, "two decimals"),
    (PURPOSE, "{ between =", "{ betwen =", 16, "needs one of"),
    (PURPOSE, 'pattern = "[a-z]+"', 'pattern = "["', 9, "not a regular expression"),
    (PURPOSE, 'issuer = "pg"', 'issuer = "pgx"', 23, "did you mean 'pg'"),
    (PURPOSE, 'name = "secret"', 'name = "db"', 22, "there twice"),
    ("remit.toml", "[people.gina]", "[people.bot]", 1, "both a person and an agent"),
    ("remit.toml", "[people.gina]", "[people.Gina]", 6, "not a name"),
    ("remit.toml", "[people.gina]", "[peple.gina]", 6, "did you mean 'people'"),
    ("remit.toml", "[people.olga]", "[people.olga]\nage = 5", 9, "unknown key 'age'"),
    ("remit.toml", "[people.dana]", "[people.dana", 2, "not TOML"),
    ("remit.toml", "[issuers.pg]", '[federations.x]\nissuer = "http://x"\naudience = "a"\n[issuers.pg]', 10, "https"),
]


@pytest.mark.parametrize(("file", "right", "wrong", "line", "words"), WRONG, ids=lambda v: str(v)[:30])
def test_what_is_wrong_is_named(file, right, wrong, line, words):
    assert right in FILES[file]
    with pytest.raises(BadCatalogue) as refused:
        parse({**FILES, file: FILES[file].replace(right, wrong, 1)})
    found = refused.value
    assert found.file == file
    assert any(word in found.problem for word in words.split("|")), found.problem
    assert abs(found.line - line) <= 1, (found.line, found.problem)


HANDS_ON = """max_depth = 1
[[delegations]]
agents = ["other"]
purposes = ["asked"]
"""


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ("", "", "is an agent of none of asked"),
        ('"other"', '"othre"', "did you mean 'other'"),
        ('"asked"', '"askd"', "did you mean 'asked'"),
        ("max_depth = 1\n", "", "go together"),
        ("max_depth = 1", "max_depth = 17", "at most 16|0 to 16"),
        (HANDS_ON[HANDS_ON.index("[[") :], "", "go together"),
        ("agents", "agent", "did you mean 'agents'"),
        ("purposes", "fan_out = 0\npurposes", "must be 1 to"),
    ],
)
def test_what_is_wrong_with_a_delegation_is_named(right, wrong, words):
    top, _, rows = HANDS_ON.replace(right, wrong, 1).partition("[[")
    text = FILES["purposes/pay.toml"].replace("max_calls = 5\n", "max_calls = 5\n" + top, 1) + "[[" * bool(rows) + rows
    files = {**FILES, "purposes/pay.toml": text}
    if right:
        files["purposes/asked.toml"] = FILES["purposes/asked.toml"].replace('["bot"]', '["bot", "other"]')
    with pytest.raises(BadCatalogue) as refused:
        parse(files)
    assert any(word in refused.value.problem for word in words.split("|")), refused.value.problem


@pytest.mark.parametrize(
    "files",
    [
        {"../etc/passwd": ""},
        {"agents/x.txt": ""},
        {"agents/UPPER.toml": "owner='x'"},
        {"agents/a/b.toml": ""},
        {f"policies/{i}.cedar": "" for i in range(2100)},
        {"tools/x.toml": "#" * 300_000},
        {"policies/a.cedar": "/" * 5_000_000},
        {"tools/x.toml": "\0"},
        {"tools/x.toml": "a = " + "[" * 5000},
    ],
    ids=lambda f: next(iter(f))[:20],
)
def test_what_is_not_a_catalogue_is_refused(files):
    with pytest.raises(BadCatalogue):
        parse({**FILES, **files})


@given(st.sampled_from(sorted(FILES)), st.text(max_size=60))
def test_any_text_is_a_catalogue_or_refused(file, text):
    with contextlib.suppress(BadCatalogue):
        parse({**FILES, file: text})


@given(st.sampled_from([f for f in sorted(FILES) if f.endswith(".toml")]), st.data())
def test_any_edit_is_a_catalogue_or_refused(file, data):
    text = FILES[file]
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 12))
    new = data.draw(st.sampled_from(['"', "[", "]", "=", "x", "{", "}", "\n", "'", "0", "-", "true", ""]))
    with contextlib.suppress(BadCatalogue):
        parse({**FILES, file: text[:at] + new + text[at + cut :]})

"""Files are changed as a person would: the rest stays to the byte, and what comes out says what was asked for."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.domain.errors import BadCatalogue
from remit.formats.toml_edit import edited

FILE = """# What this is for.
owner = "olga"   # she asked for it
agents = ["bot", "lead"]  # two
max_calls = 100 # plenty

# Reading is harmless.
[[grants]]
tool = "list"

# Paying is not.
[[grants]]
tool = "pay"
[grants.where]
amount = { between = ["0", "500"] }

# Mail goes out.
[[grants]]
tool = "mail"
"""


def test_comments_stay_with_what_they_are_about():
    found = edited("p", FILE, {"agents": ["bot"], "max_calls": 8}, {"grants": {1}})
    assert (
        found
        == """# What this is for.
owner = "olga"   # she asked for it
agents = ["bot"]  # two
max_calls = 8 # plenty

# Reading is harmless.
[[grants]]
tool = "list"

# Mail goes out.
[[grants]]
tool = "mail"
"""
    )


def test_a_key_that_was_not_there_is_put_where_it_belongs():
    found = edited("p", FILE, {"max_sensitivity": "public"}, {})
    assert tomllib.loads(found) == {**tomllib.loads(FILE), "max_sensitivity": "public"}
    assert found.replace('max_sensitivity = "public"\n', "").split() == FILE.split()


@pytest.mark.parametrize(
    "text",
    [
        'grants = [{ tool = "list" }, { tool = "pay" }]\n',
        '[[ grants ]]\ntool = "list"\n[["grants"]]\ntool = "pay"\n',
        '[[grants]]\ntool = """list\n[[grants]]\n"""\n[[grants]]\ntool = "pay"\n',
        '[[grants]]\r\ntool = "list"\r\n[[grants]]\r\ntool = "pay"',
        '[[grants]]\ntool = "list"\n[grants.where]\nx = 1\n[other]\n[[grants]]\ntool = "pay"\n',
    ],
)
@pytest.mark.parametrize("number", [0, 1])
def test_however_it_is_written(text, number):
    wanted = tomllib.loads(text)
    del wanted["grants"][number]
    assert tomllib.loads(edited("p", text, {}, {"grants": {number}})) == wanted


def test_what_cannot_be_done_exactly_is_not_done():
    with pytest.raises(BadCatalogue):
        edited("p", FILE, {"max_calls": float("nan")}, {})


@given(st.lists(st.sampled_from(["list", "pay", "mail"]), min_size=1, max_size=6), st.data())
def test_what_comes_out_says_what_was_asked_for(tools, data):
    text = "max_calls = 5\n" + "".join(f'# {n}\n[[grants]]\ntool = "{tool}"\n\n' for n, tool in enumerate(tools))
    gone = data.draw(st.sets(st.integers(0, len(tools) - 1)))
    found = tomllib.loads(edited("p", text, {"max_calls": 1}, {"grants": gone}))
    assert [one["tool"] for one in found.get("grants", [])] == [t for n, t in enumerate(tools) if n not in gone]

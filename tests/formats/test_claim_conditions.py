"""Conditions on claims: absent is not any, types count, a dot in a name is only a dot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.domain.errors import BadCatalogue
from remit.formats.catalogue import parse
from remit.formats.claim_conditions import flatten, look_up, shown, unmet
from tests.world import changed

names = st.text("abc.*/~\"' é", min_size=1, max_size=6)
leaves = st.one_of(st.booleans(), st.integers(-3, 3), st.text("ab", min_size=1, max_size=3))
conditions = st.recursive(
    st.dictionaries(names, leaves, min_size=1, max_size=4),
    lambda inner: st.dictionaries(names, st.one_of(leaves, inner), min_size=1, max_size=4),
    max_leaves=12,
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(-3, 3), st.text("ab", max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(names, inner, max_size=3)),
    max_leaves=8,
)
claims = st.dictionaries(names, values, max_size=5)


@given(conditions, claims)
def test_conditions_hold_exactly_when_every_one_equals_its_claim(wanted, said):
    every = list(flatten(wanted))
    same = all(type(look_up(said, p)) is type(v) and look_up(said, p) == v for p, v in every)
    assert (unmet(wanted, said) == []) is same


@given(conditions, st.data())
def test_claims_as_wanted_meet_them_and_one_taken_away_does_not(wanted, data):
    assert unmet(wanted, wanted) == []
    path, _ = data.draw(st.sampled_from(list(flatten(wanted))))

    def without(claims, path):
        first, *rest = path
        left = {k: v for k, v in claims.items() if k != first}
        return {**left, first: without(claims[first], rest)} if rest else left

    (missed,) = unmet(wanted, without(wanted, path))
    assert missed.startswith(shown(path)) and missed.endswith("saw nothing")


@given(st.lists(names, min_size=1, max_size=3).map(tuple), st.lists(names, min_size=1, max_size=3).map(tuple))
def test_two_claims_are_never_shown_alike(one, other):
    assert (shown(one) == shown(other)) is (one == other)


@pytest.mark.parametrize(
    ("wanted", "seen", "holds"),
    [
        (True, True, True),
        (True, 1, False),
        (True, "true", False),
        (1, True, False),
        (1, 1.0, False),
        (1, "1", False),
        ("1", 1, False),
        (0, False, False),
        ("", "", True),
        ("a*", "a", True),
        ("a*", "ab", True),
        ("a*", "A", False),
        ("a*", ["a"], False),
        ("*", "a", False),
        ("a", "a ", False),
        ("é", "e\u0301", False),
        ("a", None, False),
        ({"b": 1}, {"b": 1}, True),
        ({"b": 1}, [{"b": 1}], False),
        ({"b": 1}, '{"b": 1}', False),
    ],
)
def test_what_equals_what(wanted, seen, holds):
    assert (unmet({"a": wanted}, {"a": seen}) == []) is holds


def test_no_conditions_match_nobody():
    assert unmet({}, {"a": 1}) and unmet({"a": {}}, {"a": {}})


def test_what_is_seen_is_trimmed_and_on_one_line():
    (line,) = unmet({"a": "b"}, {"a": "x\n\x1b[31m" + "y" * 10_000})
    assert len(line) < 200 and "\n" not in line and "\x1b" not in line


RULE = 'owner = "olga"\n[[attestations]]\nmethod = "oidc"\nfederation = "ci"\n'


def catalogue(claims):
    files = changed(agents__ci_dot_toml=RULE + claims)
    files["remit.toml"] += '\n[federations.ci]\nissuer = "https://ci.example"\naudience = "a"\n'
    return files


def test_a_table_of_claims_reads_as_it_is_written():
    text = '[attestations.claims]\nn = 5\nyes = true\n"a.b".c = "x"\n[attestations.claims."k.io".inner]\nname = "y*"\n'
    (rule,) = parse(catalogue(text)).agents["ci"].attestations
    assert rule.claims == {"n": 5, "yes": True, "a.b": {"c": "x"}, "k.io": {"inner": {"name": "y*"}}}
    (other,) = parse(catalogue(text.replace("n = 5", "n = 6"))).agents["ci"].attestations
    assert rule.rule != other.rule


@pytest.mark.parametrize(
    ("claims", "line", "words"),
    [
        ('claims = { a = "*" }', 5, "ends in '*' after something"),
        ('claims = { a = "x*y" }', 5, "ends in '*' after something"),
        ('claims = { a = "" }', 5, "exact text"),
        ("claims = { a = 1.5 }", 5, "must be a text"),
        ("claims = { a = 2026-01-01 }", 5, "must be a text"),
        ('claims = { a = ["x"] }', 5, "must be a text"),
        ("claims = { a = {} }", 5, "empty table"),
        ("claims = {}", 3, "at least one condition"),
        ('[attestations.claims]\nok = "x"\n[attestations.claims."k.io"]\nname = "*"', 8, "after something"),
        ("[attestations.claims]\n" + ".".join("abcdefghi") + ' = "x"', 5, "8 tables deep"),
        ("[attestations.claims]\n" + "\n".join(f"c{i} = 1" for i in range(65)), 5, "more than 64"),
        ('claims = { a = "' + "x" * 5000 + '" }', 5, "longer than"),
    ],
    ids=lambda v: str(v)[:30],
)
def test_a_table_of_claims_that_cannot_be_meant(claims, line, words):
    with pytest.raises(BadCatalogue) as refused:
        parse(catalogue(claims))
    assert words in refused.value.problem and abs(refused.value.line - line) <= 1, refused.value

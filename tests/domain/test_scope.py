"""The algebra, by laws and by examples: laws alone pass for a wrong order."""

from decimal import Decimal

import pytest
from hypothesis import given, settings

from remit.domain.errors import BadField
from remit.domain.flow import Sensitivity
from remit.domain.origin import Origin, Traced
from remit.domain.scope import NOTHING, Attempt, Between, Bound, From, Grant, Matching, OneOf, Pattern, Scope, meet
from tests.domain.strategies import attempts, grants, patterns, resources, scopes


@settings(max_examples=400)
@given(scopes, scopes, attempts)
def test_the_meet_permits_exactly_what_both_permit(a, b, x):
    assert (a & b).permits(x) == (a.permits(x) and b.permits(x))


@given(scopes, scopes, scopes, attempts)
def test_the_meet_is_a_meet(a, b, c, x):
    assert (a & b).permits(x) == (b & a).permits(x)
    assert ((a & b) & c).permits(x) == (a & (b & c)).permits(x)
    assert (a & a).permits(x) == a.permits(x)
    assert meet([a, b, c]).permits(x) == all(s.permits(x) for s in (a, b, c))


@settings(max_examples=400)
@given(patterns, patterns, resources)
def test_two_patterns_meet_in_what_both_cover(a, b, resource):
    both = a & b
    assert (both is not None and both.covers(resource)) == (a.covers(resource) and b.covers(resource))


@given(grants, grants)
def test_grants_of_different_tools_never_meet(a, b):
    assert ((a & b) is None) or a.tool == b.tool


@given(attempts)
def test_nothing_permits_nothing(x):
    assert not NOTHING.permits(x)
    assert not meet([]).permits(x)


@pytest.mark.parametrize(
    ("pattern", "resource", "covered"),
    [
        ("repo/a", "repo/a", True),
        ("repo/a", "repo/ab", False),
        ("repo/a", "repo/a/b", False),
        ("repo/a/**", "repo/a/b", True),
        ("repo/a/**", "repo/a", True),
        ("repo/a/**", "repo/ab", False),
        ("repo/*", "repo/a", True),
        ("repo/*", "repo/a/b", False),
        ("repo/*", "repo", False),
        ("**", "anything/at/all", True),
        ("repo/A", "repo/a", False),
    ],
)
def test_a_pattern_covers(pattern, resource, covered):
    assert Pattern.parse(pattern).covers(resource) is covered


@pytest.mark.parametrize("text", ["", "a//b", "a/", "/a", "a/**/b", "a/b*", "a/../b", "./a", "x" * 1025])
def test_an_ill_formed_pattern_is_refused(text):
    with pytest.raises(BadField):
        Pattern.parse(text)


@pytest.mark.parametrize("text", ["a", "a/*", "a/**", "*/b/**"])
def test_a_pattern_is_written_as_it_was_read(text):
    assert str(Pattern.parse(text)) == text


@pytest.mark.parametrize(
    ("constraint", "value", "permitted"),
    [
        (OneOf(frozenset({"1"})), 1, True),
        (OneOf(frozenset({"1"})), True, False),
        (OneOf(frozenset({"true"})), True, True),
        (OneOf(frozenset({"1"})), 1.0, False),
        (OneOf(frozenset({"a"})), ["a"], False),
        (OneOf(frozenset({"None", "null"})), None, False),
        (Between(Decimal(0), Decimal(500)), "500", True),
        (Between(Decimal(0), Decimal(500)), "500.01", False),
        (Between(Decimal(0), Decimal(500)), -1, False),
        (Between(Decimal(0), Decimal(500)), "1e2", False),
        (Between(Decimal(0), Decimal(500)), "NaN", False),
        (Between(Decimal(0), Decimal(500)), "٣", False),
        (Between(Decimal(0), Decimal(500)), 12.5, False),
        (Between(Decimal(0), Decimal(500)), True, False),
        (Between(Decimal(0), Decimal(500)), "9" * 41, False),
        (Matching("[a-z]+"), "abc", True),
        (Matching("[a-z]+"), "abc\n", False),
        (Matching("[a-z]+"), "abc1", False),
        (Matching(".*"), 1, False),
        (Matching("a*"), "a" * 4097, False),
    ],
)
def test_a_constraint_permits(constraint, value, permitted):
    assert constraint.permits(value) is permitted


def test_an_absent_argument_satisfies_nothing():
    attempt = Attempt("send", "a/1", {"m": "x"}, Sensitivity.INTERNAL, "production", 1)
    assert not Bound("n", Matching(".*")).permits(attempt)
    assert not Bound("n", From(frozenset({"stated"}))).permits(attempt)


@pytest.mark.parametrize(
    ("traced", "permitted"),
    [
        (Traced(Origin.STATED, ("stated",)), True),
        (Traced(Origin.TRUSTED, ("crm",)), True),
        (Traced(Origin.TRUSTED, ("crm", "stated")), True),
        (Traced(Origin.TRUSTED, ("crm", "wiki")), False),
        (Traced(Origin.UNTRUSTED, ("crm",)), False),
        (Traced(Origin.INVENTED), False),
        (None, False),
    ],
)
def test_a_value_must_come_from_where_the_purpose_says(traced, permitted):
    bound = Bound("to", From(frozenset({"stated", "crm"})))
    known = {"to": traced} if traced else {}
    attempt = Attempt("send", "a/1", {"to": "x"}, Sensitivity.INTERNAL, "production", 1, known)
    assert bound.permits(attempt) is permitted
    scope = Scope(
        frozenset({Grant("send", Pattern.parse("**"), frozenset({bound}))}),
        Sensitivity.INTERNAL,
        frozenset({"production"}),
        9,
    )
    assert scope.sourced("send") == {"to"} and not scope.sourced("read")
    assert scope.permits(attempt) is permitted


SCOPE = Scope(
    frozenset({Grant("send", Pattern.parse("a/*"), frozenset({Bound("n", OneOf(frozenset({"1"})))}))}),
    Sensitivity.INTERNAL,
    frozenset({"production"}),
    100,
)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        ({"at": 100}, "its time is over"),
        ({"environment": "staging"}, "environment staging"),
        ({"sensitivity": Sensitivity.RESTRICTED}, "above its ceiling"),
        ({"tool": "read"}, "tool read"),
        ({"resource": "b/1"}, "resource b/1"),
        ({"arguments": {"n": 2}}, "n is not what"),
    ],
)
def test_being_outside_is_said_in_words(change, words):
    inside = {
        "tool": "send",
        "resource": "a/1",
        "arguments": {"n": 1},
        "sensitivity": Sensitivity.INTERNAL,
        "environment": "production",
        "at": 99,
    }
    said = SCOPE.outside(Attempt(**{**inside, **change}))
    assert (words in said) if words else said == ""

"""Random values of the domain, small enough to collide often."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import strategies as st

from remit.domain.flow import Label, Sensitivity, Trust
from remit.domain.origin import Origin, Traced
from remit.domain.scope import Attempt, Between, Bound, Constraint, From, Grant, Matching, OneOf, Pattern, Scope

names = st.sampled_from(["a", "b", "ab"])
tools = st.sampled_from(["read", "send"])
environments = st.sampled_from(["production", "staging"])
sensitivities = st.sampled_from(list(Sensitivity))
segments = st.sampled_from(["a", "b", "ab", "*"])
patterns = st.builds(Pattern, st.lists(segments, min_size=1, max_size=3).map(tuple), st.booleans())
resources = st.lists(names, min_size=1, max_size=4).map("/".join)
values = st.sampled_from(["1", "2", "x", 1, 2, 3, True, None, "1.5"])
arguments = st.dictionaries(st.sampled_from(["n", "m"]), values, max_size=2)
constraints: st.SearchStrategy[Constraint] = st.one_of(
    st.frozensets(st.sampled_from(["1", "2", "x", "true"]), max_size=3).map(OneOf),
    st.builds(Between, st.integers(0, 2).map(Decimal), st.integers(1, 3).map(Decimal)),
    st.sampled_from([Matching("[0-9]+"), Matching("x|1"), Matching("")]),
    st.frozensets(st.sampled_from(["stated", "crm"]), max_size=2).map(From),
)
bounds = st.builds(Bound, st.sampled_from(["n", "m"]), constraints)
grants = st.builds(Grant, tools, patterns, st.frozensets(bounds, max_size=2))
scopes = st.builds(
    Scope,
    st.frozensets(grants, max_size=4),
    sensitivities,
    st.frozensets(environments, max_size=2),
    st.integers(0, 5),
)
traced = st.builds(Traced, st.sampled_from(list(Origin)), st.sampled_from([(), ("stated",), ("crm",), ("crm", "wiki")]))
attempts = st.builds(
    Attempt,
    tools,
    resources,
    arguments,
    sensitivities,
    environments,
    st.integers(0, 5),
    st.dictionaries(st.sampled_from(["n", "m"]), traced, max_size=2),
)
labels = st.builds(
    Label,
    st.sampled_from(list(Trust)),
    sensitivities,
    st.frozensets(st.integers(0, 40).map(str), max_size=40).map(lambda s: (Label() | Label(sources=tuple(s))).sources),
)

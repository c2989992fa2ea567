"""Origins: what is worse than what, and the words for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.domain.decision import Deny, Hold, Permit, Reason, Requirement, Why, watched
from remit.domain.flow import Label, Sensitivity, Trust
from remit.domain.identity import Tier
from remit.domain.origin import DIGEST, NOTHING_TRACED, Observation, Origin, Provenance, Traced, word, worst
from remit.domain.purpose import Profile
from remit.domain.tool import Effect, Tool

found = st.builds(
    Traced, st.sampled_from(list(Origin)), st.sets(st.sampled_from("abc")).map(lambda s: tuple(sorted(s)))
)


@given(found, found, found)
def test_values_together_are_as_bad_as_the_worst_of_them(a, b, c):
    assert a | b == b | a and (a | b) | c == a | (b | c) and a | a == a
    assert (a | b).origin == max(a.origin, b.origin)
    assert worst([a, b, c]) == a | b | c


def test_the_order_is_by_harm():
    assert Origin.STATED < Origin.TRUSTED < Origin.INVENTED < Origin.UNTRUSTED
    assert worst([]) is None and word(None) == "none" and word(Traced(Origin.INVENTED)) == "invented"
    assert NOTHING_TRACED.worst is None
    assert word(Provenance({"a": Traced(Origin.STATED), "b": Traced(Origin.UNTRUSTED)}).worst) == "untrusted"


def test_an_observation_says_what_it_means_and_is_forgotten():
    row = Observation(
        "tsk_1", 7, "mail", Trust.UNTRUSTED, Sensitivity.CONFIDENTIAL, 1, b"a" * DIGEST, b"b" * DIGEST * 2
    )
    assert (row.key, row.values) == ("tsk_1/000007", 3)
    assert row.label() == Label(Trust.UNTRUSTED, Sensitivity.CONFIDENTIAL, ("mail",))
    assert row.forgotten().values == 0 and row.forgotten().label() == row.label()


@pytest.mark.parametrize(
    ("profile", "tier", "counts"),
    [
        (Profile.BY_TIER, Tier.ASSISTANT, Profile.BALANCED),
        (Profile.BY_TIER, Tier.AUTONOMOUS, Profile.GUARDED),
        (Profile.WATCH, Tier.AUTONOMOUS, Profile.WATCH),
        (Profile.GUARDED, Tier.ASSISTANT, Profile.GUARDED),
    ],
)
def test_autonomous_agents_are_guarded_unless_the_purpose_says_otherwise(profile, tier, counts):
    assert profile.of(tier) is counts


def tool(name="mail.send", **more):
    return Tool(name, more.pop("title", ""), Effect.WRITE, Sensitivity.INTERNAL, "production", name, **more)


def test_by_its_schema_everything_matters_but_flags_choices_wording_and_moments():
    properties = {
        "to": {"type": "string"},
        "amount": {"type": "number"},
        "body": {"type": "string"},
        "email_subject": {"type": "string"},
        "urgent": {"type": "boolean"},
        "kind": {"enum": ["a", "b"]},
        "when": {"type": "string", "format": "date-time"},
        "start_date": {"type": "string"},
        "odd": True,
    }
    assert tool(schema={"properties": properties}).decisive() == ("to", "amount", "odd")
    assert tool(schema={"properties": properties}, matters=("body",)).decisive() == ("body",)
    assert tool(schema={"properties": properties}, matters=()).decisive() == ()
    assert tool(schema={}).decisive() == tool(schema={"properties": 1}).decisive() == ()


@pytest.mark.parametrize(
    ("words", "goal", "expected"),
    [
        ((), "Please send it to Ann", True),
        ((), "Sending is what I want", True),
        ((), "Summarise this page", False),
        (("pay", "give back"), "Pay the bill", True),
        (("pay", "give back"), "Could you give it back?", True),
        (("pay", "give back"), "give it to her", False),
        (("pay",), "Payments of last month", True),
        (("pay",), "Prepay it", False),
        (("überweis",), "Bitte ÜBERWEISE 5 Euro", True),
    ],
)
def test_a_goal_that_needs_a_tool_has_its_words(words, goal, expected):
    assert tool(words=words).plausible(goal) is expected


def test_a_tool_that_nothing_tells_is_never_unexpected():
    assert tool(name="x.do").plausible("anything")


def test_watching_lifts_what_policies_hold_or_forbid_and_nothing_else():
    held = Hold((Why(Reason.NEEDS_APPROVAL, "x"),), (Requirement(("a",)),))
    for lifted in (held, Deny((Why(Reason.POLICY_FORBIDS, "x"),))):
        found = watched(lifted)
        assert isinstance(found, Permit)
        assert [why.reason for why in found.why] == [Reason.WATCHED, lifted.why[0].reason]
    permit = Permit((Why(Reason.WITHIN_POLICY, "x"),))
    for other in (permit, Deny((Why(Reason.POLICY_ERROR, "x"),)), Deny((Why(Reason.POLICY_SILENT, "x"),))):
        assert watched(other) is other

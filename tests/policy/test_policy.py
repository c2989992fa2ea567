"""The policy decision point: fail closed, exact memory, two looks, words for people."""

from __future__ import annotations

import json
from dataclasses import replace

import cedarpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.domain.decision import Deny, Facts, Hold, Permit, Requirement, word
from remit.domain.errors import BadCatalogue, BadPolicy
from remit.domain.flow import Sensitivity
from remit.domain.tool import Effect, Tool
from remit.policy import compile_bundle, default_policy_cases, parse_cases, run_cases
from remit.policy.cases import facts_of

SCHEMA = {
    "properties": {
        "customer": {"type": "string"},
        "invoice": {"type": "integer"},
        "amount": {"type": "string", "format": "decimal"},
        "fast": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "deep": {"type": "object"},
        "ratio": {"type": "number"},
    },
    "required": ["customer"],
}


def tool(name, effect=Effect.READ, environment="production", *, egress=False, schema=None):
    return Tool(name, name, effect, Sensitivity.INTERNAL, environment, name, egress=egress, schema=schema or {})


TOOLS = {
    "records.read": tool("records.read"),
    "records.update": tool("records.update", Effect.WRITE),
    "staging.update": tool("staging.update", Effect.WRITE, "staging"),
    "payments.send": tool("payments.send", Effect.IRREVERSIBLE),
    "mail.send": tool("mail.send", egress=True),
    "pay": tool("pay", schema=SCHEMA),
}
PERMIT = '@id("all") permit (principal, action, resource);'


def bundle(*policies, tools=TOOLS):
    return compile_bundle({"p.cedar": "\n".join(policies)}, tools, with_default=False)


def facts(name="pay", arguments=None, **context):
    entry = {"name": "x", "tool": name, "context": context}
    entry["arguments"] = {"customer": "acme"} if arguments is None else arguments
    return facts_of(entry, TOOLS)


def policies_of(decision):
    return [why.policy for why in decision.why]


def test_the_shipped_policy_does_what_its_own_tests_say():
    cases = parse_cases("default.cases.toml", default_policy_cases(), TOOLS)
    results = run_cases(compile_bundle({}, TOOLS), cases)
    assert [r for r in results if not r.ok] == [] and len(results) >= 12


def test_the_shipped_policy_stands_unless_its_file_is_replaced():
    assert len(compile_bundle({}, {}).policies) == 12
    assert len(compile_bundle({"policies/x.cedar": PERMIT}, {}).policies) == 13
    assert len(compile_bundle({"policies/default.cedar": PERMIT}, {}).policies) == 1


def test_nothing_permits_by_itself():
    assert word(bundle().verdict(facts())) == "deny"
    only_forbids = bundle('@id("f") forbid (principal, action, resource) when { context.calls > 5 };')
    assert [w.reason.value for w in only_forbids.verdict(facts()).why] == ["policy_silent"]


HOLD = '@id("h") @approvers("finance") @says("{tool} by {agent} is large") forbid (principal, action, resource) when { context.calls > 5 } unless { context.approved };'  # fmt: skip


def test_held_is_when_an_approval_is_all_it_lacks():
    assert isinstance(bundle(PERMIT, HOLD).verdict(facts()), Permit)
    held = bundle(PERMIT, HOLD).verdict(facts(calls=6))
    assert isinstance(held, Hold)
    assert held.needs == (Requirement(("finance",), 1),)
    assert held.why[0].sentence == "pay by agent is large; finance must agree."


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        ('@id("x") forbid (principal, action, resource) when { context.calls > 5 };', ["x"]),
        ('@id("x") @approvers("finance") forbid (principal, action, resource) when { context.calls > 5 };', ["x"]),
        (
            '@id("x") forbid (principal, action, resource) when { context.calls > 5 } unless { context.approved };',
            ["h", "x"],
        ),
    ],
)
def test_what_an_approval_does_not_lift_denies(extra, why):
    found = bundle(PERMIT, HOLD, extra).verdict(facts(calls=6))
    assert isinstance(found, Deny)
    assert policies_of(found) == why


def test_every_hold_must_be_answered():
    second = '@id("g") @approvers("security,owner") @quorum("2") forbid (principal, action, resource) unless { context.approved };'
    held = bundle(PERMIT, HOLD, second).verdict(facts(calls=6))
    assert isinstance(held, Hold)
    assert set(held.needs) == {Requirement(("finance",), 1), Requirement(("security", "owner"), 2)}
    assert "2 of security or agent's owner must agree" in " ".join(w.sentence for w in held.why)


def test_a_forbid_that_errors_denies():
    """Cedar skips it and would answer Allow: the trap of law 3."""
    overflow = '@id("o") forbid (principal, action == Remit::Action::"pay", resource) when { context.arguments has invoice && context.arguments.invoice * 9223372036854775807 > 5 };'  # fmt: skip
    found = bundle(PERMIT, overflow)
    assert isinstance(found.verdict(facts()), Permit)
    denied = found.verdict(facts(arguments={"customer": "acme", "invoice": 3}))
    assert [w.reason.value for w in denied.why] == ["policy_error"]
    # The control: plain Cedar does answer Allow.
    text = PERMIT + overflow
    request = {
        "principal": {"type": "Remit::Agent", "id": "agent"},
        "action": {"type": "Remit::Action", "id": "pay"},
        "resource": {"type": "Remit::Tool", "id": "pay"},
        "context": {"arguments": {"invoice": 3}},
    }
    assert cedarpy.is_authorized(request, text, []).allowed


@pytest.mark.parametrize(
    "broken",
    [
        {"context": {}},
        {"context": {**facts().context, "extra": 1}},
        {"context": {**facts().context, "approved": True}},
        {"context": {k: v for k, v in facts().context.items() if k != "trust"}},
        {"context": {**facts().context, "calls": "0"}},
        {"context": {**facts().context, "calls": True}},
        {"attributes": {}},
        {"attributes": {**facts().attributes, "egress": 0}},
        {"resource_type": "Nothing"},
        {"action": "unknown"},
        {"arguments": {}},
        {"arguments": {"customer": 5}},
        {"arguments": {"customer": "a", "invoice": 2**63}},
        {"arguments": {"customer": "a", "invoice": 1.5}},
        {"arguments": {"customer": "a", "invoice": True}},
        {"arguments": {"customer": "a", "amount": "1.23456"}},
        {"arguments": {"customer": "a", "amount": "1e5"}},
        {"arguments": {"customer": "a", "amount": True}},
        {"arguments": {"customer": "a", "fast": "yes"}},
        {"arguments": {"customer": "a", "tags": "x"}},
        {"arguments": {"customer": "a", "tags": [1]}},
    ],
    ids=str,
)
def test_a_fact_that_is_missing_unknown_or_mistyped_denies_even_after_a_permit(broken):
    found = bundle(PERMIT)
    assert isinstance(found.verdict(facts()), Permit)  # remembered
    denied = found.verdict(replace(facts(), **broken))
    assert isinstance(denied, Deny)
    assert [w.reason.value for w in denied.why] == ["policy_error"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("permit (principal, action, resource);", "needs an @id"),
        ('@id("Not An Id") permit (principal, action, resource);', "needs an @id"),
        (
            '@id("a") permit (principal, action, resource); @id("a") permit (principal, action, resource);',
            "ids are unique",
        ),
        ('@id("a") @foo("x") permit (principal, action, resource);', "unknown annotation @foo"),
        ('@id("a") @approvers("x") permit (principal, action, resource);', "on a forbid"),
        ('@id("a") @approvers("X Y") forbid (principal, action, resource);', "group names"),
        ('@id("a") @approvers("") forbid (principal, action, resource);', "group names"),
        ('@id("a") @quorum("2") forbid (principal, action, resource);', "beside @approvers"),
        ('@id("a") @approvers("x") @quorum("0") forbid (principal, action, resource);', "1 to 99"),
        ('@id("a") permit (principal == ?principal, action, resource);', "templates"),
        ('@id("a") permit (principal, action, resource) when { context.nope };', "nope"),
        ('@id("a") permit (principal, action, resource) when { resource.nope == "x" };', "nope"),
        ('@id("a") permit (principal, action, resource) when { context.calls == "x" };', "a"),
        ('@id("a") permit (principal, action == Remit::Action::"nothing", resource);', "nothing"),
        (
            '@id("a") permit (principal, action == Remit::Action::"pay", resource) when { context.arguments.invoice > 1 };',
            "invoice",
        ),
        (
            '@id("a") permit (principal, action == Remit::Action::"pay", resource) when { context.arguments.deep == 1 };',
            "deep",
        ),
        ("nonsense", "p.cedar"),
        ('@id("a") permit (principal, action, resource)', "p.cedar"),
        ("/" * 9_000_000, "over"),
    ],
    ids=lambda v: str(v)[:40],
)
def test_a_bundle_that_is_not_strictly_valid_is_refused(text, words):
    with pytest.raises(BadPolicy) as refused:
        bundle(text)
    assert words in refused.value.message
    assert "p.cedar" in refused.value.message or "over" in refused.value.message


def test_policies_see_typed_arguments():
    rules = bundle(
        PERMIT,
        '@id("a") forbid (principal, action == Remit::Action::"pay", resource) when { context.arguments has amount && context.arguments.amount.greaterThan(decimal("100.0")) };',
        '@id("t") forbid (principal, action == Remit::Action::"pay", resource) when { context.arguments has tags && context.arguments.tags.contains("x") };',
    )
    for amount, tags, expected in (
        ("100", [], "permit"),
        ("100.0001", [], "deny"),
        ("1", ["x"], "deny"),
        ("1", ["y"], "permit"),
    ):
        arguments = {"customer": "a", "amount": amount, "tags": tags, "ratio": 0.5, "deep": {"any": "thing"}}
        assert word(rules.verdict(facts(arguments=arguments))) == expected


def test_an_explanation_names_what_could_match_and_what_was_read():
    found = bundle(PERMIT, HOLD, '@id("other") forbid (principal, action, resource == Remit::Tool::"mail.send");')
    told = found.explain(facts(calls=6))
    assert told.considered == ("all", "h")
    assert (told.first, told.as_if_approved, told.reads) == (("h",), ("all",), ("approved", "calls"))
    assert word(told.decision) == "hold"
    assert found.explain(replace(facts(), context={})).considered == ()


HEADS = st.tuples(
    st.sampled_from(["principal", 'principal == Remit::Agent::"a"', 'principal in Remit::Purpose::"p"', "principal is Remit::Agent"]),
    st.sampled_from(["action", 'action == Remit::Action::"pay"', 'action in Remit::Action::"call"', 'action in [Remit::Action::"pay", Remit::Action::"mail.send"]']),
    st.sampled_from(["resource", 'resource == Remit::Tool::"pay"', 'resource == Remit::Tool::"mail.send"', "resource is Remit::Tool"]),
)  # fmt: skip
BODIES = st.sampled_from(
    [
        "true",
        "context.calls > 2",
        'context.trust == "untrusted"',
        'context.resource like "x*"',
        'principal.tier == "autonomous"',
        "resource.egress",
        "context.approved",
        'principal in Remit::Purpose::"q"',
        'principal == Remit::Agent::"b" || context.hour < 5',
        '{"a": context.calls}.a == 1',
        "if context.calls == 0 then context.label_rank > 1 else context.weekday == 3",
    ]
)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(["permit", "forbid"]), HEADS, BODIES, st.booleans()), min_size=1, max_size=8),
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]), st.sampled_from(["p", "q"]), st.sampled_from(["pay", "mail.send"]), st.integers(0, 3),
            st.sampled_from(["trusted", "untrusted"]), st.sampled_from(["x1", "y"]), st.integers(0, 1), st.sampled_from(["assistant", "autonomous"]),
        ),
        min_size=1, max_size=12,
    ),
)  # fmt: skip
def test_slices_and_memory_change_nothing(policies, requests):
    """The same verdict as plain Cedar over the whole set, in any order, remembered or not."""
    text = ""
    for i, (effect, head, body, held) in enumerate(policies):
        approvers = '@approvers("g")' if held and effect == "forbid" else ""
        unless = "unless { context.approved }" if held and effect == "forbid" else ""
        text += f'@id("p{i}") {approvers} {effect} ({", ".join(head)}) when {{ {body} }} {unless};\n'
    try:
        found = bundle(text)
    except BadPolicy:
        return  # an impossible head: strict validation says so
    whole, schema = cedarpy.PolicySet.from_str(text), cedarpy.Schema.from_str(found.schema_text)
    for agent, purpose, name, calls, trust, resource, rank, tier in requests * 2:
        asked = facts(
            name,
            {"customer": "a"} if name == "pay" else {},
            calls=calls,
            trust=trust,
            resource=resource,
            label_rank=rank,
        )
        asked = replace(asked, agent=agent, purpose=purpose, tier=tier)
        expected = [plain(whole, schema, asked, approved) for approved in (False, True)]
        verdict = found.verdict(asked)
        assert isinstance(verdict, Permit) == expected[0]
        if isinstance(verdict, Hold):
            assert expected[1]


def plain(policies, schema, asked: Facts, approved):
    context = {
        **asked.context,
        "approved": approved,
        "arguments": dict(asked.arguments),
        "origins": dict(asked.origins),
    }
    agent = {"uid": {"type": "Remit::Agent", "id": asked.agent}, "attrs": {"tier": asked.tier, "owner": asked.owner}}
    agent["parents"] = [{"type": "Remit::Purpose", "id": asked.purpose}]
    resource = {"uid": {"type": "Remit::Tool", "id": asked.resource}, "attrs": dict(asked.attributes), "parents": []}
    request = {
        "principal": agent["uid"],
        "action": {"type": "Remit::Action", "id": asked.action},
        "resource": resource["uid"],
        "context": json.dumps(context),
    }
    return cedarpy.is_authorized(request, policies, json.dumps([agent, resource]), schema).allowed


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[[case]]\nnam = 'x'", 1, "did you mean 'name'"),
        ("[[case]]\nname = 'x'\ntool='pay'\nexpect='maybe'", 1, "permit, hold or deny"),
        ("[[case]]\nname = 'x'\nexpect='permit'", 1, "either tool or action"),
        ("[[case]]\nname = 'x'\ntool='pya'\nexpect='permit'", 1, "did you mean 'pay'"),
        ("[[case]]\nname = 'x'\naction='call'\nexpect='permit'", 1, "for a call say tool"),
        ("\n\n[[case]]\nname = 5\nexpect='permit'", 3, "name is not str"),
        ("x = 1", 1, "nothing else"),
        ("[[case", 1, "not TOML"),
    ],
)
def test_a_case_that_is_wrong_says_where(text, line, words):
    with pytest.raises(BadCatalogue) as refused:
        parse_cases("x.cases.toml", text, TOOLS)
    assert (refused.value.line, words in refused.value.problem) == (line, True)


def test_a_case_that_does_not_hold_says_what_came_instead():
    text = '[[case]]\nname = "x"\ntool = "records.read"\nexpect = "hold"\nbecause = "all"'
    (result,) = run_cases(bundle(PERMIT), parse_cases("x", text, TOOLS))
    assert not result.ok and result.decision == "permit" and result.policies == ("all",)

"""Identity, tool, purpose, flow and catalogue: examples named by what they would break."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.domain import errors
from remit.domain.caller import Caller, CallerKind
from remit.domain.catalogue import Catalogue, differences
from remit.domain.chain import Chain, Hop, Principal, PrincipalKind, effective
from remit.domain.errors import BadField
from remit.domain.flow import Label, Sensitivity, Trust
from remit.domain.identity import Person, SpiffeId, checked_name
from remit.domain.purpose import CredentialRule, GrantRule, Parameter, Purpose
from remit.domain.scope import NOTHING
from remit.domain.tool import Effect, Tool, canonical_scalar
from tests.domain.strategies import labels


@given(labels, labels, labels)
def test_labels_join_and_never_lighten(a, b, c):
    assert a | b == b | a
    assert (a | b) | c == a | (b | c)
    assert a | a == a
    assert (a | b).trust <= a.trust
    assert (a | b).sensitivity >= a.sensitivity


def test_a_label_says_what_it_read():
    read = Label() | Label(Trust.UNTRUSTED, Sensitivity.CONFIDENTIAL, ("mail.read",))
    assert (read.trust.word, read.sensitivity.word, read.sources) == (
        "untrusted",
        "confidential",
        ("mail.read",),
    )


@pytest.mark.parametrize("text", ["spiffe://example.org/agent/x", "spiffe://example.org", "spiffe://a.b_c-d/x.y/Z_1"])
def test_a_spiffe_id_reads_back(text):
    assert str(SpiffeId.parse(text)) == text


def test_a_trust_domain_has_no_case():
    assert SpiffeId.parse("SPIFFE://Example.ORG/A") == SpiffeId("example.org", "/A")


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/x",
        "spiffe:/example.org/x",
        "spiffe://",
        "spiffe://user@example.org/x",
        "spiffe://example.org:80/x",
        "spiffe://example.org/",
        "spiffe://example.org/x/",
        "spiffe://example.org//x",
        "spiffe://example.org/./x",
        "spiffe://example.org/../x",
        "spiffe://example.org/x?q",
        "spiffe://example.org/x#f",
        "spiffe://example.org/%41",
        "spiffe://example.org/x\n",
        "spiffe://" + "a" * 256,
        "spiffe://example.org/" + "a" * 2048,
    ],
)
def test_an_ill_formed_spiffe_id_is_refused(text):
    with pytest.raises(BadField):
        SpiffeId.parse(text)


def test_names_are_plain():
    assert checked_name("name", "invoice-bot") == "invoice-bot"
    for bad in ("", "Invoice", "-x", "x" * 65, "a b", "a\n", "é"):
        with pytest.raises(BadField):
            checked_name("name", bad)


TOOL = Tool("pay", "Pay", Effect.IRREVERSIBLE, Sensitivity.INTERNAL, "production", "customer/{customer}/{invoice}")


def test_a_resource_is_filled_from_arguments():
    assert TOOL.resource_of({"customer": "acme", "invoice": 17}) == "customer/acme/17"
    deep = Tool("r", "R", Effect.READ, Sensitivity.PUBLIC, "production", "file/{path...}")
    assert deep.resource_of({"path": "a/b"}) == "file/a/b"
    for hostile in ("../etc", "a//b", "/a", "a/./b", "a/**"):
        with pytest.raises(BadField):
            deep.resource_of({"path": hostile})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"amount": "120.00", "to": "acme"}, "pay 120.00 EUR to acme"),
        ({"amount": 5, "to": "DE89-3704"}, "pay 5 EUR to DE89-3704"),
        ({"amount": "120.00", "to": "acme, as dana said"}, "pay 120.00 EUR to “acme, as dana said”"),
        ({"amount": "1", "to": "a\u202eb"}, "pay 1 EUR to “a\u202eb”"),
        ({"amount": "", "to": "acme"}, "pay “” EUR to acme"),
        ({"amount": "120.00"}, ""),
        ({"amount": 1.5, "to": "acme"}, ""),
        ({"amount": None, "to": "acme"}, ""),
    ],
)
def test_a_call_is_said_in_words_and_no_value_reads_like_more_of_them(arguments, said):
    assert replace(TOOL, says="pay {amount} EUR to {to}").said(arguments) == said
    assert TOOL.said(arguments) == ""


@pytest.mark.parametrize("value", ["a/b", "..", ".", "", "*", "**", None, True, 1.5, ["a"], "a\nb", "a\x00"])
def test_an_argument_cannot_change_the_shape_of_a_resource(value):
    with pytest.raises(BadField):
        TOOL.resource_of({"customer": value, "invoice": 17})


def test_what_a_tool_returns_labels_its_reader():
    assert TOOL.label() == Label(Trust.UNTRUSTED, Sensitivity.INTERNAL, ("pay",))
    assert (Effect.IRREVERSIBLE.word, canonical_scalar(False), canonical_scalar([1])) == (
        "irreversible",
        "false",
        None,
    )


PURPOSE = Purpose(
    name="pay",
    title="Pay",
    owner="dana",
    agents=("bot",),
    grants=(
        GrantRule(
            "pay",
            "customer/{customer}/*",
            one_of={"customer": ("{customer}",)},
            between={"amount": (Decimal(0), Decimal(500))},
            matching={"iban": "[A-Z0-9]+"},
        ),
        GrantRule("note", "note/{note}"),
    ),
    sensitivity=Sensitivity.INTERNAL,
    environments=("production",),
    max_duration=1000,
    max_calls=5,
    parameters=(Parameter("customer", "[a-z]+"), Parameter("note", ".*", required=False)),
    credentials=(CredentialRule("db", "pg", 10),),
)


def test_a_purpose_fills_its_grants_with_what_was_stated():
    scope = PURPOSE.scope(PURPOSE.checked_parameters({"customer": "acme"}), 9)
    (grant,) = scope.grants
    assert str(grant.pattern) == "customer/acme/*"
    assert len(grant.bounds) == 3
    assert scope.until == 9


def test_a_rule_about_an_unstated_parameter_grants_nothing():
    assert len(PURPOSE.scope({"customer": "acme", "note": "n"}, 9).grants) == 2
    assert len(PURPOSE.scope({"customer": "acme"}, 9).grants) == 1


@pytest.mark.parametrize(
    "stated",
    [{}, {"customer": "ACME"}, {"customer": "a", "x": 1}, {"customer": ["a"]}, {"customer": "a" * 1025}],
)
def test_parameters_are_checked(stated):
    with pytest.raises(BadField):
        PURPOSE.checked_parameters(stated)


@pytest.mark.parametrize("note", ["a/b", "..", ".", "", "*", "**"])
def test_a_parameter_cannot_change_the_shape_of_a_resource(note):
    with pytest.raises(BadField):
        PURPOSE.scope({"customer": "acme", "note": note}, 9)


def test_credentials_are_found_by_name():
    assert PURPOSE.credential("db") is not None
    assert PURPOSE.credential("x") is None


def test_a_chain_knows_who_is_in_it():
    chain = Chain(Principal(PrincipalKind.PERSON, "dana"), (Hop("bot", "t1"),)).then(Hop("helper", "t2"))
    assert (chain.depth, chain.agents(), str(chain.initiator)) == (1, ("bot", "helper"), "person:dana")
    assert chain.involves("dana") and chain.involves("helper") and not chain.involves("frank")
    with pytest.raises(ValueError, match="twice"):
        chain.then(Hop("again", "t1"))
    assert effective(()) == NOTHING


def test_differences_are_said_in_words():
    old = Catalogue(people={"a": Person("a"), "b": Person("b")}, policies={"x": "1", "y": "1"})
    new = Catalogue(people={"b": Person("b", ("g",)), "c": Person("c")}, policies={"x": "2", "y": "1"})
    assert differences(old, new) == ("+ person c", "- person a", "~ person b: groups", "~ policy file x")


def test_the_tree_of_refusals_has_one_code_each():
    kinds = errors.every_refusal()
    assert len({kind.code for kind in kinds}) == len(kinds)
    assert all(kind.title and kind.__doc__ for kind in kinds)
    assert str(Caller(CallerKind.AGENT, "bot")) == "agent:bot"


@given(st.text(max_size=8))
def test_a_refusal_keeps_the_inside_inside(secret):
    refusal = errors.Absent(inside="inside:" + secret)
    assert "inside:" not in str(refusal)
    assert str(errors.BadField("f", "p")) == "f: p"
    assert str(errors.BadCatalogue("f", 3, "p")) == "f:3: p"
    assert errors.Denied("d", reasons=("r",)).reasons == ("r",)
    assert errors.Held("h", approval="a").approval == "a"
    assert errors.ChallengeWanted("c", challenge="n").challenge == "n"

"""JSON, forms, details, sealing, canonical texts, records: strict at every edge, and never a traceback."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.domain import events
from remit.domain.approval import Approval, Shown
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.chain import Chain, Hop, Principal, PrincipalKind
from remit.domain.change import Change
from remit.domain.decision import Requirement
from remit.domain.errors import BadField, BadToken, Malformed, Refusal, TooLarge
from remit.domain.flow import Sensitivity
from remit.domain.scope import Between, Bound, Grant, Matching, OneOf, Pattern, Scope
from remit.domain.task import Task
from remit.formats import form, json_input, mcp_pin, record, rfc9396, row_body, sealed
from remit.formats.arguments import ArgumentSchema
from remit.formats.jcs import canonical, digest


def parse(data, limit=10_000, depth=8):
    return json_input.parse(data, limit=limit, depth=depth)


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"x" * 10_001, TooLarge, "over 10000 bytes"),
        (b"\xff", Malformed, "not UTF-8"),
        (b"{", Malformed, "line 1"),
        (b"", Malformed, "not JSON"),
        (b"1 2", Malformed, "not JSON"),
        (b'{"a":NaN}', Malformed, "NaN"),
        (b"-Infinity", Malformed, "Infinity"),
        (b"1e999", BadField, "too large"),
        (b'{"a":1,"a":2}', BadField, "a: appears twice"),
        (b'{"x":{"a":1,"a":2}}', BadField, "appears twice"),
        (b'{"a":9007199254740992}', BadField, "a: is a whole number beyond"),
        (b"9" * 5000, Malformed, "digits"),
        (b'{"a":["b","\\u0000"]}', BadField, "a[1]: has a character"),
        (b'{"a":"\\ud800"}', BadField, "a: has a character"),
        (b'{"\\u0000":1}', BadField, "has a character"),
        (b"[" * 9 + b"]" * 9, TooLarge, "deeper than 8"),
        (b'{"a":' * 9 + b"1" + b"}" * 9, TooLarge, "deeper than 8"),
    ],
)
def test_json_that_is_refused_says_why(data, kind, words):
    with pytest.raises(kind, match=r".") as refused:
        parse(data)
    assert words in refused.value.message


def test_json_that_is_fine():
    value = parse('{"a":[1,-2.5,true,null,"ü😀[[[[[[[[[{"],"b":{}}'.encode())
    assert value == {"a": [1, -2.5, True, None, "ü😀[[[[[[[[[{"], "b": {}}


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_refused(data):
    with contextlib.suppress(Refusal):
        parse(data)


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5), lambda c: st.lists(c, max_size=3) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4), c, max_size=3), max_leaves=10))  # fmt: skip
def test_plain_values_read_back(value):
    assert parse(json.dumps(value).encode(), depth=20) == value


def test_a_misfit_is_named_by_its_path():
    for value, field in (
        ({"type": "x", "goal": 5}, "goal"),
        ({"goal": "x"}, "type"),
        ({"type": "x", "oops": 1}, "oops"),
        ({"type": "x", "duration_ms": "5"}, "duration_ms"),
        ([], "body"),
    ):
        with pytest.raises(BadField) as refused:
            json_input.typed(value, rfc9396.TaskDetails)
        assert refused.value.field == field


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("{}", "authorization_details"),
        ("[]", "authorization_details"),
        ("[{},{}]", "authorization_details"),
        ("[5]", "authorization_details"),
        ('[{"goal":"g"}]', "authorization_details[0].type"),
        ('[{"type":"t"}]', "authorization_details[0]"),
        ('[{"type":"t","goal":"g","task":"x"}]', "authorization_details[0]"),
        ('[{"type":"t","goal":"g","max_calls":-1.5}]', "authorization_details[0].max_calls"),
    ],
)
def test_details_that_are_refused_name_the_place(text, field):
    with pytest.raises(BadField) as refused:
        rfc9396.parse(text)
    assert refused.value.field == field


@pytest.mark.parametrize(
    "body",
    [
        b"a",
        b"a=1&a=2",
        b"\xff=1",
        b"a=%00",
        b"&".join(b"a%d=1" % i for i in range(50)),
        b"a=" + b"x" * 70_000,
        b"%ff=1",
    ],
)
def test_forms_that_are_refused(body):
    with pytest.raises(Refusal):
        form.parse(body)


def test_only_audience_and_resource_may_repeat():
    fields = form.parse(b"audience=a&audience=b&grant_type=c&empty=")
    assert fields["audience"] == ("a", "b")
    assert form.one(fields, "empty", required=False) == ""
    for missing in ("empty", "nothing"):
        with pytest.raises(BadField):
            form.one(fields, missing)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_form_or_refused(body):
    with contextlib.suppress(Refusal):
        form.parse(body)


def test_canonical_json_is_as_in_rfc_8785():
    value = {"numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001], "string": '€$\u000f\nA\'B"\\\\"/', "literals": [None, True, False]}  # fmt: skip
    expected = '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    assert canonical(value).decode() == expected
    assert digest({"b": (1, 2), "a": 1}) == digest({"a": 1, "b": [1, 2]})
    for bad in (2**60, "\ud800", object()):
        with pytest.raises(BadField):
            canonical(bad)


def test_a_sealed_value_opens_only_in_its_own_row():
    key = b"k" * 32
    envelope = sealed.seal(b"canary", root_key=key, context=b"row:1")
    assert sealed.unseal(envelope, root_key=key, context=b"row:1") == b"canary"
    assert sealed.seal(b"canary", root_key=key, context=b"row:1") != envelope
    raw = bytearray(sealed.base64url.decode(envelope))
    for bad_key, context in ((b"x" * 32, b"row:1"), (key, b"row:2")):
        with pytest.raises(BadToken):
            sealed.unseal(envelope, root_key=bad_key, context=context)
    for at in range(len(raw)):
        spoiled = bytes(raw[:at]) + bytes([raw[at] ^ 1]) + bytes(raw[at + 1 :])
        with pytest.raises(BadToken):
            sealed.unseal(sealed.base64url.encode(spoiled), root_key=key, context=b"row:1")
    with pytest.raises(BadToken):
        sealed.unseal("AQ", root_key=key, context=b"row:1")
    moved = sealed.rewrap(envelope, root_key=b"n" * 32, previous=key)
    assert sealed.unseal(moved, root_key=b"n" * 32, context=b"row:1") == b"canary" and moved != envelope
    assert sealed.rewrap(moved, root_key=b"n" * 32, previous=key) == moved
    assert sealed.base64url.decode(moved)[61:] == sealed.base64url.decode(envelope)[61:]
    for bad in ("AQ", moved, envelope[:-1] + ("A" if envelope[-1] != "A" else "E")):
        with pytest.raises(BadToken):
            sealed.unseal(sealed.rewrap(bad, root_key=b"x" * 32, previous=key), root_key=b"x" * 32, context=b"row:1")


def test_one_changed_byte_is_another_tool():
    tool = {"name": "send", "description": "Send.", "inputSchema": {"type": "object"}, "_meta": {"x": 1}}
    assert mcp_pin.pin(tool) == mcp_pin.pin({**tool, "_meta": {"x": 2}, "title": None})
    for change in (
        {"description": "Send. "},
        {"name": "Send"},
        {"inputSchema": {"type": "object", "x": 1}},
        {"annotations": {}},
    ):
        assert mcp_pin.pin({**tool, **change}) != mcp_pin.pin(tool)


@given(st.integers(0, 33), st.characters())
def test_a_thousand_mutations_of_a_description_are_all_noticed(at, char):
    text = "Pay one invoice of a customer now."
    mutated = text[:at] + char + text[at + 1 :]
    same = mcp_pin.pin({"name": "x", "description": text}) == _pin_or_refused(mutated)
    assert same == (mutated == text)


def _pin_or_refused(description):
    try:
        return mcp_pin.pin({"name": "x", "description": description})
    except BadField:
        return "refused"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"$ref": "https://evil.example/schema"},
        {"properties": {"a": {"$ref": "file:///etc/passwd"}}},
        {"properties": 5},
        {"properties": {"a": {"type": "nothing"}}},
        {"properties": {"a": {"pattern": "("}}},
        {"description": "x" * 70_000},
    ],
    ids=lambda s: str(s)[:40],
)
def test_a_schema_that_is_not_ours_to_use_is_refused(schema):
    with pytest.raises(BadField):
        ArgumentSchema.compile(schema)


def test_arguments_fit_or_are_named():
    schema = ArgumentSchema.compile({"properties": {"a": {"type": "integer"}, "b": {"$ref": "#/$defs/t"}}, "required": ["a"], "$defs": {"t": {"type": "string"}}})  # fmt: skip
    assert schema.problems({"a": 1, "b": "x"}) == ()
    assert schema.problems({"a": "1"})[0][0] == "arguments.a"
    assert len(schema.problems({"a": 1, **{f"x{i}": 1 for i in range(9)}})) <= 5
    assert ArgumentSchema.compile({}).problems({"x": 1})
    assert ArgumentSchema.compile({"additionalProperties": True}).problems({"x": 1}) == ()


SCOPE = Scope(
    frozenset({Grant("t", Pattern(("a",), True), frozenset({Bound("n", OneOf(frozenset({"1"}))), Bound("m", Between(Decimal("0.1"), Decimal(2))), Bound("o", Matching("x+"))}))}),
    Sensitivity.RESTRICTED, frozenset({"production"}), 5,
)  # fmt: skip
CHAIN = Chain(Principal(PrincipalKind.PERSON, "dana"), (Hop("bot", "tsk_1"),))
TASK = Task("tsk_1", "p", "r", "bot", "jkt", "ü 😀", {"a": "b"}, CHAIN, SCOPE, 1, 2, 3)
APPROVAL = Approval(
    "apv_1", "d", "a", 0, "tsk_1", CHAIN, "olga",
    Shown("s", "t", "{}", "r", "read", "g", ("w",), (), ()), (Requirement(("finance",), 2),), 0, 9,
)  # fmt: skip


def test_rows_read_back_and_a_leaf_signs_for_their_bytes():
    call = Call(Caller(CallerKind.AGENT, "bot"), 7, "trace")
    change = Change(events.TaskEnded("tsk_1", "bot", "closed", ""), call).put(TASK, was=None).put(APPROVAL, was=None)
    encoded = record.encode(change)
    assert row_body.decode(Task, encoded.puts[0].body) == replace(TASK, version=1)
    assert row_body.decode(Approval, encoded.puts[1].body) == replace(APPROVAL, version=1)
    leaf = json.loads(encoded.leaf)
    assert [w[:3] for w in leaf["writes"]] == [["Task", "tsk_1", 1], ["Approval", "apv_1", 1]]
    assert (leaf["type"], leaf["by"], leaf["trace"]) == ("TaskEnded", "agent:bot", "trace")
    assert "ü" not in encoded.leaf.decode()  # payloads stay out of the log
    older = json.loads(encoded.puts[0].body)
    assert "settled_at" not in older
    assert row_body.decode(Task, json.dumps(older).encode()).settled_at == 0


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_packed_bodies_read_back(bodies):
    packed = record.pack(bodies)
    assert record.unpack(packed) == bodies
    if packed:
        with pytest.raises(ValueError, match="cut short"):
            record.unpack(packed + b"\0\0\0\5x")

"""Exported events: as OCSF, by its own schema; as CSV, without formulas."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from functools import cache
from typing import get_args, get_type_hints

import jsonschema_rs
import pytest
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from remit.domain import events
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.domain.decision import Reason
from remit.formats import event_csv, ocsf
from remit.formats.record import encode
from remit.govern.told import _SAYS, told

EVENTS = get_args(events.Event)
STRANGE = "=cmd|' /C calc'!A0 {task} <script>\u202e\"\n"


def leaf(kind, text="x", by=CallerKind.AGENT, **given):
    """An event of this kind whose every text is this."""
    hints = get_type_hints(kind)
    some = {str: text, int: 7, bool: True}
    values = {f.name: some.get(hints[f.name], (text, text)) for f in dataclasses.fields(kind)}
    return encode(Change(kind(**{**values, **given}), Call(Caller(by, "bot"), 1_795_839_599_402))).leaf


@cache
def validator(uid):
    """OCSF's own schema of a class, strict about what it does not know."""
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=ocsf.VERSION))
    name = schema.lookup_class_name_from_uid(uid)
    return jsonschema_rs.validator_for(schema.get_class_schema(class_name=name, profiles=[]))


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("text", ["x", "", STRANGE], ids=["plain", "empty", "strange"])
def test_every_event_is_valid_ocsf_and_has_a_sentence(kind, text):
    for by in (CallerKind.AGENT, CallerKind.PERSON, CallerKind.OPERATOR, CallerKind.SYSTEM):
        bytes_ = leaf(kind, text, by)
        found = ocsf.event(41, bytes_, "remit.local/log")
        flaws = [f"{flaw.instance_path}: {flaw.message}" for flaw in validator(found["class_uid"]).iter_errors(found)]
        assert not flaws
        assert (found["type_uid"], found["raw_data"].encode()) == (
            found["class_uid"] * 100 + found["activity_id"],
            bytes_,
        )
        assert found["metadata"]["sequence"] == 41 and found["unmapped"] == json.loads(bytes_)["data"]
    said = told(json.loads(bytes_))
    assert kind.__name__ in _SAYS and said["says"]
    if text == "x":
        assert "{" not in said["says"] and "?" not in said["says"]


def test_the_schema_does_find_what_is_wrong():
    found = ocsf.event(1, leaf(events.AccessDecided), "log")
    for broken in (
        {**found, "made_up": 1},
        {**found, "activity_id": 77},
        {k: v for k, v in found.items() if k != "api"},
    ):
        assert list(validator(6003).iter_errors(broken))


@pytest.mark.parametrize(
    ("kind", "given", "uid", "status"),
    [
        (events.AccessDecided, {"decision": "permit"}, 6003, "Success"),
        (events.AccessDecided, {"decision": "deny"}, 6003, "Failure"),
        (events.AccessDecided, {"decision": "hold"}, 6003, "Held"),
        (events.IssueDenied, {}, 6003, "Failure"),
        (events.LeaseMinted, {}, 3005, "Success"),
        (events.LeaseEnded, {}, 3005, "Success"),
        (events.TokenIssued, {}, 3003, "Success"),
        (events.SessionBegan, {}, 3002, "Success"),
        (events.AgentProved, {}, 3002, "Success"),
        (events.CatalogueApplied, {}, 3004, "Success"),
    ],
)
def test_each_kind_of_event_has_its_class(kind, given, uid, status):
    found = ocsf.event(1, leaf(kind, **given), "log")
    assert (found["class_uid"], found["status"]) == (uid, status)


def test_a_spreadsheet_is_given_no_formula():
    rows = list(csv.reader(io.StringIO(event_csv.header() + event_csv.line(3, leaf(events.AccessDecided, STRANGE)))))
    assert rows[0] == list(event_csv.NAMES) and len(rows) == 2
    found = dict(zip(rows[0], rows[1], strict=True))
    assert (found["index"], found["time"]) == ("3", "2026-11-28T04:19:59.402Z")
    assert found["task"] == "'" + STRANGE and json.loads(found["data"])["task"] == STRANGE
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in rows[1])


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.value)
def test_every_reason_is_said_in_words(reason):
    said = told(json.loads(leaf(events.AccessDecided, decision="deny", reasons=(reason.value,))))
    assert said["why"] != [reason.value] and (said["why"] or reason is Reason.WITHIN_POLICY)

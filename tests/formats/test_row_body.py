"""Row bodies of versions side by side: what the other does not know is neither lost nor overlooked."""

from __future__ import annotations

import asyncio
import dataclasses

import msgspec
import pytest

from remit.domain.approval import Away
from remit.domain.errors import UnknownRow
from remit.domain.task import Task
from remit.formats import row_body
from remit.formats.record import KINDS
from tests.world import world


async def a_task():
    w = await world()
    _, call = await w.proved()
    return await w.task(call)


def test_what_has_its_default_is_left_out_and_read_back():
    task = asyncio.run(a_task())
    body = msgspec.json.decode(row_body.encode(task))
    assert "home" not in body and "label" not in body and body["goal"] == "goal"
    assert row_body.decode(Task, row_body.encode(task)) == task
    whole = msgspec.json.encode(task)  # as it was written before
    assert row_body.decode(Task, whole) == task
    spent = task.spent(task.label, "pay")
    assert row_body.decode(Task, row_body.encode(spent)) == spent and spent != task


@pytest.mark.parametrize("change", [
    {"flavour": "x"}, {"state": "melted"}, {"chain": {"initiator": 7}}, {"label": {"trust": "new"}}, {"id": None, "goal": ...},
])  # fmt: skip
def test_what_a_newer_version_wrote_is_refused_and_not_guessed(change):
    body = msgspec.json.decode(row_body.encode(asyncio.run(a_task())))
    for name, value in change.items():
        body[name] = value
        if value is ...:
            del body[name]
    with pytest.raises(UnknownRow) as refused:
        row_body.decode(Task, msgspec.json.encode(body))
    assert refused.value.status == 503 and refused.value.code == "RMT-6007" and "Task" in refused.value.inside


def test_a_version_that_adds_a_field_writes_what_the_one_before_can_read():
    newer = dataclasses.make_dataclass("Away", [("flavour", str, "")], bases=(Away,), frozen=True, slots=True)
    away = newer("gina", "hugo", 5, 9, "r", 3)
    assert row_body.decode(Away, row_body.encode(away)) == Away("gina", "hugo", 5, 9, "r", 3)
    with pytest.raises(UnknownRow):
        row_body.decode(Away, row_body.encode(dataclasses.replace(away, flavour="sour")))


def test_every_kind_of_row_can_be_decoded_from_what_it_is_when_nothing_was_set():
    for kind in KINDS:
        assert all(field.name for field in dataclasses.fields(kind.row))
        row_body._encoder(kind.row), row_body._decoder(kind.row)

"""Steps as they are imported: what fits together comes back as it was, and nothing else comes in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.domain.errors import BadField
from remit.domain.reach import Step
from remit.formats import chart
from remit.formats.chart import Packed, checked, pack, unpack

NODES = st.builds(
    lambda kind, name: f"{kind}:{name}", st.sampled_from(["aws-role", "k8s-sa"]), st.text("abé/…", min_size=1)
)
STEPS = st.lists(st.builds(Step, NODES, NODES, st.sampled_from(["aws-may", "x"]), st.text("abc ")), max_size=20)


@given(STEPS)
def test_what_is_packed_comes_back_each_step_once(steps) -> None:
    assert list(unpack(checked(pack(steps), ()))) == list(dict.fromkeys(steps))


GOOD = Packed(["aws-role:a", "aws-role:b"], [("aws-may", "s3:GetObject")], [0, 1, 0])
BAD = {
    "a number too many": Packed(GOOD.nodes, GOOD.rules, [0, 1, 0, 1]),
    "a node that is not there": Packed(GOOD.nodes, GOOD.rules, [0, 2, 0]),
    "a node before the first": Packed(GOOD.nodes, GOOD.rules, [-1, 1, 0]),
    "a rule that is not there": Packed(GOOD.nodes, GOOD.rules, [0, 1, 1]),
    "the same node twice": Packed(["aws-role:a", "aws-role:a"], GOOD.rules, [0, 1, 0]),
    "no kind": Packed(["a", "aws-role:b"], GOOD.rules, [0, 1, 0]),
    "no name": Packed(["aws-role:", "aws-role:b"], GOOD.rules, [0, 1, 0]),
    "a kind in capitals": Packed(["AWS:a", "aws-role:b"], GOOD.rules, [0, 1, 0]),
    "the catalogue's kind": Packed(["agent:bot", "aws-role:b"], GOOD.rules, [0, 1, 0]),
    "an escape": Packed(["aws-role:\x1b[2J", "aws-role:b"], GOOD.rules, [0, 1, 0]),
    "turned around": Packed(["aws-role:\u202ea", "aws-role:b"], GOOD.rules, [0, 1, 0]),
    "a long name": Packed(["aws-role:" + "a" * 600, "aws-role:b"], GOOD.rules, [0, 1, 0]),
    "a long detail": Packed(GOOD.nodes, [("aws-may", "a" * 600)], [0, 1, 0]),
    "a rule in words": Packed(GOOD.nodes, [("may read", "")], [0, 1, 0]),
    "a line in a detail": Packed(GOOD.nodes, [("aws-may", "a\nb")], [0, 1, 0]),
}


@pytest.mark.parametrize("flaw", BAD)
def test_what_does_not_fit_is_refused(flaw) -> None:
    assert checked(GOOD, {"agent"})
    with pytest.raises(BadField):
        checked(BAD[flaw], {"agent"})


def test_there_is_an_end_to_how_much(monkeypatch) -> None:
    for name in ("NODES", "RULES"):
        monkeypatch.setattr(chart, name, len(GOOD.nodes) - (1 if name == "NODES" else 2))
        with pytest.raises(BadField, match="more than"):
            checked(GOOD, ())
        monkeypatch.undo()
    monkeypatch.setattr(chart, "STEPS", 0)
    with pytest.raises(BadField, match="more than"):
        checked(GOOD, ())

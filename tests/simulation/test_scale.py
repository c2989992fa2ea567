"""What docs/scale.md says is what the model gives."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks/estate"


@pytest.fixture
def scale(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("scale", FOLDER / "scale.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_that_are_only_arithmetic_are_current(scale):
    text = (scale.DOCS / "scale.md").read_text()
    for part in (scale.reports, scale.ending):
        for name, rows in part()[1].items():
            assert rows in text, f"{name}: run make scale"


def test_a_small_estate_is_as_fast_as_its_links(scale):
    quiet = scale.Estate(edges=50, replicas=1, link=scale.Link(100.0, 0.0), other=0.0)
    told = scale.propagation(quiet)
    assert len(told) == 3 * 50
    assert min(told) > quiet.sequence + 100 + quiet.apply
    assert max(told) < quiet.sequence + 100 + quiet.apply + 50 * (scale.COSTS["push"] + quiet.answer) / 1000 + 2


def test_a_model_is_its_seed(scale):
    estate = scale.Estate(edges=60, replicas=2, link=scale.LOSSY)
    assert scale.propagation(estate) == scale.propagation(estate) != scale.propagation(estate, seed=2)


@pytest.mark.soak
def test_every_table_and_drawing_is_current(scale, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["scale.py", "--check"])
    assert scale.main() == 0

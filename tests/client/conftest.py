"""The server and the agent that the tests of `remit run` share."""

from __future__ import annotations

import pytest

from .runs import Runner, billing


@pytest.fixture(scope="module")
def house(postgres, tmp_path_factory):
    """A server with a real database behind it."""
    with billing(postgres, tmp_path_factory.mktemp("house")) as running:
        yield running


@pytest.fixture
def runner(house, tmp_path):
    """An agent's machine."""
    return Runner(house, tmp_path)

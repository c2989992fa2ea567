from __future__ import annotations

import pytest

from .browser import chromium, console


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with console(tmp_path_factory.mktemp("console") / "data") as running:
        yield running


@pytest.fixture(scope="package")
def browser():
    with chromium() as running:
        yield running

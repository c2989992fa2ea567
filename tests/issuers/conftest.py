"""The database that the issuers' tests share."""

from __future__ import annotations

import pytest

from .pg import furnish


@pytest.fixture(scope="module")
def database(postgres):
    """A server with the billing database in it."""
    furnish(postgres)
    return postgres

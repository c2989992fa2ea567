"""The database that the issuers' tests share."""

from __future__ import annotations

import pytest

from . import servers
from .nats_house import house as nats_house_of_one
from .pg import furnish


@pytest.fixture(scope="module")
def database(postgres):
    """A server with the billing database in it."""
    furnish(postgres)
    return postgres


@pytest.fixture(scope="session")
def mariadb():
    """A throw-away MariaDB."""
    with servers.mariadb() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server():
    """A throw-away Redis."""
    with servers.redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def nats_house():
    """A throw-away NATS with an operator and two accounts."""
    with nats_house_of_one() as made:
        yield made


@pytest.fixture(scope="module")
def sshd():
    """A throw-away sshd."""
    with servers.sshd() as server:
        yield server


@pytest.fixture(scope="module")
def openbao():
    """A throw-away OpenBao."""
    with servers.openbao() as server:
        yield server

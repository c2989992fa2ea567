"""Shared fixtures: one real PostgreSQL a worker, started when the first test asks for it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from remit.testing.postgres import NoPostgres, PostgresServer

settings.register_profile("ci", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci" if os.environ.get("CI") else "here")


TOGETHER = (
    "tests/replicas/",
    "tests/console/",
    "tests/gateway/",
    "tests/web/test_hooks.py",
    "tests/web/test_client_certificates.py",
)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file below `TOGETHER` goes to one worker, so that what it starts is started once; any other test to any.

    (xdist's own groups have no effect with pytest 9.2: it no longer asks a test for the name that xdist gave it.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid.partition("::")[0] if nodeid.startswith(TOGETHER) else nodeid

    return ByFile(config, log)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A throw-away server."""
    try:
        with PostgresServer() as server:
            yield server
    except NoPostgres as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture
def run() -> Callable[[Any], Any]:
    """Run one coroutine in a loop of its own."""
    return asyncio.run


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One furnished server a worker; tests make their own agents and tasks."""
    from tests.server import furnished, process

    with process(tmp_path_factory.mktemp("server") / "data") as running:
        yield furnished(running)

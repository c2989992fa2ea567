"""A rolling upgrade under load, and back: two versions side by side on one database, and no client sees an error.

The next version is this one with what a next version has: a migration that adds a column and a table, and a field of a
row. The one before is taken from the repository's history, where there is one.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from remit_client import AgentKey
from tests import server as servers
from tests.replicas.estate import PUBLIC, Towards, estate, seconds_until
from tests.server import Agent

SOURCE = Path(__file__).parents[2] / "src"
BEFORE = "20a659b9ca3519892a3a902eb4893e337fd0d221"  # the last one that knew nothing of turns, wakes and schema floors
MIGRATION = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "9001", "{head}"
def upgrade():
    op.add_column("tasks", sa.Column("flavour", sa.Text, nullable=False, server_default=""))
    op.create_index("tasks_flavour", "tasks", ["flavour", "key"])
    op.create_table("flavours", sa.Column("key", sa.Text, primary_key=True))
"""
RUN = "import sys; sys.path.insert(0, {path!r}); from remit.main import main; main()"


def next_version(folder: Path) -> str:
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    task = folder / "remit/domain/task.py"
    task.write_text(
        task.read_text().replace("    version: int = 0\n", '    flavour: str = ""\n    version: int = 0\n', 1)
    )
    record = folder / "remit/formats/record.py"
    old = '            "parent": lambda r: r.parent,\n'
    assert old in record.read_text()
    record.write_text(record.read_text().replace(old, old + '            "flavour": lambda r: r.flavour,\n', 1))
    versions = folder / "remit/store/migrations/versions"
    (versions / "r9001_next.py").write_text(MIGRATION.format(head=head(SOURCE)))
    return RUN.format(path=str(folder))


def head(source: Path) -> str:
    return max((source / "remit/store/migrations/versions").glob("r*.py")).name[1:5]


def version_before(folder: Path) -> str:
    packed = subprocess.run(
        ["git", "archive", BEFORE, "src"], cwd=SOURCE.parent, capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return RUN.format(path=str(folder / "src"))


def in_history() -> bool:
    with suppress(OSError):
        asked = ["git", "cat-file", "-e", f"{BEFORE}^{{commit}}"]
        return not subprocess.run(asked, cwd=SOURCE.parent, capture_output=True).returncode
    return False


class Balancer:
    """Sends each request to the next replica that said it is ready, as looked at every 50 ms."""

    def __init__(self, replicas):
        self._replicas, self.ready, self._turn, self._over = replicas, [], 0, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def port(self) -> int:
        self._turn += 1
        ready = self.ready
        return ready[self._turn % len(ready)]

    def _look(self):
        with httpx.Client(trust_env=False, timeout=2) as http:
            while not self._over.wait(0.05):
                self.ready = [one.port for one in list(self._replicas) if self._is_ready(http, one)]

    def _is_ready(self, http, one) -> bool:
        with suppress(httpx.HTTPError):
            return one.child.poll() is None and http.get(f"http://127.0.0.1:{one.port}/readyz").status_code == 200
        return False

    def close(self):
        self._over.set()
        self._thread.join()


class Client(threading.Thread):
    """An agent at work: tasks with a call, a credential and an end; what is refused, or not answered, is a problem."""

    def __init__(self, balancer: Balancer, join: Callable[[], str]):
        super().__init__()
        self.problems, self.done, self.over = [], 0, threading.Event()
        self._http = httpx.Client(transport=Towards(balancer.port), timeout=20)
        self._join = join

    def run(self):
        agent = Agent(PUBLIC, "bot", AgentKey.generate(), self._http)
        proof = agent.key.proof("POST", f"{PUBLIC}/v1/attest")
        joined = self._http.post(f"{PUBLIC}/v1/attest", json={"join_token": self._join()}, headers={"DPoP": proof})
        assert joined.status_code == 201, joined.text
        while not self.over.is_set():
            try:
                task, token = agent.task()
                assert agent.call(task, token)["decision"] == "permit"
                leased = agent.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "rs"})
                assert leased.status_code == 201, leased.text
                ended = agent.send("POST", f"/v1/tasks/{task}/end", token, {"reason": "done"})
                assert ended.status_code == 200, ended.text
                self.done += 1
            except Exception as problem:
                self.problems.append((time.monotonic(), repr(problem)[:600]))


@pytest.mark.parametrize("other", ["next", *([pytest.param("before", marks=pytest.mark.soak)] if in_history() else [])])
def test_two_versions_side_by_side_and_no_client_sees_an_error(postgres, tmp_path, monkeypatch, other):
    made = (next_version if other == "next" else version_before)(tmp_path / "version")
    here = RUN.format(path=str(SOURCE))
    old, new = (here, made) if other == "next" else (made, here)
    drained = [] if old is made and other == "before" else ["--drain", "1"]

    def version(code):
        monkeypatch.setattr(servers, "COMMAND", [sys.executable, "-c", code])

    with estate(postgres, tmp_path) as many:
        version(old)
        first = many.start(*drained)
        many.furnish()

        def join():
            with first.http("operator") as http:
                return http.post("/v1/agents/bot/join-tokens", json={}).json()["join_token"]

        balancer = Balancer(many.replicas)
        clients = [Client(balancer, join) for _ in range(2)]
        try:
            seconds_until(lambda: balancer.ready, 10)
            for client in clients:
                client.start()

            def goes_on():
                before = [client.done for client in clients]
                seconds_until(lambda: all(client.done > n + 3 for client, n in zip(clients, before, strict=True)), 20)
                assert not any(client.problems for client in clients), [client.problems for client in clients]

            goes_on()
            version(new)
            third = many.start("--drain", "1")  # migrates, while both serve
            seconds_until(lambda: third.port in balancer.ready, 10)
            goes_on()
            if drained:
                first.child.terminate()
                first.child.wait(20)
                goes_on()
                version(old)
                fourth = many.start(*drained)  # given up: the old version is started again, on the newer database
                seconds_until(lambda: fourth.port in balancer.ready, 10)
                third.child.terminate()
                third.child.wait(20)
                goes_on()
        finally:
            for client in clients:
                client.over.set()
            for client in clients:
                client.join()
            balancer.close()
        assert not any(client.problems for client in clients)
        unfinished = "SELECT 1 FROM leases WHERE state <> 'ended' UNION SELECT 1 FROM events WHERE log_index IS NULL"
        seconds_until(lambda: not many.sql(unfinished), 10)
        assert many.sql("SELECT version_num FROM alembic_version") == [("9001" if other == "next" else head(SOURCE),)]

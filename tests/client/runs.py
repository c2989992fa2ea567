"""What the tests of `remit run` share: a server with a real database behind it, an agent, and the command line."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from tests.issuers import pg
from tests.server import CATALOGUE, REMIT, furnished, process

FILES = {
    **CATALOGUE,
    "policies/holds.cedar": """
@id("hold-delicate") @approvers("finance") @says("delicate is delicate")
forbid (principal, action == Remit::Action::"issue", resource)
when { resource == Remit::Credential::"delicate" } unless { context.approved };
@id("hold-solemn") @approvers("finance") @says("solemn is solemn")
forbid (principal, action == Remit::Action::"propose", resource)
when { resource == Remit::Purpose::"solemn" } unless { context.approved };
""",
    "purposes/solemn.toml": """
owner = "olga"
agents = ["bot"]
max_duration = "15m"
max_calls = 1
max_sensitivity = "public"
""",
    "remit.toml": CATALOGUE["remit.toml"] + '[issuers.billing]\nkind = "postgres"\ndsn_env = "BOSS_DSN"\n',
    "purposes/read.toml": """
owner = "olga"
agents = ["bot"]
max_duration = "15m"
max_calls = 1000
max_sensitivity = "confidential"
[[credentials]]
name = "db"
issuer = "billing"
ttl = "10m"
[[credentials.grants.tables]]
name = "billing.customers"
privileges = ["select"]
columns = ["id", "name"]
[[credentials]]
name = "brief"
issuer = "billing"
ttl = "3s"
[[credentials.grants.tables]]
name = "billing.customers"
privileges = ["select"]
[[credentials]]
name = "shown"
issuer = "box"
ttl = "10m"
reveal = true
grants = { secret = "stripe" }
[[credentials]]
name = "delicate"
issuer = "box"
ttl = "10m"
reveal = true
grants = { secret = "stripe" }
[[credentials]]
name = "hidden"
issuer = "box"
ttl = "10m"
grants = { secret = "stripe" }
""",
}
PYTHON = sys.executable
QUERY = """
import os, psycopg
with psycopg.connect("") as db:
    print(db.execute("SELECT name FROM billing.customers").fetchall(), os.environ["PGUSER"])
"""
READY = (
    "import os, sys, time; print(os.getpid(), *[os.environ.get(n) for n in sys.argv[1:]], flush=True); time.sleep(60)"
)


@contextmanager
def billing(postgres, folder, *, anew=True):
    """A furnished server that issues roles of the billing database, which is made anew or is there."""
    if anew:
        pg.furnish(postgres)
    with process(folder / "data", BOSS_DSN=postgres.dsn("boss", "boss-password")) as running:
        yield furnished(running, FILES)


def _signals_as_usual():
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Runner:
    """An agent's machine: its directory, and `remit run` in it."""

    def __init__(self, server, folder: Path) -> None:
        self.server, self.folder = server, folder
        token = server.http("operator").post("/v1/agents/bot/join-tokens", json={}).json()["join_token"]
        self.memory = folder / "runtime"
        self.memory.mkdir(mode=0o700)
        self.env = server.env(
            REMIT_URL=server.url,
            REMIT_AGENT_DIR=str(folder / "agent"),
            REMIT_JOIN_TOKEN=token,
            XDG_RUNTIME_DIR=str(self.memory),
            HOME=str(folder),
        )

    def words(self, credentials, command, options=("--purpose", "read", "--goal", "read it")):
        named = [word for each in credentials for word in ("-c", each)]
        return [REMIT, "run", *options, *named, "--", *command]

    def __call__(self, credentials, *command, options=("--purpose", "read", "--goal", "read it"), stdin="", **env):
        """To its end."""
        return subprocess.run(
            self.words(credentials, command, options),
            env={**self.env, **env},
            capture_output=True,
            text=True,
            input=stdin,
            timeout=60,
            check=False,
        )

    def start(self, credentials, *command, options=("--purpose", "read", "--goal", "read it")):
        """In the background, in a session of its own, with a terminal's signals: the tests may run under nohup."""
        return subprocess.Popen(
            self.words(credentials, command, options),
            preexec_fn=_signals_as_usual,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def python(self, credentials, code, *words, **more):
        """A Python child."""
        return self(credentials, PYTHON, "-c", code, *words, **more)

    def left(self):
        """What is left in the place for private directories."""
        return sorted(path.name for path in self.memory.iterdir())

    def task(self):
        """The newest task of this agent's key."""
        tasks = self.server.http("operator").get("/v1/tasks", params={"agent": "bot", "limit": 500}).json()["items"]
        return max(tasks, key=lambda task: task["opened_at"])

    def leases(self, task):
        return self.server.http("operator").get(f"/v1/tasks/{task}/leases").json()["items"]


def until(condition, seconds=20.0, what=""):
    """Wait for it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not in {seconds} s: {what or condition}")


def alive(pid):
    """Whether it runs (a zombie does not)."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def everything_of(pid):
    """argv of a process and what it was started with, as others can see it."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")


def settled(runner, task=""):
    """The task is over and nothing of it lives."""
    task = task or runner.task()["id"]
    get = lambda: runner.server.http("operator").get(f"/v1/tasks/{task}").json()  # noqa: E731
    until(lambda: get()["settled_at"], what="settled")
    assert all(lease["state"] == "ended" for lease in runner.leases(task))
    return get()

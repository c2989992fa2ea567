"""`make demo`'s own script: it runs to its end, and its timeline is the system's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from remit.testing.postgres import PostgresServer

DEMO = Path(__file__).parents[2] / "examples" / "demo" / "run.py"


def test_the_demo_shows_the_whole_loop(postgres: PostgresServer):
    done = subprocess.run([sys.executable, str(DEMO)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    said = [
        "invoice-bot proved itself by join_token",
        "invoice-bot opened a task for person:dana, purpose pay-invoices",
        "the database role exists, for this task alone",
        "agent: database refused: permission denied for table salaries",
        "DENY   salaries.read (out_of_scope)",
        "HOLD   payments.send (needs_approval)",
        "frank said yes to exactly",
        "PERMIT payments.send (approved",
        "the database confirmed: the role is dead",
        "none is left",
        "the old token with its own key: The task is closed",
        "Verified:",
        "NOT verified",
    ]
    for words in said:
        assert words in done.stdout, f"{words!r} is not in:\n{done.stdout}"

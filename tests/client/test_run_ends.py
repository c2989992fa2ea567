"""However `remit run` ends, the command is dead, the credentials are dead, and nothing is left lying about."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.client.runs import PYTHON, QUERY, READY, Runner, alive, billing, settled, until
from tests.issuers import pg
from tests.server import process


@pytest.mark.parametrize(("code", "wanted"), [("sys.exit(7)", 7), ("os.kill(os.getpid(), 9)", 137), ("", 0)])
def test_the_exit_code_is_the_commands(runner, code, wanted):
    done = runner.python(["db"], f"import os, sys; {code}")
    assert done.returncode == wanted, done.stderr
    assert settled(runner)["end_reason"] == f"the command left with {wanted}"


def test_a_command_that_is_not_there_ends_the_task_too(runner, tmp_path):
    assert runner(["db"], "no-such-command-here").returncode == 127
    assert settled(runner)["end_reason"] == "the command was not started"
    (tmp_path / "plain").write_text("x")
    done = runner(["db"], str(tmp_path / "plain"))
    assert done.returncode == 126 and "Permission denied" in done.stderr
    settled(runner)
    assert runner.left() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_is_forwarded_and_the_task_ended(runner, postgres, number):
    run = runner.start(["db"], PYTHON, "-c", READY, "PGUSER")
    child, user = run.stdout.readline().split()
    assert user in pg.roles(postgres)
    run.send_signal(number)
    _out, err = run.communicate(timeout=30)
    # Python itself turns SIGINT into an exception, and then dies of it.
    assert run.returncode == 128 + number, err
    assert not alive(int(child)) and user not in pg.roles(postgres)
    settled(runner)
    assert runner.left() == []


def test_under_nohup_a_hangup_is_nobodys(runner):
    quick = "import remit_client.running.child as c, sys; c.GRACE = 1; from remit.main import main; main()"
    words = ["nohup", PYTHON, "-c", quick, *runner.words([], [PYTHON, "-c", READY])[1:]]
    run = subprocess.Popen(words, env=runner.env, stdin=-3, stdout=-1, stderr=-1, text=True, start_new_session=True)
    child = int(run.stdout.readline())
    run.send_signal(signal.SIGHUP)
    time.sleep(2.5)
    assert alive(child) and run.poll() is None
    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=30)
    assert run.returncode == 143 and not alive(child)
    settled(runner)


def test_a_command_that_ignores_the_signal_is_killed(runner):
    run = runner.start([], PYTHON, "-c", "import signal; signal.signal(15, signal.SIG_IGN);" + READY)
    child = int(run.stdout.readline())
    run.send_signal(signal.SIGTERM)
    time.sleep(1)
    assert alive(child)
    _, err = run.communicate(timeout=30)
    assert run.returncode == 137 and "killing it" in err
    assert not alive(child)
    settled(runner)


def test_the_command_killed(runner, postgres):
    run = runner.start(["db"], PYTHON, "-c", READY, "PGUSER")
    child, user = run.stdout.readline().split()
    os.kill(int(child), signal.SIGKILL)
    run.communicate(timeout=30)
    assert run.returncode == 137 and user not in pg.roles(postgres)
    assert runner.left() == []


@pytest.mark.parametrize("kill", [os.kill, os.killpg])
def test_remit_run_killed(runner, postgres, kill):
    """The command dies with it; the watchdog ends the task and removes the directory."""
    run = runner.start(["db", "shown=file"], PYTHON, "-c", READY, "PGUSER", "SHOWN_FILE")
    child, user, path = run.stdout.readline().split()
    assert user in pg.roles(postgres) and Path(path).exists()
    task = runner.task()["id"]
    kill(run.pid, signal.SIGKILL)  # alone, or with its whole group, as a supervisor would
    run.communicate(timeout=30)  # nobody holds its pipes any more
    until(lambda: not alive(int(child)), what="the child is dead")
    assert settled(runner, task)["end_reason"] == "remit run was killed"
    assert user not in pg.roles(postgres)
    until(lambda: runner.left() == [], what="the directory is gone")


def test_what_the_command_left_behind_has_nothing(runner, tmp_path):
    """A process that outlives everybody, in a session of its own, holds credentials that are dead."""
    code = f"""
import os, psycopg, time
if os.fork():
    time.sleep(60)
os.setsid()
db = psycopg.connect("")
db.execute("SELECT 1")
open({str(tmp_path / "ready")!r}, "x").close()
while not os.path.exists({str(tmp_path / "go")!r}):
    time.sleep(0.05)
said = []
for attempt in (lambda: db.execute("SELECT 1"), lambda: psycopg.connect("")):
    try:
        attempt()
        said.append("alive")
    except psycopg.Error:
        said.append("dead")
open({str(tmp_path / "said")!r}, "w").write(" ".join(said) + ".")
"""
    run = runner.start(["db"], PYTHON, "-c", code)
    until(lambda: (tmp_path / "ready").exists(), what="it reads")
    task = runner.task()["id"]
    run.kill()
    run.stdout.close()
    run.stderr.close()
    run.wait(30)
    settled(runner, task)
    (tmp_path / "go").touch()
    until(lambda: (tmp_path / "said").exists() and (tmp_path / "said").read_text().endswith("."))
    assert (tmp_path / "said").read_text() == "dead dead."


def test_when_remit_is_gone_the_watchdog_stays_and_tries(house, postgres, tmp_path):
    """The server is down when the command leaves, and back a little later."""
    with billing(postgres, tmp_path, anew=False) as first:
        runner = Runner(first, tmp_path)
        run = runner.start(["db"], PYTHON, "-c", READY, "PGUSER")
        child, user = run.stdout.readline().split()
        port = first.url.rpartition(":")[2]
        first.child.kill()
        first.child.wait()
        os.kill(int(child), signal.SIGKILL)
        _, err = run.communicate(timeout=60)
        assert run.returncode == 137 and "a process stays behind" in err
        assert runner.left() == [] and user in pg.roles(postgres)
    with process(tmp_path / "data", "--port", port, BOSS_DSN=postgres.dsn("boss", "boss-password")):
        until(lambda: user not in pg.roles(postgres), 40, "the role is dropped")


def test_remit_run_killed_while_it_asks(runner):
    """Before the command has started there is nothing to kill, and still a task to end."""
    run = runner.start(["db"], PYTHON, "-c", READY)
    line = run.stderr.readline()
    assert "is open until" in line
    os.kill(run.pid, signal.SIGKILL)
    run.communicate(timeout=30)
    settled(runner, line.split()[3])


def test_interrupted_while_it_asks(runner):
    run = runner.start(["db"], PYTHON, "-c", READY)
    line = run.stderr.readline()
    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=30)
    assert run.returncode == 143
    settled(runner, line.split()[3])
    assert runner.left() == []


def test_ctrl_c_at_a_terminal_reaches_the_command_once(runner):
    code = (
        "import signal, time; n = []\n"
        "signal.signal(2, lambda *a: n.append(1)); print('ready', flush=True)\n"
        "end = time.monotonic() + 3\n"
        "while time.monotonic() < end: time.sleep(0.1)\n"
        "print('got', len(n), flush=True)"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(runner.words([], [])[0], runner.words([], [PYTHON, "-c", code]), runner.env)
    got = b""
    while b"got" not in got or not got.endswith(b"\n"):
        got += os.read(terminal, 4096)
        if b"ready" in got:
            os.write(terminal, b"\x03")
            got = got.replace(b"ready", b"")
    assert b"got 1" in got, got
    until(lambda: b"credential is dead" in os.read(terminal, 4096))
    assert os.waitpid(pid, 0)[1] == 0


def test_nobody_need_listen(runner, postgres):
    """Standard error is closed: nothing stops because of it."""
    words = runner.words(["db"], [PYTHON, "-c", QUERY])
    line = " ".join(f"'{word}'" for word in words).replace(QUERY, QUERY.replace("'", '"'))
    done = subprocess.run(["sh", "-c", f"{line} 2>&-"], env=runner.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.startswith("[('acme',)]")
    run = runner.start(["db"], PYTHON, "-c", READY, "PGUSER")
    _, user = run.stdout.readline().split()
    run.stderr.close()
    run.send_signal(signal.SIGTERM)
    assert run.wait(30) == 143 and user not in pg.roles(postgres)
    run.stdout.close()

"""`remit run`: however it ends, the command is dead, the credentials are dead, and nothing is left lying about."""

from __future__ import annotations

import ctypes
import json
import os
import pty
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from remit_client.errors import RemitError
from remit_client.protocol import Secret
from remit_client.running.child import keep_memory_private
from remit_client.running.vault import Vault
from tests.client.runs import PYTHON, Runner, alive, billing, everything_of, until
from tests.issuers import pg
from tests.server import process

QUERY = """
import os, psycopg
with psycopg.connect("") as db:
    print(db.execute("SELECT name FROM billing.customers").fetchall(), os.environ["PGUSER"])
"""
READY = (
    "import os, sys, time; print(os.getpid(), *[os.environ.get(n) for n in sys.argv[1:]], flush=True); time.sleep(60)"
)


@pytest.fixture(scope="module")
def house(postgres, tmp_path_factory):
    with billing(postgres, tmp_path_factory.mktemp("house")) as running:
        yield running


@pytest.fixture
def runner(house, tmp_path):
    return Runner(house, tmp_path)


def settled(runner, task=""):
    """The task is over and nothing of it lives."""
    task = task or runner.task()["id"]
    get = lambda: runner.server.http("operator").get(f"/v1/tasks/{task}").json()  # noqa: E731
    until(lambda: get()["settled_at"], what="settled")
    assert all(lease["state"] == "ended" for lease in runner.leases(task))
    return get()


def test_a_command_reads_the_database_and_then_nobody_can(runner, postgres):
    done = runner.python(["db"], QUERY)
    assert done.returncode == 0, done.stderr
    rows, user = done.stdout.strip().rsplit(" ", 1)
    assert rows == "[('acme',)]" and user.startswith("remit_")
    assert user not in pg.roles(postgres)  # already dead when `remit run` returns
    assert "every credential is dead" in done.stderr
    assert settled(runner)["end_reason"] == "the command left with 0"
    assert runner.left() == []


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


def test_no_place_and_too_long_a_place(runner, tmp_path):
    done = runner.python([], "", XDG_RUNTIME_DIR="", TMPDIR=str(tmp_path / ("x" * 60)))
    assert done.returncode == 0, done.stderr
    deep = tmp_path / ("y" * 90)
    deep.mkdir(mode=0o700)
    done = runner.python([], "", XDG_RUNTIME_DIR=str(deep))
    assert done.returncode == 1 and "short path" in done.stderr
    settled(runner)
    assert list(deep.iterdir()) == []


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


def test_no_secret_in_argv_logs_or_output_and_no_way_to_the_key(runner):
    run = runner.start(["db", "shown=exec"], PYTHON, "-c", READY, "PGPASSWORD")
    child, password = run.stdout.readline().split()
    me = run.pid
    family = [me, int(child), *_children(me)]
    assert len(set(family)) == 3  # remit run, the command, the watchdog
    for pid in family:
        assert password not in everything_of(pid)
    variables = Path(f"/proc/{child}/environ").read_bytes().decode().split("\0")
    names = {each.partition("=")[0] for each in variables if each.startswith("REMIT_")}
    assert names == {"REMIT_URL", "REMIT_TASK", "REMIT_SOCKET"}
    if os.geteuid():
        with pytest.raises(PermissionError):
            Path(f"/proc/{me}/mem").open("rb").close()
    run.send_signal(signal.SIGTERM)
    out, err = run.communicate(timeout=30)
    assert password not in out + err
    log = runner.server.data.with_suffix(".log").read_text()
    assert password not in log and "canary-" not in log + out + err


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_process_of_the_same_user_cannot_read_our_memory():
    assert _reads_its_parent(keep_memory_private) == "no"
    assert _reads_its_parent(lambda: None) == "yes"


def _reads_its_parent(before):
    listen, say = os.pipe()
    parent = os.fork()
    if parent == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as any process that was started so
            before()
            child = os.fork()
            if child == 0:
                try:
                    Path(f"/proc/{os.getppid()}/environ").read_bytes()
                    Path(f"/proc/{os.getppid()}/mem").open("rb").close()
                    os.write(say, b"yes")
                except PermissionError:
                    os.write(say, b"no")
            else:
                os.waitpid(child, 0)
        finally:
            os._exit(0)
    os.close(say)
    os.waitpid(parent, 0)
    with os.fdopen(listen) as heard:
        return heard.read()


def _children(pid):
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_the_socket_is_for_this_user_and_bounded(runner):
    run = runner.start(["shown=exec"], PYTHON, "-c", READY, "REMIT_SOCKET")
    path = Path(run.stdout.readline().split()[1])
    try:
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

        def said(data):
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(10)
                line.connect(str(path))
                line.sendall(data)
                got = b""
                while chunk := line.recv(65536):
                    got += chunk
            return json.loads(got)

        assert said(b'{"credential": "shown"}\n')["parts"]["value"].startswith("canary-")
        assert said(b'{"list": "exec"}\n') == {"items": [{"name": "shown", "at": ""}]}
        for odd in (
            b"\n",
            b"[]\n",
            b"{\n",
            b'{"credential": ["shown"]}\n',
            b'{"credential": "db"}\n',
            b"[" * 4000 + b"\n",
        ):
            assert "error" in said(odd), odd
        assert said(b"x" * 9000 + b"\n") == {"error": "The request cannot be read."}
        with socket.socket(socket.AF_UNIX) as slow:  # one who says nothing keeps nobody waiting
            slow.connect(str(path))
            assert said(b'{"credential": "shown"}\n')["parts"]
        if not os.geteuid():  # another user may not enter; and were the directory open, is not answered
            assert _as_nobody(path) == "refused"
            for folder in path.parents:
                if "pytest" in str(folder):
                    folder.chmod(0o755)
            path.chmod(0o777)
            assert _as_nobody(path) == "not answered"
    finally:
        run.terminate()
        run.communicate(timeout=30)


def _as_nobody(path):
    """What another user's process sees there."""
    listen, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            with socket.socket(socket.AF_UNIX) as line:
                line.connect(str(path))
                line.sendall(b'{"credential": "shown"}\n')
                os.write(say, b"not answered" if line.recv(100) == b"" else b"answered")
        except ConnectionResetError:
            os.write(say, b"not answered")
        except PermissionError:
            os.write(say, b"refused")
        finally:
            os._exit(0)
    os.close(say)
    os.waitpid(pid, 0)
    with os.fdopen(listen) as heard:
        return heard.read()


def test_an_open_task_is_used_and_left_open_unless_end(runner, postgres):
    first = runner.start([], PYTHON, "-c", READY)
    first.stdout.readline()
    task = runner.task()["id"]
    done = runner.python(["db"], QUERY, options=("--task", task))
    assert done.returncode == 0, done.stderr
    assert runner.server.http("operator").get(f"/v1/tasks/{task}").json()["state"] == "open"
    assert done.stdout.strip().rsplit(" ", 1)[1] in pg.roles(postgres)
    done = runner.python(["db"], QUERY, options=("--task", task, "--end"))
    assert done.returncode == 0 and settled(runner, task)["state"] == "closed"
    first.terminate()
    _, err = first.communicate(timeout=30)
    assert "was closed already" in err
    assert runner.python([], "", options=("--task", "tsk_nothing")).returncode == 6


def test_what_is_refused_is_explained(runner):
    done = runner.python(["hidden"], "print('ran')")
    assert done.returncode == 3 and "never shown to it" in done.stderr and not done.stdout
    settled(runner)
    done = runner.python(["nonsense"], "print('ran')")
    assert done.returncode == 3 and "This purpose offers: db, brief, shown, delicate, hidden." in done.stderr
    done = runner.python([], "print('ran')", options=("--purpose", "none", "--goal", "g"))
    assert done.returncode == 3 and "no purpose of this agent" in done.stderr
    done = runner.python(["delicate"], "print('ran')")
    assert done.returncode == 5 and "finance must agree" in done.stderr and not done.stdout
    assert "Only a call can wait for a person" in done.stderr
    done = runner.python([], "print('ran')", options=("--purpose", "solemn", "--goal", "g"))
    assert done.returncode == 5 and "A proposal cannot wait for a person" in done.stderr and not done.stdout
    done = runner.python([], "", options=("--purpose", "read", "--goal", "g"), REMIT_URL="http://127.0.0.1:9")
    assert done.returncode == 7 and "REMIT_URL" in done.stderr
    for words in (
        [],
        ["--purpose", "read"],
        ["--task", "x", "--purpose", "read"],
        ["--end", "--purpose", "p", "--goal", "g"],
    ):
        assert runner.python([], "", options=words).returncode == 2
    for credential in (
        "db=rumour",
        "db=env:",
        "DB",
        "db=aws:x",
        "x=env:LD_PRELOAD",
        "a=git:http://example.com",
        "=env",
    ):
        done = runner.python([credential], "print('ran')")
        assert done.returncode == 2 and not done.stdout, (credential, done.stderr)
    done = runner.python(["shown=env:X", "db=env:X_HOST", "db"], "print('ran')")
    assert done.returncode == 2 and "twice" in done.stderr
    for bad in ("-1", "1w", "0", "x"):
        done = runner.python([], "", options=("--purpose", "read", "--goal", "g", "--duration", bad))
        assert done.returncode == 2
    assert runner.left() == []


def test_the_wanted_duration_and_the_person_it_is_for(runner):
    for agent, returncode in (("bot", 0), ("other", 4)):
        http = runner.server.http("dana")
        token = http.post("/v1/subject-tokens", json={"agent": agent}).json()["subject_token"]
        options = ("--purpose", "read", "--goal", "g", "--duration", "5m")
        done = runner.python([], "", options=options, REMIT_ON_BEHALF_OF=token)
        assert (done.returncode == 0) == (returncode == 0), done.stderr
    task = runner.task()
    assert task["initiator"] == "person:dana" and task["deadline"] - task["opened_at"] == 300_000


def test_files_are_renewed_before_they_die(runner):
    code = """
import os, time
seen = set()
end = time.monotonic() + 6
while time.monotonic() < end:
    seen.add(open(os.environ["BRIEF_USER_FILE"]).read())
    time.sleep(0.05)
print(len(seen), "" in seen)
"""
    done = runner.python(["brief=file"], code)
    assert done.returncode == 0, done.stderr
    count, empty = done.stdout.split()
    assert 2 <= int(count) <= 4 and empty == "False"
    done = runner.python(["brief"], "")
    assert "expires before the task does" in done.stderr


def test_a_task_ended_by_somebody_else_gives_nothing_more(runner):
    code = "import sys, subprocess, os\nprint(os.environ['REMIT_TASK'], flush=True); sys.stdin.readline()\n"
    code += "sys.exit(subprocess.run(['remit-cred', 'show', '--credential', 'shown']).returncode)"
    env = {**runner.env, "PATH": f"{Path(sys.executable).parent}:{runner.env['PATH']}"}
    words = runner.words(["shown=exec"], [PYTHON, "-c", code])
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    run = subprocess.Popen(words, env=env, text=True, **pipes)
    task = run.stdout.readline().strip()
    runner.server.http("operator").post(f"/v1/tasks/{task}/end", json={"reason": "enough"}, params={"wait": "settled"})
    out, err = run.communicate("go\n", timeout=30)
    assert run.returncode == 1 and "canary" not in out
    assert "revoked already: enough" in err


def test_the_vault_asks_once_while_it_is_fresh():
    asked = []

    def issue(name):
        asked.append(name)
        time.sleep(0.05)
        secret = Secret(value=f"v{len(asked)}")
        secret.lasts = 1.0
        return secret

    vault = Vault(issue)
    threads = [threading.Thread(target=vault.get, args=("a",)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked == ["a"] and vault.get("a").parts == {"value": "v1"}
    assert "v1" not in repr(vault) + repr(vault.get("a"))
    time.sleep(0.9)  # a fifth of its life before its end
    assert vault.get("a").parts == {"value": "v2"}
    vault.close()
    with pytest.raises(RemitError, match="over"):
        vault.get("a")


def test_what_is_being_issued_when_it_closes_is_not_handed_out():
    asked, go = threading.Event(), threading.Event()

    def issue(name):
        asked.set()
        go.wait(10)
        return Secret(value="late")

    vault, seen = Vault(issue), []

    def ask():
        try:
            seen.append(vault.get("a"))
        except RemitError as refused:
            seen.append(str(refused))

    thread = threading.Thread(target=ask)
    thread.start()
    asked.wait(10)
    vault.close()  # does not wait for it
    go.set()
    thread.join()
    assert seen == ["The task is over. Start the command again with `remit run`."]


def test_a_refusal_is_not_asked_for_again_at_once():
    asked = []

    def issue(name):
        asked.append(name)
        raise RemitError("no")

    vault = Vault(issue)
    for _ in range(5):
        with pytest.raises(RemitError, match="no"):
            vault.get("a")
    assert asked == ["a"]


def test_who_am_i(runner):
    run = runner.start([], PYTHON, "-c", READY)
    run.stdout.readline()
    told = runner.server.cli("whoami", **{k: runner.env[k] for k in ("REMIT_URL", "REMIT_AGENT_DIR")})
    assert told.returncode == 0, told.stderr
    assert "agent bot (active" in told.stdout and "olga answers" in told.stdout and "by join_token" in told.stdout
    assert runner.task()["id"] in told.stdout
    shown = json.loads(
        runner.server.cli("whoami", "--json", **{k: runner.env[k] for k in ("REMIT_URL", "REMIT_AGENT_DIR")}).stdout
    )
    assert shown["jkt"] and shown["purposes"] == ["pay", "read"] and len(shown["tasks"]) == 1 and shown["stale"] == ""
    run.terminate()
    run.communicate(timeout=30)
    told = runner.server.cli("whoami")
    assert told.stdout.startswith("operator ") and "operator.key, expires in 29 d" in told.stdout
    runner.server.cli("key", "create", "person", "dana", "--save")
    assert runner.server.cli("whoami", "--as", "dana").stdout.startswith("person dana, in billing")
    story = runner.server.cli("agent", "show", "bot").stdout
    assert "owner       olga" in story and "proves by   join_token" in story and shown["jkt"] in story
    assert "No key is proved" in runner.server.cli("agent", "show", "other").stdout

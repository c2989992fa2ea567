"""`remit run`: what the command gets, what it does not, and what is said of it."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from remit_client.running.child import keep_memory_private
from tests.client.runs import PYTHON, QUERY, READY, everything_of, settled
from tests.issuers import pg


def test_a_command_reads_the_database_and_then_nobody_can(runner, postgres):
    done = runner.python(["db"], QUERY)
    assert done.returncode == 0, done.stderr
    rows, user = done.stdout.strip().rsplit(" ", 1)
    assert rows == "[('acme',)]" and user.startswith("remit_")
    assert user not in pg.roles(postgres)  # already dead when `remit run` returns
    assert "every credential is dead" in done.stderr
    assert settled(runner)["end_reason"] == "the command left with 0"
    assert runner.left() == []


def test_no_place_and_too_long_a_place(runner, tmp_path):
    done = runner.python([], "", XDG_RUNTIME_DIR="", TMPDIR=str(tmp_path / ("x" * 60)))
    assert done.returncode == 0, done.stderr
    deep = tmp_path / ("y" * 90)
    deep.mkdir(mode=0o700)
    done = runner.python([], "", XDG_RUNTIME_DIR=str(deep))
    assert done.returncode == 1 and "short path" in done.stderr
    settled(runner)
    assert list(deep.iterdir()) == []


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
        except ConnectionError:
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
    assert (
        shown["jkt"]
        and shown["purposes"] == ["pay", "read", "solemn"]
        and len(shown["tasks"]) == 1
        and shown["stale"] == ""
    )
    run.terminate()
    run.communicate(timeout=30)
    told = runner.server.cli("whoami")
    assert told.stdout.startswith("operator ") and "operator.key, expires in 29 d" in told.stdout
    runner.server.cli("key", "create", "person", "dana", "--save")
    assert runner.server.cli("whoami", "--as", "dana").stdout.startswith("person dana, in billing")
    story = runner.server.cli("agent", "show", "bot").stdout
    assert "owner       olga" in story and "proves by   join_token" in story and shown["jkt"] in story
    assert "No key is proved" in runner.server.cli("agent", "show", "other").stdout

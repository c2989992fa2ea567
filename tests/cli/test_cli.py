"""The command line as people type it: JSON, exit codes, next steps, and no traceback ever."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.server import CATALOGUE, REMIT

EXAMPLE = Path(__file__).parents[2] / "examples" / "billing"


@pytest.fixture
def folder(tmp_path):
    for name, text in CATALOGUE.items():
        path = tmp_path / "catalogue" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "catalogue"


def lines(done):
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def held(server):
    bot = server.agent()
    task, token = bot.task()
    arguments = {"customer": "acme", "invoice": time.time_ns() % 10**9, "amount": "1.00"}
    return task, bot, token, arguments, bot.call(task, token, "pay", arguments)["approval"]["id"]


def test_looking_around(server):
    task, *_ = held(server)
    for words, key in (
        (("agent", "list"), "name"),
        (("purpose", "list"), "name"),
        (("tool", "list"), "name"),
        (("task", "list"), "id"),
        (("approval", "list"), "id"),
        (("log", "show", "--limit", "3"), "index"),
    ):
        found = lines(server.cli("--json", *words))
        assert found and key in found[0], words
        assert server.cli(*words).stdout.strip()
    assert lines(server.cli("--json", "lease", "list")) is not None
    assert lines(server.cli("agent", "show", "bot", "--json"))[0]["identities"]
    assert lines(server.cli("purpose", "show", "pay", "--json"))[0]["max_calls"] == 100000
    assert lines(server.cli("tool", "show", "pay", "--json"))[0]["effect"] == "irreversible"
    assert task in server.cli("task", "show", task).stdout
    assert lines(server.cli("task", "list", "--state", "open", "--agent", "bot", "--limit", "1", "--json"))


def test_approving_denying_and_waiting(server):
    server.cli("key", "create", "person", "frank", "--save")
    server.cli("key", "create", "person", "dana", "--save")
    task, bot, token, arguments, approval = held(server)
    shown = server.cli("approval", "show", approval, "--as", "frank")
    assert "cannot be undone; finance must agree." in shown.stdout and "amount       1.00" in shown.stdout
    assert server.cli("approval", "wait", approval, "--seconds", "1").returncode == 5
    assert server.cli("approve", approval, "--as", "dana").returncode == 6  # absent and hidden look the same
    assert server.cli("approve", approval).returncode == 3  # an operator is not an approver
    assert server.cli("approve", approval, "--as", "frank", "--digest", "sha256:0").returncode == 1
    done = server.cli("approve", approval, "--as", "frank", "--note", "fine", "--json")
    assert json.loads(done.stdout)["state"] == "granted"
    assert "granted" in server.cli("approval", "wait", approval).stdout
    assert bot.call(task, token, "pay", arguments)["decision"] == "permit"
    *_, approval = held(server)
    assert "refused" in server.cli("deny", approval, "--as", "frank").stdout
    assert server.cli("approve", approval, "--as", "nobody").returncode == 4


def test_ending_and_freezing(server):
    bot = server.agent("bot")
    task, token = bot.task()
    bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "shown"})
    done = server.cli("task", "end", task, "--reason", "over")
    assert "revoked; every credential is dead" in done.stdout
    assert "frozen" in server.cli("freeze", "agent", "other", "--reason", "x").stdout
    assert "frozen" in server.cli("agent", "list").stdout
    assert "active" in server.cli("unfreeze", "agent", "other", "--reason", "x").stdout


def test_plan_and_apply(server, folder):
    assert server.cli("plan", str(folder)).stdout.strip() == "No changes."
    (folder / "tools" / "more.toml").write_text('effect = "read"\n')
    assert "+ tool more" in server.cli("plan", str(folder)).stdout
    assert "+ tool more" in server.cli("apply", str(folder), "--dry-run").stdout
    (folder / "tools" / "more.toml").write_text('effct = "read"\n')
    wrong = server.cli("apply", str(folder))
    assert wrong.returncode == 1 and "tools/more.toml:1: unknown key 'effct'; did you mean 'effect'?" in wrong.stderr
    machine = server.cli("apply", str(folder), "--json")
    assert json.loads(machine.stderr)["line"] == 1
    assert server.cli("apply", str(folder / "nothing")).returncode == 2
    assert server.cli("apply", str(folder / "tools")).returncode == 2
    (folder / "tools" / "more.toml").write_bytes(b"\xff")
    assert server.cli("plan", str(folder)).returncode == 2


def test_policies_without_a_server(folder, tmp_path):
    def cli(*words):
        return subprocess.run([REMIT, *words], capture_output=True, text=True, check=False)

    assert "2 policies and 2 tools are valid" in cli("policy", "check", str(folder)).stdout
    assert 'action "pay"' in cli("policy", "schema", str(folder)).stdout
    none = cli("policy", "test", str(folder))
    assert none.returncode == 2 and "[[case]]" in none.stderr
    assert "4 of 4 cases hold" in cli("policy", "test", str(EXAMPLE)).stderr
    cases = tmp_path / "x.cases.toml"
    cases.write_text('[[case]]\nname = "x"\ntool = "list"\narguments = { customer = "a" }\nexpect = "hold"\n')
    failed = cli("policy", "test", str(folder), "--cases", str(cases))
    assert failed.returncode == 1 and "FAIL x: permit" in failed.stdout
    arguments = '{"customer":"a","invoice":1,"amount":"1"}'
    told = cli("policy", "explain", str(folder), "--tool", "pay", "--arguments", arguments)
    assert "hold: pay cannot be undone; finance must agree." in told.stdout
    machine = json.loads(
        cli("policy", "explain", str(folder), "--tool", "pay", "--arguments", arguments, "--json").stdout
    )
    assert machine["decision"] == "hold" and machine["first_look"] == ["hold-irreversible"]
    assert cli("policy", "explain", str(folder), "--tool", "nothing").returncode == 6
    for bad in ("x", "[]"):
        assert cli("policy", "explain", str(folder), "--tool", "pay", "--arguments", bad).returncode == 2
    (folder / "policies" / "default.cedar").write_text("permit (principal, action, resource);")
    bad = cli("policy", "check", str(folder))
    assert bad.returncode == 1 and "needs an @id" in bad.stderr


def test_the_log_is_exported_and_verified_with_the_file_and_the_key_alone(server, tmp_path):
    server.agent().task()
    time.sleep(0.3)
    older = tmp_path / "older"
    older.write_text(server.cli("log", "checkpoint").stdout + "\n")
    older.write_text(server.http("anna").get("/log/checkpoint").text)
    server.agent().task()
    time.sleep(0.3)
    file, key = tmp_path / "log.jsonl", server.cli("log", "key").stdout.strip()
    assert server.cli("log", "export", str(file)).returncode == 0

    def verify(*words):
        return subprocess.run(
            [REMIT, "log", "verify", *words], capture_output=True, text=True, check=False, env={"PATH": "/usr/bin"}
        )

    good = verify(str(file), "--key", key, "--older", str(older))
    assert good.returncode == 0 and "extend 1 older" in good.stdout, good.stderr
    assert server.cli("log", "verify", "--key", key).returncode == 0
    text = file.read_text().splitlines(keepends=True)
    for spoiled in (
        text[:-1],
        text[1:],
        [text[1], text[0], *text[2:]],
        [text[0].replace("system", "sistem"), *text[1:]],
    ):
        file.write_text("".join(spoiled))
        bad = verify(str(file), "--key", key)
        assert bad.returncode == 1 and "NOT verified" in bad.stderr
    file.write_text("".join(text))
    note = file.with_name("log.jsonl.checkpoint")
    note.write_text(note.read_text().replace("\n", "\nx\n", 1))
    assert verify(str(file), "--key", key).returncode == 1
    assert verify(str(file), "--key", "nonsense").returncode == 2
    assert "index 0" in server.cli("log", "proof", "0").stdout
    assert server.cli("log", "proof", "99999999").returncode == 6


def test_keys_secrets_and_asking(server):
    assert server.cli("key", "create", "auditor", "ann").stdout.startswith("key_auditor_")
    assert server.cli("key", "create", "person", "nobody").returncode == 6
    assert server.cli("secret", "put", "api", stdin="value\n").returncode == 0
    assert server.cli("secret", "put", "Bad Name", stdin="value").returncode == 1
    server.cli("key", "create", "person", "dana", "--save")
    assert server.cli("ask", "bot", "--as", "dana").stdout.count(".") == 2
    assert server.cli("ask", "nobody", "--as", "dana").returncode == 6
    assert server.cli("agent", "invite", "bot").stdout.startswith("join_")
    path = server.data / "keys" / "dana.key"
    assert path.stat().st_mode & 0o777 == 0o600


def test_doctor_and_config(server, tmp_path):
    done = server.cli("doctor")
    assert done.returncode == 0, done.stdout
    assert all(check["ok"] for check in lines(server.cli("doctor", "--json")))
    (server.data / "operator.key").chmod(0o644)
    try:
        sick = server.cli("doctor")
        assert sick.returncode == 1 and "chmod 600" in sick.stdout
    finally:
        (server.data / "operator.key").chmod(0o600)
    assert "REMIT_PORT" in server.cli("config", REMIT_PORT="1234").stdout
    assert server.cli("config", REMIT_PORT="x").returncode == 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("tsk",), 2, "Did you mean `remit task`?"),
        (("task", "shw"), 2, "Did you mean 'show'?"),
        (("task", "show"), 2, "Missing argument"),
        (("task", "show", "nothing"), 6, "no such thing"),
        (("explain", "RMT-3002"), 0, "Denied"),
        (("explain", "out_of_scope"), 0, "purpose does not grant"),
        (("explain", "RMT-9999"), 6, "no code"),
        (("key", "create", "robot", "x"), 2, "is not one of"),
    ],
)
def test_exit_codes_and_next_steps(server, words, code, said):
    done = server.cli(*words)
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_server_or_a_key_it_says_what_to_do(tmp_path):
    def cli(**env):
        return subprocess.run(
            [REMIT, "task", "list"],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": "/usr/bin", **env},
            cwd=tmp_path,
        )

    nobody = cli()
    assert nobody.returncode == 4 and "REMIT_KEY" in nobody.stderr
    nowhere = cli(REMIT_KEY="key_operator_x", REMIT_URL="http://127.0.0.1:1")
    assert nowhere.returncode == 7 and "remit up" in nowhere.stderr


def test_help_and_completion_and_version(tmp_path):
    for words in (["--help"], ["task", "-h"], ["up", "--help"], ["mcp", "--help"]):
        done = subprocess.run([REMIT, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and "Usage" in done.stdout
    done = subprocess.run(
        [REMIT], capture_output=True, text=True, check=False, env={"PATH": "/usr/bin", "_REMIT_COMPLETE": "bash_source"}
    )
    assert "_remit_completion" in done.stdout
    started = time.perf_counter()
    done = subprocess.run([REMIT, "--version"], capture_output=True, text=True, check=False)
    assert done.stdout == "remit 0.1.0\n" and time.perf_counter() - started < 5
    imported = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import remit.main"], capture_output=True, text=True, check=False
    )
    assert not any(name in imported.stderr for name in ("starlette", "cedarpy", "sqlalchemy", "httpx"))


def test_a_setting_nobody_knows_is_named(tmp_path):
    (tmp_path / "remit.toml").write_text("[server]\nprt = 5\n")
    done = subprocess.run([REMIT, "config"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2 and "did you mean 'port'" in done.stderr
    (tmp_path / "remit.toml").write_text("[server]\nport = 5555\n")
    done = subprocess.run([REMIT, "config"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "5555" in done.stdout and "remit.toml" in done.stdout
    (tmp_path / "remit.toml").write_text("[server\n")
    assert subprocess.run([REMIT, "config"], capture_output=True, text=True, check=False, cwd=tmp_path).returncode == 2


def test_a_port_that_is_taken(server, tmp_path):
    port = server.url.rsplit(":", 1)[1]
    done = server.cli("up", "--port", port, "--data", str(tmp_path / "d"))
    assert done.returncode == 1 and "--port 0" in done.stderr

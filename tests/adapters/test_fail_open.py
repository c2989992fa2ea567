"""Two ecosystems go on when a hook fails. Ours do not; and the control shows that without us they would."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import remit_client as remit
from remit_client.hooks import claude_code as claude
from tests.adapters.claude import Messages, run
from tests.adapters.drivers import NAMES
from tests.adapters.house import FILES, house

LIST = ("list_invoices", {"customer": "acme"}, "c1")
WAYS = ["down", "slow", "garbage"]
CLAUDE = {
    "agents/bot.toml": FILES["agents/bot.toml"],
    "purposes/pay.toml": FILES["purposes/pay.toml"]
    + '[[grants]]\ntool = "claude-code.bash"\nresource = "host/bash"\n'
    + '[[grants]]\ntool = "claude-code.write"\nresource = "host/write"\n',
    "tools/claude-code.bash.toml": 'effect = "read"\nresource = "host/bash"\noutput_trust = "trusted"\n'
    '[arguments.command]\ntype = "text"\n[arguments.description]\ntype = "text"\n',
    "tools/claude-code.write.toml": 'effect = "irreversible"\nresource = "host/write"\n'
    '[arguments.file_path]\ntype = "text"\n[arguments.content]\ntype = "text"\n',
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with house(tmp_path_factory.mktemp("house"), {**FILES, **CLAUDE}) as opened:
        yield opened


@pytest.fixture
def task(home):
    with home.task() as opened:
        yield opened


# --- crewAI ---


@pytest.fixture
def crew():
    if importlib.util.find_spec("crewai") is None:
        pytest.skip("crewai is not here: make adapters")
    from tests.adapters.drivers.crewai import Driver

    return Driver


@pytest.mark.parametrize("mode", WAYS)
@pytest.mark.frameworks
def test_crewai_runs_nothing_when_remit_does_not_answer(home, task, crew, mode):
    driver = crew(remit.Guard(task, tools=NAMES, deadline=0.7))
    home.wire.mode = mode
    assert "no answer means no" in driver.attempt(LIST).text
    assert driver.tools.ran == []


@pytest.mark.frameworks
def test_crewai_runs_nothing_when_the_guard_itself_breaks(task, crew):
    class Broken(remit.Guard):
        def decide(self, call):
            raise RuntimeError("a bug")

    driver = crew(Broken(task, tools=NAMES))
    assert "Nothing was done" in driver.attempt(LIST).text
    assert driver.tools.ran == []


@pytest.mark.frameworks
def test_control_crewai_by_itself_runs_the_tool_when_a_hook_raises(home, task, crew):
    from crewai.hooks import register_before_tool_call_hook, unregister_before_tool_call_hook

    def install(guard):
        def naive(context):
            task.call("list", context.tool_input, wait=0)  # raises: the server is down
            return True

        register_before_tool_call_hook(naive)
        return lambda: unregister_before_tool_call_hook(naive)

    driver = crew(remit.Guard(task, tools=NAMES))
    driver.install = install
    home.wire.mode = "down"
    driver.attempt(LIST)
    assert len(driver.tools.ran) == 1, "crewAI no longer goes on by itself; say so in its adapter"


# --- Claude Code, its real CLI ---


@pytest.fixture
def api():
    opened = Messages()
    yield opened
    opened.close()


def touch(path, call="toolu_1"):
    return ("Bash", {"command": f"echo made > {path}; echo from-bash", "description": "make a file"}, call)


def http(url):
    return claude.settings({**claude.http_hook(url), "timeout": 2})


@pytest.mark.frameworks
def test_claude_code_runs_what_is_permitted_and_not_what_is_denied(home, task, api, tmp_path):
    made, key = tmp_path / "made", task.hook_key()
    _, told, _ = run(api, tmp_path, http(home.server.url), touch(made), REMIT_HOOK_KEY=key)
    assert made.exists() and "from-bash" in told["toolu_1"]
    task.end()
    _, told, _ = run(api, tmp_path, http(home.server.url), touch(tmp_path / "later", "toolu_2"), REMIT_HOOK_KEY=key)
    assert not (tmp_path / "later").exists() and "closed" in told["toolu_2"], told


@pytest.mark.parametrize("way", ["down", "slow", "garbage", "without a key", "another's key"])
@pytest.mark.frameworks
def test_claude_code_runs_nothing_when_the_hook_fails(home, task, api, tmp_path, way):
    settings, key = broken(home, task, way)
    made = tmp_path / "made"
    _, told, _ = run(api, tmp_path, settings, touch(made), **key)
    assert not made.exists() and "from-bash" not in str(told)


@pytest.mark.parametrize("way", ["down", "slow", "garbage", "without a key"])
@pytest.mark.frameworks
def test_control_claude_code_goes_on_when_its_settings_do_not_say_block(home, task, api, tmp_path, way):
    settings, key = broken(home, task, way)
    for event in settings["hooks"].values():
        for hook in event[0]["hooks"]:
            del hook["onFailure"]
    made = tmp_path / "made"
    run(api, tmp_path, settings, touch(made), **key)
    assert made.exists(), "Claude Code no longer goes on by itself; say so in the how-to"


def broken(home, task, way):
    """Settings whose hook gets no usable answer, in one of the ways there are."""
    key = {"REMIT_HOOK_KEY": task.hook_key()}
    if way == "without a key":
        return http(home.server.url), {}
    if way == "another's key":
        with home.client.task("pay", goal="another", customer="acme") as another:
            key = {"REMIT_HOOK_KEY": another.hook_key()[:-8] + "AAAAAAAA"}
        return http(home.server.url), key
    home.wire.mode = way
    return http(home.wire.front(home.server.url)), key


@pytest.mark.frameworks
def test_a_held_call_waits_for_people_and_then_runs(home, task, api, tmp_path):
    path = tmp_path / "w.txt"
    write = ("Write", {"file_path": str(path), "content": "x"}, "toolu_1")
    settings = claude.settings({**claude.http_hook(home.server.url)})
    for event in settings["hooks"].values():
        event[0]["hooks"][0]["url"] += "?held=defer"
    key = {"REMIT_HOOK_KEY": task.hook_key()}
    words = ("--permission-mode", "acceptEdits")
    result, _, _ = run(api, tmp_path, settings, write, words=words, **key)
    assert result["terminal_reason"] == "tool_deferred" and not path.exists()
    approval = home.server.http("frank").get("/v1/approvals", params={"state": "pending"}).json()["items"][-1]["id"]
    home.answer(approval)
    run(api, tmp_path, settings, write, words=(*words, "--resume", result["session_id"]), **key)
    assert path.read_text() == "x" and home.spent(task) == 1


@pytest.mark.frameworks
def test_inside_remit_run_the_hook_needs_no_key(home, api, tmp_path):
    made, client = tmp_path / "made", home.client
    agent_dir = client.agent.directory
    binary = home.server_binary
    env = home.server.env(REMIT_URL=home.server.url, REMIT_AGENT_DIR=str(agent_dir))
    env = {name: value for name, value in env.items() if name.startswith("REMIT_")}
    before = [str(binary), "run", "--purpose", "pay", "--goal", "g", "-p", "customer=acme", "--"]
    hook = {**claude.command_hook(), "command": f"{binary.parent / 'remit-hook'} claude-code"}
    _, told, done = run(api, tmp_path, claude.settings(hook), touch(made), before=before, **env)
    assert made.exists() and "from-bash" in told["toolu_1"], done.stderr
    _, told, _ = run(api, tmp_path, claude.settings(hook), touch(tmp_path / "outside", "toolu_2"))
    assert not (tmp_path / "outside").exists() and "remit run" in told["toolu_2"], told


@pytest.mark.frameworks
def test_a_result_that_is_not_accepted_never_reaches_the_model(home, task, api, tmp_path):
    made = tmp_path / "made"
    call = ("Bash", {"command": f"echo made > {made}; sleep 2; echo from-bash", "description": "d"}, "toolu_1")

    def ends_meanwhile():
        while not made.exists():
            time.sleep(0.02)
        task.end()  # what is read after a task's end is for nobody

    key, thread = task.hook_key(), threading.Thread(target=ends_meanwhile)
    thread.start()
    result, told, _ = run(api, tmp_path, claude.settings(claude.http_hook(home.server.url)), call, REMIT_HOOK_KEY=key)
    thread.join()
    assert "from-bash" not in str(told) and result["terminal_reason"] == "hook_stopped"


@pytest.mark.frameworks
def test_control_claude_code_shows_a_result_when_a_hook_cannot_be_reached_after_the_tool(home, task, api, tmp_path):
    """`onFailure` says nothing for what already happened. The how-to says so, and that the command hook has no such gap."""
    home.wire.mode = "deaf-hook"
    made = tmp_path / "made"
    _, told, _ = run(api, tmp_path, http(home.wire.front(home.server.url)), touch(made), REMIT_HOOK_KEY=task.hook_key())
    assert "from-bash" in str(told), "Claude Code withholds it now; the how-to may say so"


# --- remit-hook, which any coding agent may run ---


@pytest.mark.parametrize(
    ("words", "text"),
    [((), "{}"), (("codex",), "{}"), (("claude-code",), "not json"), (("claude-code",), "{}"), (("claude-code",), "")],
)
def test_the_hook_command_blocks_whatever_goes_wrong(tmp_path, words, text):
    command = [sys.executable, "-m", "remit_client.hook", *words]
    src = str(Path(remit.__file__).parents[1])
    done = subprocess.run(command, input=text, capture_output=True, text=True, env={"PYTHONPATH": src}, check=False)
    assert done.returncode == 2 and not done.stdout and done.stderr


@pytest.mark.parametrize("kind", ["PostToolUse", "PostToolUseFailure"])
def test_the_hook_command_withholds_what_it_cannot_report(kind):
    """After the tool ran, exit code 2 blocks nothing: only an answer does."""
    event = {"hook_event_name": kind, "tool_name": "Bash", "tool_input": {}, "tool_use_id": "t"}
    event["tool_response"] = {"stdout": "a secret", "interrupted": False, "lines": ["a secret", "another"], "n": 7}
    command, src = [sys.executable, "-m", "remit_client.hook", "claude-code"], str(Path(remit.__file__).parents[1])
    done = subprocess.run(
        command, input=json.dumps(event), capture_output=True, text=True, env={"PYTHONPATH": src}, check=False
    )
    said = json.loads(done.stdout)
    assert done.returncode == 0 and said["continue"] is False and "secret" not in done.stdout
    if kind == "PostToolUse":
        shape = said["hookSpecificOutput"]["updatedToolOutput"]
        assert shape.keys() == event["tool_response"].keys() and shape["interrupted"] is False and shape["n"] == 0


def test_the_hook_command_imports_nothing_but_the_standard_library():
    code = "import sys, remit_client.hook; print(sorted(m for m in sys.modules if m in ('httpx', 'cryptography', 'anyio')))"
    src = str(Path(remit.__file__).parents[1])
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": src}, check=True
    )
    assert done.stdout.strip() == "[]" and time.monotonic() - started < 2


def test_the_printed_settings_are_what_was_tested(home):
    said = subprocess.run(
        [str(home.server_binary), "hook", "claude-code", "--quiet", "--url", "https://remit.example"],
        capture_output=True, text=True, check=True, env=home.server.env(),
    )  # fmt: skip
    assert json.loads(said.stdout) == claude.settings(claude.http_hook("https://remit.example"))

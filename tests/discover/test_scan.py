"""What a scan finds, what it leaves alone, that it never says a secret, and that no file can stop it."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner

from remit.cli.app import Context, Parts, cli
from remit.cli.output import Output
from remit.discover import Looked, scan
from remit.discover.files import File
from remit.discover.owners import Owners
from remit.discover.processes import read as read_processes
from remit.discover.rules import RULES
from remit.discover.scanners import NoScanner, kingfisher
from remit.discover.values import Fingerprints, in_url, is_reference, looks_random, names_a_secret
from remit.domain.discovery import Flaw, Noun, Place, Scan, Severity, first_to_do

from .planted import PASSWORD, TOKEN, plant

FINGERPRINTS = Fingerprints(b"k" * 32)
OWN = Looked(scanners=False)


def found(root: Path, looked: Looked = OWN) -> Scan:
    return scan([root], FINGERPRINTS, looked)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    plant(tmp_path)
    return tmp_path


def rules_at(one: Scan, path: str) -> set[str]:
    return {flaw.rule for flaw in one.flaws if flaw.place.path == path}


def test_a_planted_tree_gives_up_everything_that_is_in_it(tree: Path) -> None:
    one = found(tree)
    by_server = {(f.subject, f.rule) for f in one.flaws if f.place.path == ".mcp.json"}
    assert ("github", "secret-in-agent-config") in by_server
    assert ("github", "server-unpinned") in by_server
    assert ("notes", "secret-in-agent-config") in by_server
    assert ("ledger", "secret-in-agent-config") in by_server
    assert ("plain", "value-in-agent-config") in by_server, "whatever its shape, it is not a reference"
    assert rules_at(one, ".vscode/mcp.json") == {"secret-in-agent-config", "server-in-the-clear"}
    assert rules_at(one, ".codex/config.toml") == {"secret-in-agent-config", "server-unpinned"}
    assert rules_at(one, ".claude/settings.json") == {
        "tools-approved-for-ever",
        "servers-trusted-unseen",
        "hook-fails-open",
    }
    assert "pipeline-obeys-strangers" in rules_at(one, ".github/workflows/bot.yml")
    assert "pipeline-holds-cloud-keys" in rules_at(one, ".github/workflows/deploy.yml")
    assert rules_at(one, "compose.yaml") == {"secret-in-file", "workload-with-power"}
    assert rules_at(one, "app/.env") == {"secret-in-file"}
    assert [f.what for f in one.flaws if f.place.path == "k8s/role.yaml"] == ["Role agent can run in other pods"]
    assert one.worst is Severity.CRITICAL
    assert one.score < 50


def test_what_is_as_it_should_be_is_left_alone(tree: Path) -> None:
    one = found(tree)
    assert rules_at(one, ".cursor/mcp.json") == set()
    assert rules_at(one, ".github/workflows/safe.yml") == set()
    env = [f for f in one.flaws if f.place.path == "app/.env"]
    assert [(f.place.line, f.what) for f in env] == [(1, "DB_PASSWORD")]


def test_agents_are_told_by_name_model_tools_and_owner(tree: Path) -> None:
    (agent,) = [thing for thing in found(tree).things if thing.noun is Noun.AGENT]
    assert (agent.name, agent.facts["model"], agent.facts["tools"]) == ("invoice-bot", "gpt-5", "pay")
    assert agent.facts["owner"] == "@payments"
    assert agent.uses == ("OPENAI_API_KEY",)
    assert agent.place == Place("app/agent.py", 8)


@pytest.mark.parametrize("shape", ["text", "json", "sarif", "html"])
def test_no_report_says_a_secret(tree: Path, shape: str) -> None:
    secrets = plant(tree)
    done = CliRunner().invoke(cli, ["scan", str(tree), "--own", "--format", shape], obj=_context())
    assert done.exit_code == 1, done.output
    assert not [secret for secret in secrets if secret in done.output]
    if shape in ("json", "sarif"):
        json.loads(done.stdout)


def test_sarif_names_every_rule_it_uses_and_is_stable(tree: Path) -> None:
    first, second = (
        json.loads(CliRunner().invoke(cli, ["scan", str(tree), "--own", "--format", "sarif"], obj=_context()).stdout)
        for _ in range(2)
    )
    assert first == second
    (one,) = first["runs"]
    described = [rule["id"] for rule in one["tool"]["driver"]["rules"]]
    for result in one["results"]:
        assert described[result["ruleIndex"]] == result["ruleId"]
        assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]


def test_exit_codes_follow_fail_on(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {a: {image: x, privileged: true}}")
    for level, code in (("critical", 0), ("high", 1), ("low", 1)):
        done = CliRunner().invoke(cli, ["scan", str(tmp_path), "--own", "--fail-on", level], obj=_context())
        assert done.exit_code == code, level


def test_an_empty_tree_scores_100(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["scan", str(tmp_path), "--own"], obj=_context())
    assert (done.exit_code, "Score 100 of 100" in done.output) == (0, True)


HOSTILE = {
    "deep.json": b'{"mcpServers":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001,
    "bomb.yaml": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % (c, c, *([c - 1] * 8)) for c in range(98, 110)),
    "apiVersion.yaml": b"apiVersion: v1\nkind: Pod\nmetadata: []\nspec: {containers: [1, null, {env: [null, 3]}], volumes: [1]}\n",
    ".github/workflows/odd.yml": b"on: 3\njobs: {a: 1, b: {steps: [1, null], permissions: 7}}\n",
    ".mcp.json": b'{"mcpServers": {"a": 1, "b": {"command": [], "args": 3, "env": [1], "headers": "x", "url": 9}}}',
    "claude_desktop_config.json": b"\xff\xfe\x00\x00",
    "long.env": b"PASSWORD=" + b"a" * 1_500_000 + b"\n" + b"'\"=" * 100_000,
    "spaces.py": b"from agents import Agent\n" + b"x = " + b"(" * 5_000 + b")" * 5_000,
    "line.ts": b'import x from "@openai/agents";' + b"new Agent({" * 20_000,
    "surrogate.json": b'{"mcpServers": {"a": {"env": {"TOKEN": "\\ud800abc"}}}}',
    "shadow": b":" * 100_000,
    "x.sql": b"('" + b"a@" * 200_000,
    "y.xml": b"<a " + b"b='c" * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_file_stops_a_scan(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(HOSTILE[name])
    (tmp_path / "zz.env").write_text(f"DB_PASSWORD={PASSWORD}")
    one = found(tmp_path)
    assert rules_at(one, "zz.env") == {"secret-in-file"}
    assert len(one.things) < 25_000


def test_links_pipes_and_huge_files_are_not_read(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / ".env").write_text(f"DB_PASSWORD={PASSWORD}")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link.env").symlink_to(outside / ".env")
    (root / "folder").symlink_to(outside)
    os.mkfifo(root / "pipe.env")
    (root / "huge.env").write_text(f"DB_PASSWORD={PASSWORD}\n" + "#" * 3_000_000)
    one = found(root)
    assert (one.files, one.flaws) == (0, ())


def test_the_same_secret_has_one_fingerprint_and_it_is_keyed(tmp_path: Path) -> None:
    for name in ("a.env", "b.env"):
        (tmp_path / name).write_text(f"API_TOKEN={TOKEN}\n")
    mine = {flaw.fingerprint for flaw in found(tmp_path).flaws}
    others = {flaw.fingerprint for flaw in scan([tmp_path], Fingerprints(b"z" * 32), OWN).flaws}
    assert len(mine) == 1
    assert mine.isdisjoint(others)


def test_kingfisher_finds_what_has_an_issuers_shape_and_is_never_let_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").write_text(f"we use {TOKEN} for now\n")
    try:
        hits = kingfisher(tmp_path, history=False)
    except NoScanner as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))
    assert [(hit.path, hit.line) for hit in hits] == [("notes.txt", 1)]
    one = found(tmp_path, Looked())
    assert [(f.place.path, f.rule) for f in one.flaws] == [("notes.txt", "secret-in-file")]
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("remit.discover.scanners.sys.executable", "/nowhere/python")
    with pytest.raises(NoScanner, match="pip install"):
        kingfisher(tmp_path, history=False)


def test_a_secret_that_only_the_history_has_is_found(tmp_path: Path) -> None:
    run = lambda *words: os.spawnvp(os.P_WAIT, "git", ["git", "-C", str(tmp_path), *words])  # noqa: E731
    assert run("init", "-q") == 0
    run("config", "user.email", "a@b.example")
    run("config", "user.name", "a")
    (tmp_path / "notes.txt").write_text(f"we use {TOKEN}\n")
    run("add", ".")
    run("commit", "-qm", "one")
    (tmp_path / "notes.txt").write_text("we use nothing\n")
    run("commit", "-qam", "two")
    try:
        kingfisher(tmp_path, history=True)
    except NoScanner as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))
    assert found(tmp_path, Looked()).flaws == ()
    (flaw,) = found(tmp_path, Looked(history=True)).flaws
    assert (flaw.rule, flaw.place.path, len(flaw.place.commit)) == ("secret-in-history", "notes.txt", 40)


def test_processes_are_told_by_name_and_never_by_their_secrets(tmp_path: Path) -> None:
    one = tmp_path / "41"
    one.mkdir()
    (one / "cmdline").write_bytes(b"node\x00/x/server-github\x00--token\x00" + TOKEN.encode() + b"\x00")
    (one / "environ").write_bytes(f"PATH=/bin\x00GITHUB_TOKEN={TOKEN}\x00".encode())
    (tmp_path / "42").mkdir()
    (tmp_path / "42" / "cmdline").write_bytes(b"bash\x00")
    running = read_processes(tmp_path)
    (thing,) = running.things
    assert (thing.noun, thing.uses) == (Noun.PROCESS, ("GITHUB_TOKEN",))
    assert TOKEN not in str(thing)
    (flaw,) = running.told(FINGERPRINTS)
    assert flaw.rule == "secret-in-arguments"
    assert TOKEN not in str(flaw)


REFERENCES = [
    "${X}",
    "$X",
    "${env:X}",
    "%X%",
    "{{ x }}",
    "<your-key>",
    "op://a/b",
    "xxxx",
    "changeme",
    "your-api-key-here",
    "",
    "****",
]
VALUES = [TOKEN, PASSWORD, "hunter22", "a", "P@ssw0rd!", "prefix-${X}-suffix-9"]


@pytest.mark.parametrize("text", REFERENCES)
def test_a_reference_is_one(text: str) -> None:
    assert is_reference(text)


@pytest.mark.parametrize("text", VALUES)
def test_a_value_is_none(text: str) -> None:
    assert not is_reference(text)


@pytest.mark.parametrize(
    ("name", "holds"),
    [
        ("password", True), ("DB_PASSWORD", True), ("apiKey", True), ("OAUTH_TOKEN", True), ("secret_key_base", True),
        ("clientSecret", True), ("Pass", True), ("max_tokens", False), ("public_key", False), ("keyboard", False),
        ("author", False), ("primary_key", False), ("monkey", False), ("REGION", False), ("compass", False), ("passport", False),
    ],
)  # fmt: skip
def test_a_name_says_what_it_holds(name: str, holds: bool) -> None:
    assert names_a_secret(name) is holds


def test_urls_give_up_passwords_and_keys_and_nothing_else() -> None:
    assert in_url(f"postgres://app:{PASSWORD}@db/x") == [("password", PASSWORD)]
    assert in_url("https://h.example/?api_key=abc123&page=2") == [("api_key", "abc123")]
    assert in_url("https://h.example/path") == []
    assert in_url("postgres://app:${PW}@db/x") == []
    assert in_url("http://[broken") == []


def test_randomness_is_told_from_words() -> None:
    assert looks_random("Zk4vQ9sT2mXw7RbY1cLd8NfJ")
    assert not looks_random("a-perfectly-ordinary-sentence-of-words")
    assert not looks_random("/usr/local/share/something/9")


def test_the_first_to_do_is_the_worst_and_then_the_most() -> None:
    flaws = [Flaw("action-unpinned", Severity.LOW, Place(str(i)), "x") for i in range(9)]
    flaws += [
        Flaw("secret-in-file", Severity.HIGH, Place("a"), "x"),
        Flaw("value-in-agent-config", Severity.NOTE, Place("b"), "x"),
    ]
    assert [rule for rule, _ in first_to_do(flaws)] == ["secret-in-file", "action-unpinned"]
    assert Scan((), (), 0).score == 100


def test_owners_are_those_of_the_last_line_that_fits(tmp_path: Path) -> None:
    (tmp_path / "CODEOWNERS").write_text(
        "* @all\n*.py @python # note\n/docs/ @writers\napps/** @apps\nlib/x @one @two\n"
    )
    owners = Owners.of(tmp_path)
    assert [owners.who(path) for path in ("a.txt", "b/c.py", "docs/x.py", "b/docs/x.txt", "apps/a/b.c", "lib/x/y")] == [
        "@all",
        "@python",
        "@writers",
        "@all",
        "@apps",
        "@one @two",
    ]


def test_every_rule_has_what_a_report_shows() -> None:
    for name, rule in RULES.items():
        assert (name, bool(rule.title), rule.fix.endswith(".")) == (rule.id, True, True)


def test_text_is_what_it_is() -> None:
    assert File("a", b"\x00\x01").text is None
    assert File("a", "\ufeffx\ny".encode()).text == "x\ny"


def _context() -> Context:
    none = lambda *_, **__: None  # noqa: E731
    return Context(Output(as_json=False, quiet=False), Parts(*[none] * len(fields(Parts))))  # type: ignore[arg-type]

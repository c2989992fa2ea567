"""What a stranger's file becomes in a catalogue: names made plain, values quoted, no secret, nothing overwritten."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from remit.cli.app import Context, Parts, cli
from remit.cli.output import Output
from remit.discover import Looked, ownership, scan
from remit.discover.adoption import slug
from remit.discover.values import Fingerprints
from remit.domain.identity import NAME
from remit.formats import toml_text
from remit.formats.catalogue import parse

from .planted import plant

EVIL = 'x"\n[people.mallory]\n#\x1b]0;owned\x07\u202e\ud83d'
PARTS = Parts(*[None] * len(Parts.__dataclass_fields__))


def adopt(folder: Path, *words: str, code: int = 0):
    before = Path.cwd()
    os.chdir(folder)
    try:
        done = CliRunner().invoke(
            cli, ["--json", "adopt", *words], obj=Context(Output(as_json=False, quiet=False), PARTS)
        )
    finally:
        os.chdir(before)
    assert done.exit_code == (1 if code else 0), f"{done.output}{done.exception!r}"
    return done.exception if code else json.loads(done.stdout.splitlines()[-1])


def catalogue(folder: Path) -> dict[str, str]:
    found = folder / "cat"
    return {path.relative_to(found).as_posix(): path.read_text() for path in found.rglob("*") if path.is_file()}


def servers(folder: Path, found: dict, name: str = ".mcp.json") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"mcpServers": found}))
    return path


# --- what is written is a catalogue ---


def test_each_kind_of_thing_becomes_a_catalogue(tmp_path):
    secrets = plant(tmp_path)
    for path in (".cursor/mcp.json", ".mcp.json", ".codex/config.toml", "app/agent.py"):
        adopt(tmp_path, path, "--into", "cat", "--owner", "olga")
    where = ["--repository", "octo/repo", "--repository-id", "456789", "--audience", "https://remit.example"]
    adopt(tmp_path, ".github/workflows/safe.yml", "--into", "cat", "--owner", "olga", *where)
    files = catalogue(tmp_path)
    whole = parse(files)
    assert set(whole.agents) == {"cursor", "claude-code", "codex", "invoice-bot", "safe-review"}
    assert not any(secret in text for secret in secrets for text in files.values())
    assert {purpose.profile.value for purpose in whole.purposes.values()} == {"watch"}
    assert whole.servers["github"].variable == "GITHUB_TOKEN" and whole.servers["notes"].credential == "notes"
    assert "ledger" not in whole.servers, "its secret is on its command line"
    (rule,) = whole.agents["safe-review"].attestations
    assert rule.claims == {
        "repository_id": "456789",
        "job_workflow_ref": "octo/repo/.github/workflows/safe.yml@refs/heads/main",
        "event_name": "push",
    }
    assert whole.federations["github"].provider == "github-actions"
    assert whole.tools["pay"].effect.word == "irreversible" and whole.tools["pay"].schema["required"] == ["amount"]
    assert [grant.tool for grant in whole.purposes["invoice-bot"].grants] == ["pay"]
    assert whole.purposes["invoice-bot"].credentials[0].grants == {"secret": "invoice-bot-openai-api-key"}


def test_a_framework_agents_own_tools_are_read_with_their_arguments(tmp_path):
    (tmp_path / "bot.py").write_text(
        "from pydantic_ai import Agent, RunContext\n"
        "bot = Agent('m', name='Desk Bot')\n"
        "@bot.tool\ndef read_note(ctx: RunContext[int], name: str, lines: int = 3): ...\n"
        "@bot.tool_plain()\nasync def frobnicate(what): ...\n"
        "@bot.output_validator\ndef no(x): ...\n"
        "@other.tool\ndef neither(x): ...\n"
    )
    adopt(tmp_path, "bot.py", "--into", "cat", "--owner", "olga")
    whole = parse(catalogue(tmp_path))
    assert set(whole.tools) == {"read_note", "frobnicate"} and set(whole.agents) == {"desk-bot"}
    assert whole.tools["read_note"].effect.word == "read" and whole.tools["frobnicate"].effect.word == "irreversible"
    assert whole.tools["read_note"].schema["required"] == ["name"]
    assert "Its type is not known" in catalogue(tmp_path)["tools/frobnicate.toml"]


def test_only_what_a_configuration_lets_run_is_granted_and_only_what_was_seen(tmp_path, monkeypatch):
    servers(tmp_path, {"notes": {"command": "notes", "alwaysAllow": ["read_note"]}})
    told = [(f"notes.{name}", {"name": name, "inputSchema": {"type": "object"}}, "sha256:" + "0" * 64) for name in ("read_note", "send")]  # fmt: skip
    told = [(name, one, __import__("remit.formats.jcs", fromlist=["digest"]).digest(one)) for name, one, _ in told]
    monkeypatch.setattr(
        "tests.discover.test_adopt.PARTS", Parts(**{**PARTS.__dict__, "describe": lambda *a, **k: told})
    )
    adopt(tmp_path, ".mcp.json", "--into", "cat", "--owner", "olga", "--start")
    assert set(parse(catalogue(tmp_path)).tools) == {"notes.read_note"}


# --- an owner is a person's word ---


def test_nobody_is_an_owner_until_somebody_says_so(tmp_path):
    plant(tmp_path)
    told = adopt(tmp_path, "app/agent.py", "--into", "cat")
    assert told["owner"] == "" and told["owners"][0] == {"who": "@payments", "source": "CODEOWNERS", "path": "CODEOWNERS", "line": 2}  # fmt: skip
    agent = catalogue(tmp_path)["agents/invoice-bot.toml"]
    assert "owner" not in tomllib.loads(agent) and "@payments" in agent
    with pytest.raises(Exception, match="'owner' is missing"):
        parse(catalogue(tmp_path))
    runner = Context(Output(as_json=False, quiet=False), PARTS)
    words = ["owner", "confirm", "invoice-bot", "--owner", "dana", "--into", str(tmp_path / "cat")]
    done = CliRunner().invoke(cli, words, obj=runner)
    assert done.exit_code == 0, done.exception
    whole = parse(catalogue(tmp_path))
    assert whole.agents["invoice-bot"].owner == whole.purposes["invoice-bot"].owner == "dana"
    assert "Nobody answers" not in catalogue(tmp_path)["agents/invoice-bot.toml"]
    other = CliRunner().invoke(cli, [*words[:4], "mallory", *words[5:]], obj=runner)
    assert other.exit_code == 1 and "'dana' answers for it" in str(other.exception)


def test_owners_are_ranked_with_their_evidence(tmp_path):
    plant(tmp_path)
    (tmp_path / "catalog-info.yaml").write_text("apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {name: x}\nspec:\n  owner: desk\n")  # fmt: skip
    git(tmp_path, "init", "-q")
    for who, times in (("dana@example.org", 3), ("frank@example.org", 1), ("x[bot]@noreply.example", 5)):
        for n in range(times):
            with (tmp_path / "app/agent.py").open("a") as file:
                file.write(f"# {who} {n}\n")
            git(tmp_path, "add", "app/agent.py")
            git(tmp_path, "-c", f"user.email={who}", "-c", "user.name=x", "commit", "-qm", "x", "--no-verify")
    export = tmp_path / "export.json"
    export.write_text(json.dumps({"Functions": [{"FunctionName": "invoice-bot", "Tags": [{"Key": "owner", "Value": "olga"}]},
                                                {"FunctionName": "other", "Tags": {"owner": "mallory"}}]}, indent=1))  # fmt: skip
    directory = tmp_path / "groups.json"
    directory.write_text(json.dumps({"Resources": [{"displayName": "Payments", "members": [{"display": "gina"}]}]}))
    things = [
        t for t in scan([tmp_path], Fingerprints(b"k" * 32), Looked(scanners=False)).things if t.name == "invoice-bot"
    ]
    found = ownership.proposals(tmp_path, things, [export], directory)["app/agent.py"]
    assert [(p.who, p.source, p.place.line) for p in found] == [
        ("@payments", "CODEOWNERS", 2),
        ("gina", "member of payments (CODEOWNERS)", 0),
        ("desk", "catalog-info", 5),
        ("olga", "tag", 8),
        ("dana@example.org", "git, 3 of 4 changes", 0),
        ("frank@example.org", "git, 1 of 4 changes", 0),
    ]


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)


def test_a_repository_cannot_have_its_own_programs_run(tmp_path):
    (tmp_path / "agent.py").write_text("from agents import Agent\nbot = Agent(name='bot')\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    canary, program = tmp_path / "ran", tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {canary}\n")
    program.chmod(0o755)
    sign = "-----BEGIN PGP SIGNATURE-----\n x\n -----END PGP SIGNATURE-----"
    tree = subprocess.run(
        ["git", "-C", str(tmp_path), "write-tree"], capture_output=True, text=True, check=True
    ).stdout.strip()
    who = "dana <dana@example.org> 1700000000 +0000"
    commit = f"tree {tree}\nauthor {who}\ncommitter {who}\ngpgsig {sign}\n\nx\n"
    made = subprocess.run(["git", "-C", str(tmp_path), "hash-object", "-t", "commit", "-w", "--stdin"], input=commit, capture_output=True, text=True, check=True)  # fmt: skip
    git(tmp_path, "update-ref", "HEAD", made.stdout.strip())
    for key, value in {"log.showSignature": "true", "gpg.program": str(program), "core.fsmonitor": str(program),
                       "core.pager": str(program), "core.hooksPath": str(tmp_path), "diff.external": str(program)}.items():  # fmt: skip
        git(tmp_path, "config", key, value)
    things = scan([tmp_path], Fingerprints(b"k" * 32), Looked(scanners=False)).things
    assert [p.who for p in ownership.proposals(tmp_path, things)["agent.py"]] == ["dana@example.org"]
    assert not canary.exists()
    subprocess.run(["git", "-C", str(tmp_path), "log"], capture_output=True, check=False)
    assert canary.exists(), "the control: plain git runs it"


# --- hostile ---


@pytest.mark.parametrize(
    "name", [EVIL, "../../etc/passwd", "..", "/", "", "-" * 90, "\x00", "A" * 100_000, "ﬁ\u200bx", "con"]
)
def test_names_become_plain_and_stay_inside(name, tmp_path):
    assert NAME.match(slug(name, "server"))
    servers(tmp_path, {name: {"command": "notes"}}, ".cursor/mcp.json")
    told = adopt(tmp_path, ".cursor/mcp.json", "--into", "cat", "--owner", "olga")
    assert all(re_safe(path) for path in told["files"])
    whole = parse(catalogue(tmp_path))
    assert set(whole.people) == {"olga"} and len(whole.servers) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [".cursor", "cat"]


def re_safe(path: str) -> bool:
    return ".." not in path and not path.startswith("/") and path.isascii() and path.isprintable()


def test_two_names_never_become_one(tmp_path):
    servers(tmp_path, {"a b": {"command": "one"}, "a/b": {"command": "two"}})
    adopt(tmp_path, ".mcp.json", "--into", "cat", "--owner", "olga")
    assert {server.command for server in parse(catalogue(tmp_path)).servers.values()} == {("one",), ("two",)}


def test_text_is_quoted_whatever_is_in_it():
    for text in (EVIL, "\x7f", "'''", '"""', "\\", "\r\n[x]", "😀"):
        line = toml_text.pairs({text: text, "list": [text, {"k": text}]})
        assert line.isascii() and line.count("\n") == 2 and line.replace("\n", "").isprintable()
        read = tomllib.loads(line)
        assert read["list"][0] == text.encode("utf-8", "replace" if "\ud83d" not in text else "surrogatepass").decode("utf-8", "replace").replace("\ufffd" * 3, "\ufffd")  # fmt: skip
        assert tomllib.loads(toml_text.comment(text)) == {}


@pytest.mark.parametrize(
    "entry",
    [
        {"command": "x", "args": [EVIL]},
        {"command": "x", "args": ["--token", "abc123def"]},
        {"command": "x", "args": ["Zk4vQ9sT2mXw7RbY1cLd8NfJ3hGp6KaE0uVi"]},
        {"command": "x\x00y"},
        {"url": "http://tools.example/mcp"},
        {"url": "https://u:p4ssw0rd@tools.example/mcp"},
        {"url": "https://tools.example/mcp?api_key=9Zr4Qw8t0ps3cr3t"},
        {"url": "https://tools.example/mcp", "headers": {"X-Key": "9Zr4Qw8t0ps3cr3t"}, "command": ""},
        {"command": "x", "env": {"LD_PRELOAD_TOKEN": "9Zr4Qw8t0ps3cr3t"}},
        {},
    ],
)
def test_a_server_that_cannot_be_carried_over_is_said_and_nothing_of_it_is_written(entry, tmp_path):
    servers(tmp_path, {"odd": entry, "ok": {"command": "fine"}})
    told = adopt(tmp_path, ".mcp.json", "--into", "cat", "--owner", "olga")
    text = "".join(catalogue(tmp_path).values())
    assert any(line.startswith("odd: ") for line in told["left"])
    assert not any(
        secret in text + json.dumps(told) for secret in ("9Zr4Qw8", "abc123def", "p4ssw0rd", "Zk4vQ9sT2m", "mallory")
    )
    assert "ok" in parse(catalogue(tmp_path)).servers


def test_a_draft_that_would_have_a_secret_in_it_is_not_written(tmp_path, monkeypatch):
    """The last defence, with the first ones off."""
    monkeypatch.setattr("remit.discover.adoption.servers.secrets_in", lambda words: [])
    monkeypatch.setattr("remit.discover.adoption.servers.without_secrets", lambda words: words)
    servers(tmp_path, {"odd": {"command": "x", "args": ["--token", "abc123def"]}})
    assert "a secret of the file" in str(adopt(tmp_path, ".mcp.json", "--into", "cat", "--owner", "olga", code=1))
    assert not (tmp_path / "cat").exists()


def test_nothing_is_overwritten_and_what_fails_leaves_nothing(tmp_path):
    servers(tmp_path, {"notes": {"command": "notes"}})
    adopt(tmp_path, ".mcp.json", "--into", "cat", "--owner", "olga")
    before = catalogue(tmp_path)
    assert "is there already" in str(adopt(tmp_path, ".mcp.json", "--into", "cat", "--owner", "olga", code=1))
    servers(tmp_path, {"notes": {"command": "evil"}})
    again = ["--into", "cat", "--owner", "olga", "--name", "second"]
    assert "another [servers.notes]" in str(adopt(tmp_path, ".mcp.json", *again, code=1))
    assert catalogue(tmp_path) == before
    servers(tmp_path, {"notes": {"command": "notes"}})
    told = adopt(tmp_path, ".mcp.json", *again, "--dry-run")
    assert catalogue(tmp_path) == before and "+++ b/agents/second.toml" in told["diff"]
    adopt(tmp_path, ".mcp.json", *again)
    after = catalogue(tmp_path)
    assert {path: after[path] for path in before} == before, "the same server is not said twice"


def test_nothing_is_written_through_a_link(tmp_path):
    servers(tmp_path, {"notes": {"command": "notes"}})
    (tmp_path / "cat").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "cat/purposes").symlink_to(tmp_path / "elsewhere")
    assert "is a link" in str(adopt(tmp_path, ".mcp.json", "--into", "cat", "--owner", "olga", code=1))
    assert not list((tmp_path / "elsewhere").iterdir()) and not (tmp_path / "cat/agents/mcp.toml").exists()


def test_a_giant_configuration_is_bounded(tmp_path):
    servers(tmp_path, {f"s{n}": {"command": "x", "args": ["y"] * 20} for n in range(3000)})
    adopt(tmp_path, ".mcp.json", "--into", "cat", "--owner", "olga")
    assert len(parse(catalogue(tmp_path)).servers) == 50


@pytest.mark.parametrize("on", ["issue_comment", "{pull_request_target: {}}", "[push, issues]"])
def test_what_a_stranger_can_cause_is_not_pinned_for_them(on, tmp_path):
    (tmp_path / ".github/workflows").mkdir(parents=True)
    (tmp_path / ".github/workflows/bot.yml").write_text(
        f"on: {on}\njobs:\n  answer:\n    steps:\n      - run: claude -p 'look'\n"
    )
    words = [".github/workflows/bot.yml", "--into", "cat", "--owner", "olga"]
    where = ["--repository", "octo/repo", "--repository-id", "456789", "--audience", "https://remit.example"]
    told = adopt(tmp_path, *words, "--name", "unsaid")
    assert len(told["open"]) == 3, "which repository it is, nobody has said"
    with pytest.raises(Exception, match="oidc needs"):
        parse(catalogue(tmp_path))
    __import__("shutil").rmtree(tmp_path / "cat")
    assert any("strangers cause" in line for line in adopt(tmp_path, *words, *where)["left"])
    (rule,) = parse(catalogue(tmp_path)).agents["bot-answer"].attestations
    assert "event_name" not in rule.claims


@pytest.mark.parametrize("said", ["../x#1", "octo/repo\nevil", "octo", "*/x", "octo/*"])
def test_a_repository_that_is_none_pins_nothing(said, tmp_path):
    plant(tmp_path)
    words = [".github/workflows/safe.yml", "--into", "cat", "--owner", "olga", "--repository", said]
    told = adopt(tmp_path, *words, "--repository-id", "4", "--audience", "https://remit.example")
    assert told["open"] == ["Say which repository this is: --repository OWNER/REPO"]


@pytest.mark.parametrize("report", ["{}", "[]", '{"things": [{"id": "x"}]}', "[" * 100_000, '{"things": 7}'])
def test_a_report_that_is_none_is_refused(report, tmp_path):
    (tmp_path / "r.json").write_text(report)
    failure = str(CliRunner().invoke(cli, ["adopt", "x", "--report", str(tmp_path / "r.json")], obj=Context(Output(as_json=False, quiet=True), PARTS)).exception)  # fmt: skip
    assert "no report" in failure or "has nothing" in failure


def test_a_report_says_where_and_the_file_says_what(tmp_path):
    servers(tmp_path, {"notes": {"command": "notes"}})
    done = CliRunner().invoke(
        cli, ["--json", "scan", "--own", str(tmp_path)], obj=Context(Output(as_json=False, quiet=False), PARTS)
    )
    report = json.loads(done.stdout)
    report["things"][0] |= {"runs": "evil", "name": "evil"}
    (tmp_path / "r.json").write_text(json.dumps(report))
    found = report["things"][0]["id"]
    adopt(tmp_path, found, "--report", "r.json", "--into", "cat", "--owner", "olga")
    assert parse(catalogue(tmp_path)).servers["notes"].command == ("notes",)
    servers(tmp_path, {"other": {"command": "notes"}})
    gone = ["adopt", found, "--report", str(tmp_path / "r.json")]
    failure = CliRunner().invoke(cli, gone, obj=Context(Output(as_json=False, quiet=True), PARTS)).exception
    assert "nothing is called" in str(failure)

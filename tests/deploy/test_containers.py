"""The container file and the compose file: linted, typed, and their commands replayed; no engine is needed for that."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from compose_spec import PyCompose

from remit.cli.settings import DEFAULTS, IN_FILES
from tests.server import REMIT, process

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "Containerfile"
COMPOSE = ROOT / "deploy" / "compose.yaml"


def instructions():
    """(stage, word, the rest) of each, continued lines joined."""
    stage = -1
    text = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", FILE.read_text(), flags=re.M))
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        stage += word == "FROM"
        yield stage, word, rest.strip()


def test_hadolint_finds_nothing():
    tool = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([tool, "--no-color", FILE], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    flawed = subprocess.run([tool, "-"], input="FROM a:latest\nRUN cd /x\n", capture_output=True, text=True, timeout=60)
    assert flawed.returncode != 0


def test_the_image_runs_as_nobody_and_holds_no_secret():
    found = list(instructions())
    bases = [rest for _, word, rest in found if word == "FROM"]
    assert bases == ["${BASE} AS build", "${BASE}"], "one base, which a digest can pin"
    last = {word: rest for stage, word, rest in found if stage == 1}
    assert re.fullmatch(r"[1-9][0-9]{3,}:[1-9][0-9]{3,}", last["USER"])
    assert json.loads(last["ENTRYPOINT"]) == ["remit"] and json.loads(last["CMD"]) == ["--json", "up"]
    assert json.loads(last["HEALTHCHECK"].partition("CMD ")[2]) == ["remit", "doctor", "--ready"]
    assert not re.search("(?i)password|token|secret|_KEY=|https?://", FILE.read_text())
    for _, word, rest in found:
        if word == "COPY" and not rest.startswith("--from"):
            assert all((ROOT / source).exists() for source in shlex.split(rest)[:-1]), rest
    kept = [line[1:] for line in (ROOT / ".containerignore").read_text().splitlines() if line.startswith("!")]
    assert set(kept) == {"src", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"}
    extras = next(rest for _, word, rest in found if word == "ARG" and rest.startswith("EXTRAS"))
    known = (ROOT / "pyproject.toml").read_text()
    assert all(re.search(rf"^{extra} = \[", known, re.M) for extra in extras.partition("=")[2].split(","))


@pytest.mark.soak
def test_what_the_build_stage_runs_makes_a_remit_that_serves(tmp_path):
    """Its RUN line in a shell, its folders below one of ours."""
    (tmp_path / "src").mkdir()
    for name in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / "src" / name)
    shutil.copytree(ROOT / "src", tmp_path / "src" / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    (run,) = [rest for stage, word, rest in instructions() if (stage, word) == (0, "RUN")]
    for path in ("/opt/remit", "/tmp/building", "/dist"):
        run = run.replace(path, f"{tmp_path}{path}")
    run = run.replace("python -m venv", f"{sys.executable} -m venv")
    (tmp_path / "tmp").mkdir()
    (tmp_path / "opt").mkdir()
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "EXTRAS": "postgres,otel,ceremony"}
    done = subprocess.run(["sh", "-euc", run], cwd=tmp_path / "src", env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    remit = tmp_path / "opt" / "remit" / "bin" / "remit"
    assert subprocess.run([remit, "--version"], capture_output=True, text=True).stdout.startswith("remit ")
    assert not (remit.parent / "pip").exists()
    command = [remit, "--json", "up", "--data", tmp_path / "data", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        url = json.loads(child.stdout.readline())["url"]
        asked = {**env, "REMIT_PORT": url.rpartition(":")[2]}
        ready = subprocess.run([remit, "doctor", "--ready"], env=asked, capture_output=True, text=True)
        child.terminate()
    assert ready.returncode == 0, ready.stderr


def test_the_health_check_asks_its_own_server(tmp_path):
    with process(tmp_path / "data") as server:
        port = server.url.rpartition(":")[2]
        assert server.cli("doctor", "--ready", REMIT_PORT=port, REMIT_PUBLIC_URL="https://away.example").returncode == 0
    down = server.cli("doctor", "--ready", REMIT_PORT=port)
    assert down.returncode == 7 and "no server answers" in down.stderr


GIVEN = {"REMIT_IMAGE": "registry.example/remit@sha256:" + "a" * 64, "REMIT_PUBLIC_URL": "https://remit.example"}


def interpolated(text):
    """As compose does: `${X:-default}`, and `${X:?why}` for what must be given."""

    def value(found):
        name, how, rest = found.groups()
        return GIVEN[name] if how == ":?" else rest

    return yaml.safe_dump(yaml.safe_load(re.sub(r"\$\{([A-Z_]+)(:-|:\?)([^}]*)\}", value, text)))


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("services:", "servics:"),
        ("cap_drop:", "cap_drp:"),
        ("restart: unless-stopped", "restart: sometimes"),
        ("mem_limit: 1g", "mem_limit: lots"),
        ("- root.key", "- nosuch"),
        ("- back", "- nonet"),
        ("condition: service_healthy", "condition: service_fine"),
    ],
)
def test_compose_is_what_the_specification_says(good, bad):
    text = interpolated(COMPOSE.read_text())
    PyCompose.from_yaml(text).validate()
    assert good in text
    with pytest.raises(ValueError):
        PyCompose.from_yaml(text.replace(good, bad)).validate()


def test_compose_keeps_secrets_in_files_and_the_database_to_itself():
    read = yaml.safe_load(COMPOSE.read_text())
    ours = {name: one for name, one in read["services"].items() if name.startswith("remit-")}
    assert len(ours) == 3
    for service in ours.values():
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["user"] == "10001:10001"
        assert set(service["secrets"]) <= read["secrets"].keys() and "ports" not in service
        for name in service["environment"]:
            setting = name.removeprefix("REMIT_").lower()
            in_file = setting.removesuffix("_file") in IN_FILES
            assert setting in DEFAULTS or in_file or name == "REMIT_ROOT_KEY_FILE", name
    assert all(set(one) == {"file"} for one in read["secrets"].values())
    assert read["networks"]["back"] == {"internal": True}
    assert read["services"]["postgres"]["networks"] == ["back"] and "ports" not in read["services"]["postgres"]
    assert "synchronous_commit=on" in read["services"]["postgres"]["command"]
    for port in read["services"]["balancer"]["ports"]:
        assert port.startswith("${REMIT_LISTEN:-127.0.0.1:"), "who opens it to the world says so"
    mounted = [v.split(":")[0] for one in read["services"].values() for v in one.get("volumes", [])]
    assert sorted(mounted) == sorted(read["volumes"]), "each server remembers what it saw in a volume of its own"


def test_a_database_is_named_by_a_file(tmp_path):
    named = tmp_path / "dsn"
    named.write_text("postgresql://u:canary-pw@127.0.0.1:1/x\n")
    clean = {k: v for k, v in os.environ.items() if not k.startswith("REMIT_")}
    env = {**clean, "REMIT_DATABASE_FILE": str(named), "REMIT_DATA": str(tmp_path / "data")}
    done = subprocess.run([REMIT, "up", "--port", "0"], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "PostgreSQL cannot be opened" in done.stderr and "canary" not in done.stderr
    named.unlink()
    assert subprocess.run([REMIT, "up"], env=env, capture_output=True, text=True, timeout=60).returncode == 2

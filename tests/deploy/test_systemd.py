"""Units that systemd itself finds well written and closed, and what a service manager hears, on a real socket."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from remit.cli.app import COMMANDS
from tests.server import REMIT, process

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
EXPOSURE = 15  # tenths; 0 is best, 100 worst


def analyze(*arguments):
    tool = shutil.which("systemd-analyze")
    if tool is None:
        message = "systemd-analyze is missing: apt-get install systemd"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    return subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, timeout=60)


def settings(unit):
    """Every assignment, the last of a name last."""
    return re.findall(r"^([A-Za-z]+)=(.*)$", (UNITS / unit).read_text(), re.M)


NAMES = sorted(path.name for path in UNITS.glob("*.service"))


def test_there_are_three():
    assert NAMES == ["remit-edge@.service", "remit-gateway@.service", "remit.service"]


@pytest.mark.parametrize("unit", NAMES)
def test_systemd_understands_every_line(unit, tmp_path):
    text = (UNITS / unit).read_text().replace("/opt/remit/bin/remit", REMIT)
    (tmp_path / unit).write_text(text)
    done = analyze("verify", "--man=no", tmp_path / unit)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    (tmp_path / unit).write_text(text.replace("ProtectSystem=strict", "ProtectSystm=strict"))
    assert "ProtectSystm" in analyze("verify", "--man=no", tmp_path / unit).stderr, "it would have said so"


@pytest.mark.parametrize("unit", NAMES)
def test_what_a_unit_exposes_is_little(unit):
    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE}", UNITS / unit)
    assert done.returncode == 0, done.stdout[-400:]
    assert analyze("security", "--offline=true", "--threshold=1", UNITS / unit).returncode != 0


@pytest.mark.parametrize("unit", NAMES)
def test_no_secret_is_in_a_unit_or_its_environment(unit):
    given = dict(settings(unit))
    assert given["Type"] == "notify" and given["DynamicUser"] == "yes" and given["LimitCORE"] == "0"
    credentials = [value for name, value in settings(unit) if name == "LoadCredential"]
    assert credentials and all(one.split(":")[1].startswith("/etc/remit/") for one in credentials)
    for name, value in settings(unit):
        for pair in shlex.split(value) if name == "Environment" else ():
            variable, _, text = pair.partition("=")
            assert not re.search("KEY|SECRET|TOKEN|PASSWORD", variable) or text.startswith("%d/"), pair


def test_what_they_start_is_there():
    for unit in NAMES:
        words = shlex.split(dict(settings(unit))["ExecStart"])
        assert words[0] == "/opt/remit/bin/remit" and words[1] == "--json" and words[2] in COMMANDS
        told = subprocess.run([REMIT, words[2], "--help"], capture_output=True, text=True, timeout=60).stdout
        assert all(word in told for word in words[3:] if word.startswith("--")), words


def test_a_manager_hears_ready_beats_and_stopping(tmp_path):
    there = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(there))
        manager.settimeout(20)
        with process(tmp_path / "data", NOTIFY_SOCKET=str(there), WATCHDOG_USEC="400000") as server:
            ready = manager.recv(1000).decode().split("\n")
            assert ready[0] == "READY=1" and ready[1] == f"STATUS={server.url}"
            assert server.http().get("/readyz").status_code == 200
            began = time.monotonic()
            assert [manager.recv(1000) for _ in range(4)] == [b"WATCHDOG=1"] * 4
            assert time.monotonic() - began < 5
            server.child.send_signal(signal.SIGSTOP)  # a process that hangs is heard no more
            try:
                manager.settimeout(1.0)
                with pytest.raises(TimeoutError):
                    while True:
                        manager.recv(1000)
            finally:
                server.child.send_signal(signal.SIGCONT)
            manager.settimeout(20)
            server.child.terminate()
            heard = b""
            while heard != b"STOPPING=1":
                heard = manager.recv(1000)


def test_without_a_manager_or_with_one_that_is_gone_nothing_happens(monkeypatch):
    from remit.supervisor import tell

    for address in ("", "relative", "/nowhere/at/all", "@remit-nobody-is-here"):
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        tell("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0remit-test-abstract")
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", "@remit-test-abstract")
        tell("READY=1")
        assert manager.recv(100) == b"READY=1"

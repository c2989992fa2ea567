"""What the kernel says of a process, on this kernel: real processes, real sockets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest

from remit.attest.unix import Gone, Peer, of_cgroup

EXE = os.path.realpath(sys.executable)
CONNECT = "import socket,sys,time;s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1]);print('in',flush=True);time.sleep(60)"


@pytest.fixture
def listener(tmp_path):
    """(listening socket, its path)."""
    with socket.socket(socket.AF_UNIX) as found:
        found.bind(str(tmp_path / "s"))
        found.listen()
        yield found, str(tmp_path / "s")


def connected(listener, words):
    """(process, the accepted end)."""
    child = subprocess.Popen([*words, listener[1]], stdout=subprocess.PIPE, text=True)
    accepted, _ = listener[0].accept()
    assert child.stdout.readline() == "in\n"
    return child, accepted


def test_a_process_is_its_user_and_its_program(listener):
    child, accepted = connected(listener, [EXE, "-c", CONNECT])
    peer = Peer.of(accepted)
    try:
        found = peer.attest()
        code = sha256(Path(EXE).read_bytes()).hexdigest()
        assert {
            f"unix:uid:{os.getuid()}",
            f"unix:gid:{os.getgid()}",
            f"unix:path:{EXE}",
            f"unix:sha256:{code}",
        } <= found.selectors
        assert found.code == code and str(child.pid) in found.about
        started = time.perf_counter()
        assert peer.attest() == found and time.perf_counter() - started < 1  # the hash is remembered
        child.kill()
        child.wait()
        with pytest.raises(Gone):
            peer.attest()
        with pytest.raises(Gone):
            Peer.of(accepted)
    finally:
        peer.close()


def test_a_program_replaced_on_disk_is_not_the_one_that_runs(listener, tmp_path):
    copy = tmp_path / "python"
    copy.write_bytes(Path(EXE).read_bytes())
    copy.chmod(0o755)
    child, accepted = connected(listener, [str(copy), "-c", CONNECT])
    peer = Peer.of(accepted)
    try:
        before = peer.attest()
        assert f"unix:path:{copy}" in before.selectors
        copy.rename(tmp_path / "was")
        copy.write_bytes(b"#!/bin/sh\n")
        after = peer.attest()
        assert f"unix:path:{copy}" not in after.selectors and after.code == before.code
    finally:
        child.kill()
        child.wait()
        peer.close()


@pytest.mark.skipif(os.getuid() != 0, reason="mount namespaces need root here")
def test_a_path_in_another_mount_namespace_is_no_path_of_ours(listener, tmp_path):
    """Whoever has a namespace of their own can call any file /usr/bin/agent."""
    fake = tmp_path / "agent"
    fake.write_bytes(b"x")
    script = f'mount --bind {EXE} {fake} && exec {fake} -c "{CONNECT}" {listener[1]}'
    child = subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdout=subprocess.PIPE, text=True)
    accepted, _ = listener[0].accept()
    peer = Peer.of(accepted)
    try:
        found = peer.attest()
        assert not any(one.startswith("unix:path:") for one in found.selectors) and found.code
    finally:
        child.kill()
        child.wait()
        peer.close()


UNIT = "0::/system.slice/agent.service"
ID = "ab" * 32


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (UNIT, {"systemd:id:agent.service"}),
        (UNIT + "/forged.service", {"systemd:id:agent.service"}),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/agent.service", {"systemd:id:user@1000.service"}),
        (f"0::/system.slice/docker-{ID}.scope", {f"container:id:{ID}"}),
        (f"0::/system.slice/docker-{ID}.scope/{'cd' * 32}", {f"container:id:{ID}"}),
        (f"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope", {f"container:id:{ID}"}),
        (f"5:memory:/docker/{ID}\n0::/docker/{ID}", {f"container:id:{ID}"}),
        (f"5:memory:/docker/{ID}\n0::/docker/{'cd' * 32}", set()),
        (f"0::/../../docker/{ID}", set()),
        (f"0::/docker/{ID}ab", set()),
        ("0::/", set()),
        ("", set()),
        ("garbage", set()),
    ],
)
def test_a_cgroup_names_its_first_unit_and_its_first_container(text, wanted):
    assert of_cgroup(text) == wanted

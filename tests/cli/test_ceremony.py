"""The root key in shares: any K give it back, fewer and wrong ones say why not; and a store that opens with it."""

from __future__ import annotations

import json
import subprocess
from itertools import combinations

import pytest

from remit.domain.errors import BadField
from remit.formats import base64url, slip39
from tests.server import REMIT, furnished, process

KEY = bytes(range(32))


def remit(*words):
    return subprocess.run([REMIT, *map(str, words)], capture_output=True, text=True, timeout=60)


def test_any_three_of_five_and_no_two():
    shares = slip39.split(KEY, 3, 5)
    assert all(slip39.combine(some) == KEY for some in combinations(shares, 3))
    assert slip39.combine([share.upper() + "  " for share in shares]) == KEY
    for some in combinations(shares, 2):
        with pytest.raises(BadField, match="3 are needed, and 2"):
            slip39.combine(some)


def test_a_wrong_share_is_an_error_and_never_another_key():
    shares, others = slip39.split(KEY, 2, 3), slip39.split(bytes(32), 2, 3)
    words = shares[0].split()
    for bad in (
        [shares[0], others[1]],
        [shares[0], shares[0]],
        [" ".join(words[:-1]), shares[1]],
        [" ".join(["zzz", *words[1:]]), shares[1]],
        [" ".join([*words[:5], words[6], words[5], *words[7:]]), shares[1]],
        ["", shares[1]],
    ):
        with pytest.raises(BadField) as told:
            slip39.combine(bad)
        assert not any(len(word) > 6 and word in str(told.value) for word in words), "no word is quoted"
    for needed, count in ((1, 3), (4, 3), (2, 17)):
        with pytest.raises(BadField):
            slip39.split(KEY, needed, count)
    with pytest.raises(BadField):
        slip39.split(b"short", 2, 3)
    with pytest.raises(BadField, match="no root key"):
        from shamir_mnemonic import generate_mnemonics

        slip39.combine(generate_mnemonics(1, [(2, 2)], b"x" * 16)[0])


def test_a_ceremony_and_a_server_that_opens_with_what_it_gave_back(tmp_path):
    data, out = tmp_path / "data", tmp_path / "ceremony"
    with process(data) as server:
        furnished(server)
    key = (data / "root.key").read_text().strip()
    done = remit("key", "ceremony", "split", "-k", 2, "-n", 3, "--from", data / "root.key", "--out", out)
    assert done.returncode == 0, done.stderr
    sheets = sorted(out.glob("share-*"))
    paper = (out / "transcript.txt").read_text()
    assert len(sheets) == 3 and all(path.stat().st_mode & 0o777 == 0o600 for path in out.iterdir())
    assert done.stdout.strip() == paper.strip() and key not in paper + done.stdout
    shares = [{word for word in path.read_text().split() if word.islower() and len(word) > 4} for path in sheets]
    secret = set.union(*shares) - set.intersection(*shares)  # what they have in common is what every sheet says
    assert len(secret) > 30 and len({word for word in secret if f" {word} " in paper}) < 4
    assert remit("key", "ceremony", "split", "-k", 2, "-n", 3, "--out", out).returncode == 2

    (data / "root.key").unlink()
    refused = remit("key", "ceremony", "combine", sheets[0], "--out", data / "root.key")
    assert refused.returncode == 1 and "2 are needed" in refused.stderr and not (data / "root.key").exists()
    other = remit("key", "ceremony", "combine", *sheets[:2], "--out", data / "root.key", "--fingerprint", "0" * 16)
    assert other.returncode == 1 and not (data / "root.key").exists()
    mark = slip39.fingerprint(base64url.decode(key))
    back = remit("--json", "key", "ceremony", "combine", *sheets[1:], "--out", data / "root.key", "--fingerprint", mark)
    assert json.loads(back.stdout)["fingerprint"] == mark and (data / "root.key").read_text().strip() == key
    assert remit("key", "ceremony", "combine", *sheets[1:], "--out", data / "root.key").returncode == 2
    with process(data) as server:
        server.agent()


def test_the_root_key_and_a_signing_key_are_replaced_end_to_end(tmp_path):
    """New root key beside the previous one, rewrap, previous one gone; then a signing key at once."""
    data = tmp_path / "data"
    with process(data) as server:
        furnished(server)
    old = (data / "root.key").read_text()
    (data / "root.key.previous").write_text(old)
    (data / "root.key").write_text(base64url.encode(KEY) + "\n")
    with process(data) as server:
        assert "remit_root_key_replacing 1.0" in server.http("operator").get("/metrics").text
        done = server.cli("secret", "rewrap", "--json")
        assert done.returncode == 0 and json.loads(done.stdout)["unopened"] == [], done.stdout + done.stderr
    (data / "root.key.previous").unlink()
    with process(data, REMIT_ROOT_KEY_FILE=str(data / "root.key")) as server:
        assert "remit_root_key_replacing 0.0" in server.http("operator").get("/metrics").text
        bot = server.agent()
        _, token = bot.task()
        assert server.cli("key", "rotate", "--use", "token", "--now", "--reason", "leaked").returncode == 0
        assert bot.send("GET", "/v1/whoami", token).status_code == 401
        assert bot.task()
    verified = server.cli("backup", "verify", "--data", str(data))
    assert verified.returncode == 0, verified.stdout + verified.stderr
    (data / "root.key").write_text(old)
    assert server.cli("backup", "verify", "--data", str(data)).returncode == 1

"""Logs, transcripts and chat exports: what is found in them, what is left alone, and that none of them has an end."""

from __future__ import annotations

import json
import os
import resource
import time
from pathlib import Path

import pytest

from remit.discover import Looked, scan, talk
from remit.discover.values import Fingerprints
from remit.domain.discovery import Scan

FINGERPRINTS = Fingerprints(b"k" * 32)
PASSWORD, TOKEN = "hunter22-prod-9Z", "k9Q2m8Zx4Lw7Rb1cVt5Y"
NESTED = json.dumps({"stdout": json.dumps({"config": {"api_key": TOKEN}})})
CLAUDE = {
    "type": "user",
    "message": {"role": "user", "content": [{"type": "tool_result", "content": f"DB_PASSWORD={PASSWORD}\n"}]},
}
KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----"
HAR = {"log": {"entries": [{"request": {"headers": [{"name": "Authorization", "value": f"Bearer {TOKEN}"}]}}]}}

# path, its text, and every secret in it.
HAS: list[tuple[str, str, set[str]]] = [
    ("a.jsonl", json.dumps(CLAUDE), {PASSWORD}),
    ("b.jsonl", json.dumps({"type": "function_call_output", "output": NESTED}), {TOKEN}),
    ("c.log", f"2027-01-01 GET / Authorization: Bearer {TOKEN}\n", {TOKEN}),
    ("d.log", f"connecting to postgres://app:{PASSWORD}@db/x\n", {PASSWORD}),
    ("e.log.2", f"login with password={PASSWORD}, user=x\n", {PASSWORD}),
    ("f.har", json.dumps(HAR), {TOKEN}),
    ("g.jsonl", json.dumps({"text": KEY}), {KEY}),
    ("conversations.json", json.dumps([{"mapping": {"x": {"message": {"content": {"parts": [f"my password: '{PASSWORD}'"]}}}}}]), {PASSWORD}),
    ("_chat.txt", f"[01/01/27] Dana: the api_key={TOKEN}\n", {TOKEN}),
    ("cut.jsonl", '{"role": "user", "content": "secret=\\"' + PASSWORD + '\\" and', {PASSWORD}),
]  # fmt: skip
HAS_NOT = [
    "password is required", "token: invalid", "max_tokens=4096", "password=${DB_PASSWORD}", "api_key=<your-key-here>",
    "Authorization: Bearer ${TOKEN}", "https://user@host/path", "the secret: nobody knows it", "secret_name=production",
]  # fmt: skip


def look(root: Path) -> Scan:
    return scan([root], FINGERPRINTS, Looked(scanners=False))


@pytest.mark.parametrize(("path", "text", "secrets"), HAS, ids=[case[0] for case in HAS])
def test_what_is_in_it_is_found_once(tmp_path: Path, path: str, text: str, secrets: set[str]) -> None:
    (tmp_path / path).write_text(text if path in ("conversations.json", "g.jsonl") else f"{text}\n{text}\n")
    one = look(tmp_path)
    assert {flaw.fingerprint for flaw in one.flaws} == {FINGERPRINTS.of(secret) for secret in secrets}
    assert len(one.flaws) == len(secrets) and one.flaws[0].place.path == path
    assert not [secret for secret in (PASSWORD, TOKEN) if secret in repr(one)]


@pytest.mark.parametrize("line", HAS_NOT)
@pytest.mark.parametrize("name", ["a.log", "a.jsonl"])
def test_words_and_references_are_left_alone(tmp_path: Path, line: str, name: str) -> None:
    (tmp_path / name).write_text(line if name == "a.log" else json.dumps({"role": "assistant", "content": line}))
    assert look(tmp_path).flaws == ()


def test_it_says_who_said_it_and_at_which_line(tmp_path: Path) -> None:
    lines = [{"role": "user", "content": "hello"}, CLAUDE, {"role": "assistant", "content": f"token={TOKEN}"}]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = {(flaw.place.line, flaw.what) for flaw in look(tmp_path).flaws}
    assert told == {(2, "DB_PASSWORD in a tool's output"), (3, "token said by the assistant")}


BOMB = b'{"a":' * 5_000 + b"1" + b"}" * 5_000
HOSTILE = {
    "deep.jsonl": b"[" * 500_000 + b"]" * 500_000,
    "objects.jsonl": BOMB + b"\n" + BOMB,
    "wide.jsonl": b"[" + b"[]," * 300_000 + b"[]]",
    "quotes.log": b"password='" * 100_000,
    "equals.log": b"secret=" * 150_000,
    "nested.jsonl": json.dumps(json.dumps(json.dumps(json.dumps({"x": "[" * 5_000})))).encode(),
    "binary.log": bytes(range(256)) * 4_000,
    "urls.log": b"a://b" * 200_000,
    "begin.log": b"-----BEGIN PRIVATE KEY-----" * 8_000,
    "surrogate.jsonl": b'{"password": "\\ud800\\ud800abcdefgh1"}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_line_stops_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(HOSTILE[name] + b"\n")
    (tmp_path / "zz.log").write_text(f"password={PASSWORD}\n")
    started = time.process_time()
    one = look(tmp_path)
    assert FINGERPRINTS.of(PASSWORD) in {flaw.fingerprint for flaw in one.flaws if flaw.place.path == "zz.log"}
    assert time.process_time() - started < 20


def test_a_log_without_end_takes_bounded_memory_and_time(tmp_path: Path) -> None:
    with open(tmp_path / "big.log", "wb") as file:
        file.write(f"password={PASSWORD}\n".encode())
        file.truncate(400 << 20)  # one line that has no end, and takes no room on the disk
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    found, large, left = talk.read(tmp_path, budget=1.0)
    assert [one[4] for one in found.secrets] == [PASSWORD] and large == 1
    assert left.cut == 1 and "MB" in left.said()[0]
    assert time.monotonic() - started < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB


def test_after_its_time_nothing_more_is_begun(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(f"password={PASSWORD}\n")
    found, _, left = talk.read(tmp_path, budget=-1.0)
    assert found.secrets == [] and left.late == 1 and "after" in left.said()[0]


def test_a_secret_cut_by_the_end_of_a_piece_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talk, "LINE", 4096)
    for at in (4080, 4090, 4096, 4100):
        text = f"{'x ' * (at // 2)}password={PASSWORD} end\n"
        (tmp_path / "a.log").write_text(text)
        found, _, _ = talk.read(tmp_path)
        assert PASSWORD in {one[4] for one in found.secrets}, at


def test_links_and_pipes_are_not_read(tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text(f"password={PASSWORD}\n")
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.log").symlink_to(outside)
    os.mkfifo(root / "pipe.log")
    (root / "null.log").symlink_to("/dev/zero")
    assert look(root).flaws == ()

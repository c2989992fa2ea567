"""tools/verify_log.py shares no code with the product: what one signs and exports the other must take, and only that."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from remit.formats import tlog
from remit.log import merkle
from tests import vectors

TOOL = Path(__file__).parents[2] / "tools" / "verify_log.py"
PRIVATE, WITNESS = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
KEY = tlog.NoteKey("remit.local/log", PRIVATE.public_key().public_bytes_raw())
EVENTS = [json.dumps({"n": n}).encode() for n in range(37)]


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verify_log", TOOL)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


VERIFY = tool()


def note(events: list[bytes]) -> str:
    root = merkle.root_of([merkle.leaf_hash(event) for event in events])
    return tlog.sign_checkpoint(tlog.Checkpoint(KEY.name, len(events), root), [(KEY, PRIVATE.sign)])


def path_to(hashes: list[bytes], index: int) -> list[bytes]:
    """The inclusion path, by the definition (RFC 6962 section 2.1.1)."""
    if len(hashes) == 1:
        return []
    half = 1 << ((len(hashes) - 1).bit_length() - 1)
    if index < half:
        return [*path_to(hashes[:half], index), merkle.root_of(hashes[half:])]
    return [*path_to(hashes[half:], index - half), merkle.root_of(hashes[:half])]


def run(*words: object) -> tuple[int, str]:
    done = subprocess.run([sys.executable, TOOL, *map(str, words), "--key", str(KEY)], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def export(folder: Path, events: list[bytes], signed: list[bytes] | None = None) -> Path:
    file = folder / "log.jsonl"
    file.write_bytes(b"".join(event + b"\n" for event in events))
    file.with_name("log.jsonl.checkpoint").write_text(note(signed if signed is not None else events))
    return file


def test_it_is_short_and_imports_nothing_but_the_standard_library() -> None:
    source = TOOL.read_text()
    assert len(source.splitlines()) < 200
    imported = {a.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import) for a in node.names}
    assert imported <= set(sys.stdlib_module_names)
    assert not [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]


def test_a_log_as_it_was_exported_is_good(tmp_path: Path) -> None:
    (tmp_path / "old").write_text(note(EVENTS[:20]))
    code, said = run(export(tmp_path, EVENTS), "--older", tmp_path / "old")
    assert (code, "37 events of remit.local/log" in said) == (0, True), said


@pytest.mark.parametrize(
    ("events", "words"),
    [
        (EVENTS[:-1], "cut short"),
        ([EVENTS[1], EVENTS[0], *EVENTS[2:]], "edited"),
        ([*EVENTS[:5], b"{}", *EVENTS[6:]], "edited"),
        ([*EVENTS[:5], *EVENTS[6:], b"{}"], "edited"),
    ],
)
def test_a_touched_log_is_not(tmp_path: Path, events: list[bytes], words: str) -> None:
    code, said = run(export(tmp_path, events, EVENTS))
    assert (code, words in said) == (1, True), said


def test_a_log_that_was_signed_again_is_found_by_an_older_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "old").write_text(note(EVENTS[:20]))
    rewritten = [*EVENTS[:5], b"{}", *EVENTS[6:]]
    assert run(export(tmp_path, rewritten))[0] == 0
    assert "not those that were signed then" in run(export(tmp_path, rewritten), "--older", tmp_path / "old")[1]
    assert "rolled back" in run(export(tmp_path, EVENTS[:10]), "--older", tmp_path / "old")[1]


def test_somebody_elses_signature_is_none(tmp_path: Path) -> None:
    file = export(tmp_path, EVENTS)
    other = tlog.NoteKey(KEY.name, WITNESS.public_key().public_bytes_raw())
    root = merkle.root_of([merkle.leaf_hash(event) for event in EVENTS])
    forged = tlog.sign_checkpoint(tlog.Checkpoint(KEY.name, len(EVENTS), root), [(other, WITNESS.sign)])
    file.with_name("log.jsonl.checkpoint").write_text(forged)
    assert "has not signed" in run(file)[1]


def test_a_receipt_is_for_one_event_at_one_place(tmp_path: Path) -> None:
    hashes = [merkle.leaf_hash(event) for event in EVENTS]
    for index in (0, 17, 36):
        receipt, event = tmp_path / "r", tmp_path / "e"
        receipt.write_text(tlog.write_proof(index, path_to(hashes, index), note(EVENTS)))
        event.write_bytes(EVENTS[index] + b"\n")
        assert run("--receipt", receipt, "--event", event) == (0, f"this is event {index} of 37 of {KEY.name}\n")
        event.write_bytes(EVENTS[index - 1])
        assert run("--receipt", receipt, "--event", event)[0] == 1


def test_a_witness_must_have_cosigned(tmp_path: Path) -> None:
    file, raw = export(tmp_path, EVENTS), WITNESS.public_key().public_bytes_raw()
    number = hashlib.sha256(b"w.example\n\x04" + raw).digest()[:4]
    key = f"w.example+{number.hex()}+" + tlog.base64.b64encode(b"\x04" + raw).decode()
    assert "too few witnesses" in run(file, "--witness", key)[1]
    assert run(file, "--witness", key, "--quorum", "0")[0] == 0
    assert "not an Ed25519 key" in run(file, "--witness", KEY)[1], "a log's key is no witness"
    signed, text = file.with_name("log.jsonl.checkpoint"), note(EVENTS)
    body = text.rpartition("\n\n")[0] + "\n"
    when = (1_764_000_000).to_bytes(8, "big")
    for said, code in (
        (f"cosignature/v1\ntime 1764000000\n{body}", 0),
        (f"cosignature/v1\ntime 1764000001\n{body}", 1),
    ):
        line = tlog.base64.b64encode(number + when + WITNESS.sign(said.encode())).decode()
        signed.write_text(f"{text}— w.example {line}\n")
        assert run(file, "--witness", key)[0] == code
        assert run(file, "--witness", key, "--witness", key, "--quorum", "2")[0] == 1, "one is not two"


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200))
def test_its_ed25519_agrees_with_a_library(seed: bytes, message: bytes) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = key.public_key().public_bytes_raw(), key.sign(message)
    assert VERIFY.ed25519(public, message, signature)
    assert not VERIFY.ed25519(public, message + b"x", signature)
    assert not VERIFY.ed25519(public, message, bytes([signature[0] ^ 1]) + signature[1:])
    late = (int.from_bytes(signature[32:], "little") + VERIFY.L).to_bytes(33, "little")[:32]
    assert not VERIFY.ed25519(public, message, signature[:32] + late), "s must be below the group's order"


@pytest.mark.parametrize("file", vectors.files("merkle/inclusion", "**/*.json"))
def test_its_paths_agree_with_the_published_vectors(file: Path) -> None:
    v = json.loads(file.read_text())
    path, root, leaf = [_raw(one) for one in v.get("proof") or ()], _raw(v["root"]), _raw(v["leafHash"])
    good = (
        0 <= v["leafIdx"] < v["treeSize"]
        and len(root) == 32
        and VERIFY.from_path(v["leafIdx"], v["treeSize"], leaf, path) == root
    )
    assert good is not v["wantErr"]


def _raw(text: str | None) -> bytes:
    return tlog.base64.b64decode(text or "")

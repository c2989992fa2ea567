"""Signed notes, checkpoints and proofs of a transparency log (C2SP signed-note, tlog-checkpoint, tlog-proof)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from remit.domain.errors import ProofInvalid

ED25519 = 0x01
NOTE_LIMIT = 16_384
HASH_SIZE = 32
_NAME = re.compile(r"[^\s+]{1,200}\Z")
_NUMBER = re.compile(r"(0|[1-9][0-9]{0,18})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class NoteKey:
    """An Ed25519 verifier key; as text `name+keyid+base64(0x01 ‖ public key)` (signed-note, "vkey")."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """SHA-256(name ‖ "\\n" ‖ 0x01 ‖ public key), first four bytes."""
        return sha256(self.name.encode() + b"\n" + bytes([ED25519]) + self.public).digest()[:4]

    @classmethod
    def parse(cls, text: str) -> NoteKey:
        """Parse the vkey text."""
        parts = text.strip().split("+", 2)
        if len(parts) != 3 or not _NAME.match(parts[0]):
            raise ProofInvalid("not a verifier key: name+keyid+base64 is wanted")
        raw = _b64(parts[2])
        if len(raw) != 33 or raw[0] != ED25519:
            raise ProofInvalid("not an Ed25519 verifier key")
        key = cls(parts[0], raw[1:])
        if parts[1] != key.key_id.hex():
            raise ProofInvalid("the verifier key's id does not fit its key")
        return key

    def __str__(self) -> str:
        raw = base64.b64encode(bytes([ED25519]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{raw}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed tree head: origin, size, root and any extension lines (tlog-checkpoint)."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def body(self) -> str:
        """The text that is signed."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, str(self.size), root, *self.extensions))


def sign_note(text: str, key: NoteKey, sign: Callable[[bytes], bytes]) -> str:
    """Append a signature line to a text that ends with a newline."""
    raw = base64.b64encode(key.key_id + sign(text.encode())).decode()
    return f"{text}\n— {key.name} {raw}\n"


def sign_checkpoint(checkpoint: Checkpoint, key: NoteKey, sign: Callable[[bytes], bytes]) -> str:
    """Sign a checkpoint as a note."""
    return sign_note(checkpoint.body(), key, sign)


def open_note(note: str, keys: Sequence[NoteKey]) -> str:
    """Return the text of a note that at least one known key signed and no known key signed badly."""
    if len(note) > NOTE_LIMIT or any(ord(c) < 0x20 and c != "\n" for c in note):
        raise ProofInvalid("not a signed note")
    text, sep, signatures = note.rpartition("\n\n")
    lines = signatures.split("\n")
    if not sep or lines[-1] != "" or len(lines) < 2 or len(lines) > 101:
        raise ProofInvalid("not a signed note: no signature lines")
    text += "\n"
    known = {(key.name, key.key_id): key for key in keys}
    good = 0
    for line in lines[:-1]:
        mark, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        if mark != "—" or not _NAME.match(name):
            raise ProofInvalid("a signature line is malformed")
        raw = _b64(encoded)
        if len(raw) < 5:
            raise ProofInvalid("a signature is too short")
        key = known.get((name, raw[:4]))
        if key is None:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(raw[4:], text.encode())
        except InvalidSignature as bad:
            raise ProofInvalid(f"the signature of {name} is not good") from bad
        good += 1
    if not good:
        raise ProofInvalid("no known key signed this")
    return text


def parse_checkpoint(note: str, keys: Sequence[NoteKey], *, origin: str = "") -> Checkpoint:
    """Verify and parse a checkpoint; with `origin` given, it must be that log's."""
    lines = open_note(note, keys).split("\n")
    if len(lines) < 4 or not lines[0] or not _NUMBER.match(lines[1]) or "" in lines[:-1]:
        raise ProofInvalid("not a checkpoint")
    root = _b64(lines[2])
    if len(root) != HASH_SIZE:
        raise ProofInvalid("the checkpoint's root is not 32 bytes")
    if origin and lines[0] != origin:
        raise ProofInvalid(f"this is a checkpoint of {lines[0]}, not of {origin}")
    return Checkpoint(lines[0], int(lines[1]), root, tuple(lines[3:-1]))


def write_proof(index: int, path: Sequence[bytes], note: str) -> str:
    """A receipt for one entry (tlog-proof): inclusion path and the checkpoint it leads to."""
    hashes = "".join(base64.b64encode(h).decode() + "\n" for h in path)
    return f"c2sp.org/tlog-proof@v1\nindex {index}\n{hashes}\n{note}"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a receipt claims: this index, by this path, under this (verified) checkpoint."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: Checkpoint


def parse_proof(proof: str, keys: Sequence[NoteKey], *, origin: str = "") -> Receipt:
    """Parse a receipt and verify its checkpoint; `log.merkle.verify_inclusion` then checks an entry against it."""
    if len(proof) > NOTE_LIMIT:
        raise ProofInvalid("the receipt is too long")
    head, _, rest = proof.partition("\n")
    line, _, rest = rest.partition("\n")
    word, _, number = line.partition(" ")
    if head != "c2sp.org/tlog-proof@v1" or word != "index" or not _NUMBER.match(number):
        raise ProofInvalid("not a tlog-proof")
    hashes, sep, note = ("", "\n", rest[1:]) if rest.startswith("\n") else rest.partition("\n\n")
    if not sep:
        raise ProofInvalid("the receipt has no checkpoint")
    path = tuple(_b64(text) for text in hashes.split("\n") if text)
    return Receipt(int(number), path, parse_checkpoint(note, keys, origin=origin))


def _b64(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as bad:
        raise ProofInvalid("not base64") from bad
    if base64.b64encode(raw).decode() != text:
        raise ProofInvalid("not canonical base64")
    return raw

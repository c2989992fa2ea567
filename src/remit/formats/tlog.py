"""Signed notes, checkpoints and proofs of a transparency log (C2SP signed-note, tlog-checkpoint, tlog-proof)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from remit.domain.errors import ProofInvalid

from . import base64url

ED25519 = 0x01
COSIGNATURE = 0x04  # Ed25519 over a time and a checkpoint (tlog-cosignature)
# A verifier must take sixteen signatures, and a post-quantum one is nearly 5 kB (signed-note, "Format").
NOTE_LIMIT = 131_072
SIGNATURE_LIMIT = 100
# With the 63 hashes a tree of 2^63 leaves needs, and extra data as large again as the note.
RECEIPT_LIMIT = 2 * NOTE_LIMIT
PATH_LIMIT = 63
SIZE_LIMIT = 2**63 - 1
HASH_SIZE = 32
_NAME = re.compile(r"[^\s+]{1,200}\Z")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_PROOF = "c2sp.org/tlog-proof@v1"
_NUMBER = re.compile(r"(0|[1-9][0-9]{0,18})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class NoteKey:
    """An Ed25519 verifier key; as text `name+keyid+base64(kind ‖ public key)` (signed-note, "vkey").

    `kind` is ED25519, a log's, or COSIGNATURE, a witness's: neither is ever good for the other.
    """

    name: str
    public: bytes
    kind: int = ED25519

    def __post_init__(self) -> None:
        if not _NAME.match(self.name) or not _is_utf8(self.name):
            raise ProofInvalid("a key name has 1 to 200 characters and neither a space nor a plus")
        if len(self.public) != 32:
            raise ProofInvalid("an Ed25519 public key has 32 bytes")

    @property
    def key_id(self) -> bytes:
        """SHA-256(name ‖ "\\n" ‖ kind ‖ public key), first four bytes."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    @classmethod
    def parse(cls, text: str, kind: int = ED25519) -> NoteKey:
        """Parse the vkey text of a key of this kind."""
        parts = text.strip().split("+", 2)
        if len(text) > 300 or len(parts) != 3:
            raise ProofInvalid("not a verifier key: name+keyid+base64 is wanted")
        raw = _b64(parts[2])
        if len(raw) != 33 or raw[0] != kind:
            raise ProofInvalid("not an Ed25519 verifier key" + (" of a witness" if kind == COSIGNATURE else ""))
        key = cls(parts[0], raw[1:], kind)
        if parts[1] != key.key_id.hex():
            raise ProofInvalid("the verifier key's id does not fit its key")
        return key

    def __str__(self) -> str:
        raw = base64.b64encode(bytes([self.kind]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{raw}"

    def verify(self, signature: bytes, text: str) -> int:
        """Raise `ProofInvalid` unless it signed this text; returns when, in seconds, where the signature says so."""
        at, said = 0, text
        if self.kind == COSIGNATURE:
            at, signature = int.from_bytes(signature[:8], "big"), signature[8:]
            said = f"cosignature/v1\ntime {at}\n{text}"
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, said.encode())
        except InvalidSignature as bad:
            raise ProofInvalid(f"the signature of {self.name} is not good") from bad
        if self.kind == COSIGNATURE and not 0 < at <= SIZE_LIMIT:
            raise ProofInvalid(f"the cosignature of {self.name} has no time")
        return at


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed tree head: origin, size in leaves, root of 32 bytes, extension lines (tlog-checkpoint).

    One that could not be written and read back unchanged cannot be made: a newline inside a line would let
    the log sign a tree it never meant.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all(map(_is_line, (self.origin, *self.extensions))):
            raise ProofInvalid("a checkpoint's origin and extensions are non-empty single lines")
        if not 0 <= self.size <= SIZE_LIMIT:
            raise ProofInvalid("the checkpoint's size is out of range")
        if len(self.root) != HASH_SIZE:
            raise ProofInvalid("the checkpoint's root is not 32 bytes")

    def body(self) -> str:
        """The text that is signed."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, str(self.size), root, *self.extensions))


def note_key(name: str, jwk: Mapping[str, str]) -> NoteKey:
    """The verifier key of this name for an Ed25519 public JWK (RFC 8037)."""
    return NoteKey(name, base64url.decode(jwk["x"]))


def sign_note(text: str, signers: Sequence[tuple[NoteKey, Callable[[bytes], bytes]]]) -> str:
    """Append a signature line of each to a text that ends with a newline (signed-note, "Format")."""
    if not text.endswith("\n") or _CONTROL.search(text) or not _is_utf8(text):
        raise ProofInvalid("only UTF-8 text that ends with a newline, without control characters, can be signed")
    raw = [(key.name, base64.b64encode(key.key_id + sign(text.encode())).decode()) for key, sign in signers]
    return f"{text}\n" + "".join(f"— {name} {signature}\n" for name, signature in raw)


def sign_checkpoint(checkpoint: Checkpoint, signers: Sequence[tuple[NoteKey, Callable[[bytes], bytes]]]) -> str:
    """Sign a checkpoint as a note."""
    return sign_note(checkpoint.body(), signers)


def open_note(note: str | bytes, keys: Sequence[NoteKey]) -> str:
    """Return the text of a note that at least one known key signed and no known key signed badly."""
    text, signed = signatures(note, keys)
    if not signed:
        raise ProofInvalid("no known key signed this")
    return text


def signatures(note: str | bytes, keys: Sequence[NoteKey]) -> tuple[str, Mapping[NoteKey, int]]:
    """The text of a note, and which of these keys signed it, when (0: not said); none of them may have badly."""
    text, sep, below = _read(note, NOTE_LIMIT).rpartition("\n\n")
    lines = below.split("\n")
    if not sep or lines[-1] != "" or not 1 < len(lines) <= SIGNATURE_LIMIT + 1:
        raise ProofInvalid("not a signed note: no signature lines")
    text += "\n"
    known = {(key.name, key.key_id): key for key in keys}
    found: dict[NoteKey, int] = {}
    for line in lines[:-1]:
        mark, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        if mark != "—" or not _NAME.match(name):
            raise ProofInvalid("a signature line is malformed")
        raw = _b64(encoded)
        if len(raw) < 5:
            raise ProofInvalid("a signature is too short")
        key = known.get((name, raw[:4]))
        if key is not None:
            found[key] = key.verify(raw[4:], text)
    return text, found


def parse_checkpoint(note: str | bytes, keys: Sequence[NoteKey], *, origin: str = "") -> Checkpoint:
    """Verify and parse a checkpoint; with `origin` given, it must be that log's."""
    found = _checkpoint(open_note(note, keys))
    if origin and found.origin != origin:
        raise ProofInvalid(f"this is a checkpoint of {found.origin}, not of {origin}")
    return found


def unverified_checkpoint(note: str | bytes) -> Checkpoint:
    """What a checkpoint says, whoever signed it."""
    return _checkpoint(signatures(note, ())[0])


def _checkpoint(text: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) < 4 or not _NUMBER.match(lines[1]):
        raise ProofInvalid("not a checkpoint")
    return Checkpoint(lines[0], int(lines[1]), _b64(lines[2]), tuple(lines[3:-1]))


def write_proof(index: int, path: Sequence[bytes], note: str, extra: bytes = b"") -> str:
    """A receipt for one entry (tlog-proof): inclusion path and the checkpoint it leads to."""
    told = f"extra {base64.b64encode(extra).decode()}\n" if extra else ""
    hashes = "".join(base64.b64encode(h).decode() + "\n" for h in path)
    return f"{_PROOF}\n{told}index {index}\n{hashes}\n{note}"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a receipt claims: this index, by this path, under this (verified) checkpoint.

    Nothing signs `unverified_extra`.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: Checkpoint
    unverified_extra: bytes = b""


def parse_proof(proof: str | bytes, keys: Sequence[NoteKey], *, origin: str = "") -> Receipt:
    """Parse a receipt and verify its checkpoint; `log.merkle.verify_inclusion` then checks an entry against it."""
    claim, sep, note = _read(proof, RECEIPT_LIMIT).partition("\n\n")
    if not sep:
        raise ProofInvalid("the receipt has no checkpoint")
    head, *lines = claim.split("\n")
    extra = _b64(lines.pop(0)[6:]) if lines and lines[0].startswith("extra ") else b""
    word, _, number = lines[0].partition(" ") if lines else ("", "", "")
    if head != _PROOF or word != "index" or not _NUMBER.match(number):
        raise ProofInvalid("not a tlog-proof")
    path = tuple(_b64(line) for line in lines[1 : PATH_LIMIT + 2])
    if len(path) > PATH_LIMIT or any(len(h) != HASH_SIZE for h in path):
        raise ProofInvalid("the receipt's path is not up to 63 hashes of 32 bytes")
    checkpoint = parse_checkpoint(note, keys, origin=origin)
    if int(number) >= checkpoint.size:
        raise ProofInvalid("the receipt's index is not below the checkpoint's size")
    return Receipt(int(number), path, checkpoint, extra)


def _read(data: str | bytes, limit: int) -> str:
    """UTF-8 text of up to `limit` bytes, with newlines and no other control character."""
    try:
        raw = data.encode() if isinstance(data, str) else data
        text = raw.decode()
    except UnicodeError as bad:
        raise ProofInvalid("not UTF-8 text") from bad
    if len(raw) > limit:
        raise ProofInvalid(f"over {limit} bytes")
    if _CONTROL.search(text):
        raise ProofInvalid("control characters other than newline are not allowed")
    return text


def _is_line(text: str) -> bool:
    return bool(text) and "\n" not in text and not _CONTROL.search(text) and _is_utf8(text)


def _is_utf8(text: str) -> bool:
    """Whether a str has an encoding at all: lone surrogates have none."""
    return not any("\ud800" <= c <= "\udfff" for c in text)


def _b64(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as bad:
        raise ProofInvalid("not base64") from bad
    if base64.b64encode(raw).decode() != text:
        raise ProofInvalid("not canonical base64")
    return raw

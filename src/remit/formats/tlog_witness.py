"""Asking a witness to cosign a checkpoint, and what it answers (C2SP tlog-witness, tlog-cosignature).

Who wants to believe that the log was never forked asks for the cosignatures of a quorum: each witness has checked that
every checkpoint it cosigned goes on from the one before.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from remit.domain.errors import ProofInvalid

from .tlog import COSIGNATURE, NoteKey, signatures

MEDIA = "text/plain; charset=utf-8"
SIZE_MEDIA = "text/x.tlog.size"
CLOCK = 300  # seconds that a witness's clock may differ from ours
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n?\Z")


@dataclass(frozen=True, slots=True)
class Cosigned:
    """What a witness answered: a line that may be put below the checkpoint, or the size that it knows (409)."""

    line: str = ""
    size: int = -1


class Refused(Exception):
    """The witness says that this log is not the one that it knows (422), or it knows a longer one (409)."""


def request(old: int, path: Sequence[bytes], note: str) -> bytes:
    """The body of `add-checkpoint`: that the tree of `old` leaves is a beginning of this one."""
    proof = "".join(base64.b64encode(one).decode() + "\n" for one in path)
    return f"old {old}\n{proof}\n{note}".encode()


def answer(status: int, headers: Mapping[str, str], body: bytes, note: str, key: NoteKey, now: int) -> Cosigned:
    """What the answer to it says; `Refused`, or `ProofInvalid` for what is no answer. `now` in seconds.

    Nothing of the answer is kept but a line whose signature is that key's, over this checkpoint, made about now.
    """
    if status == 409 and headers.get("content-type", "").partition(";")[0].strip() == SIZE_MEDIA:
        if (size := _SIZE.match(body)) is None:
            raise ProofInvalid("status 409 without a size")
        return Cosigned(size=int(size[1]))
    if status == 422:
        raise Refused("it has cosigned another history")
    if status != 200:
        raise ProofInvalid(f"status {status}")
    try:
        lines = body.decode().split("\n")[:100]
    except UnicodeDecodeError as bad:
        raise ProofInvalid("not text") from bad
    text = note.rpartition("\n\n")[0]
    for line in lines:
        if line.startswith(f"— {key.name} "):
            _, found = signatures(f"{text}\n\n{line}\n", [key])
            if key in found and abs(found[key] - now) <= CLOCK:
                return Cosigned(line + "\n")
    raise ProofInvalid("no cosignature of its key that was made just now")


def joined(note: str, lines: Sequence[str]) -> str:
    """A checkpoint with these cosignatures below."""
    return note + "".join(lines)


def cosigners(note: str | bytes, witnesses: Sequence[NoteKey]) -> Mapping[NoteKey, int]:
    """Which of these witnesses cosigned the checkpoint, and when, in seconds."""
    if any(key.kind != COSIGNATURE for key in witnesses):
        raise ProofInvalid("a log's key is no witness")
    return signatures(note, witnesses)[1]


def need(note: str | bytes, witnesses: Sequence[NoteKey], quorum: int) -> int:
    """Raise `ProofInvalid` unless so many keys of these cosigned it; returns how many did."""
    by = {key.public for key in cosigners(note, witnesses)}
    if len(by) < quorum:
        raise ProofInvalid(f"{len(by)} of the {len(witnesses)} witnesses cosigned it, and {quorum} must have")
    return len(by)

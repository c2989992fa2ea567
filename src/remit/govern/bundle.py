"""What an investigator takes away: events as they were hashed, a receipt for each, and a manifest; one ZIP file.

    MANIFEST.sha256     the SHA-256 of every other file, as `sha256sum --check` reads it
    checkpoint          the signed tree head (C2SP tlog-checkpoint) that all receipts lead to
    events/N.json       event N, the bytes that were hashed
    events/N.tlog-proof its receipt (C2SP tlog-proof)
    README.txt events.csv story.html story.json   for people and programs; made from the events, and signed by nobody

The log's key vouches for events and for nothing else in it.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from remit.domain.errors import ProofInvalid
from remit.formats.tlog import NoteKey, parse_checkpoint, parse_proof
from remit.log.merkle import leaf_hash, verify_inclusion

MANIFEST, CHECKPOINT = "MANIFEST.sha256", "checkpoint"
FILES, FILE_LIMIT, LIMIT = 20_000, 32 * 1024 * 1024, 256 * 1024 * 1024
_EVENT = re.compile(r"events/(0|[1-9][0-9]{0,14})\.json\Z", re.ASCII)
_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9._/-]{1,200})\Z", re.ASCII)
README = """\
What Remit's log says of one thing, and what it touched.

Check it without trusting whoever gave it to you, with the log's public key, which you have from elsewhere:

    remit log verify THIS.zip --key KEY
    python3 verify_incident.py THIS.zip --key KEY       (standard library alone; tools/verify_incident.py)

That proves each event in events/ to be in the log as it is here. It does not prove that no other event belongs to the
story: for that, take the whole log (`remit log export`). story.html, story.json and events.csv are made from the events
and from how things were when this was written; no key vouches for them, only the manifest for their not having changed.
"""


@dataclass(frozen=True, slots=True)
class Proven:
    """What a bundle holds: so many events of this log, all below one checkpoint of `size`."""

    origin: str
    size: int
    events: int


def build(checkpoint: str, events: Iterable[tuple[int, bytes, str]], more: Mapping[str, bytes]) -> bytes:
    """The bytes of a bundle, from (place, leaf, receipt) of each event; the same whenever it is made of the same."""
    files = {CHECKPOINT: checkpoint.encode(), "README.txt": README.encode(), **more}
    for place, leaf, receipt in events:
        files[f"events/{place}.json"] = leaf
        files[f"events/{place}.tlog-proof"] = receipt.encode()
    listed = "".join(f"{sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in [(MANIFEST, listed.encode()), *sorted(files.items())]:
            bundle.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def verify(data: bytes, key: NoteKey) -> Proven:
    """Raise `ProofInvalid` unless everything is as the manifest says and every event is in the log, by its own key."""
    files = _read(data)
    _check_manifest(files)
    if CHECKPOINT not in files:
        raise ProofInvalid("there is no checkpoint")
    head = parse_checkpoint(files[CHECKPOINT], [key], origin=key.name)
    places = [match for name in files if (match := _EVENT.match(name))]
    others = {name for name in files if name.startswith("events/")}
    expected = {f"events/{match[1]}{suffix}" for match in places for suffix in (".json", ".tlog-proof")}
    if others != expected:
        raise ProofInvalid(f"an event without its receipt, or a receipt without its event: {min(others ^ expected)}")
    for match in places:
        receipt = parse_proof(files[f"events/{match[1]}.tlog-proof"], [key], origin=key.name)
        if receipt.index != int(match[1]) or receipt.checkpoint != head:
            raise ProofInvalid(f"the receipt of event {match[1]} is for another event or another checkpoint")
        leaf = leaf_hash(files[match[0]])
        verify_inclusion(leaf, receipt.index, head.size, receipt.path, head.root)
    return Proven(head.origin, head.size, len(places))


def _read(data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as bundle:
            infos = bundle.infolist()
            if len(infos) > FILES or sum(info.file_size for info in infos) > LIMIT:
                raise ProofInvalid("it unpacks to more than any bundle has")
            files: dict[str, bytes] = {}
            for info in infos:
                with bundle.open(info) as file:
                    content = file.read(FILE_LIMIT + 1)
                if info.filename in files or len(content) > FILE_LIMIT:
                    raise ProofInvalid(f"{info.filename[:80]!r} is there twice, or too large")
                files[info.filename] = content
            return files
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as bad:
        raise ProofInvalid(f"not a ZIP file that can be read: {type(bad).__name__}") from bad
    except Exception as bad:  # zlib.error is no kind of any of those
        if isinstance(bad, ProofInvalid):
            raise
        raise ProofInvalid("not a ZIP file that can be read") from bad


def _check_manifest(files: Mapping[str, bytes]) -> None:
    listed: dict[str, str] = {}
    for line in files.get(MANIFEST, b"").decode("utf-8", "replace").splitlines():
        match = _LINE.match(line)
        if match is None:
            raise ProofInvalid("the manifest is malformed")
        listed[match[2]] = match[1]
    if not listed:
        raise ProofInvalid("there is no manifest")
    if listed.keys() != files.keys() - {MANIFEST}:
        raise ProofInvalid(f"not what the manifest lists: {min(listed.keys() ^ (files.keys() - {MANIFEST}))[:80]!r}")
    for name, digest in listed.items():
        if sha256(files[name]).hexdigest() != digest:
            raise ProofInvalid(f"{name} is not what the manifest says it was")

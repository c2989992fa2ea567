"""`remit log`: read it, keep it, and check it without trusting whoever runs the server."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click

from remit.domain.errors import ProofInvalid
from remit.formats.tlog import COSIGNATURE, ED25519, NoteKey, parse_checkpoint
from remit.formats.tlog_witness import need
from remit.govern import bundle
from remit.log.audit import Head, audit
from remit.log.merkle import leaf_hash

from .api import Api
from .app import Context
from .exits import Exit, Failure
from .output import ago
from .tiles import mirror

_PAGE = 1000


@click.group()
def log() -> None:
    """The log: every decision and change, provable."""


@log.command()
@click.argument("words", nargs=-1)
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=20, show_default=True, help="The newest N.")
@click.option("--follow", "-f", is_flag=True, help="Keep printing new events.")
@click.pass_obj
def show(obj: Context, words: tuple[str, ...], limit: int, follow: bool) -> None:
    """Show events that have all of WORDS in them, oldest first.

    \b
    A word is an event's type, or any name, id or state in it:
      remit log show invoice-bot deny
      remit log show AccessDecided tsk_0123456789abcdef
    """
    import time

    api, seen = Api(obj.person), -1
    while True:
        for event in reversed(list(islice(_search(api, words, after=seen), limit))):
            seen = event["index"]
            obj.out.one(event, _line(seen, event))
        if not follow:
            return
        limit = 1_000_000
        time.sleep(0.3)


def _search(api: Api, words: tuple[str, ...], *, after: int) -> Iterator[dict[str, Any]]:
    """The newest first, down to the one after `after`."""
    before = None
    while before != 0:
        page = api.get("/v1/log/search", q=" ".join(words), limit=200, **({"before": before} if before else {}))
        for event in page["items"]:
            if event["index"] <= after:
                return
            yield event
        before = page["next"]


def _line(index: int, event: dict[str, Any]) -> str:
    data = {k: v for k, v in event["data"].items() if v not in ("", [], 0)}
    said = "  ".join(f"{k}={_short(v)}" for k, v in data.items())
    return f"{index:>6}  {ago(event['at']):>9}  {event['type']:<17} {event['by']:<22} {said}"


def _short(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text[:19] + "…" if text.startswith("sha256:") else text


def _lines(api: Api, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    while start < end:
        body = api.request("GET", "/v1/log/entries", start=start, limit=min(_PAGE, end - start)).content
        lines = body.split(b"\n")[:-1]
        if not lines:
            raise Failure(f"the server has fewer than the {end} events it signed", Exit.ERROR)
        for line in lines:
            yield start, line
            start += 1


@log.command()
@click.pass_obj
def checkpoint(obj: Context) -> None:
    """Print the newest signed checkpoint. Keep it: it lets you find out if history is ever rewritten."""
    note = Api(obj.person).request("GET", "/log/checkpoint").text
    obj.out.one({"checkpoint": note}, note.rstrip("\n"))


@log.command("key")
@click.pass_obj
def log_key(obj: Context) -> None:
    """Print the log's public key. Get it once, keep it somewhere the server's operators cannot change."""
    text = Api(obj.person).request("GET", "/log/key").text.strip()
    obj.out.one({"key": text}, text)


@log.command()
@click.argument("index", type=click.IntRange(0))
@click.pass_obj
def proof(obj: Context, index: int) -> None:
    """Print a receipt that event INDEX is in the log (C2SP tlog-proof)."""
    text = Api(obj.person).request("GET", f"/v1/log/proof/{index}").text
    obj.out.one({"index": index, "proof": text}, text.rstrip("\n"))


@log.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option("--tiles", type=click.Path(path_type=Path, file_okay=False), help="A folder for a static file server.")
@click.option("--quorum", type=click.IntRange(0), default=0, help="With a checkpoint that so many witnesses cosigned.")
@click.pass_obj
def export(obj: Context, file: Path | None, tiles: Path | None, quorum: int) -> None:
    """Write every event to FILE (JSON lines) and the checkpoint that covers them to FILE.checkpoint.

    \b
    With --tiles the folder has checkpoint and tile/… (C2SP tlog-tiles). Run again, it takes what is new:
      remit log export --tiles /srv/log
    """
    if (file is None) is (tiles is None):
        raise Failure("give a FILE, or --tiles DIR", Exit.USAGE)
    api = Api(obj.person)
    note = _checkpoint(api, quorum)
    if tiles is not None:
        _export_tiles(obj, api, note, tiles)
        return
    assert file is not None
    size = int(note.split("\n")[1])
    with file.open("wb") as out:
        for index, line in _lines(api, 0, size):
            out.write(line + b"\n")
            if index % 10_000 == 9_999:
                obj.out.say(f"{index + 1} of {size} events")
    file.with_name(file.name + ".checkpoint").write_text(note)
    obj.out.one({"file": str(file), "events": size}, f"Wrote {size} events to {file} and its checkpoint beside it.")


def _checkpoint(api: Api, quorum: int) -> str:
    if quorum:
        return api.request("GET", "/log/cosigned", quorum=quorum).text
    note: str = api.get("/v1/log")["checkpoint"]
    if not note:
        raise Failure("the log is empty", Exit.NOT_FOUND)
    return note


def _export_tiles(obj: Context, api: Api, note: str, folder: Path) -> None:
    try:
        size, written = mirror(folder, note, lambda path: api.request("GET", f"/log/{path}").content)
    except ProofInvalid as bad:
        raise Failure(f"not exported: {bad}", Exit.ERROR) from bad
    told = {"folder": str(folder), "events": size, "written": written}
    obj.out.one(told, f"{folder} has {size} events under its checkpoint; {written} files are new.")


@log.command()
@click.pass_obj
def witnesses(obj: Context) -> None:
    """List who cosigns the log, and up to where each has."""
    columns = {"WITNESS": "name", "COSIGNED": "size", "BEHIND": "behind", "WHY": "error", "KEY": "key"}
    obj.out.many(Api(obj.person).get("/v1/witnesses")["items"], columns, empty="Nobody does. See docs/howto/audit.md.")


@log.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True), required=False)
@click.option("--key", "key_text", required=True, help="The log's public key, or a file that holds it.")
@click.option("--checkpoint", "note_file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--older", type=click.Path(path_type=Path, exists=True, dir_okay=False), multiple=True)
@click.option("--witness", multiple=True, help="A witness's public key, or a file that holds it; may be repeated.")
@click.option("--quorum", type=click.IntRange(1), help="How many of them must have cosigned.  [all]")
@click.pass_obj
def verify(
    obj: Context,
    file: Path | None,
    key_text: str,
    note_file: Path | None,
    older: tuple[Path, ...],
    witness: tuple[str, ...],
    quorum: int | None,
) -> None:
    """Check an exported FILE (or the server, without FILE) against its checkpoint and older ones you kept.

    \b
    Needs nothing but the file and the public key:
      remit log export log.jsonl
      remit log verify log.jsonl --key remit.local/log+1a2b3c4d+AQ…
    What `remit incident --export` wrote is checked the same way.
    """
    key, keys = key_option(key_text), [key_option(text, COSIGNATURE) for text in witness]
    quorum = len(keys) if quorum is None else quorum
    if quorum > len(keys):
        raise Failure(f"--quorum {quorum} needs as many --witness", Exit.USAGE)
    if file is not None and zipfile.is_zipfile(file):
        _verify_bundle(obj, file, key)
        return
    if file is not None:
        note: str | bytes = (note_file or file.with_name(file.name + ".checkpoint")).read_bytes()
        entries = file.read_bytes().split(b"\n")[:-1]
    else:
        api = Api(obj.person)
        note = note_file.read_bytes() if note_file else _checkpoint(api, quorum)
        entries = []
    try:
        by = need(note, keys, quorum)
        head = parse_checkpoint(note, [key], origin=key.name)
        heads = [parse_checkpoint(path.read_bytes(), [key], origin=key.name) for path in older]
    except ProofInvalid as bad:
        raise Failure(f"the checkpoint is not good: {bad}", Exit.ERROR) from bad
    if file is None:
        entries = [line for _, line in _lines(api, 0, head.size)]
    found = audit(entries, Head(head.size, head.root), [Head(h.size, h.root) for h in heads])
    if not found.ok:
        raise Failure(f"NOT verified: {found.problem}", Exit.ERROR)
    extra = len(entries) - head.size
    text = f"Verified: {head.size} events are exactly those signed as {key.name}"
    text += f", and extend {len(heads)} older checkpoint(s)" if heads else ""
    text += f", cosigned by {by} of {len(keys)} witnesses" if keys else ""
    text += f"; {extra} newer lines are not covered by this checkpoint" if extra else ""
    last = leaf_hash(entries[head.size - 1]).hex() if head.size else ""
    obj.out.one(
        {"ok": True, "size": head.size, "root": head.root.hex(), "last": last, "uncovered": extra, "witnesses": by},
        text + ".",
    )


def _verify_bundle(obj: Context, file: Path, key: NoteKey) -> None:
    """Each event of an incident by its own receipt, and everything else by the manifest."""
    if file.stat().st_size > bundle.LIMIT:
        raise Failure(f"{file} is larger than any bundle", Exit.USAGE)
    try:
        found = bundle.verify(file.read_bytes(), key)
    except ProofInvalid as bad:
        raise Failure(f"NOT verified: {bad}", Exit.ERROR) from bad
    text = f"Verified: {found.events} events are in the log signed as {found.origin}, below its first {found.size}."
    obj.out.one({"ok": True, "events": found.events, "size": found.size}, text)


def key_option(text: str, kind: int = ED25519) -> NoteKey:
    """A verifier key that was given as text, or as a file that holds it."""
    path = Path(text)
    try:
        if len(text) < 250 and path.is_file():
            text = path.read_text()
        return NoteKey.parse(text, kind)
    except (ProofInvalid, OSError, UnicodeError) as bad:
        raise Failure(
            f"not a verifier key of a {'log' if kind == ED25519 else 'witness'}: {bad}",
            Exit.USAGE,
            next_step="`remit log key` prints it.",
        ) from bad

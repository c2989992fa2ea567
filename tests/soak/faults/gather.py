"""Where the evidence comes from: the log as an outside auditor gets it, rows and roles from the servers themselves."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from remit.formats.tlog import NoteKey, parse_checkpoint
from remit.store.postgres import PostgresStore
from remit.store.replay import replay

from .evidence import Entry, Evidence, Head
from .history import Op
from .parties import Database


@cache
def trusting(ca: str) -> ssl.SSLContext:
    """Servers of this authority."""
    return ssl.create_default_context(cafile=ca)


def log(http: httpx.Client) -> tuple[list[Entry], Head, NoteKey]:
    """All of it, and the checkpoint over it."""
    key = NoteKey.parse(http.get("/log/key").text)
    found: list[bytes] = []
    while lines := http.get("/v1/log/entries", params={"start": len(found), "limit": 1000}).content.split(b"\n")[:-1]:
        found += lines
    note = parse_checkpoint(http.get("/log/checkpoint").content, [key], origin=key.name)
    while len(found) < note.size:
        found += http.get("/v1/log/entries", params={"start": len(found), "limit": 1000}).content.split(b"\n")[:-1]
    return [Entry(place, leaf) for place, leaf in enumerate(found)], Head(note.size, note.root), key


def heads(seen: Iterable[Op], key: NoteKey) -> list[tuple[str, Head]]:
    """Every checkpoint that anybody was shown, once for each size and root."""
    found: dict[Head, str] = {}
    for op in seen:
        note = parse_checkpoint(str(op.more["note"]), [key], origin=key.name)
        found.setdefault(Head(note.size, note.root), f"{op.who} at {op.door}")
    return [(who, head) for head, who in found.items()]


async def replayed(dsn: str) -> tuple[list[str], int]:
    """What replaying the events does not rebuild; and how many events have no place in the log."""
    store = await PostgresStore.open(dsn)
    try:
        return await replay(store), len(await store.unsequenced(1000))
    finally:
        await store.close()


ABSENT = {  # a row does not say what is as it was made
    "tasks": {"state": "open", "settled_at": 0, "calls": 0},
    "leases": {"state": "reserved", "last_error": ""},
}


def rows(db: Database) -> dict[str, dict[str, Any]]:
    """Tasks and leases, by key."""
    return {
        table: {
            str(key): {**absent, **json.loads(bytes(body))} for key, body in db.ask(f"SELECT key, body FROM {table}")
        }  # type: ignore[call-overload]
        for table, absent in ABSENT.items()
    }


def waiting(db: Database) -> bool:
    """Whether anything is not over: a lease that may be alive, a task that is open or has not settled."""
    leases = db.ask("SELECT 1 FROM leases WHERE state <> 'ended' LIMIT 1")
    return bool(leases) or any(not task["settled_at"] for task in rows(db)["tasks"].values())


def roles(shop: Database) -> set[str]:
    """Who can log in at the issuer's server because of us."""
    return {str(name) for (name,) in shop.ask(r"SELECT rolname FROM pg_roles WHERE rolname LIKE 'remit\_%'")}


def over(db: Database, found: set[str]) -> dict[str, str]:
    """Of these roles, those that no lease stands for any more, and which it was (empty: there never was one)."""
    if not found:
        return {}
    bodies = (json.loads(bytes(body)) for (body,) in db.ask("SELECT body FROM leases"))  # type: ignore[call-overload]
    known: Mapping[str, Any] = {body["handle"]: body for body in bodies if body["handle"] in found}
    return {
        role: known[role]["id"] if role in known else ""
        for role in found
        if role not in known or known[role].get("state") == "ended"
    }


def keep(folder: Path, found: Evidence, broken: list[tuple[str, str, str]]) -> None:
    """The log, the rows and the verdict, beside the histories and what the parties said."""
    (folder / "log.jsonl").write_bytes(b"".join(entry.leaf + b"\n" for entry in found.log))
    rest = {"tasks": found.tasks, "leases": found.leases, "roles": sorted(found.roles), "violations": broken}
    (folder / "evidence.json").write_text(json.dumps(rest, indent=1))

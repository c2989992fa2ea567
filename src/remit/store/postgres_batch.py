"""Many changes in one transaction, each deciding for itself, in a few statements of many rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from remit.domain.errors import Conflict
from remit.formats.record import KINDS, EncodedChange, EncodedPut, pack

from .tables import ROWS

_COLUMNS: Mapping[str, tuple[str, ...]] = {
    kind.table: tuple(column.name for column in ROWS[kind.table].columns) for kind in KINDS
}


class LostRace(Exception):
    """A row that was to be new appeared in between; nothing of the batch was kept."""


async def apply(connection: Any, changes: Sequence[EncodedChange]) -> list[Any]:
    """An event number or a `Conflict` for each change, in order; raises `LostRace` and keeps nothing."""
    stored = await _lock(connection, changes)
    results: list[Any] = [None] * len(changes)
    holding: list[int] = []
    writes: dict[tuple[str, str], EncodedPut] = {}
    fresh: set[tuple[str, str]] = set()
    for place, change in enumerate(changes):
        wanted = [(put.kind.table, put.key, put.expected) for put in change.puts]
        wanted += [(kind.table, key, expected) for kind, key, expected in change.checks]
        moved = next((w for w in wanted if stored.get(w[:2], 0) != w[2]), None)
        if moved is not None:
            results[place] = Conflict(f"{moved[0]} {moved[1]} has changed.", next_step="Read it again and try again.")
            continue
        holding.append(place)
        for put in change.puts:
            at = (put.kind.table, put.key)
            if put.expected == 0:
                fresh.add(at)
            stored[at], writes[at] = put.version, put
    for table in sorted({table for table, _ in writes}):
        rows = {at: put for at, put in writes.items() if at[0] == table}
        await _insert(connection, table, [put for at, put in rows.items() if at in fresh])
        await _update(connection, table, [put for at, put in rows.items() if at not in fresh])
    if holding:
        numbers = await connection.fetch(
            "INSERT INTO events (leaf, bodies) SELECT leaf, bodies FROM"
            " unnest($1::bytea[], $2::bytea[]) WITH ORDINALITY AS e(leaf, bodies, n) ORDER BY n RETURNING number",
            [changes[place].leaf for place in holding],
            [pack([put.told for put in changes[place].puts]) for place in holding],
        )
        for place, row in zip(holding, sorted(row[0] for row in numbers), strict=True):
            results[place] = row
    return results


async def _lock(connection: Any, changes: Sequence[EncodedChange]) -> dict[tuple[str, str], int]:
    """Versions of every row named, locked table by table and key by key so that no two batches can wait for each other.

    Rows that are only checked take a share lock: many decisions may check one catalogue head at once.
    """
    written: dict[str, set[str]] = defaultdict(set)
    checked: dict[str, set[str]] = defaultdict(set)
    for change in changes:
        for put in change.puts:
            written[put.kind.table].add(put.key)
        for kind, key, _ in change.checks:
            checked[kind.table].add(key)
    found: dict[tuple[str, str], int] = {}
    for table in sorted({*written, *checked}):
        for keys, mode in ((written[table], "UPDATE"), (checked[table] - written[table], "SHARE")):
            if not keys:
                continue
            sql = f"SELECT key, version FROM {table} WHERE key = ANY($1::text[]) ORDER BY key FOR {mode}"  # noqa: S608
            found |= {(table, row[0]): row[1] for row in await connection.fetch(sql, sorted(keys))}
    return found


async def _insert(connection: Any, table: str, puts: Sequence[EncodedPut]) -> None:
    if not puts:
        return
    names = _COLUMNS[table]
    columns, arrays = ", ".join(f'"{n}"' for n in names), _arrays(len(names))
    sql = f"INSERT INTO {table} ({columns}) SELECT * FROM unnest({arrays}) ON CONFLICT DO NOTHING"  # noqa: S608
    done = await connection.execute(sql, *_columns(puts))
    if done != f"INSERT 0 {len(puts)}":
        raise LostRace


async def _update(connection: Any, table: str, puts: Sequence[EncodedPut]) -> None:
    if not puts:
        return
    names = _COLUMNS[table]
    changed = ", ".join(f'"{name}" = new."{name}"' for name in names[1:])
    columns, arrays = ", ".join(f'"{n}"' for n in names), _arrays(len(names))
    sql = f"UPDATE {table} SET {changed} FROM unnest({arrays}) AS new({columns}) WHERE {table}.key = new.key"  # noqa: S608
    await connection.execute(sql, *_columns(puts))


def _arrays(count: int) -> str:
    types = ["text", "bigint", "bytea", "bigint", *["text"] * (count - 4)]
    return ", ".join(f"${i}::{kind}[]" for i, kind in enumerate(types, 1))


def _columns(puts: Sequence[EncodedPut]) -> list[list[Any]]:
    rows = [(put.key, put.version, put.body, put.due, *put.columns) for put in puts]
    return [list(column) for column in zip(*rows, strict=True)]

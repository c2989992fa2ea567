"""The composition root of what is done without a server: a backup is checked, a database is put back and made safe."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from remit.domain.caller import Call, Caller, CallerKind
from remit.issuers.keyring import RootSealer
from remit.store.backup import place, taken
from remit.store.sqlite import SqliteStore
from remit.work.check_store import check_store
from remit.work.make_safe import declared, make_safe
from remit.work.watermark import Watermark

from .process import previous_root_key, root_key
from .server import Settings, open_house, open_store


def check(file: Path | None, older: list[str], **given: Any) -> Any:
    """What can be told of a backup, or of the database, without a server."""
    settings = Settings(**given)

    async def opened() -> Any:
        with TemporaryDirectory() as scratch:  # opening a store may migrate it, and a backup is only read
            store: Any = (
                SqliteStore.open(taken(file, Path(scratch) / "remit.db")) if file else await open_store(settings)
            )
            return await checked(store)

    async def checked(store: Any) -> Any:
        try:
            sealer = RootSealer(root_key(settings.data), previous_root_key(settings.data))
            return await check_store(store, sealer, f"{settings.trust_domain}/log", older)
        finally:
            await store.close()

    return asyncio.run(opened())


def restore(file: Path | None, known: str, by: str, **given: Any) -> Any:
    """Put `file` where the SQLite store is, if one is named; then make what was restored safe to start."""
    settings = Settings(**given)

    async def put_back() -> Any:
        at = settings.data / "remit.db"
        name, call = f"{settings.trust_domain}/log", _offline(by)
        watermark = Watermark(settings.data / "log.checkpoint", name)
        aside = None
        if file is not None:
            copy = taken(file, settings.data / "remit.db.restoring")
            store: Any = SqliteStore.open(copy)
            try:
                await declared(store, call, watermark, name, known)
            finally:
                await store.close()
            aside = place(copy, at, f"before-restore-{call.now}")
        async with open_house(settings, at_rest=True) as house:
            row = await declared(house.env.store, call, watermark, name, known)
            gone = await make_safe(house.env, call)
            await watermark.begin_again(house.env.store)  # type: ignore[arg-type]
        return row, gone, aside

    return asyncio.run(put_back())


def _offline(by: str) -> Any:
    return Call(Caller(CallerKind.SYSTEM, by), time.time_ns() // 1_000_000)

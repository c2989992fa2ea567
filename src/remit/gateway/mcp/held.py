"""Calls that wait for a person: one record for each exact call, shared by retries and duplicates.

A record is for one caller's task, tool and arguments, to the byte; anything else is another. However many ask, it is
executed once: by whoever is there when the approval comes, in a task of its own, so that nobody who hangs up undoes
it. Its outcome is given again to the same call, for a while. A restart forgets outcomes, never that there was one:
the approval is used up, and Remit says so.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from remit.domain.errors import BadToken
from remit.formats.request_state import RequestState, seal, unseal
from remit_client import Denied, Held

KEEP = 600.0
RECORDS = 2000
KEPT_BYTES = 32 * 1024 * 1024
STATE_LIFE_MS = 3_600_000
Key = tuple[str, str, str]


@dataclass
class Record:
    """PENDING (`held`) ──► RUNNING (`running`) ──► SETTLED (`outcome`, `settled_at`)."""

    key: Key
    held: Held
    note: str = ""
    running: asyncio.Task[Any] | None = None
    outcome: Any = None
    size: int = 0
    settled_at: float = 0.0


class Records:
    """All of them, bounded in number, bytes and time."""

    def __init__(self, key: bytes, clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._sealing = key
        self._clock = clock
        self._records: OrderedDict[Key, Record] = OrderedDict()
        self._bytes = 0
        self._spent: dict[str, int] = {}

    def get(self, key: Key) -> Record | None:
        """The record of exactly this call."""
        record = self._records.get(key)
        if record is not None and record.settled_at and time.monotonic() - record.settled_at > KEEP:
            self.drop(record)
            return None
        return record

    def start(self, key: Key, held: Held, note: str = "") -> Record:
        """A record that waits; when there are too many the oldest that runs nothing goes."""
        record = self.get(key)
        if record is None:
            record = self._records[key] = Record(key, held, note)
            for old in list(self._records.values()):
                if len(self._records) <= RECORDS:
                    break
                if old.running is None or old.settled_at:
                    self.drop(old)
        return record

    def drop(self, record: Record) -> None:
        """Forget it; the next such call asks anew."""
        if self._records.get(record.key) is record:
            del self._records[record.key]
            self._bytes -= record.size
            record.size = 0

    async def execute(self, record: Record, once: Callable[[], Awaitable[Any]]) -> Any:
        """Run `once`, unless it runs or ran: then its outcome. `Held` again leaves the record waiting for that."""
        if record.running is None:
            record.running = asyncio.create_task(self._settled(record, once))
        return await asyncio.shield(record.running)

    async def _settled(self, record: Record, once: Callable[[], Awaitable[Any]]) -> Any:
        try:
            outcome = await once()
        except BaseException as error:  # then nothing was executed
            record.running = None
            if isinstance(error, Held):
                record.held = error
            elif isinstance(error, Denied):
                self.drop(record)
            raise
        record.outcome, record.settled_at = outcome, time.monotonic()
        record.size = len(outcome.model_dump_json())
        self._bytes += record.size
        for old in list(self._records.values()):
            if self._bytes <= KEPT_BYTES:
                break
            if old.settled_at and old is not record:
                self._bytes -= old.size
                old.size, old.outcome, old.running = 0, None, None
        return outcome

    async def close(self) -> None:
        """Stop what runs."""
        running = [r.running for r in self._records.values() if r.running is not None and not r.running.done()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    # --- requestState ---

    def seal(self, key: Key, *, approval: str = "", upstream: str | None = None) -> str:
        """A state that opens once, for this caller, tool and arguments."""
        who, tool, arguments = key
        until = self._clock() + STATE_LIFE_MS
        return seal(RequestState(who, tool, arguments, until, approval, upstream, token_hex(16)), key=self._sealing)

    def open(self, text: str, key: Key) -> RequestState:
        """Spend it; raises `BadToken`."""
        who, tool, arguments = key
        now = self._clock()
        state = unseal(text, key=self._sealing, caller=who, tool=tool, arguments=arguments, now=now)
        if state.handle in self._spent:
            raise BadToken("The requestState was used before.", next_step="Call again without it.")
        if len(self._spent) > 4 * RECORDS:
            self._spent = {handle: until for handle, until in self._spent.items() if until > now}
        self._spent[state.handle] = state.until
        return state

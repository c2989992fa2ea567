"""One PostgreSQL for many replicas, as our store uses it: row locks, READ COMMITTED, one transaction for many commits.

The rows are those of the real `MemoryStore`. What is modelled beside them is when things become true: a transaction locks
the rows that are there (nothing locks the absence of one), numbers its events before it commits, and is visible when
its COMMIT is durable. A client that dies before its COMMIT arrived has its transaction taken back; one that dies after, not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from remit.domain.change import Change, R
from remit.domain.errors import Conflict, Refusal, StoreUnavailable
from remit.domain.events import URGENT
from remit.formats.record import KIND_OF, EncodedChange, EncodedPut, Kind, encode, pack
from remit.ports import Appended, Wake
from remit.store.bell import Bell
from remit.store.memory import MemoryStore
from remit.store.row_cache import RowCache

from .loop import Node
from .network import Network

BATCH = 256
COMMAND_TIMEOUT = 15.0
At = tuple[str, str]


class LostRace(Exception):
    """A row that was to be new appeared in between."""


class Transaction:
    """What one client has begun: `writes` rows and `events`, none of them seen by anybody yet."""

    def __init__(self, client: Node, exclusive: set[At], shared: set[At]) -> None:
        self.client, self.exclusive, self.shared = client, exclusive, shared
        self.inserting: set[At] = set()
        self.writes: list[EncodedPut] = []
        self.events: dict[int, tuple[bytes, bytes]] = {}
        self.over = self.committing = False


class Database(MemoryStore):
    """The server. `committed` is told of each event when it becomes visible: (number, leaf, rows)."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node = node
        self.visible: dict[int, tuple[bytes, bytes]] = {}
        self.tables: dict[str, dict[str, EncodedPut]] = {}
        self.next_number = 1
        self.placed: set[int] = set()
        self.down = False
        self.listening: list[SimulatedStore] = []
        self.fsync: Callable[[], float] = lambda: 0.0
        self.committed: Callable[[int, bytes, Sequence[EncodedPut]], None] = lambda number, leaf, puts: None
        self._open: list[Transaction] = []
        self._waiting: list[tuple[Transaction, Callable[[], bool], asyncio.Future[Any]]] = []

    # --- rows: as the memory store keeps them, by table ---

    def load(self, other: Database) -> None:
        """Begin where another one stands."""
        self._rows, self._spent = dict(other._rows), dict(other._spent)
        self.tables = {name: dict(rows) for name, rows in other.tables.items()}
        self.visible, self.next_number = dict(other.visible), other.next_number
        self._sequenced, self._tiles, self._head = list(other._sequenced), dict(other._tiles), other._head
        self.placed = set(other.placed)

    def _of(self, kind: Kind) -> list[EncodedPut]:
        return list(self.tables.get(kind.table, {}).values())

    def raw(self, kind: Kind, key: str) -> EncodedPut | None:
        return self._rows.get((kind.table, key))

    def _store(self, put: EncodedPut) -> None:
        self._rows[(put.kind.table, put.key)] = put
        self.tables.setdefault(put.kind.table, {})[put.key] = put

    def version(self, at: At) -> int:
        found = self._rows.get(at)
        return found.version if found else 0

    # --- the log, whose numbers may have gaps and become visible out of order ---

    async def entries(self, start: int, end: int) -> Sequence[bytes]:
        return [self.visible[number][0] for number in self._sequenced[start:end]]

    async def unsequenced(self, limit: int) -> Sequence[tuple[int, bytes]]:
        waiting = sorted(number for number in self.visible if number not in self.placed)
        return [(number, self.visible[number][0]) for number in waiting[:limit]]

    async def append(self, extension: Appended) -> None:
        if self.placed & set(extension.events):
            raise Conflict("Another sequencer was faster.")
        await super().append(extension)
        self.placed.update(extension.events)

    async def history(self, after: int, limit: int) -> Sequence[tuple[int, bytes, bytes]]:
        numbers = sorted(number for number in self.visible if number > after)[:limit]
        return [(number, *self.visible[number]) for number in numbers]

    async def newest_event(self, through: int = 2**62) -> int:
        return max((number for number in self.visible if number <= through and number not in self.placed), default=0)

    async def written(self, start: int, end: int) -> Sequence[tuple[bytes, bytes]]:
        return [self.visible[number] for number in self._sequenced[start:end]]

    # --- transactions ---

    async def commit(self, change: Change) -> int:
        """Without any client: what a world begins with."""
        encoded = encode(change)
        self._expect(encoded)
        for put in encoded.puts:
            self._store(put)
        number, self.next_number = self.next_number, self.next_number + 1
        self.visible[number] = (encoded.leaf, pack([put.told for put in encoded.puts]))
        self.committed(number, encoded.leaf, encoded.puts)
        return number

    def begin(self, tx: Transaction) -> asyncio.Future[Any]:
        """The versions of the rows named, locked; those that are not there are not locked by anybody."""
        exclusive, shared = tx.exclusive, tx.shared
        tx.over = tx.over or not tx.client.alive
        tx.exclusive, tx.shared = exclusive & self._rows.keys(), shared & self._rows.keys()

        def granted() -> bool:
            for other in self._open:
                if tx.exclusive & (other.exclusive | other.shared) or tx.shared & other.exclusive:
                    return False
            return True

        locked = self._when(tx, granted)
        answer = self.node.loop.create_future()

        def told(_: Any) -> None:
            if tx.over:
                answer.set_exception(StoreUnavailable("The connection was lost."))
            else:
                answer.set_result({at: self.version(at) for at in exclusive | shared})

        locked.add_done_callback(told, context=self.node.context)
        return answer

    def write(
        self, tx: Transaction, fresh: set[At], puts: Sequence[EncodedPut], events: Sequence[tuple[bytes, bytes]]
    ) -> asyncio.Future[Any]:
        """Insert and update; what somebody else is inserting is waited for, and was then a race lost."""
        done = self.node.loop.create_future()

        def free() -> bool:
            return tx.over or not any(fresh & other.inserting for other in self._open if other is not tx)

        def told(_: Any) -> None:
            if done.done():
                return
            if tx.over:
                done.set_exception(StoreUnavailable("The connection was lost."))
            elif any(at in self._rows for at in fresh):
                self.end(tx)
                done.set_exception(LostRace())
            else:
                tx.inserting |= fresh
                tx.writes += puts
                for event in events:
                    tx.events[self.next_number] = event
                    self.next_number += 1
                done.set_result(list(tx.events))

        self._when(tx, free).add_done_callback(told, context=self.node.context)
        return done

    def commit_tx(self, tx: Transaction) -> asyncio.Future[Any]:
        """Durable and visible after the disk said so."""
        done = self.node.loop.create_future()
        tx.committing = True

        def durable() -> None:
            if not tx.over:
                for put in tx.writes:
                    self._store(put)
                for number, event in tx.events.items():
                    self.visible[number] = event
                self.end(tx)
                for number, (leaf, _) in tx.events.items():
                    self.committed(number, leaf, tx.writes)
                done.set_result(None)
            elif not done.done():
                done.set_exception(StoreUnavailable("The server went down."))

        self.node.loop.call_later(self.fsync(), durable, context=self.node.context)
        return done

    def lost(self, tx: Transaction) -> None:
        """Its connection broke: taken back, unless its COMMIT has arrived."""
        if not tx.committing:
            self.end(tx)

    def end(self, tx: Transaction) -> None:
        tx.over = True
        if tx in self._open:
            self._open.remove(tx)
        self._look()

    def crash(self) -> None:
        """It starts again with what was durable; what was not is gone."""
        for tx in [*self._open, *(tx for tx, _, _ in self._waiting)]:
            self.end(tx)

    def left_by(self, client: Node) -> None:
        """Its process is gone, and its connections with it."""
        for tx in [*self._open, *(tx for tx, _, _ in self._waiting)]:
            if tx.client is client:
                self.lost(tx)

    def _when(self, tx: Transaction, granted: Callable[[], bool]) -> asyncio.Future[Any]:
        future = self.node.loop.create_future()
        self._waiting.append((tx, granted, future))
        self._look()
        return future

    def _look(self) -> None:
        still = []
        waiting, self._waiting = self._waiting, []
        for tx, granted, future in waiting:
            if tx.over or granted():
                if tx not in self._open and not tx.over:
                    self._open.append(tx)
                future.set_result(None)
            else:
                still.append((tx, granted, future))
        self._waiting = still + self._waiting


class SimulatedStore(Bell):
    """One replica's store over the network: the shape of `PostgresStore`, its committer included."""

    def __init__(self, database: Database, node: Node, network: Network) -> None:
        super().__init__()
        self.database, self.node, self.network = database, node, network
        database.listening.append(self)
        self._cache = RowCache()
        self._queue: asyncio.Queue[tuple[EncodedChange, asyncio.Future[int]] | None] = asyncio.Queue()
        self._committer = node.spawn(self._run())
        self.acknowledged: Callable[[int], None] = lambda number: None

    async def close(self) -> None:
        """Flush and disconnect."""
        self._queue.put_nowait(None)
        await self._committer

    async def ask(self, what: str, do: Callable[[], Any], tx: Transaction | None = None) -> Any:
        """One round trip; what cannot be known is `StoreUnavailable`."""
        network, server, loop = self.network, self.database.node, self.node.loop
        answer = loop.create_future()

        def reply(result: Any, failure: BaseException | None) -> None:
            def back() -> None:
                if answer.done():
                    return
                if failure is not None:
                    answer.set_exception(failure)
                else:
                    answer.set_result(result)

            if not network.send(server.name, self.node, f"answer to {what}", back):
                loop.call_later(network.delay(), broken, context=self.node.context)
                if tx is not None:
                    self.database.lost(tx)

        def broken() -> None:
            if not answer.done():
                answer.set_exception(StoreUnavailable("The store did not confirm.", inside=what))

        def arrived() -> None:
            if self.database.down:
                network.say(f"db is down for {self.node.name}: {what}")
                reply(None, StoreUnavailable("The store is down.", inside=what))
                return
            try:
                result = do()
            except Exception as failure:
                reply(None, failure)
                return
            if isinstance(result, asyncio.Future):
                result.add_done_callback(later, context=server.context)
            else:
                reply(result, None)

        def later(future: asyncio.Future[Any]) -> None:
            failure = future.exception()
            reply(None if failure else future.result(), failure)

        if not network.send(self.node.name, server, what, arrived):
            loop.call_later(network.delay(), broken, context=self.node.context)
            if tx is not None:
                loop.call_later(network.delay(), self.database.lost, tx, context=server.context)
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT):
                return await answer
        except TimeoutError:
            if tx is not None:
                loop.call_later(network.delay(), self.database.lost, tx, context=server.context)
            raise StoreUnavailable("The store did not answer in time.", inside=what) from None

    # --- reading ---

    async def get(self, kind: type[R], key: str) -> R | None:
        known = KIND_OF[kind]
        put = await self.ask(f"get {known.table} {key}", lambda: self.database.raw(known, key))
        return self._cache.decoded(kind, known.table, key, put.body) if put else None

    async def find(self, kind: type[R], where: Mapping[str, str], *, after: str = "", limit: int = 100) -> Sequence[R]:
        known = KIND_OF[kind]

        def found() -> list[EncodedPut]:
            rows = [put for put in self.database._where(known, where) if put.key > after]
            return sorted(rows, key=lambda put: put.key)[: min(limit, 1000)]

        puts = await self.ask(f"find {known.table}", found)
        return [self._cache.decoded(kind, known.table, put.key, put.body) for put in puts]

    async def tally(self, kind: type[R], where: Mapping[str, str], by: str, *, limit: int = 1000) -> Mapping[str, int]:
        return await self._through("tally", self.database.tally(kind, where, by, limit=limit))

    async def due(self, kind: type[R], now: int, *, limit: int = 100) -> Sequence[R]:
        return await self._through(f"due {KIND_OF[kind].table}", self.database.due(kind, now, limit=limit))

    async def _through(self, what: str, coroutine: Any) -> Any:
        """A method of the memory store, which awaits nothing, run at the server."""

        def run() -> Any:
            try:
                coroutine.send(None)
            except StopIteration as done:
                return done.value
            raise AssertionError(f"{what} awaited something")

        try:
            return await self.ask(what, run)
        finally:
            coroutine.close()

    def wake(self, *kinds: Wake) -> None:
        """NOTIFY: in this process at once, in the others unless it is lost."""
        super().wake(*kinds)
        network, database = self.network, self.database

        def notified() -> None:
            for other in database.listening:
                if other is not self and other.node.alive:
                    network.send(database.node.name, other.node, "NOTIFY", lambda other=other: Bell.wake(other, *kinds))

        network.send(self.node.name, database.node, "NOTIFY", notified)

    # --- committing ---

    async def commit(self, change: Change) -> int:
        if self._committer.done():
            raise StoreUnavailable("The store is closed.")
        future = self.node.loop.create_future()
        self._queue.put_nowait((encode(change), future))
        number: int = await future
        self.acknowledged(number)
        return number

    async def _run(self) -> None:
        stopping = False
        while not stopping:
            batch = [await self._queue.get()]
            while batch[-1] is not None and len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            stopping = batch[-1] is None
            waiters = [waiter for waiter in batch if waiter is not None]
            if waiters:
                await self._commit_batch(waiters)

    async def _commit_batch(self, waiters: Sequence[tuple[EncodedChange, asyncio.Future[int]]]) -> None:
        results: Sequence[Any]
        try:
            results = await self._attempt([encoded for encoded, _ in waiters])
        except LostRace:
            if len(waiters) > 1:
                for waiter in waiters:
                    await self._commit_batch([waiter])
                return
            results = [Conflict("A row appeared in between.")]
        except Refusal as failure:
            results = [StoreUnavailable(failure.message, inside=failure.inside)] * len(waiters)
        if any(isinstance(r, int) and e.event in URGENT for (e, _), r in zip(waiters, results, strict=True)):
            self.wake(Wake.URGENT)
        for (_, future), result in zip(waiters, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Refusal):
                future.set_exception(result)
            else:
                future.set_result(result)

    async def _attempt(self, changes: Sequence[EncodedChange]) -> list[Any]:
        written = {(put.kind.table, put.key) for change in changes for put in change.puts}
        checked = {(kind.table, key) for change in changes for kind, key, _ in change.checks} - written
        database = self.database
        tx = Transaction(self.node, written, checked)
        stored = await self.ask("BEGIN, lock", lambda: database.begin(tx), tx)
        results: list[Any] = [None] * len(changes)
        holding: list[int] = []
        writes: dict[At, EncodedPut] = {}
        fresh: set[At] = set()
        for place, change in enumerate(changes):
            wanted = [((put.kind.table, put.key), put.expected) for put in change.puts]
            wanted += [((kind.table, key), expected) for kind, key, expected in change.checks]
            if any(stored.get(at, 0) != expected for at, expected in wanted):
                results[place] = Conflict("A row has changed.")
                continue
            holding.append(place)
            for put in change.puts:
                at = (put.kind.table, put.key)
                if put.expected == 0:
                    fresh.add(at)
                stored[at], writes[at] = put.version, put
        events = [(changes[n].leaf, pack([put.told for put in changes[n].puts])) for n in holding]
        puts = list(writes.values())
        numbers = await self.ask("write", lambda: database.write(tx, fresh, puts, events), tx)
        for place, number in zip(holding, numbers, strict=True):
            results[place] = number
        await self.ask("COMMIT", lambda: database.commit_tx(tx), tx)
        return results

    async def spend(self, token: str, until: int) -> bool:
        return bool(await self._through("spend", self.database.spend(token, until)))

    async def forget_spent(self, now: int) -> int:
        return int(await self._through("forget", self.database.forget_spent(now)))

    # --- the log ---

    def __getattr__(self, name: str) -> Any:
        """Reads and writes of the log, each one transaction."""
        method = getattr(self.database, name)

        async def through(*args: Any) -> Any:
            result = await self._through(name, method(*args))
            if name == "append":
                self.wake(Wake.SEQUENCED)
            return result

        return through

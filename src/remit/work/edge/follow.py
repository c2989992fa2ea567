"""Follow: apply what the centre's log says, in order, without gaps, and only what the centre signed.

Frames that are pushed make it fast. What does not fit is asked for by its number, and what is old is left alone, so
nothing that is delayed, repeated, reordered or dropped can move an edge anywhere but forward.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from remit.domain import events
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.catalogue import CatalogueFiles, CatalogueHead
from remit.domain.change import Change
from remit.domain.errors import BadToken, Conflict
from remit.domain.estate import Edge, Following, Held
from remit.domain.freeze import Frozen
from remit.domain.task import Task, TaskState
from remit.formats import catalogue as catalogue_format
from remit.formats import estate, jwk, row_body
from remit.formats.estate import Body, Said, Signed, Statement
from remit.formats.jwk import PublicKey
from remit.ports import Env, compiled
from remit.ports.estate import Centre

from .freshness import Freshness
from .let_go import let_go

PERSIST = 4_096  # events that may be applied without a word of it in the store


class Follow:
    """What is applied of the centre's log. One at a time moves it: `moving` is held by whoever does.

    `keys_changed` is told the JWKs that verify the centre's tokens. While a task is asked for, what is told of tasks
    that are not held is remembered, so that the answer cannot bring back what has ended meanwhile.
    """

    def __init__(
        self,
        env: Env,
        centre: Centre,
        freshness: Freshness,
        pins: Sequence[str],
        keys_changed: Callable[[Sequence[Mapping[str, str]]], None],
    ) -> None:
        self._env = env
        self._centre = centre
        self._freshness = freshness
        self._pins = tuple(sorted(pins))
        self._keys_changed = keys_changed
        self._keys: tuple[PublicKey, ...] = ()
        self._row: Following | None = None
        self._asking = 0
        self._over: set[str] = set()
        self.moving = asyncio.Lock()
        self.size = -1
        self.edge: Edge | None = None
        self.refused = 0

    @property
    def row(self) -> Following:
        """Whom it follows; there is one once `begin` returned."""
        assert self._row is not None
        return self._row

    @property
    def ready(self) -> bool:
        """Whether it follows anybody yet."""
        return self._row is not None

    async def begin(self) -> bool:
        """Go on from what the store has; False when it has nothing that these pins allow, and `join` is to come."""
        row = await self._env.store.get(Following, "centre")
        if row is None or row.issuer != self._env.issuer_url or row.pins != self._pins:
            return False
        await self._stands(row)
        return True

    async def join(self) -> None:
        """Begin with a snapshot of what is in force, signed by a key that is pinned, or that was followed until now."""
        before = await self._env.store.get(Following, "centre")
        if before is not None and before.issuer != self._env.issuer_url:
            raise BadToken(
                "This store follows another centre.", next_step="Give this edge a data directory of its own."
            )
        seat = before.seat if before else f"seat_{secrets.token_hex(16)}"
        nonce = secrets.token_hex(16)
        signed = await self._centre.snapshot(nonce, seat)
        known = before.pins == self._pins if before else False
        trusted = _keys_of(before.keys) if before and known else self._pinned(signed)
        said = estate.parse(
            signed, Said.SNAPSHOT, issuer=self._env.issuer_url, keys=trusted, edge=self._env.place, nonce=nonce
        )
        body = said.body
        if before is not None and body.get("trust_domain") != before.trust_domain:
            raise BadToken("This store is of another trust domain.", inside=str(body.get("trust_domain")))
        row = Following(
            self._env.issuer_url, str(body.get("trust_domain", "")), seat, _jwks(body["keys"]), said.size, self._pins
        )
        async with self.moving:
            await self._write(said, row, before, 0, 0)

    async def _stands(self, row: Following) -> None:
        self._row, self._keys = row, _keys_of(row.keys)
        self._keys_changed(json.loads(row.keys))
        head = await self._env.store.get(CatalogueHead, "head")
        if head is not None:
            _, force = await self._env.in_force()
            self.edge = force.catalogue.edges.get(self._env.place)
        self._moved(row.size)

    def _moved(self, size: int) -> None:
        self.size = max(self.size, size)
        self._freshness.applied(self.size)

    async def apply(self, signed: Signed) -> bool:
        """Apply a frame, or leave it alone if it is old; False when something before it is missing.

        `BadToken` for what the centre did not sign.
        """
        async with self.moving:
            try:
                said = estate.parse(signed, Said.FRAME, issuer=self.row.issuer, keys=self._keys)
            except BadToken:
                self.refused += 1
                raise
            return await self._fits(said)

    async def take_in(self, said: Statement) -> bool:
        """The same for what else was verified, and says what happened in a stretch."""
        async with self.moving:
            return await self._fits(said)

    async def _fits(self, said: Statement) -> bool:
        if said.size <= self.size:
            return True
        if said.since > self.size:
            return False
        await self._apply(said)
        return True

    def verified(self, signed: Signed, wanted: Said, nonce: str) -> Statement:
        """What the centre said to this edge alone; `BadToken` for anything else."""
        try:
            return estate.parse(
                signed, wanted, issuer=self.row.issuer, keys=self._keys, edge=self._env.place, nonce=nonce
            )
        except BadToken:
            self.refused += 1
            raise

    async def pull(self) -> int:
        """Ask for what is missing until there is no more; returns how many frames moved it."""
        moved = 0
        while frames := await self._centre.frames(self.size):
            before = self.size
            for frame in frames:
                await self.apply(frame)
            if self.size == before:
                break
            moved += 1
        return moved

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """Remember from here on which tasks are told to be over or recalled."""
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1
            if not self._asking:
                self._over.clear()

    def is_over(self, task: str) -> bool:
        """Whether this task was told to be over, or recalled, while it was asked for."""
        return task in self._over

    async def _apply(self, said: Statement) -> None:
        body = said.body
        ended = {str(task): TaskState(how) for task, how in body.get("ended", [])}
        recalled = {str(task) for task, edge in body.get("recalled", []) if edge == self._env.place}
        if self._asking:
            self._over |= ended.keys() | recalled
        leaving = dict.fromkeys(recalled, "the centre asked for it back")
        leaving |= await self._superseded({str(jkt) for jkt in body.get("identities", [])})
        call = self._call()
        done = await asyncio.gather(
            *(let_go(self._env, call, task, f"it is {how.value}", how) for task, how in ended.items()),
            *(let_go(self._env, call, task, why, unknown=task in recalled) for task, why in leaving.items()),
        )
        changes = any(name in body for name in ("catalogue", "frozen", "keys"))
        if changes or any(done) or said.size - self.row.size >= PERSIST:
            keys = _jwks(body["keys"]) if "keys" in body else self.row.keys
            row = Following(self.row.issuer, self.row.trust_domain, self.row.seat, keys, said.size, self._pins)
            await self._write(said, row, self.row, sum(done[: len(ended)]), sum(done[len(ended) :]))
        else:
            self._moved(said.size)
        if any(done):
            self._env.nudge()

    async def _write(self, said: Statement, row: Following, was: Following | None, ended: int, recalled: int) -> None:
        """The stretch in one commit; then what is derived from it."""
        head, files = await self._catalogue(said.body)
        for _ in range(100):
            now = await self._env.store.get(CatalogueHead, "head")
            digest = head.at(self._env.place) if head else now.at(self._env.place) if now else ""
            change = Change(events.Followed(said.size, digest, ended, recalled), self._call()).put(row, was=was)
            if head is not None and (now is None or now.number < head.number):
                change = change.put(head, was=now)
                if await self._env.store.get(CatalogueFiles, digest) is None:
                    change = change.put(CatalogueFiles(digest, files), was=None)
            frozen = said.body.get("frozen")
            if frozen is not None or now is None:
                there = await self._env.store.get(Frozen, "frozen")
                change = change.put(row_body.row(Frozen, frozen) if frozen else Frozen(), was=there)
            try:
                await self._env.store.commit(change)
                break
            except Conflict:
                was = await self._env.store.get(Following, "centre")
        else:
            raise Conflict("What the centre said cannot be written down.")
        stored = await self._env.store.get(Following, "centre")
        await self._stands(stored or row)

    async def _catalogue(self, body: Body) -> tuple[CatalogueHead | None, tuple[tuple[str, str], ...]]:
        """The head that is told, and what is in force here: files of that digest, which compile; or nothing moves."""
        if body.get("catalogue") is None:
            return None, ()
        head = row_body.row(CatalogueHead, body["catalogue"])
        digest = head.at(self._env.place)
        known = await self._env.store.get(CatalogueFiles, digest)
        files = known.files if known else tuple(sorted((await self._centre.catalogue(digest)).items()))
        if catalogue_format.digest(dict(files)) != digest:
            raise BadToken("The catalogue's files are not those of its digest.", inside=digest)
        await asyncio.to_thread(compiled, digest, files)
        return head, files

    async def _superseded(self, keys: set[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        if keys:
            for row in await held(self._env):
                task = await self._env.store.get(Task, row.task)
                if task is not None and task.jkt in keys:
                    found[task.id] = "its agent's proof was superseded"
        return found

    def _pinned(self, signed: Signed) -> tuple[PublicKey, ...]:
        """Of the keys that an unverified snapshot names, those that the enrolment pinned."""
        body: Any = msgspec.json.decode(signed.body)
        named = jwk.parse_set({"keys": body.get("keys", []) if isinstance(body, dict) else []})
        return tuple(key for key in named if key.thumbprint in self._pins)

    def _call(self) -> Call:
        return Call(Caller(CallerKind.SYSTEM, "follow"), self._env.clock())


async def held(env: Env, state: str = "held") -> list[Held]:
    """Every task that is here in this state."""
    rows: list[Held] = []
    while page := await env.store.find(Held, {"state": state}, after=rows[-1].key if rows else "", limit=1000):
        rows += page
    return rows


def _jwks(keys: Any) -> str:
    return json.dumps(keys)


def _keys_of(text: str) -> tuple[PublicKey, ...]:
    return jwk.parse_set({"keys": json.loads(text)})

"""Signer and Sealer over one root key: private keys are rows under envelopes, opened into memory, read again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from remit.domain import events
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.domain.errors import Conflict, StoreUnavailable
from remit.domain.keys import WHEN_NEEDED, KeyState, KeyTurn, SigningKey, in_state
from remit.formats import sealed, signing_key
from remit.formats.signing_key import ALGORITHMS
from remit.ports import Signature, Store

PAUSE = 0.05


class RootSealer:
    """Envelope encryption under the root key; what is still under the `previous` one opens too."""

    def __init__(self, root_key: bytes, previous: bytes = b"") -> None:
        self._root_key = root_key
        self._previous = previous

    @property
    def replacing(self) -> bool:
        """See `ports.Sealer`."""
        return bool(self._previous)

    def seal(self, plaintext: bytes, context: bytes) -> str:
        """See `ports.Sealer`."""
        return sealed.seal(plaintext, root_key=self._root_key, context=context)

    def unseal(self, envelope: str, context: bytes) -> bytes:
        """See `ports.Sealer`."""
        return sealed.unseal(self.rewrap(envelope), root_key=self._root_key, context=context)

    def derive(self, context: bytes) -> bytes:
        """See `ports.Sealer`."""
        return sealed.derive(self._root_key, context)

    def rewrap(self, envelope: str) -> str:
        """See `ports.Sealer`."""
        return sealed.rewrap(envelope, root_key=self._root_key, previous=self._previous or self._root_key)


@dataclass(frozen=True)
class _Ring:
    """The keys of one use at one moment: what verifies, newest first, and the one that signs."""

    keys: Mapping[str, signing_key.PrivateKey]
    public: tuple[Mapping[str, str], ...]
    signing: str


class Keyring:
    """Signs from memory. `refresh` replaces what is in memory whole: nobody sees half of a change."""

    def __init__(self, store: Store, sealer: RootSealer, uses: Sequence[str] = tuple(ALGORITHMS)) -> None:
        self._store = store
        self._uses = uses
        self._sealer = sealer
        self._rings: Mapping[str, _Ring] = {}
        self._opened: dict[str, signing_key.PrivateKey] = {}
        self._waiting: asyncio.Task[None] | None = None
        self._reading = asyncio.Lock()

    @classmethod
    async def open(cls, store: Store, sealer: RootSealer, now: int, uses: Sequence[str] = tuple(ALGORITHMS)) -> Keyring:
        """Read the keys, making the first of each use."""
        keyring = cls(store, sealer, uses)
        for use in uses:
            if use not in WHEN_NEEDED and not await store.find(SigningKey, {"use": use}, limit=1):
                await _first(store, sealer, use, now)
        await keyring.refresh()
        return keyring

    def signing(self, use: str) -> str:
        """See `ports.Signer`."""
        return self._rings[use].signing

    def sign(self, use: str, data: bytes, kid: str) -> Signature:
        """See `ports.Signer`."""
        key = self._rings[use].keys.get(kid)
        if key is None:
            step = "Try again at once."
            raise StoreUnavailable("The signing key has just been replaced.", next_step=step, inside=kid)
        return Signature(kid, key.algorithm, key.sign(data))

    def public(self, use: str) -> Sequence[Mapping[str, str]]:
        """See `ports.Signer`."""
        return self._rings[use].public

    async def refresh(self, *, knows: str = "") -> None:
        """See `ports.Signer`. Many callers share one read, and with `knows` there is at most one in `PAUSE` seconds.

        A caller always waits for a read that began after it asked: what was committed before is then known.
        """
        if knows and any(knows in ring.keys for ring in self._rings.values()):
            return
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._next(PAUSE if knows else 0.0))
        await asyncio.shield(self._waiting)

    async def _next(self, pause: float) -> None:
        await asyncio.sleep(pause)
        async with self._reading:
            self._waiting = None  # whoever asks from here on needs a later read
            await self._read()

    async def _read(self) -> None:
        rows: list[SigningKey] = []
        while page := await self._store.find(SigningKey, {}, after=rows[-1].key if rows else "", limit=1000):
            rows += page
        rings = {use: self._ring(use, [row for row in rows if row.use == use]) for use in self._uses}
        # What is unchanged stays the same object: who derived something from it can tell.
        self._rings = {use: old if (old := self._rings.get(use)) == ring else ring for use, ring in rings.items()}
        self._opened = {kid: key for ring in self._rings.values() for kid, key in ring.keys.items()}

    def _ring(self, use: str, rows: Sequence[SigningKey]) -> _Ring:
        published = sorted((row for row in rows if row.published), key=lambda row: (-row.created_at, row.kid))
        keys = {row.kid: self._opened.get(row.kid) or self._unsealed(row) for row in published}
        current = in_state(published, KeyState.CURRENT)
        if current is None and not published and use in WHEN_NEEDED:
            return _Ring({}, (), "")
        if current is None:
            raise StoreUnavailable("There is no key to sign with.", inside=f"{len(rows)} rows, none current")
        public = tuple({**key.public.jwk, "kid": kid, "alg": key.algorithm, "use": "sig"} for kid, key in keys.items())
        return _Ring(keys, public, current.kid)

    def _unsealed(self, row: SigningKey) -> signing_key.PrivateKey:
        return signing_key.load(self._sealer.unseal(row.sealed, signing_key.context(row.kid)))


async def _first(store: Store, sealer: RootSealer, use: str, now: int) -> None:
    row = signing_key.fresh(use, now, KeyState.CURRENT, now, sealer.seal)
    because = events.SigningKeyCreated(use, row.kid, row.public, now)
    call = Call(Caller(CallerKind.SYSTEM, "keyring"), now)
    with suppress(Conflict):  # another process made it
        await store.commit(Change(because, call).put(KeyTurn(use, 1), was=None).put(row, was=None))

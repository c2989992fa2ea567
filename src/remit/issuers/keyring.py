"""Signer and Sealer over one root key: private keys are rows under envelopes, opened into memory at start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from remit.domain import events
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.domain.keys import SigningKey
from remit.formats import base64url, sealed, signing_key, tlog
from remit.ports import Signature, Store

ALGORITHMS: Mapping[str, str] = {
    "token": "ES256",
    "log": "EdDSA",
    "federation": "RS256",
    "svid": "ES256",
    "authority": "ES256",
    "x509": "ES256",
    "ssh": "ES256",
}


class RootSealer:
    """Envelope encryption under the root key; what is still under the `previous` one opens too."""

    def __init__(self, root_key: bytes, previous: bytes = b"") -> None:
        self._root_key = root_key
        self._previous = previous

    def seal(self, plaintext: bytes, context: bytes) -> str:
        """See `ports.Sealer`."""
        return sealed.seal(plaintext, root_key=self._root_key, context=context)

    def unseal(self, envelope: str, context: bytes) -> bytes:
        """See `ports.Sealer`."""
        return sealed.unseal(self.rewrap(envelope), root_key=self._root_key, context=context)

    def rewrap(self, envelope: str) -> str:
        """See `ports.Sealer`."""
        return sealed.rewrap(envelope, root_key=self._root_key, previous=self._previous or self._root_key)


class Keyring:
    """Signs with the newest key of each use and publishes all of them, newest first."""

    def __init__(self, keys: Mapping[str, Sequence[signing_key.PrivateKey]]) -> None:
        self._keys = keys

    @classmethod
    async def open(cls, store: Store, sealer: RootSealer, now: int) -> Keyring:
        """Read the sealed keys, making the first of each use."""
        keys: dict[str, list[signing_key.PrivateKey]] = {}
        for use, algorithm in ALGORITHMS.items():
            rows = sorted(await store.find(SigningKey, {"use": use}), key=lambda row: -row.created_at)
            if not rows:
                rows = [await _create(store, sealer, use, algorithm, now)]
            keys[use] = [signing_key.load(sealer.unseal(row.sealed, _context(row.kid))) for row in rows]
        return cls(keys)

    def sign(self, use: str, data: bytes, kid: str = "") -> Signature:
        """See `ports.Signer`."""
        key = next(key for key in self._keys[use] if key.public.kid == kid) if kid else self._keys[use][0]
        return Signature(key.public.kid, key.algorithm, key.sign(data))

    def public(self, use: str) -> Sequence[Mapping[str, str]]:
        """See `ports.Signer`."""
        return [{**k.public.jwk, "kid": k.public.kid, "alg": k.algorithm, "use": "sig"} for k in self._keys[use]]

    def log_key(self, name: str) -> tlog.NoteKey:
        """The log's verifier key under the log's name."""
        return tlog.NoteKey(name, base64url.decode(self._keys["log"][0].public.jwk["x"]))


async def _create(store: Store, sealer: RootSealer, use: str, algorithm: str, now: int) -> SigningKey:
    key = signing_key.generate(algorithm)
    public = " ".join(f"{name}={value}" for name, value in sorted(key.public.jwk.items()))
    row = SigningKey(key.public.kid, use, algorithm, public, sealer.seal(key.der, _context(key.public.kid)), now)
    because = events.SigningKeyCreated(use, row.kid, public)
    await store.commit(Change(because, Call(Caller(CallerKind.SYSTEM, "keyring"), now)).put(row, was=None))
    return row


def _context(kid: str) -> bytes:
    return b"signing_key:" + kid.encode()

"""Everything a verb may reach, in protocols of one to four methods, and the `Env` that carries them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol, TypeVar, runtime_checkable

from remit.domain.above import Above, Branch, Link
from remit.domain.catalogue import Catalogue, CatalogueFiles, CatalogueHead, IssuerConfig
from remit.domain.chain import Hop
from remit.domain.change import Change, R
from remit.domain.errors import Busy, StoreUnavailable, Unavailable
from remit.domain.flow import Json
from remit.domain.freeze import Frozen
from remit.domain.identity import Attestation, Attester, Federation, TrustDomain
from remit.domain.keys import KeyTurn, Rotation, SigningKey
from remit.domain.lease import Lease, LeaseState, Minted
from remit.domain.origin import Observation
from remit.domain.passkey import Passkey
from remit.domain.session import Provider
from remit.domain.task import Task
from remit.formats import catalogue as catalogue_format
from remit.formats import ciba, jwk, jws, rfc6749, rfc9068, signing_key, x509_svid
from remit.formats.arguments import ArgumentSchema
from remit.formats.aws_caller import Checked
from remit.formats.client_attestation import VerifiedAttestation
from remit.formats.client_id_metadata import ClientDocument
from remit.formats.spiffe import TrustBundle
from remit.policy import Bundle, compile_bundle

T = TypeVar("T")


class Reader(Protocol):
    """The newest committed rows. Raises `StoreUnavailable` rather than answer from the past."""

    async def get(self, kind: type[R], key: str) -> R | None:
        """One row, or None."""
        ...

    async def find(self, kind: type[R], where: Mapping[str, str], *, after: str = "", limit: int = 100) -> Sequence[R]:
        """Rows whose indexed columns equal `where`, in key order, keys greater than `after`."""
        ...

    async def tally(self, kind: type[R], where: Mapping[str, str], by: str, *, limit: int = 1000) -> Mapping[str, int]:
        """How many of some `limit` rows that `find` would find have which value in the indexed column `by`."""
        ...

    async def due(self, kind: type[R], now: int, *, limit: int = 100) -> Sequence[R]:
        """Rows whose own clock has come (see `formats.record`), the longest due first."""
        ...


class Store(Reader, Protocol):
    """Rows and the events that explain them."""

    async def commit(self, change: Change) -> int:
        """Make it durable and return its event number; or raise `Conflict` or `StoreUnavailable`.

        After `StoreUnavailable` the change may or may not have happened ("failed but persisted").
        """
        ...

    async def spend(self, token: str, until: int) -> bool:
        """Durably mark a single-use identifier; True for exactly one caller until `until` (ms) has passed."""
        ...


@dataclass(frozen=True, slots=True)
class Appended:
    """A log extension: events in order, the tiles that change, and the signed head that covers them."""

    first: int
    events: tuple[int, ...]
    tiles: Mapping[tuple[int, int], bytes]
    size: int
    root: bytes
    note: str


class LogReader(Protocol):
    """The sequenced log."""

    async def head(self) -> tuple[int, str]:
        """Size and signed checkpoint; (0, "") before the first."""
        ...

    async def tile(self, level: int, index: int) -> bytes:
        """The widest stored tile: concatenated 32-byte hashes, possibly fewer than 256; b"" when absent."""
        ...

    async def entries(self, start: int, end: int) -> Sequence[bytes]:
        """Leaf bytes of indices start … end-1, shorter only at the end of the log."""
        ...


class LogWriter(Protocol):
    """What the sequencer alone may do."""

    async def unsequenced(self, limit: int) -> Sequence[tuple[int, bytes]]:
        """Committed events that have no place in the log yet: (event number, leaf bytes), in a stable order."""
        ...

    async def append(self, extension: Appended) -> None:
        """Extend the log by one checkpoint; raises `Conflict` if its size is no longer `extension.first`."""
        ...


class LogIndex(Protocol):
    """Where in the log a word stands (`formats.log_words`). It follows the log; nothing is decided by it."""

    async def indexed(self) -> int:
        """The first place whose event it does not have yet."""
        ...

    async def index(self, first: int, words: Sequence[Sequence[int]]) -> None:
        """Take in the words of the events at `first` and after; raises `Conflict` if it is not at `first` any more."""
        ...

    async def places(self, words: Sequence[int], before: int, limit: int) -> tuple[Sequence[int], int]:
        """Places below `before` that have all these words, the highest first, and where to go on (0: no more)."""
        ...


class Issuer(Protocol):
    """A system that mints and kills credentials. Both raise `IssuerUnavailable` when it did not answer."""

    async def mint(self, lease: Lease) -> Minted:
        """Make the credential named `lease.handle`, no wider than `lease.grants`, dead by `expires_at`.

        It must not come to life after `lease.mint_until`, however long the request was on its way: from then on a
        confirmed kill ends the lease, and nobody would look again (law 5).
        """
        ...

    async def kill(self, lease: Lease) -> None:
        """Return only when `lease.handle` can no longer be used. Killing what never was, or twice, is fine.

        What nobody can take back raises `NotRecallable` with the time at which it has died by itself; until then its
        lease stays ENDING, in sight.
        """
        ...

    def checked(self, grants: Mapping[str, Json]) -> None:
        """Raise `BadField` if a purpose's description of a credential is not one this issuer can mint."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What an address answered; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Ask(Protocol):
    """One guarded request to an address that an attacker may have chosen, in bounded time and memory."""

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
        allow_private: bool = False,
    ) -> Answer:
        """Whatever was answered, redirects too, which nobody follows; or `AddressRefused`."""
        ...


@runtime_checkable
class Connector(Protocol):
    """An issuer that mints of a grant which a person gives it, once, at an authorization server."""

    async def invite(self, redirect_uri: str, scopes: Sequence[str]) -> rfc6749.Attempt:
        """Find the authorization server and say who we are to it; nothing is granted yet."""
        ...

    async def redeem(self, attempt: rfc6749.Attempt, code: str) -> rfc6749.Grant:
        """The grant for a code, which this uses up."""
        ...

    async def withdraw(self, grant: rfc6749.Grant) -> bool:
        """True when the server confirmed that the grant is gone; False when it cannot be told (no RFC 7009)."""
        ...


class Renew(Protocol):
    """Lends a grant to one mint at a time, and keeps what became of it before anything else may happen."""

    async def __call__(
        self, issuer: str, lease: str, until: int, use: Callable[[rfc6749.Grant], Awaitable[tuple[rfc6749.Grant, T]]]
    ) -> T:
        """`use` raises `rfc6749.TokenRefused("invalid_grant")` when the server knows the grant no more."""
        ...


@dataclass(frozen=True, slots=True)
class Signature:
    """Raw signature bytes by the key `kid` under `algorithm` (`ES256`: r‖s, `EdDSA`: RFC 8032)."""

    kid: str
    algorithm: str
    value: bytes


class Signer(Protocol):
    """Holds the private keys in memory; nothing else ever sees them. Uses are named in `domain.keys`."""

    def signing(self, use: str) -> str:
        """The kid of the one key of this use that signs now: what to name in what is signed."""
        ...

    def sign(self, use: str, data: bytes, kid: str) -> Signature:
        """Sign with this key. One that has been destroyed is `Unavailable`; ask `signing` again."""
        ...

    def public(self, use: str) -> Sequence[Mapping[str, str]]:
        """Public JWKs of everything that verifies, newest first: the next, the current, and those retiring."""
        ...

    async def refresh(self, *, knows: str = "") -> None:
        """Read the keys again: other processes rotate them too. With `knows`, only if that kid is not known yet."""
        ...


class Sealer(Protocol):
    """Envelope encryption under the root key; `context` binds a sealed value to its row."""

    def seal(self, plaintext: bytes, context: bytes) -> str: ...

    def unseal(self, envelope: str, context: bytes) -> bytes: ...

    def derive(self, context: bytes) -> bytes:
        """A key (32 bytes) of this context alone, the same each time under one root key."""
        ...

    def rewrap(self, envelope: str) -> str:
        """The same envelope under the root key, were it under the previous one; `BadToken` if under neither."""
        ...


class Attestor(Protocol):
    """Turns foreign evidence into verified claims."""

    async def claims(self, federation: Federation, token: str, now: int) -> Mapping[str, Json]:
        """Verified claims of an OIDC token, or `BadToken`; `Unavailable` when its keys cannot be had."""
        ...

    async def attestation(self, attester: Attester, token: str, audience: str, now: int) -> VerifiedAttestation:
        """A client attestation of this attester, or `BadToken`; `Unavailable` when its keys cannot be had."""
        ...

    async def client(self, rule: Attestation) -> ClientDocument:
        """The document of the client that this rule names, as it is now; `AddressRefused` or `BadField`."""
        ...

    async def caller(self, request: Checked) -> Mapping[str, Json]:
        """Who AWS STS says signed this, by the names in `aws_caller.CLAIMS`; `BadToken`, `Unavailable` or `Busy`."""
        ...

    async def bundle(self, domain: TrustDomain, now: int, *, kid: str = "") -> TrustBundle:
        """The newest bundle of a foreign trust domain, one with this `kid` if that can be had; or `Unavailable`."""
        ...


@dataclass(frozen=True, slots=True)
class Authorization:
    """One sign-in at an identity provider, in the browser that began it: kept sealed there, good once."""

    state: str
    nonce: str
    verifier: str
    redirect_uri: str


class IdentityProviders(Protocol):
    """Where people prove who they are (OpenID Connect Core 1.0 section 3.1)."""

    async def address(self, provider: Provider, asked: Authorization, now: int) -> str:
        """Where the browser goes to; `Unavailable` when the provider's metadata cannot be had."""
        ...

    async def claims(
        self, provider: Provider, asked: Authorization, code: str, iss: str, now: int
    ) -> Mapping[str, Json]:
        """Verified claims of the ID token that this code stands for, or `BadToken`; `iss` as the browser brought it."""
        ...


class Backchannel(Protocol):
    """Where people answer in their identity provider's own app (CIBA Core 1.0, poll mode).

    Both raise `Unavailable` when nothing can be told, and `rfc6749.TokenRefused` when there will be no answer.
    """

    async def ask(self, provider: Provider, wanted: ciba.Wanted, now: int) -> ciba.Taken:
        """Have the provider ask this person."""
        ...

    async def poll(self, provider: Provider, auth_req_id: str, since: int, now: int) -> ciba.Outcome | ciba.Said:
        """What came of it; `BadToken` for an ID token that does not verify or is not of this request since then."""
        ...


class NoBackchannel:
    """What there is where no provider can be asked."""

    async def ask(self, provider: Provider, wanted: ciba.Wanted, now: int) -> ciba.Taken:
        """See `Backchannel`."""
        raise Unavailable("No identity provider can be asked from here.")

    async def poll(self, provider: Provider, auth_req_id: str, since: int, now: int) -> ciba.Outcome | ciba.Said:
        """See `Backchannel`."""
        raise Unavailable("No identity provider can be asked from here.")


class Notifier(Protocol):
    """Sends messages to people, who have to come here to do anything about them."""

    async def send(self, address: str, title: str, body: str) -> None:
        """Return when it was taken, within a bounded time; `Unavailable` when it was not. Words are text, no markup."""
        ...


class NoNotifier:
    """What there is where nothing can send."""

    async def send(self, address: str, title: str, body: str) -> None:
        """See `Notifier`."""
        raise Unavailable("Nothing here can send messages.", next_step="pip install 'remit[notify]'")


@dataclass(frozen=True, slots=True)
class InForce:
    """One revision of the catalogue, compiled. Immutable, so it may be cached by digest."""

    digest: str
    catalogue: Catalogue
    bundle: Bundle
    schemas: Mapping[str, ArgumentSchema]


@lru_cache(maxsize=8)
def compiled(digest: str, files: tuple[tuple[str, str], ...]) -> InForce:
    """Parse and compile; raises `BadCatalogue` or `BadPolicy`, and then nothing has changed."""
    catalogue = catalogue_format.parse(dict(files))
    schemas = {name: ArgumentSchema.compile(tool.schema) for name, tool in catalogue.tools.items()}
    return InForce(digest, catalogue, compile_bundle(catalogue.policies, catalogue.tools), schemas)


@dataclass(frozen=True)
class Env:
    """What a verb is given.

    `clock` is ms since the epoch, for what takes time; everything else goes by `Call.now`. `new_id("tsk")` returns
    a fresh unguessable id; `nudge` wakes the reconcilers; `svid_ttl` is the life of X.509-SVIDs in ms.
    """

    store: Store
    signer: Signer
    sealer: Sealer
    attestor: Attestor
    issuer: Callable[[IssuerConfig], Issuer]
    clock: Callable[[], int]
    new_id: Callable[[str], str]
    nudge: Callable[[], None]
    trust_domain: str
    issuer_url: str
    svid_ttl: int = 3_600_000
    rotation: Rotation = field(default_factory=Rotation)
    notifier: Notifier = field(default_factory=NoNotifier)
    backchannel: Backchannel = field(default_factory=NoBackchannel)

    async def above(self, hops: Sequence[Hop]) -> Above:
        """The tasks of these hops, which are above some other, and all that is frozen."""
        links: list[Link] = []
        for hop in hops:
            task, branch = await self.store.get(Task, hop.task), await self.store.get(Branch, hop.task)
            if task is None or branch is None:
                raise StoreUnavailable("A task of the chain cannot be read.", inside=hop.task)
            links.append(Link(task, branch))
        return Above(tuple(links), await self.frozen())

    async def frozen(self) -> Frozen:
        """Everything that is frozen now; a change that relies on it checks it."""
        return await self.store.get(Frozen, "frozen") or Frozen()

    async def passkeys(self, person: str) -> Sequence[Passkey]:
        """Those that answer for this person."""
        rows = await self.store.find(Passkey, {"person": person}, limit=1000)
        return [row for row in rows if not row.removed_at]

    @property
    def passkey_secret(self) -> bytes:
        """What says that a challenge is ours, at every replica."""
        return self.sealer.derive(b"passkey challenges")

    def signed(self, token: rfc9068.AccessToken) -> str:
        """The token's text. Sign only what an event explains (law 4)."""
        return rfc9068.encode(token, self.token_key())

    def token_key(self) -> jws.SigningKey:
        """The key that signs tokens now."""
        kid = self.signer.signing("token")
        return jws.SigningKey(kid, "ES256", lambda data: self.signer.sign("token", data, kid).value)

    async def read_by(self, task: Task) -> Sequence[Observation]:
        """Everything an open task has read, in order; of a hand-off, everything that any part of it has read."""
        if task.parent or task.handed:
            return await self._read_together(task.root)
        rows: list[Observation] = []
        while len(rows) < task.observed:
            page = await self.store.find(Observation, {"task": task.id}, after=rows[-1].key if rows else "", limit=1000)
            if not page:
                raise StoreUnavailable("What the task has read cannot be found.", inside=task.id)
            rows += page
        return rows

    async def _read_together(self, root: str) -> Sequence[Observation]:
        rows: list[Observation] = []
        while page := await self.store.find(
            Observation, {"root": root}, after=rows[-1].key if rows else "", limit=1000
        ):
            rows += page
            if len(rows) > READ_TOGETHER:
                raise Busy(
                    "This hand-off has read too much to tell where values come from.", next_step="End parts of it."
                )
        return rows

    async def own_bundle(self, *, kid: str = "") -> TrustBundle:
        """Our own trust domain's bundle, newest keys first, one with this `kid` if there is such a key.

        Its certificates are the same at every replica.
        """
        if kid:
            await self.signer.refresh(knows=kid)
        found = _BUNDLES.get(self._kids())
        while found is None:
            sequence = await self._sequence()
            await self.signer.refresh()
            kids, svid, held = self._kids(), self.signer.public("svid"), self.signer.public("authority")
            authorities = [await self._authority(key["kid"]) for key in held]
            if await self._sequence() == sequence:  # these keys are exactly this sequence's
                jwt_keys = tuple(jwk.parse(key) for key in svid)
                hint = max(1, min(60, self.rotation.cached_for))
                found = TrustBundle(self.trust_domain, jwt_keys, tuple(authorities), sequence, refresh_hint=hint)
                _BUNDLES.clear()
                _BUNDLES[kids] = found
        return found

    def _kids(self) -> tuple[str, ...]:
        return (self.trust_domain, *(key["kid"] for use in ("svid", "authority") for key in self.signer.public(use)))

    async def _sequence(self) -> int:
        turns = [await self.store.get(KeyTurn, use) for use in ("svid", "authority")]
        return sum(turn.turns for turn in turns if turn is not None)

    async def authority(self) -> tuple[bytes, signing_key.HeldKey]:
        """The certificate that signs X.509-SVIDs now, and its key."""
        kid = self.signer.signing("authority")
        return await self._authority(kid), self._held(kid)

    async def _authority(self, kid: str) -> bytes:
        if (self.trust_domain, kid) not in _AUTHORITIES:
            row = await self.store.get(SigningKey, kid)
            if row is None:
                raise StoreUnavailable("A signing key's row cannot be read.", inside=kid)
            made, ends = row.created_at, row.created_at + AUTHORITY_LIFE
            certificate = x509_svid.authority(self.trust_domain, self._held(kid), made, ends)
            _AUTHORITIES[(self.trust_domain, kid)] = certificate
        return _AUTHORITIES[(self.trust_domain, kid)]

    def _held(self, kid: str) -> signing_key.HeldKey:
        public = next((key for key in self.signer.public("authority") if key["kid"] == kid), None)
        if public is None:
            raise StoreUnavailable("The signing key has just been replaced.", next_step="Try again at once.")
        return signing_key.HeldKey(jwk.parse(public), lambda data: self.signer.sign("authority", data, kid).value)

    async def leases_in(self, state: LeaseState, task: str = "") -> Sequence[Lease]:
        """Every lease in this state, of this task if one is named."""
        found: list[Lease] = []
        where = {"state": state.value, **({"task": task} if task else {})}
        while page := await self.store.find(Lease, where, after=found[-1].key if found else "", limit=1000):
            found += page
        return found

    async def in_force(self) -> tuple[CatalogueHead, InForce]:
        """Return the head row just read, and the revision it names."""
        head = await self.store.get(CatalogueHead, "head")
        if head is None:
            raise StoreUnavailable("No catalogue is in force yet.", next_step="Run `remit apply`.")
        cached = _IN_FORCE.get(head.digest)
        if cached is None:
            files = await self.store.get(CatalogueFiles, head.digest)
            if files is None:
                raise StoreUnavailable("The catalogue in force cannot be read.", inside=head.digest)
            cached = compiled(head.digest, files.files)
            _IN_FORCE.clear()
            _IN_FORCE[head.digest] = cached
        return head, cached


_IN_FORCE: dict[str, InForce] = {}
_BUNDLES: dict[tuple[str, ...], TrustBundle] = {}
_AUTHORITIES: dict[tuple[str, str], bytes] = {}
AUTHORITY_LIFE = 366 * 86_400_000
READ_TOGETHER = 20_000

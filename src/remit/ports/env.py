"""`Env`: what a verb is given, and what is in force."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from remit.domain.above import Above, Branch, Link
from remit.domain.catalogue import Catalogue, CatalogueFiles, CatalogueHead, IssuerConfig
from remit.domain.chain import Hop, PrincipalKind
from remit.domain.change import Change
from remit.domain.context import Context
from remit.domain.departure import Departure
from remit.domain.errors import Busy, SeatLost, StoreUnavailable, Unavailable
from remit.domain.estate import EdgeSeat
from remit.domain.freeze import Frozen
from remit.domain.identity import Identity
from remit.domain.keys import KeyTurn, Rotation, SigningKey
from remit.domain.leak import Fingerprint, Leak, telling
from remit.domain.lease import Lease, LeaseState
from remit.domain.narrowing import Narrowing
from remit.domain.origin import Observation
from remit.domain.passkey import Passkey
from remit.domain.posture import Posture
from remit.domain.redecision import Redecision
from remit.domain.secret import SealedSecret, current
from remit.domain.succession import Succession, Thing, reach_of
from remit.domain.task import Task
from remit.formats import catalogue as catalogue_format
from remit.formats import jwk, jws, leak_digest, rfc9068, signing_key, x509_svid
from remit.formats.arguments import ArgumentSchema
from remit.formats.spiffe import TrustBundle
from remit.policy import Bundle, compile_bundle

from .issuer import Issuer
from .keys import Sealer, Signer
from .store import Store
from .world import Attestor, Backchannel, NoBackchannel, NoNotifier, NoSignals, Notifier, Signals


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
    a fresh unguessable id; `nudge` wakes the reconcilers; `svid_ttl` is the life of X.509-SVIDs in ms. `place` is the
    edge that this is, empty at the centre; `age` is how old what is known here may be, in ms (see `domain.estate`).
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
    signals: Signals = field(default_factory=NoSignals)
    place: str = ""
    age: Callable[[], int] = lambda: 0

    async def unsealed(self, name: str, now: int) -> str:
        """What is sealed under this name now; `Unavailable` when nothing is."""
        found = current(await self.store.find(SealedSecret, {"name": name, "state": "active"}, limit=1000), now)
        if found is None:
            raise Unavailable("Something is not set up.", inside=f"nothing is sealed as {name}")
        return self.sealer.unseal(found.envelope, found.context).decode()

    async def above_of(self, task: Task) -> Above:
        """Everybody above this task, and what is taken away from them and from it."""
        return await self.above(task.chain.hops[:-1], task.agent)

    async def above(self, hops: Sequence[Hop], acting: str = "") -> Above:
        """The tasks of these hops, which are above another, and all that is frozen; `acting` is that other's agent."""
        links: list[Link] = []
        for hop in hops:
            task, branch = await self.store.get(Task, hop.task), await self.store.get(Branch, hop.task)
            if task is None or branch is None:
                raise StoreUnavailable("A task of the chain cannot be read.", inside=hop.task)
            links.append(Link(task, branch))
        frozen, agents = await self.frozen(), {*(link.task.agent for link in links), acting}
        narrowed = [await self.narrowing(name) for name in sorted(agents.intersection(frozen.narrowed))]
        return Above(tuple(links), frozen, tuple(narrowed))

    async def narrowing(self, agent: str) -> Narrowing:
        """What a review took away from this agent."""
        return await self.store.get(Narrowing, agent) or Narrowing(agent)

    async def context(self, task: Task, above: Above | None = None) -> Context:
        """What this task is asked for in, or open in, now; `above`, where it was read already."""
        identity = await self.store.get(Identity, task.jkt)
        above = above or await self.above_of(task)
        return Context(identity, above, await self.beginner(task), await self.posture(task.agent))

    async def beginner(self, task: Task) -> Departure:
        """Whether the person who began this task has left; nobody's departure, where no person did."""
        by = task.initiator
        return await self.departure(by.name) if by.kind is PrincipalKind.PERSON else Departure("")

    async def posture(self, agent: str) -> Posture:
        """What is known of this agent's surroundings."""
        return await self.store.get(Posture, agent) or Posture(agent)

    async def departure(self, person: str) -> Departure:
        """Whether this person has left."""
        return await self.store.get(Departure, person) or Departure(person)

    async def successions(self) -> dict[str, Succession]:
        """Everything that somebody took over, or is asked to, by its key."""
        found: list[Succession] = []
        while page := await self.store.find(
            Succession, {"lasts": "yes"}, after=found[-1].key if found else "", limit=1000
        ):
            found += page
        return {row.key: row for row in found}

    async def answers_for(self, thing: Thing) -> str:
        """Who answers for it now: its owner, or whoever took over."""
        row = await self.store.get(Succession, f"{reach_of(thing).value} {thing.name}")
        return row.answers_for(thing.owner) if row is not None else thing.owner

    async def left(self, change: Redecision) -> int:
        """How many open tasks there still are, at most, to decide again after this change; it stops at 100,000."""
        found = 0
        for column, value in change.places[change.place :]:
            where = {"state": "open", column: value}
            found += sum((await self.store.tally(Task, where, "state", limit=100_000)).values())
        return found

    async def frozen(self) -> Frozen:
        """Everything that is frozen now; a change that relies on it checks it."""
        return await self.store.get(Frozen, "frozen") or Frozen()

    async def seated(self, edge: str, seat: str) -> EdgeSeat:
        """The row that says that this incarnation of the edge is the one that is here; a change that relies on it
        checks it. `SeatLost` when it is not.
        """
        found = await self.store.get(EdgeSeat, edge)
        if found is None or not seat or found.seat != seat:
            step = "An edge whose store is lost, or that was forgotten, joins again with an empty store."
            raise SeatLost("This incarnation of the edge is not here.", next_step=step, inside=f"{edge}/{seat[:64]}")
        return found

    async def passkeys(self, person: str) -> Sequence[Passkey]:
        """Those that answer for this person."""
        rows = await self.store.find(Passkey, {"person": person}, limit=1000)
        return [row for row in rows if not row.removed_at]

    @property
    def scan_key(self) -> bytes:
        """What scanners digest under (`domain.leak`)."""
        return self.sealer.derive(b"scan digests")

    def print_of(self, digest: str) -> str:
        """What a scanner's digest is kept as."""
        return leak_digest.kept(self.sealer.derive(b"kept digests"), digest)

    def recognised(self, change: Change, leak: Leak, parts: Mapping[str, str]) -> Change:
        """With this commit what is made of these parts is known again, wherever it is found."""
        for text in sorted(telling(parts)):
            row = Fingerprint(self.print_of(leak_digest.seen(self.scan_key, text)), str(leak), change.call.now)
            change = change.put(row, was=None)
        return change

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
        """Return the head row just read, and the revision that it names for this place."""
        head = await self.store.get(CatalogueHead, "head")
        if head is None:
            raise StoreUnavailable("No catalogue is in force yet.", next_step="Run `remit apply`.")
        return head, await self.revision(head.at(self.place))

    async def revision(self, digest: str) -> InForce:
        """One revision that is or was in force, compiled."""
        cached = _IN_FORCE.get(digest)
        if cached is None:
            files = await self.store.get(CatalogueFiles, digest)
            if files is None:
                raise StoreUnavailable("The catalogue in force cannot be read.", inside=digest)
            cached = compiled(digest, files.files)
            if len(_IN_FORCE) > 1:  # more than the one in force, and the one that is rolled out
                _IN_FORCE.clear()
            _IN_FORCE[digest] = cached
        return cached


_IN_FORCE: dict[str, InForce] = {}
_BUNDLES: dict[tuple[str, ...], TrustBundle] = {}
_AUTHORITIES: dict[tuple[str, str], bytes] = {}
AUTHORITY_LIFE = 366 * 86_400_000
READ_TOGETHER = 20_000

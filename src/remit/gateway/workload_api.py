"""The SPIFFE Workload API: gRPC on a Unix socket; who calls is what the kernel says (SPIFFE Workload API, Endpoint).

Every message of a stream is the whole state. A stream is looked at again every second and answered anew when its
documents grow old, a key or bundle changes, or the catalogue does; it ends with PERMISSION_DENIED when the workload
is no agent any more. Refusals tell the caller nothing; the server's log says which selector was missing.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import structlog
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.protocol import H2Protocol
from grpclib.server import Server

from remit.attest.unix import Gone, Peer
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.errors import BadField, NotAttested, Refusal, Unauthenticated, Unavailable
from remit.domain.identity import SpiffeId
from remit.formats import spiffe
from remit.formats.workload_api import message
from remit.ports import Env
from remit.verbs.certify import Document, Entitled, Workload, certify_jwt, certify_x509, entitled

LOOK_AGAIN = 1.0
CONNECTIONS = 64  # of one user
AUDIENCES, AUDIENCE_LIMIT = 10, 2048
_log = structlog.get_logger("remit.workload_api")
Compose = Callable[[Workload, tuple[Entitled, ...]], Awaitable[tuple[Any, int]]]


@asynccontextmanager
async def workload_api(env: Env, path: Path) -> AsyncIterator[None]:
    """Serve on `path` until the block ends. Everybody on the host may connect; the kernel says who they are."""
    service = _Service(env)
    server = _Server(service)
    listener = _listener(path)
    await server.start(sock=listener)
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()
        path.unlink(missing_ok=True)  # noqa: ASYNC240


def _listener(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket() and listener.connect_ex(str(path)) != 0:
            path.unlink()  # nobody listens there any more
        listener.close()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        os.chmod(path, 0o777)  # noqa: S103 - who may ask is decided by attestation
    except OSError as flaw:
        listener.close()
        step = "Its directory must exist and be ours, and no other server may listen there."
        raise BadField("workload_api", f"cannot listen on {path}: {flaw.strerror or flaw}", next_step=step) from flaw
    return listener


class _Pinned(H2Protocol):
    """A connection whose process is pinned while it lasts: `stream.peer` is an `attest.unix.Peer`."""

    connections: ClassVar[Counter[int]] = Counter()
    _peer: Peer | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        try:
            with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as connection:
                peer = Peer.of(connection)
        except (Gone, OSError):
            transport.abort()
            return
        self._peer = peer
        self.connections[peer.uid] += 1
        self.connection.get_peer = lambda: peer  # type: ignore[method-assign, assignment, return-value]
        if self.connections[peer.uid] > CONNECTIONS:
            transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if self._peer is not None:
            self.connections[self._peer.uid] -= 1
            self._peer.close()


class _Server(Server):
    def __init__(self, service: _Service) -> None:
        super().__init__([service])

    def _protocol_factory(self) -> H2Protocol:
        made = super()._protocol_factory()
        return _Pinned(made.handler, made.config, made.h2_config)


class _Service:
    """The five calls. What each checks first: the header, then who it is."""

    def __init__(self, env: Env) -> None:
        self._env = env

    def __mapping__(self) -> dict[str, Handler]:
        calls = {
            "FetchX509SVID": (self.fetch_x509_svid, Cardinality.UNARY_STREAM, "X509SVID"),
            "FetchX509Bundles": (self.fetch_x509_bundles, Cardinality.UNARY_STREAM, "X509Bundles"),
            "FetchJWTSVID": (self.fetch_jwt_svid, Cardinality.UNARY_UNARY, "JWTSVID"),
            "FetchJWTBundles": (self.fetch_jwt_bundles, Cardinality.UNARY_STREAM, "JWTBundles"),
            "ValidateJWTSVID": (self.validate_jwt_svid, Cardinality.UNARY_UNARY, "ValidateJWTSVID"),
        }
        return {
            f"/SpiffeWorkloadAPI/{name}": Handler(
                self._guarded(call), cardinality, message(f"{kind}Request"), message(f"{kind}Response")
            )
            for name, (call, cardinality, kind) in calls.items()
        }

    def _guarded(self, call: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
        async def guarded(stream: Any) -> None:
            # Workload Endpoint section 6.1: a request without the header may be a forged one (SSRF).
            if stream.metadata.getall("workload.spiffe.io", []) != ["true"]:
                raise GRPCError(Status.INVALID_ARGUMENT, "security header missing from request")
            try:
                await call(stream)
            except Unavailable as refusal:
                raise GRPCError(Status.UNAVAILABLE, refusal.message) from refusal
            except (Unauthenticated, Gone) as refusal:
                _log.info("no identity issued", inside=getattr(refusal, "inside", str(refusal)))
                raise GRPCError(Status.PERMISSION_DENIED, "no identity issued") from refusal
            except Refusal as refusal:
                raise GRPCError(Status.INVALID_ARGUMENT, refusal.message) from refusal

        return guarded

    async def fetch_x509_svid(self, stream: Any) -> None:
        async def compose(workload: Workload, of: tuple[Entitled, ...]) -> tuple[Any, int]:
            documents = [await certify_x509(self._env, self._call(), workload, one) for one in of]
            answer = message("X509SVIDResponse")()
            own = b"".join((await self._env.own_bundle()).authorities)
            for document in documents:
                answer.svids.add(
                    spiffe_id=str(document.id),
                    x509_svid=document.certificate,
                    x509_svid_key=document.private_key,
                    bundle=own,
                    hint=_hint(document),
                )
            for bundle in await self._federated(of):
                answer.federated_bundles[f"spiffe://{bundle.trust_domain}"] = b"".join(bundle.authorities)
            return answer, min(document.expires_at for document in documents)

        await self._stream(stream, compose)

    async def fetch_x509_bundles(self, stream: Any) -> None:
        async def compose(workload: Workload, of: tuple[Entitled, ...]) -> tuple[Any, int]:
            answer = message("X509BundlesResponse")()
            for bundle in (await self._env.own_bundle(), *await self._federated(of)):
                answer.bundles[f"spiffe://{bundle.trust_domain}"] = b"".join(bundle.authorities)
            return answer, 0

        await self._stream(stream, compose)

    async def fetch_jwt_bundles(self, stream: Any) -> None:
        async def compose(workload: Workload, of: tuple[Entitled, ...]) -> tuple[Any, int]:
            answer = message("JWTBundlesResponse")()
            for bundle in (await self._env.own_bundle(), *await self._federated(of)):
                keys = spiffe.encode_bundle(spiffe.TrustBundle(bundle.trust_domain, bundle.jwt_keys))["keys"]
                answer.bundles[f"spiffe://{bundle.trust_domain}"] = json.dumps({"keys": keys}).encode()
            return answer, 0

        await self._stream(stream, compose)

    async def fetch_jwt_svid(self, stream: Any) -> None:
        asked = await stream.recv_message()
        audience = list(asked.audience)
        if not 0 < len(audience) <= AUDIENCES or not all(0 < len(one) <= AUDIENCE_LIMIT for one in audience):
            raise BadField("audience", f"1 to {AUDIENCES} texts are needed")
        workload = await self._workload(stream)
        of = await entitled(self._env, workload)
        if asked.spiffe_id:
            wanted = SpiffeId.parse(asked.spiffe_id)
            of = tuple(one for one in of if one.id == wanted)
            if not of:
                raise NotAttested("No identity issued.", inside=f"{workload.about}: is not {wanted}")
        answer = message("JWTSVIDResponse")()
        for one in of:
            document = await certify_jwt(self._env, self._call(), workload, one, audience)
            answer.svids.add(spiffe_id=str(document.id), svid=document.token, hint=_hint(document))
        await stream.send_message(answer)

    async def validate_jwt_svid(self, stream: Any) -> None:
        asked = await stream.recv_message()
        of = await entitled(self._env, await self._workload(stream))
        if not asked.audience or not asked.svid:
            raise BadField("audience", "audience and svid are needed")
        try:
            id = spiffe.claimed_id(asked.svid)
            own = await self._env.own_bundle(kid=spiffe.claimed_key(asked.svid))
            bundles = (own, *await self._federated(of))
            bundle = next((found for found in bundles if found.trust_domain == id.trust_domain), None)
            if bundle is None:
                raise BadField("svid", "is of a trust domain that is not known here")
            now = self._env.clock()
            found = spiffe.parse_jwt_svid(asked.svid, bundle=bundle, audience=asked.audience, now=now, alone=False)
        except Unauthenticated as refusal:
            raise BadField("svid", refusal.message) from refusal
        answer = message("ValidateJWTSVIDResponse")(spiffe_id=str(found.id))
        answer.claims.update(spiffe.claims_of(asked.svid))
        await stream.send_message(answer)

    async def _stream(self, stream: Any, compose: Compose) -> None:
        await stream.recv_message()
        told: object = None
        renew_at = 0
        while True:
            workload = await self._workload(stream)
            of = await entitled(self._env, workload)
            state = (workload.code, [(one.id, one.rule.rule) for one in of], await self._bundle_state(of))
            now = self._env.clock()
            if state != told or (renew_at and now >= renew_at):
                answer, expires_at = await compose(workload, of)
                # At half its life, a tenth earlier or later, so that a host full of workloads does not ask at once.
                renew_at = now + int((expires_at - now) * random.uniform(0.45, 0.55)) if expires_at else 0  # noqa: S311
                told = state
                await stream.send_message(answer)
            await asyncio.sleep(LOOK_AGAIN)

    async def _bundle_state(self, of: tuple[Entitled, ...]) -> object:
        return [
            (bundle.trust_domain, bundle.authorities, tuple(key.kid for key in bundle.jwt_keys))
            for bundle in (await self._env.own_bundle(), *await self._federated(of))
        ]

    async def _federated(self, of: tuple[Entitled, ...]) -> list[spiffe.TrustBundle]:
        """Bundles of the domains that these agents may meet; one that cannot be had is left out."""
        _, force = await self._env.in_force()
        found: list[spiffe.TrustBundle] = []
        for name in sorted({name for one in of for name in one.agent.federates_with}):
            try:
                found.append(await self._env.attestor.bundle(force.catalogue.trust_domains[name], self._env.clock()))
            except Unavailable as refusal:
                _log.warning("a federated bundle cannot be had", inside=refusal.inside)
        return found

    async def _workload(self, stream: Any) -> Workload:
        peer: Peer = stream.peer
        attested = await asyncio.to_thread(peer.attest)
        return Workload(attested.selectors, attested.code, attested.about)

    def _call(self) -> Call:
        return Call(Caller(CallerKind.SYSTEM, "workload-api"), self._env.clock())


def _hint(document: Document) -> str:
    """The agent's name: unique within an answer, and what people call it."""
    return document.id.path.rpartition("/")[2]

"""Connect: a person lets Remit into somebody's account at another authorization server, once; or takes that back.

Begin, answer, keep: the answer's code is used only when it is durable that this attempt is spent, and tasks are given
nothing before the grant is kept. What is asked for is what the purposes in force name, and no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.catalogue import Catalogue, IssuerConfig
from remit.domain.change import Change
from remit.domain.connection import Connection
from remit.domain.errors import Absent, BadField, Denied, WrongState
from remit.formats import rfc6749
from remit.ports import Connector, Env

REASON_LIMIT = 500


async def begin(env: Env, call: Call, issuer: str, redirect_uri: str) -> tuple[Connection, rfc6749.Attempt]:
    """The connection, and its attempt, which a person is to answer within ten minutes."""
    config, catalogue = await _config(env, issuer)
    row = await env.store.get(Connection, issuer)
    old = row or Connection(issuer)
    old.begun("", call.now)  # refused before anybody is asked
    attempt = await _connector(env, config).invite(rfc6749.checked_redirect(redirect_uri), wanted(catalogue, issuer))
    sealed = env.sealer.seal(rfc6749.kept(attempt), old.context)
    begun = replace(old.begun(sealed, call.now), authorization_server=attempt.server.issuer, client=attempt.client.id)
    because = events.ConnectionBegun(issuer, attempt.server.issuer, attempt.client.id, attempt.scopes)
    await env.store.commit(Change(because, call).put(begun, was=row))
    return begun, attempt


async def answer(env: Env, call: Call, issuer: str, redirected: str) -> Connection:
    """Use the answer (the whole address the browser was sent back to), once; what is not one spends nothing."""
    config, _ = await _config(env, issuer)
    row = await env.store.get(Connection, issuer) or Connection(issuer)
    spent = row.answered(call.now)
    attempt = rfc6749.attempt(env.sealer.unseal(row.attempt, row.context))
    said_no: Denied | None = None
    try:
        code = rfc6749.code_of(attempt, redirected)
    except Denied as refused:
        said_no = refused
    await env.store.commit(Change(events.ConnectionAnswered(issuer), call).put(spent, was=row))
    if said_no is not None:
        raise said_no
    grant = await _connector(env, config).redeem(attempt, code)
    call = replace(call, now=env.clock())
    spent = replace(spent, version=row.version + 1)
    sealed = env.sealer.seal(rfc6749.kept(grant), spent.context)
    server, client = grant.server.issuer, grant.client.id
    made = spent.made(sealed, server, client, grant.scopes, call.now, str(call.caller))
    because = events.ConnectionMade(issuer, server, client, grant.scopes)
    await env.store.commit(Change(because, call).put(made, was=spent))
    return replace(made, version=spent.version + 1)


async def disconnect(env: Env, call: Call, issuer: str, reason: str) -> Connection:
    """Mint of this grant no more. Reconciliation ends its leases, and then the grant at its authorization server."""
    row = await env.store.get(Connection, issuer)
    if row is None:
        raise Absent(inside=f"connection {issuer}")
    ending = row.ending(call.now, reason[:REASON_LIMIT])
    await env.store.commit(Change(events.ConnectionEnding(issuer, ending.reason), call).put(ending, was=row))
    env.nudge()
    return ending


def wanted(catalogue: Catalogue, issuer: str) -> tuple[str, ...]:
    """Every scope that some purpose names for this issuer."""
    found: set[str] = set()
    for purpose in catalogue.purposes.values():
        for rule in purpose.credentials:
            scope = rule.grants.get("scope", ()) if rule.issuer == issuer else ()
            found |= {str(word) for word in scope} if isinstance(scope, list | tuple) else set()
    return tuple(sorted(found))


async def _config(env: Env, issuer: str) -> tuple[IssuerConfig, Catalogue]:
    _, force = await env.in_force()
    config: IssuerConfig | None = force.catalogue.issuers.get(issuer)
    if config is None:
        raise Absent(inside=f"issuer {issuer}")
    return config, force.catalogue


def _connector(env: Env, config: IssuerConfig) -> Connector:
    settings: Mapping[str, object] = config.settings
    found = env.issuer(config)
    if not isinstance(found, Connector):
        raise BadField("issuer", f"{config.name} is of kind {config.kind}, which nobody connects")
    if settings.get("grant") == "client_credentials":
        raise WrongState(f"{config.name} needs no connection: Remit proves itself with a key of its own.")
    return found

"""Connections of issuers to other authorization servers, and what Remit publishes of itself as their client."""

from __future__ import annotations

from starlette.responses import Response

from remit.domain.caller import Call
from remit.domain.connection import Connection
from remit.domain.errors import Absent
from remit.formats import rfc6749, rfc7591
from remit.verbs import connect as connect_verb

from . import shapes
from .house import Asked, House
from .problems import json_response


async def show(house: House, call: Call, asked: Asked) -> Response:
    """One issuer's connection."""
    row = await house.env.store.get(Connection, asked.path["issuer"])
    if row is None:
        raise Absent(inside=f"connection {asked.path['issuer']}")
    return json_response(shapes.connection(row))


async def list_connections(house: House, call: Call, asked: Asked) -> Response:
    """Every connection there ever was."""
    limit = asked.whole("limit", 100, most=500)
    rows = await house.env.store.find(Connection, {}, after=asked.query.get("after", ""), limit=limit)
    shown = [shapes.connection(row) for row in rows]
    return json_response({"items": shown, "next": rows[-1].key if rows and len(rows) == limit else ""})


async def begin(house: House, call: Call, asked: Asked) -> Response:
    """Where a person lets Remit in; the address is in this answer and nowhere else."""
    wanted = asked.json(shapes.ConnectRequest)
    row, attempt = await connect_verb.begin(house.env, call, asked.path["issuer"], wanted.redirect_uri)
    told = {"authorization_url": rfc6749.authorization_url(attempt), "state": attempt.state}
    about = {"resource": attempt.resource, "asked": list(attempt.scopes), "offered": list(attempt.offered)}
    return json_response({**shapes.connection(row), **about, **told}, 201)


async def answer(house: House, call: Call, asked: Asked) -> Response:
    """The address that the person's browser was sent back to."""
    redirected = asked.json(shapes.RedirectedRequest).redirected
    return json_response(
        shapes.connection(await connect_verb.answer(house.env, call, asked.path["issuer"], redirected))
    )


async def end(house: House, call: Call, asked: Asked) -> Response:
    """Mint of this grant no more, and take it back."""
    reason = asked.json(shapes.ReasonRequest).reason
    return json_response(
        shapes.connection(await connect_verb.disconnect(house.env, call, asked.path["issuer"], reason))
    )


async def client_document(house: House, call: Call, asked: Asked) -> Response:
    """GET /client/{name}: an OAuth Client ID Metadata Document."""
    found = rfc7591.document(house.url, asked.path["name"])
    if found is None:
        raise Absent(inside="no such client document")
    return json_response(found, headers={"Cache-Control": "public, max-age=300"})


async def client_keys(house: House, call: Call, asked: Asked) -> Response:
    """GET /.well-known/client-jwks.json: what verifies our client assertions (RFC 7523)."""
    found = {"keys": [dict(key) for key in house.env.signer.public("client")]}
    return json_response(found, headers={"Cache-Control": f"public, max-age={house.env.rotation.cached_for}"})

"""Somebody else's authorization server, of the official MCP SDK's handlers (see `tests.oauth_house`)."""

import time
from dataclasses import replace

import httpx

from remit.attest.fetch import ask
from remit.domain.connection import Connection
from remit.formats import rfc6749
from remit.issuers import Tools, build
from tests.oauth_house import AuthorizationServer, NotesServer, connected_world

from . import Rig, Unreachable, lease

BACKSTOP = 3
SETTINGS = {"resource": "https://crm.example/mcp"}
OWN = {**SETTINGS, "grant": "client_credentials", "authorization_server": "https://as.example"}
BAD_GRANTS = [
    {"scope": "read"},
    {"scope": ["a b"]},
    {"scope": ["{customer}"]},
    {"scope": ['"']},
    {"scope": [1]},
    {"scope": ["a"] * 51},
    {"audience": "x"},
]
BAD_SETTINGS = [
    ({}, "resource"),
    ({"resource": "javascript:alert(1)"}, "https"),
    ({"resource": "https://crm.example/mcp?x=1"}, "https"),
    ({"resource": "https://crm.example@evil.example/mcp"}, "https"),
    ({**SETTINGS, "grant": "password"}, "authorization_code or"),
    ({**SETTINGS, "allow_private_network": "yes"}, "true or false"),
    ({**SETTINGS, "longest_life": 5}, "60 to 86400"),
    ({**SETTINGS, "longest_life": True}, "60 to 86400"),
    ({**SETTINGS, "revoke": "no"}, "true or false"),
    ({**SETTINGS, "client_id": "x"}, "authorization_server"),
    ({**SETTINGS, "client_id": "a b", "authorization_server": "https://as.example"}, "without spaces"),
    ({**SETTINGS, "client_auth": "none"}, "client_id"),
    ({**SETTINGS, "authorization_server": "file:///etc/passwd"}, "https"),
    (OWN, "client_id"),
    ({**OWN, "client_id": "x", "client_auth": "none"}, "proof"),
    ({**OWN, "client_id": "x", "client_auth": "tls_client_auth"}, "one of"),
    ({**OWN, "client_id": "x", "client_auth": "client_secret_basic"}, "takes a secret"),
    ({**OWN, "client_id": "x", "client_auth": "private_key_jwt", "client_secret_env": "S"}, "takes no secret"),
    ({**OWN, "client_id": "x", "client_secret_file": "s"}, "absolute"),
    ({**SETTINGS, "secret": "x"}, "not a setting"),
]


async def rig(request):
    theirs = AuthorizationServer(life=BACKSTOP)
    notes = NotesServer(theirs)
    w = await connected_world(theirs, notes, clock=lambda: int(time.time() * 1000))
    _, force = await w.env.in_force()
    config = force.catalogue.issuers["crm"]
    row = await w.store.get(Connection, "crm")
    kept = rfc6749.grant(w.env.sealer.unseal(row.envelope, row.context))
    nowhere = replace(kept, server=replace(kept.server, token_endpoint="http://127.0.0.1:1/token"))

    async def lend(issuer, lease, until, use):
        return (await use(nowhere))[1]

    def alive(minted):
        said = {"Authorization": f"Bearer {minted.parts['access_token']}"}
        body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        return httpx.post(notes.resource, json=body, headers=said, trust_env=False).status_code != 401

    def close():
        notes.close()
        theirs.close()

    gone = build(config, Tools(w.store, w.env.signer, w.env.sealer, "https://r", {}, w.env.clock, ask, lend))
    issuer, wanted = w.env.issuer(config), lease(grants={"scope": ["notes.read"]})
    return Rig(issuer, wanted, alive, unreachable=Unreachable(gone), close=close)

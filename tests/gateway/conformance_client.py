"""Remit as the client of the official conformance suite's `auth` scenarios: discover, register, authorize, use the server.

The suite runs this with the server's address as its last word; what an operator would type into the catalogue comes
from the scenario's context.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

import httpx

from remit.domain.catalogue import ServerConfig
from remit.formats import rfc6749, rfc8414
from remit.formats.rfc6749 import authorization_url
from remit.gateway.mcp.upstream import connected
from remit.gateway.secrets import Injected
from tests.issuers.rigs import lease
from tests.oauth_house import REDIRECT, oauth_world


async def issuer_of(resource: str, at: str, **said: str) -> Any:
    w = await oauth_world(resource, url=at, clock=lambda: time.time_ns() // 1_000_000, **said)
    _, force = await w.env.in_force()
    return w.env.issuer(force.catalogue.issuers["crm"])


async def authorized(issuer: Any, scopes: tuple[str, ...]) -> str:
    attempt = await issuer.invite(REDIRECT, scopes)
    async with httpx.AsyncClient(trust_env=False, follow_redirects=False) as browser:
        answer = await browser.get(authorization_url(attempt))
    code = rfc6749.code_of(attempt, answer.headers["location"])
    # What `redeem` does, but that the suite's server gives no refresh token, of which Remit could mint nothing later.
    form = rfc6749.redemption(attempt, code)
    found = await issuer._client.token(attempt.server, issuer._with_secret(attempt.client), form, attempt.scopes)
    return str(found.access_token)


async def main(url: str) -> None:
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    said = {}
    if context.get("client_id") and context.get("client_secret"):
        os.environ["CONFORMANCE_SECRET"] = context["client_secret"]
        said = {"client_id": context["client_id"], "client_secret_env": "CONFORMANCE_SECRET"}
    at = os.environ.get("REMIT_URL", "https://remit.test")
    looking = await issuer_of(url, at)
    server, _, offered = await looking._client.discovered()
    if said:
        said["authorization_server"] = server.issuer
        if rfc8414.BASIC not in server.methods:
            said["client_auth"] = "client_secret_post"
    if "client-credentials" in os.environ.get("MCP_CONFORMANCE_SCENARIO", ""):
        issuer = await issuer_of(url, at, **said, grant="client_credentials")
        minted = await issuer.mint(lease(grants={"scope": list(offered)}))
        token = minted.parts["access_token"]
    else:
        token = await authorized(await issuer_of(url, at, **said), offered)
    held = Injected({"Authorization": token})
    async with connected(ServerConfig("crm", url=url), held=held) as upstream:
        for offered_tool in await upstream.tools():
            await upstream.client.session.call_tool(offered_tool["name"], {})


if __name__ == "__main__":
    asyncio.run(main(sys.argv[-1]))

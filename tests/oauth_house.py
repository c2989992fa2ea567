"""Somebody else's OAuth: an MCP server and its authorization server, both of the official SDK's own handlers, on loopback.

What the SDK leaves to whoever runs one is here, kept small: who may come in (everybody who asks), and the tokens, which
are opaque, for one resource, rotated at every refresh; a refresh token used twice ends its grant (RFC 9700 section 4.14).
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import threading
import time
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode

import httpx
import uvicorn
from mcp.server import MCPServer
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken, AuthorizationCode, RefreshToken, TokenError, TokenVerifier
from mcp.server.auth.routes import build_metadata, create_auth_routes
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions
from mcp.shared.auth import OAuthToken
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from remit.domain.caller import CallerKind
from remit.formats.rfc6749 import authorization_url
from remit.verbs import connect
from remit.verbs.apply import apply

REDIRECT = "http://127.0.0.1:8400/callback"
SCOPES = ["notes.read", "notes.write", "admin"]


class Listening:
    """An ASGI application on a free port, in a thread; `said` are the requests it got: (method, path, headers, body)."""

    def __init__(self, make):
        self.said, self._port, self._app_inside = [], 0, None
        self._make = make
        self.start()

    def start(self):
        """At the address it had before, if it had one: what it knows outlives a stop."""
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", self._port))
        self._port = listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._app_inside = self._app_inside or self._make(self.url)
        config = uvicorn.Config(self._app, log_level="error", interface="asgi3", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listening],), daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.005)

    async def _app(self, scope, receive, send):
        if scope["type"] == "http":
            body = []

            async def heard():
                message = await receive()
                body.append(message.get("body", b""))
                return message

            headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
            entry = (scope["method"], scope["path"], headers, body)
            self.said.append(entry)
            await self._app_inside(scope, heard, send)
            return
        await self._app_inside(scope, receive, send)

    def close(self):
        self._server.should_exit = True
        self._thread.join(10)


@dataclass
class Accounts:
    """The SDK's `OAuthAuthorizationServerProvider`, in memory."""

    life: int = 300
    clients: dict = field(default_factory=dict)
    codes: dict = field(default_factory=dict)
    access: dict = field(default_factory=dict)
    refresh: dict = field(default_factory=dict)
    grants: dict = field(default_factory=dict)  # any refresh token there ever was → its grant
    ended: set = field(default_factory=set)
    issuer: str = ""
    rotates: bool = True
    narrows: bool = True
    refuses: str = ""

    async def get_client(self, client_id):
        return self.clients.get(client_id)

    async def register_client(self, client):
        self.clients[client.client_id] = client

    async def authorize(self, client, params):
        if self.refuses:
            return (
                f"{params.redirect_uri}?{urlencode({'error': self.refuses, 'state': params.state, 'iss': self.issuer})}"
            )
        code = secrets.token_urlsafe(32)
        self.codes[code] = AuthorizationCode(
            code=code,
            client_id=client.client_id,
            scopes=params.scopes or [],
            expires_at=time.time() + 60,
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
            subject="dana",
        )
        return f"{params.redirect_uri}?{urlencode({'code': code, 'state': params.state, 'iss': self.issuer})}"

    async def load_authorization_code(self, client, code):
        return self.codes.get(code)

    async def exchange_authorization_code(self, client, code):
        if self.codes.pop(code.code, None) is None:
            raise TokenError("invalid_grant")
        return self._tokens(client, code.scopes, code.scopes, code.resource, secrets.token_hex(8))

    async def load_refresh_token(self, client, token):
        found = self.refresh.get(token)
        if found is None and token in self.grants:  # used before: somebody has a copy
            self.end(self.grants[token])
        return found

    async def exchange_refresh_token(self, client, token, scopes):
        grant = self.grants[token.token]
        if grant in self.ended or self.refresh.get(token.token) is None:
            raise TokenError("invalid_grant")
        if self.rotates:
            del self.refresh[token.token]
        given = scopes if self.narrows else token.scopes
        return self._tokens(client, given, token.scopes, token.resource, grant, "" if self.rotates else token.token)

    def _tokens(self, client, scopes, all_scopes, resource, grant, old=""):
        access, fresh = f"at-{secrets.token_urlsafe(24)}", old or f"rt-{secrets.token_urlsafe(24)}"
        self.access[access] = AccessToken(
            token=access,
            client_id=client.client_id,
            scopes=scopes,
            expires_at=int(time.time()) + self.life,
            resource=resource,
            subject="dana",
            claims={"grant": grant},
        )
        self.refresh[fresh] = RefreshToken(
            token=fresh, client_id=client.client_id, scopes=all_scopes, resource=resource, subject="dana"
        )
        self.grants[fresh] = grant
        return OAuthToken(
            access_token=access,
            expires_in=self.life,
            scope=" ".join(scopes) or None,
            refresh_token=None if old else fresh,
        )

    async def load_access_token(self, token):
        found = self.access.get(token)
        return found if found and found.expires_at > time.time() else None

    async def revoke_token(self, token):
        if isinstance(token, RefreshToken):
            self.end(self.grants[token.token])
        else:
            self.access.pop(token.token, None)

    def end(self, grant):
        """No token of it is good any more."""
        self.ended.add(grant)
        self.refresh = {name: one for name, one in self.refresh.items() if self.grants[name] != grant}
        self.access = {name: one for name, one in self.access.items() if one.claims["grant"] != grant}

    def live(self):
        return [token for token, one in self.access.items() if one.expires_at > time.time()]


class AuthorizationServer(Listening):
    """`accounts` is what it knows; `metadata` what it says of itself, which a test may make hostile."""

    def __init__(self, **more):
        self.accounts = Accounts(**more)
        super().__init__(self._made)
        self.accounts.issuer = self.url

    def _made(self, url):
        registration = ClientRegistrationOptions(enabled=True, valid_scopes=SCOPES)
        revocation = RevocationOptions(enabled=True)
        self.metadata = {
            **build_metadata(AnyHttpUrl(url), None, registration, revocation).model_dump(
                mode="json", exclude_none=True
            ),
            "issuer": url,
            "authorization_response_iss_parameter_supported": True,
        }
        routes = create_auth_routes(self.accounts, AnyHttpUrl(url), None, registration, revocation)

        async def about(request):
            return JSONResponse(self.metadata)

        return Starlette(routes=[Route("/.well-known/oauth-authorization-server", about), *routes])

    def agreed(self, address):
        """What a person's browser does: opens the address, agrees, is sent back; returns where to."""
        answer = httpx.get(address, follow_redirects=False, trust_env=False)
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]


class Verifier(TokenVerifier):
    def __init__(self, accounts):
        self._accounts = accounts

    async def verify_token(self, token):
        return await self._accounts.load_access_token(token)


class NotesServer(Listening):
    """A protected MCP server: the SDK's own, which checks that tokens are for it."""

    demand = ""

    def __init__(self, server: AuthorizationServer, scopes=("notes.read",), verifier=None):
        self._scopes, self._of = list(scopes), server
        self._verifier = verifier or (lambda resource: Verifier(server.accounts))
        super().__init__(self._made)
        self.resource = f"{self.url}/mcp"

    def _made(self, url):
        settings = AuthSettings(
            issuer_url=self._of.url,
            resource_server_url=f"{url}/mcp",
            required_scopes=self._scopes,
            validate_token_resource=True,
        )
        server = MCPServer("notes", auth=settings, token_verifier=self._verifier(f"{url}/mcp"))

        @server.tool()
        def whose() -> str:
            """Whose account this is, and what may be done with it."""
            token = get_access_token()
            return f"{token.subject} {' '.join(token.scopes)}"

        inside = server.streamable_http_app(host="127.0.0.1")

        async def demanding(scope, receive, send):
            """`demand`: a scope without which no call is answered (RFC 6750 section 3.1)."""
            if (
                scope["type"] != "http"
                or not self.demand
                or b"tools/call" not in dict(scope["headers"]).get(b"mcp-method", b"")
            ):
                await inside(scope, receive, send)
                return
            said = f'Bearer error="insufficient_scope", scope="{self.demand}"'
            await JSONResponse({"error": "insufficient_scope"}, 403, {"WWW-Authenticate": said})(scope, receive, send)

        return demanding

    def tokens(self):
        """Every Authorization header that came to the tools."""
        return {headers["authorization"] for _, path, headers, _ in self.said if "authorization" in headers}


async def oauth_world(
    resource, store=None, scope=("notes.read",), others="", clock=None, url="https://remit.test", **settings
):
    """`tests.world` with a real issuer `crm` for this resource, and a purpose `notes` that names its scopes."""
    from remit.attest.fetch import ask
    from remit.issuers import Tools, build
    from remit.verbs.renew import renew
    from tests.world import EVER, changed, world

    said = {"resource": resource, "allow_private_network": True, **settings}
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in said.items())
    files = changed(policies__default_dot_cedar=EVER)
    files["remit.toml"] += f'[issuers.crm]\nkind = "oauth"\n{lines}{others}'
    files["purposes/notes.toml"] = (
        'owner = "olga"\nagents = ["bot"]\nmax_duration = "15m"\nmax_calls = 5\n[[credentials]]\nname = "crm"\n'
        f'issuer = "crm"\nttl = "10m"\ngrants = {{ scope = {json.dumps(list(scope))} }}\n'
    )
    w = await world(store, now=int(time.time() * 1000))
    made = {}

    async def lend(issuer, lease, until, use):
        return await renew(w.env, issuer, lease, until, use)

    def issuer(config):
        if config.kind != "oauth":
            return w.issuer
        tools = Tools(w.store, w.env.signer, w.env.sealer, w.env.issuer_url, os.environ, w.env.clock, ask, lend)
        return made.setdefault(repr(config), build(config, tools))

    w.env = replace(w.env, issuer=issuer, clock=clock or w.clock, issuer_url=url)
    await apply(w.env, w.call(CallerKind.OPERATOR, "op"), files)
    w.files = files
    return w


async def connected_world(theirs, notes, **more):
    """The same, connected."""
    w = await oauth_world(notes.resource, **more)
    op = w.call(CallerKind.OPERATOR, "op")
    _, attempt = await connect.begin(w.env, op, "crm", REDIRECT)
    await connect.answer(w.env, op, "crm", await asyncio.to_thread(theirs.agreed, authorization_url(attempt)))
    return w

"""Servers that lie to whoever discovers, registers, refreshes and revokes: metadata, redirects, tokens, scopes."""

from __future__ import annotations

import asyncio
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest

from remit.attest.fetch import ask
from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadCatalogue, BadField, IssuerUnavailable, NotRecallable, WrongState
from remit.formats import rfc6749, rfc7591, rfc8414, rfc9728
from remit.formats.catalogue import parse
from remit.formats.rfc6749 import authorization_url
from remit.issuers import Tools, build
from remit.issuers.keyring import Keyring, RootSealer
from remit.store.memory import MemoryStore
from tests.oauth_house import REDIRECT, Listening

from .rigs import lease

STRANGE = (
    "javascript:alert(1)",
    "file:///etc/passwd",
    "data:text/html,x",
    "https://as.example/$(touch${IFS}pwned)",
    "https://as.example/`id`",
    "https://as.example/a b",
    'https://as.example/"x"',
    "https://as.example/;id",
    "https://user:pw@as.example/",
    "https://as.example\\@evil.example/",
    "https://as.example/#x",
    "--help",
    "-oProxyCommand=id",
    "http://as.example/",
    "ftp://as.example/",
    "//as.example/",
    "https://AS.example:99999/",
    "https://0x7f.1/",
    "https:///x",
    "",
    7,
    None,
    ["https://as.example"],
)


class Liar(Listening):
    """Says what it is told to: `says[path]` is a body, or (status, headers, body), or a function of (headers, form)."""

    def __init__(self):
        self.says = {}
        super().__init__(lambda url: self._answer)
        self.resource = f"{self.url}/mcp"
        self.honest()

    def honest(self):
        """A resource and its authorization server, both here, as they should be."""
        at = f"{self.url}/.well-known/oauth-protected-resource/mcp"
        self.says = {
            "/mcp": (401, {"WWW-Authenticate": f'Bearer realm="x", resource_metadata="{at}", scope="a b"'}, b""),
            "/.well-known/oauth-protected-resource/mcp": {
                "resource": self.resource,
                "authorization_servers": [self.url],
            },
            "/.well-known/oauth-authorization-server": self.metadata(),
            "/token": {
                "access_token": "at-1",
                "token_type": "Bearer",
                "expires_in": 60,
                "scope": "notes.read",
                "refresh_token": "rt-1",
            },
            "/revoke": (200, {}, b""),
        }

    def metadata(self, **more):
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "revocation_endpoint": f"{self.url}/revoke",
            "registration_endpoint": f"{self.url}/register",
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            **more,
        }

    async def _answer(self, scope, receive, send):
        if scope["type"] == "lifespan":
            for word in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{word}.complete"})
            return
        body = (await receive()).get("body", b"")
        said = self.says.get(scope["path"], (404, {}, b""))
        if callable(said):
            said = said(dict(scope["headers"]), {k: v[0] for k, v in parse_qs(body.decode()).items()})
        status, headers, body = said if isinstance(said, tuple) else (200, {}, said)
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        found = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": found})
        slow = getattr(self, "slow", 0)
        if slow:
            await send({"type": "http.response.body", "body": b"{", "more_body": True})
            await asyncio.sleep(slow)
        await send({"type": "http.response.body", "body": body})

    def asked(self):
        return [path for _, path, _, _ in self.said]


@pytest.fixture(scope="module")
def liars():
    one, two = Liar(), Liar()
    yield one, two
    one.close()
    two.close()


@pytest.fixture
def liar(liars):
    for each in liars:
        each.honest()
        each.said.clear()
        each.slow = 0
    return liars[0]


class Made:
    """The issuer alone, over real signing keys and a grant lent from memory."""

    def __init__(self, liar, url="https://remit.test", **settings):
        known = {"client_id": "remit", "authorization_server": liar.url, "allow_private_network": True, **settings}
        said = {"resource": liar.resource, **{name: value for name, value in known.items() if value != ""}}
        self.sealer, self.grant = RootSealer(b"r" * 32), None
        self.signer = signer()
        clock = lambda: int(time.time() * 1000)  # noqa: E731
        tools = Tools(None, self.signer, self.sealer, url, os.environ, clock, ask, self._lend)
        self.issuer = build(IssuerConfig("crm", "oauth", said), tools)

    async def _lend(self, issuer, lease_id, until, use):
        self.grant, found = await use(self.grant)
        return found

    async def begin(self):
        return await self.issuer.invite(REDIRECT, ("notes.read",))

    async def connect(self):
        attempt = await self.begin()
        self.grant = await self.issuer.redeem(attempt, "c")
        return self

    async def mint(self, scope=("notes.read",), **more):
        return await self.issuer.mint(replace(lease(grants={"scope": list(scope)}), **more))


@cache
def signer():
    """Made in a thread: who asks first may be in a loop of its own."""

    async def opened():
        store = MemoryStore()
        return await Keyring.open(store, RootSealer(b"r" * 32), 1)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, opened()).result()


def begin(liar, **settings):
    """What a connection's beginning comes to, with a client that is known (so that nobody registers)."""
    return asyncio.run(Made(liar, **settings).begin())


async def connected(liar, **settings):
    made = await Made(liar, **settings).connect()
    liar.said.clear()
    return made


def test_an_honest_one_is_connected_to(liar):
    attempt = begin(liar)
    assert attempt.resource == liar.resource and attempt.offered == ("a", "b") and attempt.client.id == "remit"
    query = parse_qs(urlsplit(authorization_url(attempt)).query)
    assert query["code_challenge_method"] == ["S256"] and query["resource"] == [liar.resource]
    assert len(query["state"][0]) >= 43 and attempt.verifier not in authorization_url(attempt)


@pytest.mark.parametrize("strange", STRANGE, ids=str)
def test_strange_addresses_are_neither_asked_nor_shown(liar, strange, tmp_path, monkeypatch):
    """CVE-2025-6514: an address with a command in it. No process is ever started, and it is refused before it is shown."""
    started = []
    monkeypatch.setattr("subprocess.Popen.__init__", lambda *a, **k: started.append(a))
    monkeypatch.setattr("os.system", started.append)
    for name in ("authorization_endpoint", "token_endpoint", "revocation_endpoint", "registration_endpoint"):
        if name != "authorization_endpoint" and strange in ("", None):
            continue
        liar.says["/.well-known/oauth-authorization-server"] = liar.metadata(**{name: strange})
        if strange is None:
            continue
        with pytest.raises(BadField):
            begin(liar)
    liar.honest()
    liar.says["/.well-known/oauth-protected-resource/mcp"]["authorization_servers"] = [strange]
    with pytest.raises(BadField):
        begin(liar, authorization_server="", client_id="")
    if isinstance(strange, str) and strange and '"' not in strange:
        liar.says["/mcp"] = (401, {"WWW-Authenticate": f'Bearer resource_metadata="{strange}"'}, b"")
        with pytest.raises((BadField, IssuerUnavailable)):
            begin(liar)
    assert not started


@pytest.mark.parametrize(
    ("pointed", "resource", "good"),
    [
        ("/.well-known/oauth-protected-resource/mcp", "{url}/mcp", True),
        ("/.well-known/oauth-protected-resource", "{url}", True),  # who controls the root speaks for the host
        ("/.well-known/oauth-protected-resource", "{url}/", True),
        ("/.well-known/oauth-protected-resource/mcp", "{url}", False),
        ("/.well-known/oauth-protected-resource/mcp", "{url}/mcp/", False),
        ("/.well-known/oauth-protected-resource/mcp", "https://other.example/mcp", False),
        ("/mcp/metadata", "{url}", False),  # a tenant that would like its neighbours' tokens
        ("/mcp/metadata", "{url}/mcp", True),
        ("/mcp/metadata", "{url}/other", False),
        ("/mcp/metadata", None, False),
        ("/mcp/metadata", ["{url}/mcp"], False),
    ],
)
def test_metadata_of_another_resource_is_not_used(liar, pointed, resource, good):
    said = {"resource": resource.format(url=liar.url) if isinstance(resource, str) else resource}
    liar.says[pointed] = {**said, "authorization_servers": [liar.url]}
    liar.says["/mcp"] = (401, {"WWW-Authenticate": f'bearer resource_metadata="{liar.url}{pointed}"'}, b"")
    if good:
        assert begin(liar).resource == said["resource"]
        return
    with pytest.raises(BadField, match="another resource"):
        begin(liar)
    assert "/.well-known/oauth-authorization-server" not in liar.asked()


def test_without_a_challenge_the_well_known_addresses_are_looked_at(liar):
    liar.says["/mcp"] = (401, {}, b"")
    assert begin(liar).resource == liar.resource
    whole = liar.says.pop("/.well-known/oauth-protected-resource/mcp")
    with pytest.raises(BadField, match="does not say"):
        begin(liar)
    liar.says["/.well-known/oauth-protected-resource"] = {**whole, "resource": liar.url}
    assert begin(liar).resource == liar.url
    liar.says["/.well-known/openid-configuration"] = liar.says.pop("/.well-known/oauth-authorization-server")
    assert begin(liar).server.issuer == liar.url
    del liar.says["/.well-known/openid-configuration"]
    with pytest.raises(BadField, match="no metadata"):
        begin(liar)
    liar.says["/mcp"] = {"jsonrpc": "2.0"}
    with pytest.raises(BadField, match="asks for no token"):
        begin(liar)


def test_another_issuers_metadata_is_not_used(liar, liars):
    for issuer in (liars[1].url, liar.url + "/", liar.url.upper(), None, [liar.url]):
        liar.says["/.well-known/oauth-authorization-server"] = liar.metadata(issuer=issuer)
        with pytest.raises(BadField, match="names another issuer"):
            begin(liar)


@pytest.mark.parametrize("methods", [None, [], ["plain"], ["s256"], "S256"])
def test_a_server_without_pkce_is_refused(liar, methods):
    said = liar.metadata(code_challenge_methods_supported=methods)
    liar.says["/.well-known/oauth-authorization-server"] = {k: v for k, v in said.items() if v is not None}
    with pytest.raises(BadField, match="code_challenge_methods_supported"):
        begin(liar)


def test_a_pinned_server_that_the_resource_does_not_name_is_not_asked(liar, liars):
    liar.says["/.well-known/oauth-protected-resource/mcp"]["authorization_servers"] = [liars[1].url]
    with pytest.raises(BadField, match="does not name"):
        begin(liar)
    assert not liars[1].said


@pytest.mark.parametrize(
    "body",
    [b"[]", b"{", b'{"a":1,"a":2}', b"\xff", b"null", b"1" * 300_000, b"[" * 1000 + b"]" * 1000],
    ids=lambda b: str(b[:12]),
)
def test_broken_and_giant_documents_cost_little(liar, body):
    for path in ("/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-authorization-server"):
        liar.honest()
        liar.says[path] = (200, {}, body)
        started = time.monotonic()
        with pytest.raises(Exception) as refused:
            begin(liar)
        assert type(refused.value).__module__ == "remit.domain.errors" and time.monotonic() - started < 3


def test_slow_documents_cost_little(liar, monkeypatch):
    monkeypatch.setattr("remit.attest.fetch.TIME_LIMIT", 0.3)
    liar.slow = 2
    started = time.monotonic()
    with pytest.raises(IssuerUnavailable):
        begin(liar)
    assert time.monotonic() - started < 2


def test_inside_addresses_are_not_asked_unless_the_catalogue_says_so(liar):
    with pytest.raises(IssuerUnavailable, match="could not be asked"):
        begin(liar, allow_private_network=False)
    assert not liar.said
    for inside in ("127.0.0.1:1", "10.0.0.1", "169.254.169.254", "[::1]:1", "localhost:1"):
        alone = SimpleNamespace(url="https://as.example", resource=f"https://{inside}/mcp")
        with pytest.raises(IssuerUnavailable) as refused:
            begin(alone, allow_private_network=False)
        assert "address" in refused.value.inside, refused.value.inside


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed_with_a_code_or_a_refresh_token(liar, liars, status):
    """Captured at the other origin: it is asked nothing."""

    async def main():
        made = Made(liar)
        attempt, honest = await made.begin(), liar.says["/token"]
        liar.says["/token"] = (status, {"Location": f"{liars[1].url}/token"}, b"")
        with pytest.raises(IssuerUnavailable, match=f"status {status}"):
            await made.issuer.redeem(attempt, "c")
        liar.says["/token"] = honest
        await made.connect()
        liar.says["/token"] = (status, {"Location": f"{liars[1].url}/token"}, b"")
        with pytest.raises(IssuerUnavailable, match=f"status {status}"):
            await made.mint()

    asyncio.run(main())
    assert not liars[1].said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scope": "notes.read admin"}, "more than was asked for"),
        ({"scope": "other"}, "more than was asked for"),
        ({"expires_in": None}, "nobody knows how many"),
        ({"expires_in": 0}, "nobody knows how many"),
        ({"expires_in": 1}, "last 1 seconds"),
        ({"expires_in": 86_400}, "last 86400 seconds"),
        ({"expires_in": "60"}, "expires_in"),
        ({"expires_in": True}, "expires_in"),
        ({"expires_in": -5}, "expires_in"),
        ({"token_type": "mac"}, "not Bearer"),
        ({"token_type": None}, "not Bearer"),
        ({"access_token": "a\r\nX-Injected: 1"}, "characters that no token has"),
        ({"access_token": "a b"}, "characters that no token has"),
        ({"access_token": ""}, "characters that no token has"),
        ({"access_token": ["x"]}, "characters that no token has"),
        ({"access_token": "x" * 9000}, "characters that no token has"),
        ({"refresh_token": "a\nb"}, "refresh_token"),
        ({"refresh_token": 5}, "refresh_token"),
        ({"scope": 'a"b'}, "no scope"),
    ],
    ids=str,
)
def test_a_token_that_is_not_as_it_should_be_is_not_given_and_is_revoked(liar, change, said):
    async def main():
        w = await connected(liar)
        answer = {**liar.says["/token"], **change}
        liar.says["/token"] = {name: value for name, value in answer.items() if value is not None}
        with pytest.raises(IssuerUnavailable, match=said):
            await w.mint()
        usable = isinstance(answer.get("access_token"), str) and "scope" in change and '"' not in change["scope"]
        assert ("/revoke" in liar.asked()) >= usable

    asyncio.run(main())


def test_a_grant_that_cannot_be_used_later_is_not_kept(liar):
    async def main():
        made = Made(liar)
        attempt = await made.begin()
        del liar.says["/token"]["refresh_token"]
        with pytest.raises(BadField, match="gave none"):
            await made.issuer.redeem(attempt, "c")
        liar.says["/token"] = (400, {}, {"error": "invalid_client"})
        with pytest.raises(IssuerUnavailable, match="invalid_client"):
            await made.issuer.redeem(attempt, "c")
        liar.honest()
        liar.says["/.well-known/oauth-authorization-server"] = liar.metadata(scopes_supported=["offline_access"])
        attempt = await made.begin()
        assert attempt.scopes == ("notes.read", "offline_access")
        liar.says["/token"] = {**liar.says["/token"], "scope": "notes.read notes.write"}
        made.grant = await made.issuer.redeem(attempt, "c")
        liar.says["/token"] = {**liar.says["/token"], "scope": "notes.read"}
        with pytest.raises(IssuerUnavailable, match="lacks notes"):
            await made.mint(("notes.read", "notes.write"))
        made.grant = replace(made.grant, scopes=())
        await made.mint()

    asyncio.run(main())


def test_a_purpose_that_names_more_than_the_grant_is_told_and_nobody_asks_for_more(liar):
    async def main():
        w = await connected(liar)
        with pytest.raises(IssuerUnavailable, match=r"lacks admin\.") as refused:
            await w.mint(("admin", "notes.read"))
        assert "remit issuer disconnect crm" in refused.value.next_step and not liar.said
        liar.says["/token"] = (400, {}, {"error": "invalid_scope"})
        with pytest.raises(IssuerUnavailable, match="invalid_scope"):
            await w.mint()
        liar.says["/token"] = (500, {}, {"error": "<b>at-1</b>"})
        with pytest.raises(IssuerUnavailable, match="status 500"):
            await w.mint()

    asyncio.run(main())


def test_a_refresh_goes_to_the_server_that_gave_the_grant_whatever_the_resource_says_now(liar, liars):
    """A resource that is taken over names another server; the refresh token never goes there."""

    async def main():
        w = await connected(liar)
        liar.says["/.well-known/oauth-protected-resource/mcp"]["authorization_servers"] = [liars[1].url]
        liar.says["/.well-known/oauth-authorization-server"] = liar.metadata(token_endpoint=f"{liars[1].url}/token")
        await w.mint()

    asyncio.run(main())
    assert liar.asked() == ["/token"] and not liars[1].said


def test_what_the_server_cannot_take_back_lives_until_its_end_in_sight(liar):
    async def main():
        w = await connected(liar)
        issuer, wanted = w.issuer, lease(grants={"scope": ["notes.read"]})
        now = int(time.time() * 1000)
        # A self-contained token: revoked, and yet good for whoever reads it alone.
        liar.says["/token"] = {**liar.says["/token"], "access_token": "eyJh.eyJz.c2ln"}
        minted = await issuer.mint(wanted)
        with pytest.raises(NotRecallable) as lives_on:
            await issuer.kill(wanted.known_as(minted.reference))
        assert "/revoke" in liar.asked() and now + 60_000 <= lives_on.value.until <= now + 75_000
        # Minted, and we crashed before we knew what: nobody has it, and it may live as long as any.
        with pytest.raises(NotRecallable) as lives_on:
            await issuer.kill(replace(wanted, handle="remit_crashed"))
        assert lives_on.value.until == wanted.mint_until + 3_600_000
        await issuer.kill(replace(wanted, handle="remit_crashed", mint_until=now - 3_600_001))
        # What certainly never was is dead at once.
        liar.says["/token"] = (400, {}, {"error": "invalid_request"})
        with pytest.raises(IssuerUnavailable):
            await issuer.mint(replace(wanted, handle="remit_refused"))
        await issuer.kill(replace(wanted, handle="remit_refused"))
        liar.says["/token"] = (502, {}, b"<html>bad gateway")
        with pytest.raises(IssuerUnavailable):
            await issuer.mint(replace(wanted, handle="remit_unknown"))
        with pytest.raises(NotRecallable):
            await issuer.kill(replace(wanted, handle="remit_unknown"))
        with pytest.raises(WrongState, match="too late"):
            await issuer.mint(replace(wanted, handle="remit_late", mint_until=now + 100))
        await issuer.kill(replace(wanted, handle="remit_late"))
        liar.says["/revoke"] = (503, {}, b"")
        with pytest.raises(IssuerUnavailable, match="did not confirm"):
            await issuer.kill(wanted.known_as(minted.reference))
        liar.says["/revoke"] = (400, {}, {"error": "unsupported_token_type"})
        with pytest.raises(NotRecallable):
            await issuer.kill(wanted.known_as(minted.reference))
        liar.honest()
        liar.said.clear()
        issuer._said = replace(issuer._said, revoke=False)
        with pytest.raises(NotRecallable):
            await issuer.kill(wanted.known_as(minted.reference))
        assert "/revoke" not in liar.asked()

    asyncio.run(main())


def test_a_server_that_takes_all_back_with_one_token_is_found_out_when_it_is_connected(liar):
    """RFC 7009 section 2.1 lets it; npm's oidc-provider does. Otherwise the first task to end would end the grant."""
    honest = liar.says["/token"]
    liar.says["/token"] = lambda headers, form: (
        (400, {}, {"error": "invalid_grant"}) if "/revoke" in liar.asked() else honest
    )

    async def main():
        made = Made(liar)
        with pytest.raises(BadField, match="whole grant") as refused:
            await made.issuer.redeem(await made.begin(), "c")
        assert "revoke = false" in refused.value.next_step
        liar.said.clear()
        liar.says["/revoke"] = (400, {}, {"error": "invalid_request"})
        with pytest.raises(BadField, match="did not take back") as refused:
            await made.issuer.redeem(await made.begin(), "c")
        assert "revoke = false" in refused.value.next_step
        liar.honest()
        liar.says["/token"] = lambda headers, form: (
            (400, {}, {"error": "invalid_target"}) if "/revoke" in liar.asked() else honest
        )
        liar.said.clear()
        with pytest.raises(BadField, match="does not refresh: invalid_target"):
            await made.issuer.redeem(await made.begin(), "c")
        liar.said.clear()
        kept = await Made(liar, revoke=False).connect()
        assert (await kept.mint()).parts and "/revoke" not in liar.asked()

    asyncio.run(main())


# --- who we are ---


def test_as_published_at_an_https_address_and_proved_by_a_key(liar):
    """CIMD, and RFC 7523 as a third party's library verifies it with the keys that Remit publishes."""
    seen = []

    def token(headers, form):
        seen.append(form)
        return liar_token

    liar_token = liar.says["/token"]
    liar.says["/token"] = token
    liar.says["/.well-known/oauth-authorization-server"] = liar.metadata(
        client_id_metadata_document_supported=True,
        token_endpoint_auth_methods_supported=["none", "private_key_jwt"],
        token_endpoint_auth_signing_alg_values_supported=["ES256"],
    )

    async def main():
        unknown = {"client_id": "", "authorization_server": ""}
        made = Made(liar, **unknown)
        attempt = await made.begin()
        assert attempt.client.id == "https://remit.test/client/key" and "/register" not in liar.asked()
        await made.issuer.redeem(attempt, "c")
        form, published = seen[0], rfc7591.document("https://remit.test", "key")
        assert published["client_id"] == form["client_id"] and published["jwks_uri"].startswith("https://remit.test/")
        assert "http://127.0.0.1/callback" in published["redirect_uris"]
        kid = jwt.get_unverified_header(form["client_assertion"])["kid"]
        key = next(jwt.PyJWK(one) for one in signer().public("client") if one["kid"] == kid)
        wanted = {"require": ["iss", "sub", "aud", "exp", "iat", "jti"]}
        claims = jwt.decode(form["client_assertion"], key.key, ["ES256"], audience=liar.url, options=wanted)
        assert claims["iss"] == claims["sub"] == form["client_id"] and claims["exp"] - claims["iat"] <= 60
        others = {one["kid"] for use in ("token", "federation", "svid") for one in signer().public(use)}
        assert kid not in others
        liar.says["/.well-known/oauth-authorization-server"] = liar.metadata(client_id_metadata_document_supported=True)
        attempt = await Made(liar, **unknown).begin()
        assert attempt.client.id == "https://remit.test/client/public" and attempt.client.method == "none"
        assert rfc7591.document("https://remit.test", "other") is None

    asyncio.run(main())


def test_without_an_https_address_it_registers_and_a_strange_registration_is_refused(liar):
    liar.says["/.well-known/oauth-authorization-server"] = liar.metadata(client_id_metadata_document_supported=True)

    async def main(register, worked):
        liar.says["/register"] = register
        begun = Made(liar, "http://127.0.0.1:7450", client_id="", authorization_server="").begin()
        if worked:
            assert (await begun).client == worked
            return
        with pytest.raises(BadField):
            await begun

    for register, worked in (
        ((201, {}, {"client_id": "c1"}), rfc6749.Client("c1", "none")),
        ((201, {}, {"client_id": "c1", "client_secret": "s"}), rfc6749.Client("c1", "client_secret_basic", "s")),
        (
            (201, {}, {"client_id": "c1", "client_secret": "s", "token_endpoint_auth_method": "none"}),
            rfc6749.Client("c1", "none"),
        ),
        ((400, {}, {"error": "x"}), None),
        ((201, {}, {"client_id": ""}), None),
        ((201, {}, {"client_id": "a\nb"}), None),
        ((201, {}, ["c1"]), None),
        ((201, {}, {"client_id": "c", "token_endpoint_auth_method": "private_key_jwt"}), None),
        ((201, {}, {"client_id": "c", "token_endpoint_auth_method": "client_secret_post"}), None),
        ((201, {}, {"client_id": "c", "client_secret": "a\nb"}), None),
    ):
        asyncio.run(main(register, worked))
    said = liar.metadata()
    del said["registration_endpoint"]
    liar.says["/.well-known/oauth-authorization-server"] = said
    with pytest.raises(BadField, match="no unknown client") as refused:
        begin(liar, client_id="", authorization_server="")
    assert "client_id" in refused.value.next_step


def test_a_secret_of_the_catalogue_goes_to_its_own_server_and_is_read_when_used(liar, tmp_path, monkeypatch):
    seen = []
    liar_token = liar.says["/token"]
    liar.says["/token"] = lambda headers, form: seen.append((headers, form)) or liar_token
    path = tmp_path / "secret"
    path.write_text("s3cret/1\n")

    async def main():
        w = await connected(liar, client_secret_file=str(path))
        path.write_text("s3cret/2\n")
        await w.mint()
        assert seen[0][0][b"authorization"] != seen[-1][0][b"authorization"] and "client_secret" not in seen[-1][1]
        path.unlink()
        with pytest.raises(IssuerUnavailable, match="no client secret"):
            await w.mint()
        monkeypatch.setenv("CRM_SECRET", "s3")
        posted = await connected(liar, client_secret_env="CRM_SECRET", client_auth="client_secret_post")
        await posted.mint()
        assert seen[-1][1]["client_secret"] == "s3" and b"authorization" not in seen[-1][0]
        assert b"s3" not in rfc6749.kept(posted.grant)

    asyncio.run(main())


def test_in_its_own_name_it_signs_for_that_server_alone(liar, liars):
    seen = []
    liar.says["/token"] = lambda headers, form: (
        seen.append(form)
        or {
            "access_token": "at-own",
            "token_type": "bearer",
            "expires_in": 60,
        }
    )
    liar.says["/.well-known/oauth-authorization-server"] = liar.metadata(
        token_endpoint_auth_methods_supported=["private_key_jwt"], code_challenge_methods_supported=[]
    )
    own = {"grant": "client_credentials", "client_id": "remit", "authorization_server": liar.url}

    async def main():
        w = Made(liar, **own)
        minted = await w.mint()
        assert minted.parts == {"access_token": "at-own"}
        form = seen[0]
        assert form["grant_type"] == "client_credentials" and form["resource"] == liar.resource
        assert form["scope"] == "notes.read" and "client_secret" not in form
        key = jwt.PyJWK(signer().public("client")[0])
        assert jwt.decode(form["client_assertion"], key.key, ["ES256"], audience=liar.url)["sub"] == "remit"
        liar.says["/.well-known/oauth-protected-resource/mcp"]["authorization_servers"] = [liars[1].url]
        with pytest.raises(IssuerUnavailable, match="does not name"):
            await w.mint()
        assert not liars[1].said
        liar.honest()
        with pytest.raises(IssuerUnavailable, match="takes no private_key_jwt"):
            await w.mint()

    asyncio.run(main())


# --- formats ---


def test_challenges_are_read_as_rfc_9728_writes_them():
    said = 'Digest realm="a", Bearer error="invalid_token", resource_metadata="https://x/.well-known/y", scope="a b"'
    assert rfc9728.challenge(said) == {
        "error": "invalid_token", "resource_metadata": "https://x/.well-known/y", "scope": "a b",
    }  # fmt: skip
    assert rfc9728.challenge('Bearer scope=a, scope="b"') == {"scope": "a"}
    assert rfc9728.challenge("Basic x") == rfc9728.challenge("") == {}
    assert rfc9728.challenge("Bearer " + "a" * 100_000) == {}


def test_well_known_addresses_are_where_the_rfcs_put_them():
    assert rfc9728.candidates("https://h.example/a/mcp") == (
        "https://h.example/.well-known/oauth-protected-resource/a/mcp",
        "https://h.example/.well-known/oauth-protected-resource",
    )
    assert rfc9728.candidates("https://h.example/") == ("https://h.example/.well-known/oauth-protected-resource",)
    assert rfc8414.candidates("https://h.example/t") == (
        "https://h.example/.well-known/oauth-authorization-server/t",
        "https://h.example/.well-known/openid-configuration/t",
        "https://h.example/t/.well-known/openid-configuration",
    )
    assert rfc8414.candidates("https://h.example") == (
        "https://h.example/.well-known/oauth-authorization-server",
        "https://h.example/.well-known/openid-configuration",
    )


def test_pkce_is_as_in_rfc_7636_appendix_b():
    server = rfc8414.AuthorizationServer("https://as.example", "https://as.example/t", "https://as.example/a?p=1")
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    client = rfc6749.Client("c", "none")
    attempt = rfc6749.Attempt(server, client, "https://r.example", REDIRECT, ("offline_access",), (), "s", verifier)
    url = authorization_url(attempt)
    query = parse_qs(urlsplit(url).query)
    assert query["code_challenge"] == ["E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"] and query["p"] == ["1"]
    assert query["prompt"] == ["consent"] and url.startswith("https://as.example/a?p=1&response_type=code&")
    assert verifier not in repr(attempt) and "state='s'" not in repr(attempt)


def test_an_http_tool_elsewhere_is_not_given_the_token():
    """Its origin, byte for byte: a look-alike, another port or scheme of it is refused when the catalogue is read."""
    for origin, good in (
        ("https://api.example", True),
        ("https://api.example:8443", False),
        ("https://api.example.evil.example", False),
        ("https://evil.example", False),
    ):
        files = {
            "remit.toml": '[people.olga]\n[issuers.api]\nkind = "oauth"\nresource = "https://api.example/v1"\n',
            "agents/bot.toml": 'owner = "olga"\n[[attestations]]\nmethod = "join_token"\n',
            "purposes/p.toml": 'owner = "olga"\nagents = ["bot"]\nmax_duration = "1h"\nmax_calls = 9\n'
            '[[grants]]\ntool = "look"\n[[credentials]]\nname = "api"\nissuer = "api"\nttl = "5m"\n'
            'grants = { scope = ["read"] }\n',
            "tools/look.toml": f'effect = "read"\n[http]\norigin = "{origin}"\nmethod = "GET"\npath = "/v1/x"\ncredential = "api"\n',
        }
        if good:
            assert parse(files).issuers["api"].kind == "oauth"
            continue
        with pytest.raises(BadCatalogue, match="is for https://api"):
            parse(files)

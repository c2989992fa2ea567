"""A local OIDC issuer over real HTTP, and the attestor's behaviour against it and against hostile ones."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest

from remit.attest.fetch import fetch
from remit.attest.oidc import OidcAttestor
from remit.domain.errors import AddressRefused, BadToken, Refusal, Unavailable
from remit.domain.identity import Federation
from remit.formats import signing_key
from remit.formats.jws import SigningKey, sign

NOW = 1_800_000_000_000


class LocalIssuer:
    """Discovery and keys on loopback; signs what it is asked to."""

    def __init__(self):
        self.keys = [signing_key.generate("ES256")]
        self.requests = []
        self.document = None
        self.jwks = None
        self.slow = 0.0

    def __enter__(self):
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.requests.append(self.path)
                issuer.answer(self)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *args):
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request):
        time.sleep(self.slow)
        if request.path == "/drip":
            request.send_response(200)
            request.end_headers()
            for _ in range(600):
                try:
                    request.wfile.write(b"x")
                    request.wfile.flush()
                except OSError:
                    return
                time.sleep(0.05)
            return
        if request.path == "/endless":
            request.send_response(200)
            request.end_headers()
            try:
                while True:
                    request.wfile.write(b"x" * 65536)
            except OSError:
                return
        if request.path == "/redirect":
            request.send_response(302)
            request.send_header("Location", "http://169.254.169.254/latest/meta-data/")
            request.end_headers()
            return
        if request.path.endswith("openid-configuration"):
            body = self.document or {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        else:
            body = self.jwks or {"keys": [{**k.public.jwk, "kid": k.public.kid, "use": "sig"} for k in self.keys]}
        data = json.dumps(body).encode()
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    def token(self, now=NOW, key=None, **claims):
        key = key or self.keys[0]
        body = {"iss": self.url, "aud": "https://remit.test", "iat": now // 1000, "exp": now // 1000 + 300, **claims}
        body = {name: value for name, value in body.items() if value is not None}
        return sign(msgspec.json.encode(body), typ="JWT", key=SigningKey(key.public.kid, "ES256", key.sign))

    def federation(self, **changes):
        return Federation(
            **{
                "name": "ci",
                "issuer": self.url,
                "audience": "https://remit.test",
                "allow_private_network": True,
                **changes,
            }
        )


@pytest.fixture
def issuer():
    with LocalIssuer() as local:
        yield local


def claims(attestor, federation, token, now=NOW):
    return asyncio.run(attestor.claims(federation, token, now))


def test_a_good_token_gives_its_claims(issuer):
    assert claims(OidcAttestor(), issuer.federation(), issuer.token(sub="x", ref="main"))["ref"] == "main"


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "https://other"},
        {"aud": ["https://remit.test", "https://other"]},
        {"aud": None},
        {"iss": "https://other"},
        {"exp": NOW // 1000 - 6},
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"nbf": NOW // 1000 + 60},
        {"iat": NOW // 1000 + 60},
        {"sub": None},
        {"sub": ""},
    ],
    ids=str,
)
def test_a_token_with_one_flaw_is_refused(issuer, change):
    with pytest.raises(BadToken):
        claims(OidcAttestor(), issuer.federation(), issuer.token(**{"sub": "x", **change}))


def test_a_rotated_key_is_fetched_once(issuer):
    attestor = OidcAttestor()
    claims(attestor, issuer.federation(), issuer.token(sub="x"))
    issuer.keys.insert(0, signing_key.generate("ES256"))
    later = NOW + 31_000
    assert claims(attestor, issuer.federation(), issuer.token(later, sub="y"), later)["sub"] == "y"


def test_unknown_keys_do_not_let_strangers_make_us_fetch(issuer):
    async def main():
        attestor = OidcAttestor()
        await attestor.claims(issuer.federation(), issuer.token(sub="x"), NOW)
        before = len(issuer.requests)
        forged = [issuer.token(sub="x", key=signing_key.generate("ES256")) for _ in range(50)]
        results = await asyncio.gather(
            *(attestor.claims(issuer.federation(), t, NOW + i) for i, t in enumerate(forged)), return_exceptions=True
        )
        assert all(isinstance(r, BadToken) for r in results)
        assert len(issuer.requests) - before <= 2

    asyncio.run(main())


def test_discovery_that_names_another_issuer_is_refused(issuer):
    issuer.document = {"issuer": "https://evil.example", "jwks_uri": f"{issuer.url}/keys"}
    with pytest.raises(Refusal):
        claims(OidcAttestor(), issuer.federation(), issuer.token(sub="x"))
    for document in ({"issuer": issuer.url}, ["x"], {"issuer": issuer.url, "jwks_uri": 5}):
        issuer.document = document
        with pytest.raises(Refusal):
            claims(OidcAttestor(), issuer.federation(), issuer.token(sub="x"))


@pytest.mark.parametrize(
    "address",
    ["file:///etc/passwd", "javascript:alert(1)", "http://169.254.169.254/keys", "--upload-file=/etc/passwd", "$(id)"],
)
def test_hostile_metadata_is_never_followed(issuer, address):
    issuer.document = {"issuer": issuer.url, "jwks_uri": address}
    with pytest.raises(Refusal):
        claims(OidcAttestor(), issuer.federation(), issuer.token(sub="x"))


def test_old_keys_serve_a_while_and_then_it_fails_closed(issuer):
    attestor, federation = OidcAttestor(), issuer.federation()
    claims(attestor, federation, issuer.token(sub="x"))
    issuer.jwks = {"keys": "gone"}
    later = NOW + 700_000
    assert claims(attestor, federation, issuer.token(later, sub="x"), later)
    too_late = NOW + 600_000 + 3_600_001
    with pytest.raises(Unavailable):
        claims(attestor, federation, issuer.token(too_late, sub="x"), too_late)


def test_keys_that_cannot_be_had_are_unavailable():
    nowhere = Federation(
        "ci", "http://127.0.0.1:1", "a", jwks_uri="http://127.0.0.1:1/keys", allow_private_network=True
    )
    with LocalIssuer() as issuer, pytest.raises(Unavailable):
        claims(OidcAttestor(), nowhere, issuer.token(sub="x"))


def test_a_set_too_large_is_refused(issuer):
    issuer.jwks = {"keys": [], "pad": "x" * 300_000}
    with pytest.raises(Refusal):
        claims(OidcAttestor(), issuer.federation(), issuer.token(sub="x"))


# --- fetch ---


async def resolved(*addresses):
    return list(addresses)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
    ],
)
def test_names_that_resolve_inside_are_refused(address):
    with pytest.raises(AddressRefused):
        asyncio.run(fetch("https://keys.example/", resolve=lambda h, p: resolved("93.184.216.34", address)))


@pytest.mark.parametrize(
    "url",
    [
        "http://keys.example/",
        "ftp://keys.example/",
        "file:///etc/passwd",
        "https://user:pw@keys.example/",
        "https://keys.example\\@evil/",
        "https:///nohost",
        "https://keys.example:99999/",
        "https://" + "a" * 3000,
        "",
        "https://keys.example/\nHost: x",
    ],
)
def test_addresses_that_are_never_fetched(url):
    with pytest.raises(AddressRefused):
        asyncio.run(fetch(url, resolve=lambda h, p: resolved("93.184.216.34")))


def test_link_local_is_refused_even_where_private_is_allowed():
    with pytest.raises(AddressRefused):
        asyncio.run(
            fetch("https://keys.example/", allow_private=True, resolve=lambda h, p: resolved("169.254.169.254"))
        )
    with pytest.raises(AddressRefused):
        asyncio.run(fetch("http://keys.example/", allow_private=True, resolve=lambda h, p: resolved("127.0.0.1")))
    with pytest.raises(AddressRefused):
        asyncio.run(fetch("https://keys.example/", resolve=lambda h, p: resolved()))


@pytest.mark.parametrize("path", ["/drip", "/endless", "/redirect"])
def test_a_hostile_server_costs_bounded_time_and_memory(issuer, path, monkeypatch):
    monkeypatch.setattr("remit.attest.fetch.TIME_LIMIT", 0.5)
    started = time.monotonic()
    with pytest.raises(AddressRefused):
        asyncio.run(fetch(issuer.url + path, allow_private=True))
    assert time.monotonic() - started < 3


def test_the_checked_address_is_the_one_connected_to(issuer):
    """A name that would resolve elsewhere a moment later: it is resolved once."""
    asked = []

    async def rebinding(host, port):
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    body = asyncio.run(
        fetch(issuer.url.replace("127.0.0.1", "localhost") + "/keys", allow_private=True, resolve=rebinding)
    )
    assert b"keys" in body and asked == ["localhost"]

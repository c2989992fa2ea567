"""Attacks on the egress, byte by byte; what origins were sent is in their own memory."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
import subprocess
import sys
import time
from contextlib import suppress

import httpcore
import httpx
import pytest

from remit.domain.errors import AddressRefused
from remit.formats.interception_ca import InterceptionCa
from remit.gateway.egress.upstream import Upstreams
from remit_client import AgentKey, AsyncRemit
from tests.server import REMIT, eventually, furnished, process

from .egresses import READ, REFUND, Origin, arguments, catalogue, egress, http_table, inside, key_file, raw
from .gates import agent_dir, free_port


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    ca = InterceptionCa(["localhost"])
    port, origin, other, tls = free_port(), Origin(), Origin(), Origin(ca)
    at = origin.origin
    passing = 'headers = ["X-Api-Version"]\n'
    tools = {
        "refund": REFUND + http_table(at, "POST", "/v1/customers/{customer}/refunds", more='body = "json"\n' + passing),
        "form": READ + arguments("a", "b") + http_table(at, "POST", "/v1/form", more='query = ["b"]\nbody = "form"\n'),
        "customer": READ + arguments("customer") + http_table(at, "GET", "/v1/customers/{customer}", more=passing),
        "find": READ + arguments("q") + http_table(at, "GET", "/v1/find", more='query = ["q"]\n'),
        "other": READ + http_table(other.origin, "GET", "/open", credential=""),
        "tls": READ + arguments("id") + http_table(tls.origin, "GET", "/v1/things/{id}"),
        "metadata": READ + http_table("https://169.254.169.254", "GET", "/latest", credential="api"),
    }
    with process(tmp_path_factory.mktemp("attacks") / "data") as running:
        server = furnished(running, catalogue(f"http://127.0.0.1:{port}", tools))
        server.secret = "sk-canary-" + "z" * 24
        assert server.http("operator").put("/v1/secrets/stripe", json={"value": server.secret}).status_code == 204
        folder = tmp_path_factory.mktemp("gate")
        (folder / "upstream.pem").write_bytes(ca.pem)
        server.agent_dir = agent_dir(server, folder / "agent")
        server.origin, server.other, server.tls, server.resource = origin, other, tls, f"http://127.0.0.1:{port}"
        server.folder, server.port = folder, port
        with (
            egress(server, folder, port, "--wait", "0"),
            inside(server, folder, at, "--wait", "0", SSL_CERT_FILE=str(folder / "upstream.pem")) as (own, secret),
        ):
            server.own, server.own_secret = own, secret
            yield server
    for each in (origin, other, tls):
        each.close()


def ask(house, head: str, body: bytes = b"", *, auth: bool = True) -> bytes:
    coded = base64.b64encode(f"remit:{house.own_secret}".encode()).decode()
    more = f"Proxy-Authorization: Basic {coded}\r\n" if auth else ""
    return raw(house.own, f"{head}\r\n{more}Connection: close\r\n\r\n".encode("latin-1") + body)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def counts(house):
    return len(house.origin.said), len(house.other.said), len(house.tls.said)


def test_the_control_an_honest_request_through_the_proxy_passes(house):
    at = house.origin.authority
    answer = ask(house, f"GET http://{at}/v1/customers/acme HTTP/1.1\r\nHost: {at}")
    assert status(answer) == 200 and dict(house.origin.said[-1][1])["Authorization"] == f"Bearer {house.secret}"
    answer = ask(
        house, f"GET /{house.own_secret}/{at}/v1/customers/acme HTTP/1.1\r\nHost: 127.0.0.1:{house.own}", auth=False
    )
    assert status(answer) == 200


@pytest.mark.parametrize(
    "authority",
    [
        "{host}:{other}", "user@{host}:{port}", "user:pass@{host}:{port}", "{host}:{port}@evil.example",
        "{host}.:{port}", "127.1:{port}", "2130706433:{port}", "0x7f000001:{port}", "0177.0.0.1:{port}",
        "[::ffff:127.0.0.1]:{port}", "[::1]:{port}", "127%2e0%2e0%2e1:{port}", "localhost:{port}", "{host}:0{port}",
        "{host}:{port}:80", "{host}", "{host}:", "evil.example", "{host}:{port}.evil.example", "", "*", "{host}\\@evil:{port}",
    ],
)  # fmt: skip
def test_look_alikes_of_an_origin_get_nothing(house, authority):
    """Row 10: the exact origin only, and what is asked for there is what a tool says."""
    at = authority.format(host="127.0.0.1", port=house.origin.port, other=house.other.port)
    before = counts(house)
    for host in dict.fromkeys((at, house.origin.authority)):
        answer = ask(house, f"GET http://{at}/v1/customers/acme HTTP/1.1\r\nHost: {host}")
        assert status(answer) in (400, 403), answer
        answer = ask(house, f"GET /{house.own_secret}/{at}/v1/customers/acme HTTP/1.1\r\nHost: 127.0.0.1:{house.own}")
        assert status(answer) in (400, 403), answer
    assert counts(house) == before


@pytest.mark.parametrize(
    "head",
    [
        "GET http://{at}/v1/customers/acme HTTP/1.1\r\nHost: evil.example",
        "GET http://{at}/v1/customers/acme HTTP/1.1\r\nHost: {at}\r\nHost: evil.example",
        "GET http://{at}/v1/customers/acme HTTP/1.0",
        "GET http://{at}/v1/customers/acme HTTP/1.1",
        "GET https://{at}/v1/customers/acme HTTP/1.1\r\nHost: {at}",
        "GET HTTP://{at}/v1/customers/acme HTTP/1.1\r\nHost: {at}",
        "GET http:/{at}/v1/customers/acme HTTP/1.1\r\nHost: {at}",
        "GET http://{at}/v1/customers/acme#@evil HTTP/1.1\r\nHost: {at}",
        "GET {at}/v1/customers/acme HTTP/1.1\r\nHost: {at}",
        "GET * HTTP/1.1\r\nHost: {at}",
        "GET /v1/customers/acme HTTP/1.1\r\nHost: {at}",
        "GET //evil.example/v1/customers/acme HTTP/1.1\r\nHost: {own}",
        "GET /{secret}//evil.example/v1/x HTTP/1.1\r\nHost: {own}",
        "GET /{secret}/{at}//evil.example/v1/x HTTP/1.1\r\nHost: {own}",
        "GET /{secret}/%31%32%37.0.0.1:{port}/v1/customers/acme HTTP/1.1\r\nHost: {own}",
        "GET /{secret}/http:%2f%2f{at}/v1/customers/acme HTTP/1.1\r\nHost: {own}",
        "GET /{secret}/http://{at}/v1/customers/acme HTTP/1.1\r\nHost: {own}",
        "GET /{secret}/{at}/v1/customers/acme HTTP/1.1\r\nHost: evil.example:{ownport}",
        "GET /{secret}/{at} HTTP/1.1\r\nHost: {own}",
        "GET /{secret} HTTP/1.1\r\nHost: {own}",
        "OPTIONS http://{at}/v1/customers/acme HTTP/1.1\r\nHost: {at}",
        "TRACE http://{at}/v1/customers/acme HTTP/1.1\r\nHost: {at}",
        "get http://{at}/v1/customers/acme HTTP/1.1\r\nHost: {at}",
        "GET http://{at}/v1/customers/acme HTTP/1.1\r\nHost: {at}\r\nUpgrade: websocket\r\nConnection: upgrade",
        "CONNECT {at} HTTP/1.1\r\nHost: {at}",
        "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443",
        "CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: 169.254.169.254:80",
    ],
)
def test_targets_that_have_no_one_meaning_are_refused(house, head):
    before = counts(house)
    names = {
        "at": house.origin.authority, "own": f"127.0.0.1:{house.own}", "secret": house.own_secret,
        "port": house.origin.port, "ownport": house.own,
    }  # fmt: skip
    answer = ask(house, head.format(**names))
    assert status(answer) in (400, 401, 403), answer
    assert counts(house) == before and house.secret.encode() not in answer


@pytest.mark.parametrize(
    "path",
    [
        "/v1/customers/..", "/v1/customers/.", "/v1/customers/%2e%2e", "/v1/customers/.%2E", "/v1/customers/../find",
        "/v1/customers/a%2fb", "/v1/customers/a%2Frefunds", "/v1/customers/a%5cb", "/v1/customers/a\\b",
        "/v1/customers/a%252fb", "/v1/customers/%25%32%65%25%32%65", "/v1/customers/a%00", "/v1/customers/a%0d%0aX:1",
        "/v1/customers/%ff", "/v1/customers/%c0%ae%c0%ae", "/v1/customers/%e2%80%aea", "/v1/customers/%", "/v1/customers/%zz",
        "//v1/customers/acme", "/v1//customers/acme", "/./v1/customers/acme", "/v1/customers/", "/v1/customers/acme/..",
        "/v1/customers/acme?", "/V1/customers/acme",
    ],
)  # fmt: skip
def test_paths_that_change_their_shape_are_refused(house, path):
    at, before = house.origin.authority, counts(house)
    answer = ask(house, f"GET http://{at}{path} HTTP/1.1\r\nHost: {at}")
    if path.endswith("?"):  # an empty query says nothing
        assert status(answer) == 200 and house.origin.said[-1][0] == "GET /v1/customers/acme HTTP/1.1"
        return
    assert status(answer) in (400, 403), answer
    assert counts(house) == before


@pytest.mark.parametrize(
    "value", ["a%0d%0aX-Evil:%201", "a%0d%0a%0d%0aGET%20/admin%20HTTP/1.1", "a%26admin%3d1", "a;b=c", "%23x"]
)
def test_what_a_query_says_stays_in_its_value(house, value):
    at = house.origin.authority
    answer = ask(house, f"GET http://{at}/v1/find?q={value} HTTP/1.1\r\nHost: {at}")
    assert status(answer) == 200, answer
    line, headers, _ = house.origin.said[-1]
    target = line.split(" ")[1]
    assert httpx.QueryParams(target.partition("?")[2])["q"] == httpx.QueryParams(f"q={value}")["q"]
    assert "X-Evil" not in dict(headers) and not house.origin.saw("GET /admin")


@pytest.mark.parametrize(
    ("more", "body"),
    [
        ("Content-Length: 4\r\nTransfer-Encoding: chunked", b"0\r\n\r\nGET /admin HTTP/1.1\r\nHost: x\r\n\r\n"),
        (
            "Content-Type: application/json\r\nContent-Length: 24\r\nTransfer-Encoding: chunked",
            b'e\r\n{"amount":"1"}\r\n0\r\n\r\n',
        ),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4", b"0\r\n\r\nGET /admin HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("Content-Length: 0\r\nContent-Length: 40", b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("Content-Length: 0, 40", b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("Content-Length: +5", b"hello"),
        ("Content-Length: 0x5", b"hello"),
        ("Transfer-Encoding: xchunked", b"0\r\n\r\n"),
        ("Transfer-Encoding: gzip, chunked", b"0\r\n\r\n"),
        ("Transfer-Encoding : chunked", b"0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", b"0\r\n\r\n"),
        ("X: 1\r\n Transfer-Encoding: chunked", b"0\r\n\r\n"),
        ("X: a\nAuthorization: b", b""),
        ("X: a\rEvil: b", b""),
        ("X: a\x00b", b""),
        ("Content-Type: text/plain\r\nContent-Type: application/json\r\nContent-Length: 2", b"{}"),
    ],
)
def test_smuggling_reaches_nobody(house, more, body):
    at, before = house.origin.authority, counts(house)
    answer = ask(house, f"POST http://{at}/v1/customers/acme/refunds HTTP/1.1\r\nHost: {at}\r\n{more}", body)
    assert status(answer) != 200, answer
    assert counts(house) == before and not house.origin.saw("/admin")


def test_each_of_many_requests_on_one_connection_is_judged(house):
    at = house.origin.authority
    coded = base64.b64encode(f"remit:{house.own_secret}".encode()).decode()
    common = f"Host: {at}\r\nProxy-Authorization: Basic {coded}\r\n\r\n"
    lines = [f"GET http://{at}/v1/customers/one HTTP/1.1", f"GET http://{at}/admin HTTP/1.1"]
    answer = raw(house.own, "".join(f"{line}\r\n{common}" for line in lines).encode())
    assert answer.count(b"HTTP/1.1 200") == 1 and answer.count(b"HTTP/1.1 403") == 1
    assert not house.origin.saw("/admin")
    # The second comes without the secret: a connection has no memory of who spoke.
    answer = raw(house.own, f"{lines[0]}\r\n{common}{lines[0]}\r\nHost: {at}\r\n\r\n".encode())
    assert answer.count(b"HTTP/1.1 200") == 1 and answer.count(b"HTTP/1.1 407") == 1


def test_only_harmless_headers_of_the_agent_pass(house):
    at = house.origin.authority
    evil = {
        "Authorization": "Bearer agents-own", "Cookie": "a=b", "X-HTTP-Method-Override": "DELETE", "X-Forwarded-Host": "evil",
        "Forwarded": "host=evil", "X-Original-URL": "/admin", "X-Rewrite-URL": "/admin", "DPoP": "proof", "Expect": "x",
        "Proxy-Connection": "keep-alive", "TE": "trailers", "X-Api-Key": "k", "Range": "bytes=0-1", "Origin": "https://evil",
    }  # fmt: skip
    head = (
        f"GET http://{at}/v1/customers/acme HTTP/1.1\r\nHost: {at}\r\nX-Api-Version: 7\r\nAccept: application/json\r\n"
    )
    answer = ask(house, head + "\r\n".join(f"{n}: {v}" for n, v in evil.items()))
    assert status(answer) == 200, answer
    names = [name.lower() for name, _ in house.origin.said[-1][1]]
    assert sorted(names) == sorted(
        ["host", "user-agent", "accept-encoding", "accept", "x-api-version", "authorization"]
    )
    assert dict(house.origin.said[-1][1])["Authorization"] == f"Bearer {house.secret}"
    assert house.own_secret not in repr(house.origin.said) and "agents-own" not in repr(house.origin.said)


@pytest.mark.parametrize(
    ("path", "media", "body"),
    [
        ("/v1/customers/acme/refunds", "application/json", b'{"amount":"1","amount":"900"}'),
        ("/v1/customers/acme/refunds", "application/json", b'{"amount":"1","customer":"other"}'),
        ("/v1/customers/acme/refunds", "application/json", b'{"amount":"1","extra":1}'),
        ("/v1/customers/acme/refunds", "application/json", b'[{"amount":"1"}]'),
        ("/v1/customers/acme/refunds", "application/json", b'{"amount":NaN}'),
        ("/v1/customers/acme/refunds", "application/json", b'{"amount":1e999}'),
        ("/v1/customers/acme/refunds", "application/json", b'{"amount":"\\ud800"}'),
        ("/v1/customers/acme/refunds", "application/json", b'{"amount":' + b"[" * 5000 + b"]" * 5000 + b"}"),
        ("/v1/customers/acme/refunds", "application/json", '{"amount":"1"}'.encode("utf-16")),
        ("/v1/customers/acme/refunds", "application/json; charset=utf-7", b'{"amount":"1"}'),
        ("/v1/customers/acme/refunds", "text/plain", b'{"amount":"1"}'),
        ("/v1/customers/acme/refunds", "multipart/form-data; boundary=x", b"--x--"),
        ("/v1/customers/acme/refunds", "application/json", b""),
        ("/v1/form", "application/x-www-form-urlencoded", b"a=1&b=2"),
        ("/v1/form?b=1&b=2", "application/x-www-form-urlencoded", b"a=1"),
        ("/v1/form?b=1", "application/x-www-form-urlencoded", b"a=1&a=2"),
        ("/v1/form?b=1&a=1", "application/x-www-form-urlencoded", b""),
        ("/v1/form?b=1", "application/x-www-form-urlencoded", b"a=%ff"),
        ("/v1/form?b=1", "application/x-www-form-urlencoded", b"a=%00"),
    ],
)
def test_bodies_that_two_readers_could_read_in_two_ways_are_refused(house, path, media, body):
    at, before = house.origin.authority, counts(house)
    head = f"POST http://{at}{path} HTTP/1.1\r\nHost: {at}\r\nContent-Type: {media}\r\nContent-Length: {len(body)}"
    answer = ask(house, head, body)
    assert status(answer) in (400, 403) and b"remit-decision: deny" in answer.lower(), answer
    assert counts(house) == before


def test_bodies_heads_and_patience_are_bounded(house):
    at, before = house.origin.authority, counts(house)
    head = f"POST http://{at}/v1/customers/acme/refunds HTTP/1.1\r\nHost: {at}\r\nContent-Type: application/json\r\n"
    assert status(ask(house, f"{head}Content-Length: 99999999", b"x" * 100_000)) == 413
    assert status(ask(house, head + f"X-Long: {'x' * 200_000}")) in (0, 400)
    assert counts(house) == before


@pytest.mark.parametrize(
    "coded", ["", "Basic ", "Basic cmVtaXQ6eA==", "Basic !!!", "Bearer {secret}", "Basic {halved}"]
)
def test_the_proxy_is_nobody_elses(house, coded):
    at, before = house.origin.authority, counts(house)
    halved = base64.b64encode(f"remit:{house.own_secret[:-1]}".encode()).decode()
    said = coded.format(secret=house.own_secret, halved=halved)
    more = f"\r\nProxy-Authorization: {said}" if said else ""
    for target in (f"GET http://{at}/v1/customers/acme", f"CONNECT {at}"):
        assert status(ask(house, f"{target} HTTP/1.1\r\nHost: {at}{more}", auth=False)) == 407
    path = f"/{house.own_secret[:-1]}x/{at}/v1/customers/acme"
    assert status(ask(house, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{house.own}", auth=False)) == 401
    assert counts(house) == before


def test_an_agents_door_takes_only_its_token_and_a_fresh_proof(house):
    """Rows 3 and 13: bearer, another audience, another key, method, URL, a replay; and no token goes further."""
    url = f"{house.resource}/{house.origin.authority}/v1/customers/acme"

    async def main():
        remit = AsyncRemit(house.url, agent_dir=house.agent_dir)
        async with remit.task("work", goal="g") as task:
            token, own = await task.token(house.resource), await remit.run(task._work.token())
            key = remit.agent.key
            proof = key.proof("GET", url, token)
            attempts = {
                "none": {},
                "bearer": {"Authorization": f"Bearer {token}"},
                "bearer and proof": {"Authorization": f"Bearer {token}", "DPoP": key.proof("GET", url, token)},
                "no proof": {"Authorization": f"DPoP {token}"},
                "audience": {"Authorization": f"DPoP {own}", "DPoP": key.proof("GET", url, own)},
                "key": {"Authorization": f"DPoP {token}", "DPoP": AgentKey.generate().proof("GET", url, token)},
                "method": {"Authorization": f"DPoP {token}", "DPoP": key.proof("POST", url, token)},
                "url": {"Authorization": f"DPoP {token}", "DPoP": key.proof("GET", house.resource, token)},
                "path": {"Authorization": f"DPoP {token}", "DPoP": key.proof("GET", url[:-1], token)},
                "garbage": {"Authorization": "DPoP x.y.z", "DPoP": proof},
            }
            async with httpx.AsyncClient(trust_env=False) as http:
                before = counts(house)
                for name, headers in attempts.items():
                    answer = await http.get(url, headers=headers)
                    assert answer.status_code == 401 and "www-authenticate" in answer.headers, name
                assert counts(house) == before
                good = {"Authorization": f"DPoP {token}", "DPoP": proof}
                answers = await asyncio.gather(*(http.get(url, headers=good) for _ in range(20)))
                assert sorted(a.status_code for a in answers) == [200] + [401] * 19
                assert not house.origin.saw(token) and not house.origin.saw(proof)
        await remit.close()

    asyncio.run(main())
    answer = raw(
        house.port,
        f"GET http://{house.origin.authority}/v1/x HTTP/1.1\r\nHost: {house.origin.authority}\r\n\r\n".encode(),
    )
    assert status(answer) == 400
    answer = raw(house.port, f"GET /{house.origin.authority}/v1/x HTTP/1.1\r\nHost: evil.example\r\n\r\n".encode())
    assert status(answer) == 400


def test_metadata_addresses_are_refused_even_where_private_ones_are_not(house):
    answer = ask(house, f"GET /{house.own_secret}/169.254.169.254/latest HTTP/1.1\r\nHost: 127.0.0.1:{house.own}")
    assert status(answer) == 502 and b"not talked to" in answer


@pytest.mark.parametrize(
    ("addresses", "private"),
    [
        (["127.0.0.1"], False), (["10.0.0.7"], False), (["::1"], False), (["::ffff:127.0.0.1"], False), (["0.0.0.0"], True),
        (["93.184.216.34", "127.0.0.1"], False), (["169.254.169.254"], True), (["::ffff:169.254.169.254"], True),
        (["fe80::1"], True), (["64:ff9b::a9fe:a9fe"], True), (["64:ff9b::7f00:1"], False), (["100.64.0.1"], False),
        (["fd00:ec2::254"], False), (["224.0.0.1"], True), (["2002:7f00:1::"], False),
    ],
)  # fmt: skip
def test_a_name_that_leads_inside_is_not_connected_to(house, addresses, private):
    """Row 12: whatever the name resolved to before."""

    async def resolve(host, port):
        return addresses

    async def main():
        upstreams = Upstreams(resolve)
        with pytest.raises(AddressRefused):
            async with upstreams.send(
                f"http://api.example:{house.origin.port}", "GET", "/", [], None, private=private, patience=3
            ):
                pass
        await upstreams.close()

    before = counts(house)
    asyncio.run(main())
    assert counts(house) == before


def test_a_name_that_rebinds_is_looked_at_at_every_connection(house):
    said = [["127.0.0.1"], ["169.254.169.254"]]

    async def resolve(host, port):
        return said.pop(0)

    async def main():
        upstreams = Upstreams(resolve)
        at = f"http://api.example:{house.origin.port}"
        async with upstreams.send(
            at, "GET", "/a", [(b"Connection", b"close")], None, private=True, patience=3
        ) as answer:
            await answer.aread()
        await asyncio.sleep(0.1)
        with pytest.raises(AddressRefused):
            async with upstreams.send(at, "GET", "/b", [], None, private=True, patience=3):
                pass
        await upstreams.close()

    asyncio.run(main())
    assert dict(house.origin.said[-1][1])["Host"] == f"api.example:{house.origin.port}"


def test_two_names_at_one_address_never_share_a_connection(tmp_path, monkeypatch):
    """A connection whose certificate said a.test is not good enough for b.test's credential."""
    ca = InterceptionCa(["localhost", "b.test"])
    (tmp_path / "ca.pem").write_bytes(ca.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    origin = Origin(ca)  # is localhost, and nobody else

    async def resolve(host, port):
        return ["127.0.0.1"]

    async def main():
        upstreams = Upstreams(resolve)
        async with upstreams.send(origin.origin, "GET", "/", [], None, private=True, patience=3) as answer:
            await answer.aread()
        with pytest.raises(httpcore.ConnectError, match="certificate"):
            secret = [(b"Authorization", b"Bearer for-b")]
            async with upstreams.send(
                f"https://b.test:{origin.port}", "GET", "/", secret, None, private=True, patience=3
            ):
                pass
        await upstreams.close()

    asyncio.run(main())
    assert len(origin.said) == 1 and not origin.saw("for-b")
    origin.close()


def test_slow_and_endless_origins_are_bounded(house, tmp_path_factory):
    def endless(listener):
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            with line:
                line.recv(4096)
                line.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
                try:
                    for _ in range(100):
                        line.sendall(b"x")
                        time.sleep(0.2)
                except OSError:
                    pass

    import threading

    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=endless, args=(listener,), daemon=True).start()
    port, folder = free_port(), tmp_path_factory.mktemp("slow")
    at = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with process(folder / "data") as running:
        files = catalogue(f"http://127.0.0.1:{port}", {"drip": READ + http_table(at, "GET", "/drip", credential="")})
        server = furnished(running, files)
        server.agent_dir = agent_dir(server, folder / "agent")
        with inside(server, folder, at, "--timeout", "2") as (own, secret):
            began = time.monotonic()
            answer = raw(own, f"GET /{secret}/{at[7:]}/drip HTTP/1.1\r\nHost: 127.0.0.1:{own}\r\n\r\n".encode())
            assert status(answer) == 502 and time.monotonic() - began < 6
    listener.close()


PROGRAM = """
import json, os, ssl, sys, urllib.request, urllib.error
for url in sys.argv[1:]:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            print(answer.status, answer.read().decode())
    except urllib.error.HTTPError as error:
        print(error.code, json.loads(error.read()).get("reasons"))
    except OSError as error:
        print("error", error)
print(sorted(name for name in os.environ if name.startswith("REMIT_")))
"""


def program(house, *words, options=(), code=PROGRAM, task=()):
    key = key_file(house, house.folder)
    return subprocess.run(
        [REMIT, "egress", "--purpose", "work", *(task or ("--goal", "g")), *options, "--", sys.executable, "-c", code, *words],
        env=house.env(
            REMIT_URL=house.url, REMIT_ENFORCER_KEY_FILE=str(key), REMIT_AGENT_DIR=str(house.agent_dir),
            SSL_CERT_FILE=str(house.folder / "upstream.pem"),
        ),
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip


def test_an_unmodified_program_works_within_its_task_and_gets_no_key(house):
    at = house.origin.origin
    done = program(
        house, f"{at}/v1/customers/acme", f"{at}/admin", "http://evil.example/", f"{house.tls.origin}/v1/things/1"
    )
    lines = done.stdout.splitlines()
    assert lines[0] == '200 {"path": "/v1/customers/acme"}', done.stderr
    assert lines[1] == lines[2] == "403 ['tool_unknown']" and lines[3].startswith("error"), lines
    assert lines[4] == "[]" and house.secret not in done.stdout + done.stderr and done.returncode == 0
    task = done.stderr.split("task ")[1].split(";")[0]
    assert house.http("anna").get(f"/v1/tasks/{task}").json()["state"] != "open"


def test_a_task_that_was_open_is_used_and_left_open(house):
    async def main():
        remit = AsyncRemit(house.url, agent_dir=house.agent_dir)
        async with remit.task("work", goal="g") as task:
            done = await asyncio.to_thread(
                program, house, f"{house.origin.origin}/v1/customers/acme", task=("--task", task.id)
            )
            assert done.stdout.startswith("200 "), done
            seen = await task.get(f"/v1/tasks/{task.id}")
            assert (seen["state"], seen["calls"]) == ("open", 1)
            await task.end("enough")
            over = await asyncio.to_thread(program, house, task=("--task", task.id))
            assert over.returncode == 0  # it runs, and whatever it asks for is denied
            denied = await asyncio.to_thread(
                program, house, f"{house.origin.origin}/v1/customers/acme", task=("--task", task.id)
            )
            assert "task_not_open" in denied.stdout
        await remit.close()

    asyncio.run(main())


def test_its_exit_code_is_ours_and_so_is_what_stops_it(house):
    assert program(house, code="raise SystemExit(7)").returncode == 7
    assert program(house, code="import os; os.kill(os.getpid(), 9)").returncode == 137
    assert house.cli("egress", "--purpose", "work").returncode == 2
    assert house.cli("egress", "--", "true").returncode == 2
    key = key_file(house, house.folder)
    gone = house.cli("egress", "--port", "0", REMIT_URL="http://127.0.0.1:9", REMIT_ENFORCER_KEY_FILE=str(key))
    assert gone.returncode == 7, gone.stderr
    assert house.cli("egress", "--port", "0", REMIT_URL=house.url).returncode == 4
    bad = program(house, options=("--base", "X=https://evil.example"))
    assert bad.returncode == 1 and "evil.example" in bad.stderr


def test_tls_is_ended_only_when_told_and_only_for_catalogue_origins(house):
    thing, evil = f"{house.tls.origin}/v1/things/1", "https://evil.example/x"
    before = len(house.tls.said)
    done = program(house, thing, f"{house.tls.origin}/admin", evil, options=("--intercept-tls",))
    lines = done.stdout.splitlines()
    assert lines[0] == '200 {"path": "/v1/things/1"}', (lines, done.stderr)
    assert lines[1] == "403 ['tool_unknown']" and lines[2].startswith("error") and "403" in lines[2], lines
    assert len(house.tls.said) == before + 1
    assert dict(house.tls.said[-1][1])["Authorization"] == f"Bearer {house.secret}"


INSIDE_TLS = """
import base64, os, socket, ssl, sys
from urllib.parse import urlsplit
proxy = urlsplit(os.environ["HTTPS_PROXY"])
at, host = sys.argv[1], sys.argv[2]
line = socket.create_connection((proxy.hostname, proxy.port))
auth = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
line.sendall(f"CONNECT {at} HTTP/1.1\\r\\nHost: {at}\\r\\nProxy-Authorization: Basic {auth}\\r\\n\\r\\n".encode())
assert line.recv(4096).startswith(b"HTTP/1.1 200"), "tunnel"
tls = ssl.create_default_context().wrap_socket(line, server_hostname="localhost")
tls.sendall(f"GET {sys.argv[3]} HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n".encode())
print(tls.recv(65536).decode())
print(oct(os.stat(os.environ["SSL_CERT_FILE"]).st_mode & 0o777))
"""


@pytest.mark.parametrize(
    ("host", "target"),
    [("evil.example", "/v1/things/1"), ("{at}", "https://evil.example/v1/things/1"), ("{at}", "//evil.example/x")],
)
def test_inside_a_tunnel_is_only_what_it_was_opened_for(house, host, target):
    at, before = house.tls.authority, counts(house)
    done = program(house, at, host.format(at=at), target, options=("--intercept-tls",), code=INSIDE_TLS)
    assert done.stdout.startswith(("HTTP/1.1 400", "HTTP/1.1 403")) and done.stdout.rstrip().endswith("0o600"), done
    assert counts(house) == before
    honest = program(house, at, at, "/v1/things/2", options=("--intercept-tls",), code=INSIDE_TLS)
    assert honest.stdout.startswith("HTTP/1.1 200"), honest


def handshake(ca: InterceptionCa, served: ssl.SSLContext, name: str) -> None:
    client = ssl.create_default_context(cadata=ca.pem.decode())
    one, two, three, four = (ssl.MemoryBIO() for _ in range(4))
    there = client.wrap_bio(one, two, server_hostname=name)
    here = served.wrap_bio(three, four, server_side=True)
    for _ in range(6):
        for side, out, into in ((there, two, three), (here, four, one)):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
            into.write(out.read())


def test_the_authority_speaks_for_its_hosts_and_nobody_else():
    ca = InterceptionCa(["api.test"])
    handshake(ca, ca.context("api.test"), "api.test")
    with pytest.raises(KeyError):
        ca.context("evil.test")
    for name in ("evil.test", "api.test.evil", "127.0.0.1"):
        with pytest.raises(ssl.SSLCertVerificationError, match=r"subtree|excluded"):
            handshake(ca, ca._made(name), name)  # as if somebody had its key
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        from datetime import UTC, datetime, timedelta

        old = InterceptionCa(["api.test"], datetime.now(UTC) - timedelta(days=2))
        handshake(old, old.context("api.test"), "api.test")


def test_canaries_are_in_no_log_and_no_file(house):
    """Row 9: the credential, the program's secret and the egress's key, after everything above."""
    at = house.origin.authority
    assert status(ask(house, f"GET http://{at}/v1/customers/acme HTTP/1.1\r\nHost: {at}")) == 200
    assert house.origin.saw(house.secret)
    kept = [*house.folder.glob("*.log"), *(path for path in house.data.rglob("*") if path.is_file())]
    assert len(kept) > 4 and any(path.stat().st_size for path in kept)
    for path in [*kept, house.data.with_suffix(".log")]:
        found = path.read_bytes()
        for canary in (house.secret, house.own_secret, house.keys["gate"]):
            assert canary.encode() not in found, path


def test_who_is_refused_at_the_gateway_is_seen_once_and_by_address_alone(house):
    for token in ("", "Authorization: Bearer sk-stray-secret\r\n"):
        head = f"GET /v1/find HTTP/1.1\r\nHost: 127.0.0.1:{house.port}\r\n{token}Connection: close\r\n\r\n"
        answer = raw(house.port, head.encode())
        assert status(answer) in (401, 407)
    http = house.http("operator")
    found = eventually(lambda: [x for x in http.get("/v1/shadows").json()["items"] if x["source"] == "egress"], bool)
    assert [(x["kind"], x["name"], x["reporter"]) for x in found] == [("caller", "127.0.0.1", "enforcer:gate")]

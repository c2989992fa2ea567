"""A tool server behind the middleware: real tokens of a real server, and every way to be nobody."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
import pytest

from remit_client import AgentKey
from remit_client.asgi import PROOFS, RemitASGI
from remit_client.keys import b64
from remit_client.verify import Key, Unverified, caller

AUDIENCE = "https://rs.example"
TOOLS = {"GET /invoices": "read", "GET /invoices/{id}": "read", "POST /payments": "pay"}


async def inner(scope, receive, send):
    found = scope["remit"]
    body = json.dumps({"agent": found.agent, "task": found.task, "subject": found.subject}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def guarded(issuer, **more):
    return RemitASGI(inner, issuer=issuer, audience=AUDIENCE, tools=TOOLS, **more)


def ask(app, method="GET", path="/invoices", headers=()):
    """One request over ASGI, as a server would hand it on."""

    async def go():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=AUDIENCE) as http:
            return await http.request(method, path, headers=list(headers))

    return asyncio.run(go())


@pytest.fixture(scope="module")
def bot(server):
    agent = server.agent()
    agent.task_id, access = agent.task()
    exchange = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": access,
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "audience": AUDIENCE,
    }
    agent.bound = agent.token(**exchange).json()["access_token"]
    agent.access = access
    return agent


def held(agent, method="GET", path="/invoices", token=None, key=None, url=""):
    token = token or agent.bound
    proof = (key or agent.key).proof(method, url or AUDIENCE + path, token)
    return [("Authorization", f"DPoP {token}"), ("DPoP", proof)]


def test_an_agent_with_a_task_gets_in_and_the_app_knows_who(server, bot):
    app = guarded(server.url)
    answer = ask(app, headers=held(bot))
    assert answer.status_code == 200
    assert answer.json() == {"agent": "bot", "task": bot.task_id, "subject": "agent:bot"}
    assert ask(app, path="/invoices/17?x=1", headers=held(bot, path="/invoices/17")).status_code == 200
    assert ask(app, path="/invoices/a%20b", headers=held(bot, path="/invoices/a%20b")).status_code == 200


def test_what_is_no_tool_or_not_in_scope_is_refused(server, bot):
    app = guarded(server.url)
    for method, path in (("POST", "/payments"), ("GET", "/admin"), ("GET", "/invoices/1/2"), ("DELETE", "/invoices")):
        answer = ask(app, method, path, held(bot, method, path))
        assert answer.status_code == 403 and b"insufficient_scope" in answer.headers["www-authenticate"].encode()
    for path in ("/invoices/", "/invoices/%2e%2e"):
        assert ask(app, path=path, headers=held(bot, path=path)).status_code == 403, path


def test_who_is_nobody(server, bot):
    app, good, thief = guarded(server.url), held(bot), AgentKey.generate()
    spent = held(bot)
    assert ask(app, headers=spent).status_code == 200
    header, claims, signature = bot.bound.split(".")
    body = json.loads(base64.urlsafe_b64decode(claims + "=="))
    forged = ".".join([header, b64(json.dumps({**body, "scope": "pay read"}).encode()), signature])
    none = b64(json.dumps({"alg": "none", "typ": "at+jwt"}).encode())
    cases = {
        "nothing": [],
        "no proof": good[:1],
        "as a bearer": [("Authorization", f"Bearer {bot.bound}")],
        "used before": spent,
        "another's key": held(bot, key=thief),
        "another method": held(bot, "POST"),
        "another path": held(bot, path="/elsewhere"),
        "another host": held(bot, url="https://evil.example/invoices"),
        "for Remit itself": held(bot, token=bot.access),
        "two tokens": [*held(bot), ("Authorization", "DPoP x")],
        "two proofs": [*held(bot), ("DPoP", "x")],
        "forged claims": held(bot, token=forged),
        "no algorithm": held(bot, token=f"{none}.{claims}."),
        "a proof as a token": held(bot, token=good[1][1]),
        "other spelling": held(bot, token=bot.bound + "="),
        "too long": held(bot, token="a" * 9000 + ".b.c"),
        "rubbish": [("Authorization", "DPoP \xff.\xfe.x".encode("latin-1")), ("DPoP", "....")],
    }
    for name, headers in cases.items():
        answer = ask(app, headers=headers)
        assert answer.status_code == 401, name
        assert answer.headers["www-authenticate"].startswith("DPoP ")
    assert ask(app, headers=held(bot)).status_code == 200


def claims(**more):
    now = int(time.time())
    return {"iss": "i", "aud": "a", "sub": "s", "client_id": "c", "txn": "t", "iat": now, "exp": now + 60, **more}


def verified(issuer, holder, header=None, proof_header=None, proof=None, **more):
    """A token and a proof, with anything in them."""
    body = {**claims(cnf={"jkt": holder.jkt}), **more}
    token = issuer.sign(
        {"typ": "at+jwt", "kid": "k", **(header or {})}, {k: v for k, v in body.items() if v is not None}
    )
    now = int(time.time())
    shown = {"htm": "GET", "htu": "https://a/x", "iat": now, "jti": "j", "ath": b64(sha256(token.encode()).digest())}
    shown |= proof or {}
    said = {"typ": "dpop+jwt", "jwk": dict(holder.jwk), **(proof_header or {})}
    return caller(
        token, holder.sign(said, shown), keys={"k": Key(issuer.jwk)}, issuer="i", audience="a", method="GET",
        url="https://a/x?q=1", now=time.time(),
    )  # fmt: skip


def test_every_check_of_token_and_proof_has_a_flaw_that_it_finds():
    issuer, holder, other, now = AgentKey.generate(), AgentKey.generate(), AgentKey.generate(), int(time.time())
    assert verified(issuer, holder, scope="a b").scope == {"a", "b"}
    assert verified(issuer, holder, proof={"htu": "https://A:443/x"}).agent == "c"
    flaws = [
        {"iss": "j"}, {"iss": None}, {"aud": ["a"]}, {"aud": None}, {"exp": now - 1}, {"exp": None}, {"exp": "9999999999"},
        {"iat": now + 60}, {"iat": True}, {"cnf": None}, {"cnf": {}}, {"cnf": {"jkt": other.jkt}}, {"cnf": "x"},
        {"txn": None}, {"txn": ""}, {"client_id": None}, {"sub": 7}, {"scope": 7},
        {"header": {"typ": "JWT"}}, {"header": {"alg": "HS256"}}, {"header": {"alg": "EdDSA"}}, {"header": {"kid": "x"}},
        {"header": {"crit": ["x"]}},
        {"proof_header": {"typ": "JWT"}}, {"proof_header": {"jwk": dict(other.jwk)}}, {"proof_header": {"jwk": None}},
        {"proof_header": {"jwk": {**holder.jwk, "d": "x"}}}, {"proof_header": {"jwk": {**holder.jwk, "x": "AA"}}},
        {"proof_header": {"jwk": {"kty": "oct", "k": "x"}}}, {"proof_header": {"crit": ["b64"]}},
        {"proof": {"htm": "POST"}}, {"proof": {"htu": "https://a/y"}}, {"proof": {"htu": "https://u@a/x"}},
        {"proof": {"htu": "ftp://a/x"}}, {"proof": {"htu": "https://a:x/x"}}, {"proof": {"ath": "x"}}, {"proof": {"ath": None}},
        {"proof": {"iat": now - 120}}, {"proof": {"iat": now + 60}}, {"proof": {"jti": ""}}, {"proof": {"jti": None}},
    ]  # fmt: skip
    for flaw in flaws:
        with pytest.raises(Unverified):
            verified(issuer, holder, **flaw)
            print("not found:", flaw)
    twice = b64(b'{"alg":"ES256","alg":"ES256"}')
    with pytest.raises(Unverified, match="twice"):
        caller(f"{twice}.e30.AA", "x", keys={}, issuer="i", audience="a", method="GET", url="https://a/", now=0)


def test_with_remit_gone_known_keys_serve_and_unknown_ones_do_not(server, bot):
    app = guarded("http://127.0.0.1:9")
    started = time.monotonic()
    assert ask(app, headers=held(bot)).status_code == 401 and time.monotonic() - started < 3
    known = guarded(server.url)
    assert ask(known, headers=held(bot)).status_code == 200
    known._keys._url = "http://127.0.0.1:9/"
    known._keys._at -= 600  # older than fresh, younger than stale
    assert ask(known, headers=held(bot)).status_code == 200
    known._keys._at -= 4000
    assert ask(known, headers=held(bot)).status_code == 401


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b'{"keys": 7}', b'{"keys": [{}]}', b'{"keys": [{"kid": "a", "kty": "x"}]}', b"x" * 70_000]
)
def test_keys_that_are_none_are_not_taken(bot, payload):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *args):
            pass

    fake = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=fake.serve_forever, daemon=True).start()
    assert ask(guarded(f"http://127.0.0.1:{fake.server_port}"), headers=held(bot)).status_code == 401
    fake.shutdown()


def test_a_full_memory_of_proofs_refuses(server, bot):
    app = guarded(server.url)
    app._spent |= {("x", str(n)) for n in range(PROOFS)}
    assert ask(app, headers=held(bot)).status_code == 401


def test_sockets_are_closed_and_lifespan_passes(server):
    sent, passed = [], []

    async def note(scope, receive, send):
        passed.append(scope["type"])

    app = RemitASGI(note, issuer=server.url, audience=AUDIENCE, tools={})

    async def send(message):
        sent.append(message)

    asyncio.run(app({"type": "websocket"}, None, send))
    asyncio.run(app({"type": "lifespan"}, None, send))
    assert sent == [{"type": "websocket.close", "code": 1008}] and passed == ["lifespan"]

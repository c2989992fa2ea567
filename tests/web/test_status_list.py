"""Status lists over real HTTP, as verifiers that are not ours ask for them."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import httpx
import jwt
import pytest
from token_status_list import BitArray

from remit.domain.status import WINDOW
from tests.server import eventually, process
from tests.web.test_flow import ACCESS, EXCHANGE
from tests.web.test_ssf import PUSH, REVOKED, RS, end, held, set_up
from tests.web.test_transaction_tokens import carried, carry, graph, handed, server  # noqa: F401

MEDIA = "application/statuslist+jwt"


def ask(url, accept=MEDIA):
    return httpx.get(url, headers={"Accept": accept} if accept else {})


def place(token):
    claims = jwt.decode(token, options={"verify_signature": False})
    return claims["status"]["status_list"]


def stands(server, token):  # noqa: F811
    """As any verifier would: the list at the token's `uri`, checked, and its bit (section 8.3)."""
    at = place(token)
    answer = ask(at["uri"])
    assert answer.status_code == 200 and answer.headers["content-type"] == MEDIA
    keys = jwt.PyJWKClient(f"{server.url}/.well-known/jwks.json")
    key = keys.get_signing_key_from_jwt(answer.text)
    assert jwt.get_unverified_header(answer.text)["typ"] == "statuslist+jwt"
    told = jwt.decode(answer.text, key, ["ES256"], options={"require": ["iat", "exp", "sub"]})
    assert told["sub"] == at["uri"] and told["exp"] - told["iat"] >= told["ttl"] > 0
    assert answer.headers["cache-control"] == f"public, max-age={told['ttl']}"
    return BitArray.load(told["status_list"])[at["idx"]] == 0


def test_every_token_that_leaves_can_be_looked_up_and_is_invalid_at_once(server, graph, handed):  # noqa: F811
    lead, task, token, other, child, below, sent = handed
    first = carried(carry(graph["billing"], sent))
    form = {
        "grant_type": EXCHANGE,
        "subject_token": token,
        "subject_token_type": ACCESS,
        "audience": "https://rs.example",
    }
    exchanged = lead.token(**form).json()["access_token"]
    tokens = [sent, first, exchanged]
    assert len({json.dumps(place(one)) for one in tokens}) == 3
    assert [stands(server, one) for one in tokens] == [True] * 3
    listed = httpx.get(f"{server.url}/status").json()["status_lists"]
    assert {place(one)["uri"] for one in tokens} <= {*listed}
    told = httpx.get(f"{server.url}/.well-known/oauth-authorization-server").json()
    assert told["status_list_aggregation_endpoint"] == f"{server.url}/status"
    other.send("POST", f"/v1/tasks/{child}/end", below, {"reason": "done"})
    assert [stands(server, one) for one in tokens] == [False, False, True]
    lead.send("POST", f"/v1/tasks/{task}/end", token, {"reason": "done"})
    assert not stands(server, exchanged)
    assert "status" not in jwt.decode(token, options={"verify_signature": False})  # Remit asks itself


def test_how_it_is_asked_for(server, handed):  # noqa: F811
    url = place(handed[-1])["uri"]
    for accept in ("", "*/*", "application/*", f"text/html, {MEDIA};q=0.5", MEDIA.upper()):
        answer = ask(url, accept)
        assert answer.status_code == 200 and answer.headers["content-type"] == MEDIA, accept
        assert answer.headers["access-control-allow-origin"] == "*" and "accept" in answer.headers["vary"].lower()
    for accept in ("application/statuslist+cwt", "text/html", f"{MEDIA};q=0", f"{MEDIA}; q = 0.000"):
        assert ask(url, accept).status_code == 406, accept
    assert ask(f"{url}?time=1686925000").status_code == 501
    assert httpx.head(url).status_code == 200


def test_lists_that_are_not_there(server, handed):  # noqa: F811
    url, number = place(handed[-1])["uri"].rsplit("/", 1)
    absent = ask(f"{url}/nothing")
    for name in (str(int(number) + 3), "-1", "1e3", "٣", f"0{number}", "9" * 40, number + "%00", ""):
        answer = ask(f"{url}/{name}")
        assert answer.status_code == 404 and answer.content == absent.content, name
    old = jwt.decode(ask(f"{url}/0").text, options={"verify_signature": False})
    bits = BitArray.load(old["status_list"])
    assert len(bits) == 2**20 and {bits[i] for i in range(0, 2**20, 997)} == {1}
    assert int(number) > 0 and WINDOW == 300_000
    assert httpx.post(f"{url}/{number}").status_code == 404


SCRIPT = Path(__file__).with_name("resource_server.mjs")
PACKAGES = ("oauth4webapi@3.8.8", "@sd-jwt/jwt-status-list@0.19.0", "jose@6.2.18")


@pytest.fixture(scope="module")
def resource_server(tmp_path_factory):
    """A resource server of other people's making, which never heard of Remit: one JSON line in, one out."""
    where = tmp_path_factory.mktemp("resource-server")
    if shutil.which("npm") is None:
        pytest.skip("npm is not here")
    install = ["npm", "install", "--silent", "--prefix", str(where), *PACKAGES]
    if subprocess.run(install, check=False, timeout=120).returncode:
        pytest.skip("its packages could not be installed")
    shutil.copy(SCRIPT, where / "resource_server.mjs")
    child = subprocess.Popen(
        ["node", str(where / "resource_server.mjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def judge(**asked):
        child.stdin.write(json.dumps(asked) + "\n")
        child.stdin.flush()
        return json.loads(child.stdout.readline())

    yield judge
    child.terminate()
    child.wait(10)


@pytest.mark.soak
def test_a_resource_server_of_others_drops_a_token(server, handed, resource_server):  # noqa: F811
    lead, task, token, other, *_, sent = handed
    form = {
        "grant_type": EXCHANGE,
        "subject_token": token,
        "subject_token_type": ACCESS,
        "audience": "https://rs.example",
    }
    exchanged = lead.token(**form).json()["access_token"]
    url = "https://rs.example/things"

    def shows(agent, text, **more):
        asked = {"issuer": server.url, "audience": "https://rs.example", "url": url, "token": text}
        return resource_server(**asked, proof=agent.key.proof("GET", url, text), **more)

    good = shows(lead, exchanged)
    assert good["ok"] and good["client"] == "lead" and shows(other, sent)["ok"], good
    assert "confirmation mismatch" in shows(other, exchanged)["error"]  # another key
    lead.send("POST", f"/v1/tasks/{task}/end", token, {"reason": "done"})
    kept = shows(lead, exchanged)  # out of its cache: so long as `ttl` says
    assert kept["ok"] and 0 < kept["ttl"] <= 15
    assert shows(lead, exchanged, later=kept["ttl"] + 1) == {"ok": False, "error": "status 1"}
    assert shows(other, sent, later=kept["ttl"] + 1) == {"ok": False, "error": "status 1"}
    bad = shows(lead, exchanged, index=2**20)
    assert not bad["ok"] and "out of bounds" in bad["error"]


@pytest.mark.soak
def test_and_at_once_when_it_is_told(tmp_path, resource_server):
    """The list it keeps still says VALID; a signal came."""
    with process(tmp_path / "data") as running:
        server = set_up(running)
        http = server.http("rs")
        port = resource_server(issuer=server.url, audience=RS, listen=True)["port"]
        to = {"method": PUSH, "endpoint_url": f"http://127.0.0.1:{port}/events"}
        http.post("/ssf/streams", json={"delivery": to, "events_requested": [REVOKED]}).raise_for_status()
        one, url = held(server), "https://rs.example/things"

        def shows():
            asked = {"issuer": server.url, "audience": RS, "url": url, "token": one[3]}
            return resource_server(**asked, proof=one[0].key.proof("GET", url, one[3]))

        assert shows()["ok"]
        end(one)
        began = time.monotonic()
        eventually(shows, lambda found: found == {"ok": False, "error": "revoked by a signal"}, seconds=5)
        assert time.monotonic() - began < 5
        told = eventually(lambda: server.http("anna").get("/v1/streams/rs").json(), lambda row: row["behind"] < 4)
        assert not told["attempts"]
        assert "SignalReturned" not in server.http("anna").get("/v1/log/entries?limit=1000").text

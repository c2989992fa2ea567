"""A person's own MCP client at `remit gateway`: the official SDK's, unmodified, for one task the person agreed to."""

from __future__ import annotations

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from urllib.parse import unquote

import httpx
import pytest
from mcp.shared.auth import AuthorizationCodeResult

from remit_client import AgentKey
from tests.docs.howtos import fenced
from tests.server import furnished, process

from .gates import NOTES, catalogue, described, free_port, gateway, tool
from .own_clients import BACK, CHALLENGE, VERIFIER, Documents, Person, heading, said

ELSEWHERE = "https://elsewhere.example/mcp"


def rule(client, resource, more=""):
    return (
        '[[attestations]]\nmethod = "client_metadata"\nallow_private_network = true\n'
        f'client_id = "{client}"\ngateways = ["{resource}", "{ELSEWHERE}"]\n{more}'
    )


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    folder, port = tmp_path_factory.mktemp("own"), free_port()
    documents = Documents(folder)
    with documents.running(), process(folder / "data", **documents.trust) as running:
        lines = described(running, "notes", [*NOTES, str(folder)])
        tools = {name: tool(line) for name, line in lines.items() if name == "notes.read_note"}
        resource = f"http://127.0.0.1:{port}/mcp"
        files = catalogue(resource, {"notes": f"command = {[*NOTES, str(folder)]}"}, tools, list(tools))
        files["remit.toml"] += '[sign_in.corp]\nissuer = "https://idp.example"\nclient_id = "remit"\n'
        work = files["purposes/work.toml"].replace('"bot", "other"', '"ide", "odd"')
        files["purposes/work.toml"] = 'initiators = ["billing"]\n' + work
        clients = {name: documents.put(f"/{name}.json") for name in ("ide", "keyed", "narrow", "moved", "slow")}
        clients["liar"] = documents.url + "/liar.json"
        documents.put("/liar.json", client_id=clients["ide"])
        clients["big"] = documents.put("/big.json", client_name="x" * 6000)
        clients["secret"] = documents.put("/secret.json", token_endpoint_auth_method="private_key_jwt")
        clients["gone"] = documents.url + "/gone.json"
        clients["metadata"] = "https://169.254.169.254/latest/client.json"
        odd = [n for n in clients if n not in ("ide", "keyed", "narrow")]
        ide = rule(clients["ide"], resource, "bearer = true\n") + rule(clients["keyed"], resource)
        ide += rule(clients["narrow"], resource, 'redirect_uris = ["https://ide.example/back"]\n')
        inside = f'[[attestations]]\nmethod = "client_metadata"\nclient_id = "{documents.url}/inside.json"\n'
        inside += f'gateways = ["{resource}"]\n'
        clients["inside"] = documents.put("/inside.json")
        files["agents/ide.toml"] = 'owner = "olga"\n' + ide
        files["agents/odd.toml"] = 'owner = "olga"\n' + inside + "".join(rule(clients[n], resource) for n in odd)
        server = furnished(running, files)
        server.clients, server.resource = clients, resource

        def look():
            began = time.monotonic()
            return Person(server, "dana").looks(**asked(server, "slow")).status_code, time.monotonic() - began

        with ThreadPoolExecutor(1) as pool, gateway(server, folder / "gw", port, "--wait", "0") as child:
            server.slow = pool.submit(look)
            server.resource, server.gateway, server.files = child.resource, child, files
            server.documents = documents
            server.dana, server.frank, server.nobody = (Person(server, n) for n in ("dana", "frank", ""))
            yield server
        said = (folder / "gw" / "gateway.log").read_text() + (folder / "data.log").read_text()
        assert "Traceback" not in said, said[-3000:]


def asked(gate, client="ide", **more):
    """A good authorization request, but for what is said here."""
    good = {
        "response_type": "code",
        "client_id": gate.clients.get(client, client),
        "redirect_uri": BACK,
        "state": "s & t=é",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "resource": gate.resource,
    }
    return {**good, **more}


def code(gate, client="ide", **more):
    return said(gate.dana.answers(gate.dana.looks(**asked(gate, client, **more))))["code"]


def redeem(gate, given, client="ide", key=None, **more):
    """The token request."""
    form = {
        "grant_type": "authorization_code",
        "code": given,
        "redirect_uri": BACK,
        "client_id": gate.clients[client],
        "code_verifier": VERIFIER,
        "resource": gate.resource,
        **more,
    }
    url = f"{gate.url}/oauth/token"
    headers = {"DPoP": key.proof("POST", url)} if key else {}
    return httpx.post(url, data={n: v for n, v in form.items() if v is not None}, headers=headers)


def at_gateway(gate, token, scheme="Bearer", key=None):
    """Whether the gateway lets this in: the status of a call."""
    headers = {"Authorization": f"{scheme} {token}", "Accept": "application/json, text/event-stream"}
    if key:
        headers["DPoP"] = key.proof("POST", gate.resource, token)
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}
    return httpx.post(gate.resource, json=body, headers=headers).status_code


class Kept:
    """The SDK's token storage, in memory."""

    tokens = client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


def test_the_official_sdks_client_signs_a_person_in_and_calls_tools(gate):
    answered = SimpleNamespace(location="")
    storage = Kept()

    async def to_browser(url):
        page = await asyncio.to_thread(gate.dana.http.get, url)
        answered.said = said(await asyncio.to_thread(gate.dana.answers, page, goal="File the notes"))

    async def back():
        return AuthorizationCodeResult(**{n: answered.said[n] for n in ("code", "state", "iss")})

    names = {}
    exec(fenced("gateway.md", "python")[0], names)
    found = asyncio.run(names["read"](gate.resource, gate.clients["ide"], BACK, storage, to_browser, back))
    assert found.content[0].text == "note monday REMIT=False"
    assert storage.tokens.refresh_token is None and storage.tokens.expires_in <= 600
    task = next(one for one in gate.http("dana").get("/v1/tasks").json()["items"] if one["goal"] == "File the notes")
    assert (task["agent"], task["initiator"], task["purpose"]) == ("ide", "person:dana", "work")


def test_a_client_with_a_key_has_a_token_for_that_key_alone(gate):
    key, thief = AgentKey.generate(), AgentKey.generate()
    answer = redeem(gate, code(gate, "keyed"), "keyed", key).json()
    token = answer["access_token"]
    assert answer["token_type"] == "DPoP"
    assert at_gateway(gate, token, "DPoP", key) == 200
    assert at_gateway(gate, token, "Bearer") == 401  # never without its proof, though others may come so
    assert at_gateway(gate, token, "DPoP", thief) == 401
    # Its key begins nothing: not a task, not a token for Remit itself (law 1).
    form = {"grant_type": "client_credentials", "client_assertion": key.assertion("ide", gate.url)}
    form["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    form["authorization_details"] = '[{"type": "work", "goal": "more"}]'
    url = f"{gate.url}/oauth/token"
    assert httpx.post(url, data=form, headers={"DPoP": key.proof("POST", url)}).status_code == 401
    assert redeem(gate, code(gate, "keyed"), "keyed").json()["error"] == "invalid_grant"  # no key, no `bearer = true`


def test_a_bearer_token_is_good_at_its_gateway_and_nowhere_at_remit(gate):
    answer = redeem(gate, code(gate)).json()
    token, task = answer["access_token"], answer["authorization_details"][0]["task"]
    assert answer["token_type"] == "Bearer" and 0 < answer["expires_in"] <= 600 and "refresh_token" not in answer
    assert at_gateway(gate, token) == 200 and at_gateway(gate, token, "DPoP", AgentKey.generate()) == 401
    for scheme in ("Bearer", "DPoP"):
        for method, path in (
            ("GET", "/v1/whoami"),
            ("GET", f"/v1/tasks/{task}"),
            ("POST", f"/v1/tasks/{task}/calls"),
            ("POST", f"/v1/tasks/{task}/credentials"),
            ("POST", "/v1/hooks/claude-code"),
            ("POST", "/oauth/revoke"),
            ("GET", "/oauth/authorize"),
        ):
            key = AgentKey.generate()
            headers = {"Authorization": f"{scheme} {token}", "DPoP": key.proof(method, gate.url + path, token)}
            assert httpx.request(method, gate.url + path, headers=headers).status_code == 401, (scheme, path)
    said = gate.http("gate").post("/oauth/introspect", data={"token": token}).json()
    assert said["active"] and said["token_type"] == "Bearer" and "cnf" not in said and said["aud"] == gate.resource


def test_what_the_gateway_and_the_metadata_say_is_so(gate):
    origin = gate.resource.removesuffix("/mcp")
    said = httpx.get(f"{origin}/.well-known/oauth-protected-resource/mcp").json()
    assert said["authorization_servers"] == [gate.url] and said["dpop_bound_access_tokens_required"] is False
    challenge = httpx.post(gate.resource).headers["www-authenticate"]
    assert challenge.startswith("DPoP ") and f'Bearer resource_metadata="{origin}/.well-known/' in challenge
    at = httpx.get(f"{gate.url}/.well-known/oauth-authorization-server").json()
    assert at["authorization_endpoint"].endswith("/oauth/authorize") and at["response_types_supported"] == ["code"]
    assert at["code_challenge_methods_supported"] == ["S256"] and "none" in at["token_endpoint_auth_methods_supported"]
    assert at["client_id_metadata_document_supported"] and at["authorization_response_iss_parameter_supported"]


def test_a_code_is_good_once_and_shown_twice_ends_its_task(gate):
    first = code(gate)
    token = redeem(gate, first).json()["access_token"]
    assert at_gateway(gate, token) == 200
    again = redeem(gate, first)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    time.sleep(1.1)
    assert at_gateway(gate, token) == 401
    assert redeem(gate, first).json()["error"] == "invalid_grant"
    for path in (gate.data / "remit.db", gate.data / "remit.db-wal"):
        assert first.encode() not in path.read_bytes()  # only its digest is kept
    assert first not in gate.http("anna").get("/v1/log/entries").text


@pytest.mark.parametrize(
    "wrong",
    [
        {"client": "keyed"},
        {"code_verifier": "w" * 43},
        {"code_verifier": CHALLENGE},  # as with `plain`
        {"redirect_uri": "https://ide.example/back"},
        {"redirect_uri": BACK.replace("7999", "7998")},
        {"resource": ELSEWHERE},
    ],
    ids=str,
)
def test_a_code_shown_otherwise_than_agreed_is_void(gate, wrong):
    one = code(gate)
    answer = redeem(gate, one, **wrong)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant"), answer.text
    assert redeem(gate, one).json()["error"] == "invalid_grant"  # nor may anybody try again


@pytest.mark.parametrize("gone", ["resource", "code", "code_verifier", "client_id", "redirect_uri"])
def test_a_token_request_that_leaves_something_out_is_refused(gate, gone):
    answer = redeem(gate, "code_x", **{gone: None})
    assert answer.status_code == 400 and answer.json()["error"] in ("invalid_request", "invalid_target")


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"resource": None}, "invalid_target"),
        ({"resource": "https://rs.example"}, "invalid_target"),
        ({"resource": ELSEWHERE}, "invalid_target"),  # in the client's entry, and no purpose grants it
        ({"prompt": "none"}, "consent_required"),
        ({"request": "x.y.z"}, "request_not_supported"),
        ({"request_uri": "https://x.example"}, "request_uri_not_supported"),
        ({"authorization_details": '[{"type": "pay", "goal": "g"}]'}, "invalid_authorization_details"),
        ({"authorization_details": '[{"type": "work", "task": "tsk_1"}]'}, "invalid_authorization_details"),
        ({"authorization_details": "nonsense"}, "invalid_authorization_details"),
    ],
    ids=str,
)
def test_what_the_client_asks_wrong_it_is_told_with_its_state_and_who_says_so(gate, wrong, error):
    found = said(gate.dana.looks(**asked(gate, **wrong)))
    assert (found["error"], found["state"], found["iss"]) == (error, "s & t=é", gate.url) and "code" not in found


@pytest.mark.parametrize(
    "uri",
    [
        None,
        "https://ide.example/back/",
        "https://ide.example/back#x",
        "https://ide.example.evil/back",
        "https://ide.example@evil.example/back",
        "https://IDE.example/back",
        "https://ide.example:8443/back",
        "https://ide.example/back?x=1",
        "https://ide.example/back/../steal",
        "http://ide.example/back",
        "http://127.0.0.1:7999/other",
        "http://127.0.0.1.evil.example/callback",
        "http://localhost:7999/callback",
        "http://127.0.0.1:7999@evil.example/callback",
        "http://127.0.0.1:99999/callback",
        "javascript:alert(1)",
        "myapp:/callback",
    ],
)
def test_an_address_that_is_not_exactly_the_clients_is_never_gone_to(gate, uri):
    answer = gate.dana.looks(**asked(gate, redirect_uri=uri))
    assert answer.status_code == 400 and "location" not in answer.headers
    form = {**asked(gate, redirect_uri=uri or ""), "form_token": token_of(gate), "answer": "no"}
    answer = gate.dana.http.post("/oauth/authorize", data=form)
    assert answer.status_code == 400 and "location" not in answer.headers


def test_on_loopback_the_port_may_be_another_and_the_catalogue_may_allow_less(gate):
    other = BACK.replace("7999", "43210")
    answer = gate.dana.answers(gate.dana.looks(**asked(gate, redirect_uri=other)))
    assert answer.headers["location"].startswith(other + "?code=")
    assert gate.dana.looks(**asked(gate, "narrow")).status_code == 400
    assert gate.dana.looks(**asked(gate, "narrow", redirect_uri="https://ide.example/back")).status_code == 200


def token_of(gate):
    page = gate.dana.looks(**asked(gate))
    return page.text.partition('name="form_token" value="')[2].partition('"')[0]


@pytest.mark.parametrize("client", ["liar", "big", "secret", "gone", "moved", "metadata", "inside"])
def test_a_document_that_is_wrong_or_not_to_be_fetched_stays_with_us(gate, client):
    before = len(gate.documents.fetched)
    answer = gate.dana.looks(**asked(gate, client))
    assert answer.status_code in (400, 413, 503) and "location" not in answer.headers, answer.text
    assert "Traceback" not in answer.text and "169.254" not in answer.text
    fetched = gate.documents.fetched[before:]
    assert fetched == ([] if client in ("metadata", "inside") else [f"/{client}.json"])  # no redirect is followed


def test_unknown_clients_and_people_without_a_purpose_see_the_same(gate):
    before = len(gate.documents.fetched)
    unknown = gate.frank.looks(**asked(gate, "https://evil.example/client.json"))
    hidden = gate.frank.looks(**asked(gate))
    assert re.sub(r'data-now="\d+"', "", unknown.text) == re.sub(r'data-now="\d+"', "", hidden.text)
    assert unknown.status_code == hidden.status_code == 404 and "location" not in unknown.headers
    assert gate.documents.fetched[before:] == []  # nothing is fetched for whoever may not have it
    form = {**asked(gate), "answer": "yes", "purpose": "work", "goal": "g", "shown": "x"}
    page = gate.frank.http.get("/console").text.partition('name="form_token" value="')[2].partition('"')[0]
    assert gate.frank.http.post("/oauth/authorize", data={**form, "form_token": page}).status_code == 404
    assert gate.nobody.looks(**asked(gate)).status_code == 401
    assert gate.documents.fetched[before:] == []


def test_consent_is_given_on_our_page_by_the_person_alone(gate):
    page = gate.dana.looks(**asked(gate))
    policy = page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy and page.headers["x-frame-options"] == "DENY"  # clickjacking
    assert "form-action 'self' http://127.0.0.1:7999;" in policy and "script-src 'self';" in policy
    form = {**asked(gate), "answer": "yes", "purpose": "work", "goal": "g"}
    for headers, token in (
        ({"Sec-Fetch-Site": "cross-site"}, token_of(gate)),
        ({"Sec-Fetch-Site": "same-site"}, token_of(gate)),
        ({"Sec-Fetch-Site": "", "Origin": "https://evil.example"}, token_of(gate)),
        ({}, "0" * 32),
        ({}, ""),
    ):
        answer = gate.dana.http.post("/oauth/authorize", data={**form, "form_token": token}, headers=headers)
        assert answer.status_code == 403 and "location" not in answer.headers, (headers, token)
    # An operator's key, an agent and nobody are no person.
    for who in ("operator", "gate", "anna"):
        assert gate.http(who).get("/oauth/authorize", params=asked(gate)).status_code == 403


def test_no_is_no_and_nothing_is_remembered(gate):
    page = gate.dana.looks(**asked(gate))
    found = said(gate.dana.answers(page, "no"))
    assert (found["error"], found["state"], found["iss"]) == ("access_denied", "s & t=é", gate.url)
    assert said(gate.dana.answers(page, "yes"))["code"].startswith("code_")
    assert gate.dana.looks(**asked(gate)).status_code == 200  # asked again, every time
    assert "state" not in said(gate.dana.answers(gate.dana.looks(**asked(gate, state=None))))


def test_a_yes_is_to_exactly_what_was_shown(gate):
    page = gate.dana.looks(**asked(gate))
    gate.documents.put("/ide.json", client_name="Another")
    assert gate.dana.answers(page).status_code == 409
    gate.documents.put("/ide.json")
    assert gate.dana.answers(page, shown="another").status_code == 409
    assert gate.dana.answers(page, revision="0" * 16).status_code == 409
    assert gate.dana.answers(page, purpose="work", goal=" ").status_code == 400
    again = gate.dana.answers(page, **{"parameter.x": "1"})
    assert again.status_code == 400 and "no such parameter" in again.text and "tidy up" in again.text
    found = gate.dana.looks(**asked(gate, authorization_details='[{"type": "work", "goal": "From the IDE"}]'))
    assert "From the IDE" in found.text and heading(found) == f"Let {gate.documents.url[8:]} work for you?"
    assert "any program on it could be" in found.text
    assert (
        "any program on it could be" not in gate.dana.looks(**asked(gate, redirect_uri="https://ide.example/back")).text
    )


def test_the_person_a_freeze_and_the_catalogue_end_it_within_a_second(gate):

    def fresh():
        answer = redeem(gate, code(gate)).json()
        assert at_gateway(gate, answer["access_token"]) == 200
        return answer["access_token"], answer["authorization_details"][0]["task"]

    def dead(token):
        time.sleep(1.05)
        return at_gateway(gate, token) == 401

    token, task = fresh()
    assert gate.http("dana").post(f"/v1/tasks/{task}/end", json={"reason": "enough"}).status_code == 200
    assert dead(token)
    token, _ = fresh()
    gate.http("operator").post("/v1/freezes", json={"reach": "agent", "name": "ide", "reason": "r"})
    assert dead(token)
    refused = redeem(gate, code(gate))  # agreed to, and then refused as every other proposal is
    assert (refused.status_code, refused.json()["error"]) == (403, "access_denied")
    gate.http("operator").post("/v1/freezes/end", json={"reach": "agent", "name": "ide", "reason": "r"})
    token, _ = fresh()
    waiting = code(gate)
    without = {**gate.files, "agents/ide.toml": gate.files["agents/ide.toml"].replace("/ide.json", "/other.json")}
    operator = gate.http("operator")
    assert operator.post("/v1/catalogue", json={"files": without}).status_code == 200
    assert dead(token) and redeem(gate, waiting).json()["error"] == "invalid_grant"
    assert operator.post("/v1/catalogue", json={"files": gate.files}).status_code == 200


def test_signing_in_leads_back_to_what_was_asked(gate):
    page = gate.nobody.looks(**asked(gate))
    back = re.search(r'href="/sign-in/with/corp\?next=([^"]+)"', page.text)
    assert page.status_code == 401 and back
    again = gate.dana.http.get(unquote(back[1]))
    assert again.status_code == 200 and heading(again).startswith("Let 127.0.0.1")


def test_a_slow_document_is_not_waited_for_and_nobody_else_waits(gate):
    status, took = gate.slow.result()  # asked before every other test
    assert status == 503 and took < 7

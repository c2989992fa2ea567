"""Signing in with an identity provider over real HTTP: a faithful one, and every way in which one may be used wrongly."""

from __future__ import annotations

import re

import httpx
import pytest

from remit.formats import signing_key
from tests.oidc_house import SECRET, Provider
from tests.server import CATALOGUE, furnished, process


@pytest.fixture(scope="module")
def provider():
    with Provider() as running:
        yield running


@pytest.fixture(scope="module")
def signing(tmp_path_factory, provider):
    """A server whose catalogue has that provider, and another one that nobody runs."""
    entry = f"""
[sign_in.company]
issuer = "{provider.url}"
client_id = "remit"
client_secret_env = "COMPANY_SECRET"
title = "Company"
allow_private_network = true
[sign_in.company.roles]
operator = ["admins"]
[sign_in.company.approvers]
finance = ["fin"]
[sign_in.other]
issuer = "{provider.url.replace("127.0.0.1", "localhost")}"
client_id = "remit"
client_secret_env = "COMPANY_SECRET"
allow_private_network = true
"""
    files = {**CATALOGUE, "remit.toml": CATALOGUE["remit.toml"] + entry}
    with process(tmp_path_factory.mktemp("oidc") / "data", COMPANY_SECRET=SECRET) as running:
        yield furnished(running, files)


def chrome(server):
    """A browser as far as HTTP shows one, at the name people use."""
    return httpx.Client(
        base_url=server.url.replace("127.0.0.1", "localhost"),
        headers={"Accept": "text/html"},
        trust_env=False,
        timeout=20,
    )


def leave(http, provider="company", then="/console/tasks"):
    answer = http.get(f"/sign-in/with/{provider}", params={"next": then})
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


def test_one_signs_in_and_goes_on_where_one_wanted(signing, provider):
    http = chrome(signing)
    assert "Sign in with Company" in http.get("/console/tasks").text
    came = http.get("/sign-in/callback", params=provider.consents(leave(http), groups=["fin", "x"]))
    assert (came.status_code, came.headers["location"]) == (303, "/console/tasks")
    assert "dana" in http.get("/console").text
    listed = signing.http("dana").get("/v1/sessions").json()["items"]
    assert [(one["name"], one["roles"], one["way"].split(":")[:2]) for one in listed] == [("dana", ["person"], ["oidc", "company"])]  # fmt: skip
    _, form = provider.posts[-1]
    assert SECRET not in form and "code_verifier=" in form
    for path in (signing.data / "remit.db", signing.data / "remit.db-wal", signing.data.with_suffix(".log")):
        assert SECRET.encode() not in path.read_bytes()


def test_groups_give_roles_and_nobody_gets_in_without_a_part_here(signing, provider):
    http = chrome(signing)
    came = http.get("/sign-in/callback", params=provider.consents(leave(http), preferred_username="root", groups=["admins"]))  # fmt: skip
    assert came.status_code == 303 and "operator" in http.get("/console").text
    for claims in (
        {"preferred_username": "eve"},
        {"preferred_username": "eve", "groups": ["fin"]},
        {"preferred_username": None},
    ):
        http = chrome(signing)
        refused = http.get("/sign-in/callback", params=provider.consents(leave(http), **claims))
        assert refused.status_code == 401 and "no part here" in refused.text
        assert http.get("/console").status_code == 401


def test_an_approving_group_of_the_provider_counts_for_that_session_alone(signing, provider):
    bot = signing.agent()
    task, token = bot.task()
    held = bot.call(task, token, "pay", {"customer": "acme", "invoice": 1, "amount": "1.00"})["approval"]["id"]
    digest = signing.http("frank").get(f"/v1/approvals/{held}").json()["digest"]
    assert signing.http("dana").get(f"/v1/approvals/{held}").status_code == 404  # with a key she is not of finance
    for groups, page in (([], 404), (["fin"], 200)):
        http = chrome(signing)
        assert http.get("/sign-in/callback", params=provider.consents(leave(http), groups=groups)).status_code == 303
        assert http.get(f"/console/approvals/{held}").status_code == page
    form = {"form_token": re.search(r'name="form_token" value="([0-9a-f]+)"', http.get("/console").text)[1]}
    form |= {"answer": "yes", "digest": digest, "confirmed": digest}
    answered = http.post(f"/console/approvals/{held}/answer", data=form, headers={"Sec-Fetch-Site": "same-origin"})
    assert answered.status_code == 303, answered.text
    (answer,) = signing.http("frank").get(f"/v1/approvals/{held}").json()["answers"]
    assert (answer["person"], answer["groups"]) == ("dana", ["billing", "finance"])


FLAWS = {
    "another nonce": {"nonce": "x"},
    "no nonce": {"nonce": None},
    "another audience": {"aud": "another"},
    "several audiences and no azp": {"aud": ["remit", "another"]},
    "issued to another client": {"azp": "another"},
    "another issuer": {"iss": "https://login.evil.example"},
    "expired": {"exp": 1_000_000_000},
    "of the future": {"iat": 4_000_000_000, "nbf": 4_000_000_000},
    "no subject": {"sub": None},
    "another key": {"_key": signing_key.generate("ES256")},
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_an_id_token_with_a_flaw_signs_nobody_in(signing, provider, flaw):
    http = chrome(signing)
    params = provider.consents(leave(http))
    provider.flaws = FLAWS[flaw]
    try:
        refused = http.get("/sign-in/callback", params=params)
    finally:
        provider.flaws = {}
    assert refused.status_code == 401 and "did not sign you in" in refused.text, flaw
    assert http.get("/console").status_code == 401


def test_another_browsers_answer_signs_nobody_in(signing, provider):
    """Login CSRF: the attacker's own code and state, at the victim's browser."""
    attacker, victim = chrome(signing), chrome(signing)
    params = provider.consents(leave(attacker), preferred_username="frank")
    assert victim.get("/sign-in/callback", params=params).status_code == 401  # it never left for there
    leave(victim)
    assert victim.get("/sign-in/callback", params=params).status_code == 401  # it left with another state
    assert victim.get("/sign-in/callback", params={**params, "state": ""}).status_code == 401
    assert victim.get("/console").status_code == 401
    assert attacker.get("/sign-in/callback", params=params).status_code == 303  # the answer itself was good


def test_an_answer_is_good_once(signing, provider):
    http = chrome(signing)
    params = provider.consents(leave(http))
    kept = dict(http.cookies)
    assert http.get("/sign-in/callback", params=params).status_code == 303
    again = httpx.Client(base_url=str(http.base_url), cookies=kept, trust_env=False)
    posts = len(provider.posts)
    replayed = again.get("/sign-in/callback", params=params)
    assert (replayed.status_code, replayed.json()["code"]) == (401, "RMT-2004")
    assert len(provider.posts) == posts  # the code did not even leave
    http = chrome(signing)  # another sign-in with the used code: the provider refuses it
    fresh = provider.consents(leave(http))
    assert http.get("/sign-in/callback", params={**fresh, "code": params["code"]}).status_code == 401


def test_an_answer_of_another_provider_is_refused(signing, provider):
    """Mix-up (RFC 9207): the browser left for one and comes back from another."""
    for iss in ("https://login.evil.example", "", provider.url + "/"):
        http = chrome(signing)
        assert http.get("/sign-in/callback", params={**provider.consents(leave(http)), "iss": iss}).status_code == 401
    http = chrome(signing)
    params = provider.consents(leave(http))
    cookies = [name for name in http.cookies if name.endswith("-login")]
    assert len(cookies) == 1
    forged = http.cookies[cookies[0]][:-4] + "AAAA"
    http.cookies.clear()
    http.cookies.set(cookies[0], forged, domain="localhost.local")
    assert http.get("/sign-in/callback", params=params).status_code == 401


def test_a_code_needs_the_verifier_of_the_browser_that_left(signing, provider):
    """PKCE: a code that was stolen on its way is no use to another sign-in."""
    one, two = chrome(signing), chrome(signing)
    stolen = provider.consents(leave(one), preferred_username="frank")["code"]
    mine = provider.consents(leave(two))
    assert two.get("/sign-in/callback", params={**mine, "code": stolen}).status_code == 401


def test_one_is_never_sent_to_another_host_afterwards(signing, provider):
    for then in ("//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"):
        http = chrome(signing)
        came = http.get("/sign-in/callback", params=provider.consents(leave(http, then=then)))
        assert came.headers["location"] == "/console"


def test_a_provider_that_says_no_or_is_not_there(signing, provider):
    http = chrome(signing)
    state = provider.consents(leave(http))["state"]
    refused = http.get("/sign-in/callback", params={"state": state, "error": "access_denied", "iss": provider.url})
    assert refused.status_code == 401 and "Nothing has happened" in refused.text
    assert http.get("/sign-in/with/nobody").status_code == 404
    assert http.get("/sign-in/with/other").status_code == 503  # its metadata names another issuer
    by_number = httpx.get(f"{signing.url}/sign-in/with/company", headers={"Accept": "text/html"})
    assert by_number.status_code == 303 and by_number.headers["location"].startswith("http://localhost:")


def test_a_session_ends_when_its_provider_is_written_otherwise(tmp_path, provider):
    entry = f'\n[sign_in.company]\nissuer = "{provider.url}"\nclient_id = "remit"\nclient_secret_env = "S"\nallow_private_network = true\n'
    files = {**CATALOGUE, "remit.toml": CATALOGUE["remit.toml"] + entry}
    with process(tmp_path / "data", S=SECRET) as running:
        server = furnished(running, files)
        http = chrome(server)
        assert http.get("/sign-in/callback", params=provider.consents(leave(http))).status_code == 303
        left = chrome(server)
        params = provider.consents(leave(left))
        files["remit.toml"] += 'groups = "memberOf"\n'
        assert server.http("operator").post("/v1/catalogue", json={"files": files}).is_success
        assert http.get("/console").status_code == 401
        assert left.get("/sign-in/callback", params=params).status_code == 401

"""A directory says over SCIM who is here: checked by somebody else's tester, then attacked."""

from __future__ import annotations

import time

import httpx
import pytest
from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server

from tests.server import CATALOGUE, eventually, furnished, process

HR = '[directories.hr]\npeople = { olga = "Olga@Example.com", dana = "dana@example.com" }\n[directories.other]\n'
FILES = {**CATALOGUE, "remit.toml": CATALOGUE["remit.toml"].replace("[directories.hr]\n", HR)}
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with process(tmp_path_factory.mktemp("scim") / "data") as running:
        furnished(running, FILES)
        for name in ("hr", "other"):
            made = running.http("operator").post("/v1/keys", json={"kind": "directory", "name": name})
            assert made.status_code == 201, made.text
            running.keys[name] = made.json()["key"]
        yield running


def scim(server, who="hr"):
    http = server.http(who)
    http.base_url = f"{server.url}/scim/v2"
    http.headers["Content-Type"] = "application/scim+json"
    return http


def left(server):
    """Who has left, as the successions tell."""
    items = server.http("operator").get("/v1/successions").json()["items"]
    return {one["owner"] for one in items if one["state"] != "over"}


def test_somebody_elses_tester_finds_nothing(server):
    headers = {"Authorization": f"Bearer {server.keys['hr']}"}
    client = SyncSCIMClient(Client(base_url=f"{server.url}/scim/v2", headers=headers))
    results = check_server(client)
    for one in results:
        print(one.status.name, one.title, one.reason)
    fine = (Status.SUCCESS, Status.SKIPPED, Status.COMPLIANT)
    # RFC 7643 section 2.5: what is unassigned has its default, and an account of which nothing is said is active.
    default = "PATCH modify() did not remove attribute 'active'"
    bad = [one for one in results if one.status not in fine and one.reason != default]
    assert len(results) > 20 and not bad, [(one.title, one.reason) for one in bad]


def test_whoever_is_inactive_there_has_left_here_and_comes_back_with_it(server):
    http, bot = scim(server), server.agent()
    made = http.post("/Users", json={"schemas": [USER], "userName": "olga@example.com", "externalId": "7"})
    assert made.status_code == 201 and made.json()["active"] is True
    where = f"/Users/{made.json()['id']}"
    again = http.post("/Users", json={"schemas": [USER], "userName": "OLGA@example.com"})
    assert again.status_code == 409 and again.json()["scimType"] == "uniqueness"
    found = http.get("/Users", params={"filter": 'userName eq "OLGA@EXAMPLE.COM"'}).json()
    assert found["totalResults"] == 1 and found["Resources"][0]["externalId"] == "7"
    entra = {"schemas": [PATCH], "Operations": [{"op": "Replace", "path": "active", "value": "False"}]}
    assert http.patch(where, json=entra).json()["active"] is False
    assert server.http("olga").get("/v1/whoami").status_code == 401
    eventually(lambda: left(server), lambda who: who == {"olga"})
    agents = {one["name"]: one for one in server.http("operator").get("/v1/agents").json()["items"]}
    assert agents["bot"]["succession"]["missing"] == "left" and agents["bot"]["state"] == "active"
    assert bot.call(*bot.task())["decision"] == "permit"  # its grace is not over
    shown = server.cli("agent", "list").stdout
    assert "nobody (left), 167 h left" in shown
    okta = {"schemas": [PATCH], "Operations": [{"op": "replace", "value": {"active": True, "nickName": "o"}}]}
    assert http.patch(where, json=okta).json()["active"] is True
    assert server.http("olga").get("/v1/whoami").status_code == 200
    eventually(lambda: left(server), lambda who: who == set())
    assert http.delete(where).status_code == 204 and http.get(where).status_code == 404
    eventually(lambda: left(server), lambda who: who == {"olga"})
    assert http.post("/Users", json={"schemas": [USER], "userName": "olga@example.com"}).status_code == 201
    eventually(lambda: left(server), lambda who: who == set())


def test_whom_somebody_else_said_had_left_a_directory_does_not_bring_back(server):
    http, operator = scim(server), server.http("operator")
    made = http.post("/Users", json={"schemas": [USER], "userName": "dana@example.com"}).json()
    assert operator.post("/v1/people/dana/leave", json={"reason": "for cause"}).status_code == 200
    body = {"schemas": [USER], "userName": "dana@example.com", "active": True}
    for active in (False, True):
        assert http.put(f"/Users/{made['id']}", json={**body, "active": active}).status_code == 200
    assert server.http("dana").get("/v1/whoami").status_code == 401
    assert operator.post("/v1/people/dana/return", json={}).status_code == 200


def test_one_directory_knows_nothing_of_anothers_accounts(server):
    made = scim(server).post("/Users", json={"schemas": [USER], "userName": "x@example.com"}).json()
    other = scim(server, "other")
    for answer in (
        other.get(f"/Users/{made['id']}"),
        other.delete(f"/Users/{made['id']}"),
        other.put(f"/Users/{made['id']}", json={"schemas": [USER], "userName": "x@example.com"}),
        other.get("/Users/..%2Fhr%2F" + made["id"]),
    ):
        assert answer.status_code == 404
    assert other.get("/Users").json()["totalResults"] == 0


def settled(server):
    """How long the log is once nothing that was done before is still being written to it."""
    with server.http("operator") as http:

        def twice():
            size = http.get("/v1/log").json()["size"]
            time.sleep(0.3)
            return size, http.get("/v1/log").json()["size"]

        return eventually(twice, lambda sizes: sizes[0] == sizes[1])[0]


@pytest.mark.parametrize("who", ["", "operator", "olga", "anna", "gate"])
def test_a_forged_push_stops_nothing(server, who):
    body = {"schemas": [USER], "userName": "olga@example.com", "active": False}
    http = scim(server, who)
    before = settled(server)
    for method, path in (("POST", "/Users"), ("PUT", "/Users/x"), ("PATCH", "/Users/x"), ("DELETE", "/Users/x")):
        assert http.request(method, path, json=body).status_code == (403 if who else 401)
    assert left(server) == set() and not server.http("operator").get("/v1/freezes").json()["items"]
    assert settled(server) == before


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"schemas":["%s"]}' % USER.encode(), 400),
        (b'{"schemas":["%s"],"userName":""}' % USER.encode(), 400),
        (b'{"schemas":["%s"],"userName":"a\\u0000b"}' % USER.encode(), 400),
        (b'{"schemas":["%s"],"userName":"%s"}' % (USER.encode(), b"x" * 1001), 400),
        (b'{"schemas":["%s"],"userName":"x","active":"perhaps"}' % USER.encode(), 400),
        (b"x" * 70_000, 413),
        (b"[" * 20_000, 413),
    ],
)
def test_bad_bodies(server, body, status):
    answer = scim(server).post("/Users", content=body)
    assert answer.status_code == status and answer.json()["schemas"][0].endswith(":Error"), answer.text


@pytest.mark.parametrize(
    "text",
    ["userName", 'userName sw "o"', 'userName eq "o" or active eq true', 'userName eq "\\', 'a eq "b"', "x" * 2000],
)
def test_other_filters_are_refused(server, text):
    answer = scim(server).get("/Users", params={"filter": text})
    assert answer.status_code == 400 and answer.json()["scimType"] in ("invalidFilter", "invalidValue")


def test_a_key_of_a_directory_that_is_no_more_is_refused(server):
    operator = server.http("operator")
    assert operator.post("/v1/keys", json={"kind": "directory", "name": "nobody"}).status_code == 404
    without = {**FILES, "remit.toml": FILES["remit.toml"].replace("[directories.other]\n", "")}
    assert operator.post("/v1/catalogue", json={"files": without}).status_code == 200
    assert scim(server, "other").get("/Users").status_code == 401
    assert operator.post("/v1/catalogue", json={"files": FILES}).status_code == 200
    assert scim(server, "other").get("/Users").status_code == 200
    assert httpx.get(f"{server.url}/scim/v2/Nothing").json()["status"] == "404"

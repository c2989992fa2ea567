"""Leases in the console: what lives where, what will not die, and ending one."""

from __future__ import annotations

import pytest

from tests.server import CATALOGUE, eventually

from .browser import console
from .signed_in import SignedIn

FILES = {
    **CATALOGUE,
    "remit.toml": CATALOGUE["remit.toml"] + '[issuers.gone]\nkind = "redis"\ndsn_file = "gone.dsn"\n',
    "purposes/pay.toml": CATALOGUE["purposes/pay.toml"]
    + '[[credentials]]\nname = "cache"\nissuer = "gone"\nttl = "10m"\ngrants = { commands = ["get"], keys = [{ exact = ["a"] }] }\n',
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("leases")
    (folder / "gone.dsn").write_text("redis://127.0.0.1:1/0")
    files = {name: text.replace("gone.dsn", str(folder / "gone.dsn")) for name, text in FILES.items()}
    with console(folder / "data", files) as running:
        yield running


def leases(http, query=""):
    return http.get(f"/console/leases.json{query}").json()


def test_what_lives_and_what_will_not_die_is_seen_by_issuer(server):
    bot, anna = server.agent(), server.http("anna")
    task, token = bot.task(goal="warm the cache")
    assert bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "rs"}).status_code == 201
    assert bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "cache"}).status_code == 503
    found = eventually(lambda: leases(anna), lambda it: it["ending"] and it["ending"][0]["attempts"])
    (dying,) = found["ending"]
    assert (dying["issuer"], dying["waits"], dying["goal"]) == ("gone", "retry", "warm the cache")
    assert dying["last_error"]
    by_issuer = {one["name"]: (one["live"], one["reserved"], one["ending"]) for one in found["issuers"]}
    assert by_issuer == {"box": (0, 0, 0), "gone": (0, 0, 1), "tokens": (1, 0, 0)}
    assert [one["credential"] for one in found["items"]] == ["rs"]
    assert [one["id"] for one in leases(anna, "?state=ending&issuer=gone")["items"]] == [dying["id"]]
    assert leases(anna, "?state=ending&issuer=tokens")["items"] == []
    page = anna.get(f"/console/leases/{dying['id']}", headers={"Accept": "text/html"}).text
    assert "kills failed" in page and "/end" not in page
    assert anna.get("/console/leases.json?state=odd").status_code == 400


def test_people_see_the_leases_of_their_tasks_and_no_others(server):
    bot = server.agent()
    task, token = bot.task()
    lease = bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "rs"}).json()["id"]
    olga, frank = server.http("olga"), server.http("frank")
    assert lease in [one["id"] for one in leases(olga)["items"]] and leases(olga)["issuers"] == []
    assert (leases(frank)["items"], leases(frank)["ending"], leases(frank)["issuers"]) == ([], [], [])
    assert olga.get(f"/console/leases/{lease}.json").status_code == 200
    hidden, absent = frank.get(f"/console/leases/{lease}.json"), frank.get("/console/leases/lse_nothing.json")
    assert (hidden.status_code, hidden.content) == (404, absent.content)


def test_one_credential_is_ended_and_its_task_goes_on(server):
    bot = server.agent()
    task, token = bot.task()
    lease = bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "rs"}).json()["id"]
    olga, frank, anna = SignedIn(server, "olga"), SignedIn(server, "frank"), SignedIn(server, "anna", "auditor")
    assert frank.post(f"/console/leases/{lease}/end", reason="x").status_code == 404
    assert anna.post(f"/console/leases/{lease}/end", reason="x").status_code == 403
    assert olga.http.post(f"/console/leases/{lease}/end", data={"reason": "x"}).status_code == 403
    assert olga.json(f"/console/leases/{lease}")["may_end"]
    assert olga.post(f"/console/leases/{lease}/end", reason="leaked").status_code == 303
    found = eventually(
        lambda: olga.json(f"/console/leases/{lease}"),
        lambda it: it["lease"]["state"] == "ended" and len(it["events"]) == 4,
    )
    assert [line["says"] for line in found["events"]][-2:] == [
        "rs must die: leaked",
        "Dead: its issuer confirmed that rs is",
    ]
    assert found["task"]["state"] == "open" and bot.call(task, token)["decision"] == "permit"


def test_the_api_and_the_command_end_one_too(server):
    bot = server.agent()
    task, token = bot.task()
    lease = bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "rs"}).json()["id"]
    refused = server.http("frank").post(f"/v1/leases/{lease}/end", json={})
    assert (refused.status_code, refused.content) == (
        404,
        server.http("frank").post("/v1/leases/x/end", json={}).content,
    )
    done = server.cli("lease", "end", lease, "--reason", "leaked", REMIT_KEY=server.keys["olga"], REMIT_URL=server.url)
    assert done.returncode == 0 and lease in done.stdout, done.stderr
    assert server.http("operator").post(f"/v1/leases/{lease}/end", json={}).json()["end_reason"] == "leaked"

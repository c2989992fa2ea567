"""Settings: for operators, without a secret, with the command that changes each."""

from __future__ import annotations

import json

from remit.domain.keys import ROTATED, WHEN_NEEDED

from .signed_in import SignedIn


def test_it_says_what_the_api_says_and_is_for_operators(server):
    operator = server.http("operator")
    found = operator.get("/console/settings.json").json()
    for who in ("frank", "anna"):
        assert server.http(who).get("/console/settings.json").status_code == 403
    kept = {key["kid"]: key for key in operator.get("/v1/signing-keys").json()["items"]}
    assert {key["kid"] for key in found["keys"]} == {kid for kid, key in kept.items() if key["state"] != "retired"}
    assert {key["use"] for key in found["keys"]} == set(ROTATED) - set(WHEN_NEEDED)
    assert [one["name"] for one in found["issuers"]] == ["box", "tokens"]
    assert found["providers"] == found["federations"] == []


def test_who_is_signed_in_is_seen_and_the_command_shown_ends_it(server):
    frank = SignedIn(server, "frank")
    page = SignedIn(server, "", "operator").page("/console/settings")
    (mine,) = [one for one in server.http("operator").get("/v1/sessions").json()["items"] if one["name"] == "frank"][:1]
    assert f"remit session end {mine['id']}" in page and "remit key rotate USE" in page
    done = server.cli("session", "end", mine["id"], "--reason", "lost laptop")
    assert done.returncode == 0, done.stderr
    assert frank.http.get("/console").status_code == 401


def test_nothing_secret_is_in_it(server):
    text = json.dumps(server.http("operator").get("/console/settings.json").json())
    rows = server.http("operator").get("/v1/signing-keys").text
    for secret in ("sealed", '"d"', "PRIVATE", server.keys["operator"]):
        assert secret not in text and secret not in rows

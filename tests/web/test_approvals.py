"""What people are asked, over the wire and from the command line: shown whole, signed, proved, counted, stopped."""

from __future__ import annotations

import json
import subprocess
import time

import httpx
import pytest

from tests.gateway.gates import free_port
from tests.passkeys import Device
from tests.server import CATALOGUE, REMIT, furnished, process

FILES = {
    **CATALOGUE,
    "remit.toml": CATALOGUE["remit.toml"].replace(
        "[people.olga]", '[people.gina]\ngroups = ["finance"]\n[people.olga]'
    ),
    "purposes/pay.toml": CATALOGUE["purposes/pay.toml"]
    + '\n[[grants]]\ntool = "send"\n[[grants]]\ntool = "inbox"\n[approval]\nttl = "10m"\nescalate_after = "5m"\n',
    "tools/send.toml": 'effect = "write"\n[arguments.to]\ntype = "text"\n[arguments.amount]\ntype = "decimal"\n',
    "tools/inbox.toml": 'effect = "read"\noutput_trust = "untrusted"\n',
    "agents/bot.toml": 'owner = "olga"\nescalation = ["gina", "dana"]\n[[attestations]]\nmethod = "join_token"\n',
    "policies/default.cedar": CATALOGUE["policies/default.cedar"]
    + """
@id("hold-send") @approvers("finance") @says("{tool} writes")
forbid (principal, action == Remit::Action::"send", resource) unless { context.approved };
""",
}
PAY = {"customer": "acme", "invoice": 17, "amount": "120.00"}


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A server that browsers would make passkeys for."""
    port = free_port()
    with process(
        tmp_path_factory.mktemp("people") / "data", "--port", str(port), "--public-url", f"http://localhost:{port}"
    ) as server:
        furnished(server, FILES)
        key = server.http("operator").post("/v1/keys", json={"kind": "person", "name": "gina"}).json()["key"]
        server.keys["gina"] = key
        for name in ("frank", "gina", "dana", "olga"):
            assert server.cli("key", "create", "person", name, "--save").returncode == 0
        yield server


def held(server, arguments=PAY, tool="pay", subject="dana"):
    bot = server.agent()
    if subject:
        said = server.http(subject).post("/v1/subject-tokens", json={"agent": "bot"}).json()["subject_token"]
        asked = {"purpose": "pay", "goal": "pay invoice 17 of acme", "parameters": {"customer": "acme"}}
        first = bot.token().json()["access_token"]
        begun = bot.send("POST", "/v1/tasks", first, {**asked, "subject_token": said})
        assert begun.status_code == 201, begun.text
        task, token = begun.json()["task"]["id"], begun.json()["access_token"]
    else:
        task, token = bot.task()
    found = bot.call(task, token, tool, arguments)
    assert found["decision"] == "hold", found
    return bot, task, token, found["approval"]["id"]


def registered(server, name):
    device = Device(server.url)
    http = server.http(name)
    invited = http.post("/v1/passkeys/invitation").json()
    made = device.make(invited["publicKey"])
    body = {"credential": made, "nonce": invited["nonce"], "expires_at": invited["expires_at"], "title": "phone"}
    answer = http.post("/v1/passkeys", json=body)
    assert answer.status_code == 201, answer.text
    return device, answer.json()["id"]


def test_a_passkey_signs_an_answer_and_the_exported_log_proves_it(here, tmp_path):
    bot, task, token, approval = held(here)
    device, key = registered(here, "frank")
    frank = here.http("frank")
    found = frank.get(f"/v1/approvals/{approval}").json()
    said = {"digest": found["digest"], "yes": True, "note": "as agreed"}
    asked = frank.post(f"/v1/approvals/{approval}/challenge", json=said).json()
    assert asked["publicKey"]["rpId"] == "localhost" and asked["statement"]["answer"] == "yes"
    signed = device.signed(asked)
    changed = frank.post(f"/v1/approvals/{approval}/answer", json={**said, "note": "more", "signed": signed})
    assert (changed.status_code, changed.json()["code"]) == (403, "RMT-3005")
    done = frank.post(f"/v1/approvals/{approval}/answer", json={**said, "signed": signed})
    assert done.status_code == 200, done.text
    (answer,) = done.json()["answers"]
    assert (answer["evidence"], answer["passkey"], done.json()["state"]) == ("passkey", key, "granted")
    assert bot.call(task, token, "pay", PAY)["decision"] == "permit"
    time.sleep(0.4)
    log = tmp_path / "log.jsonl"
    assert here.cli("log", "export", str(log)).returncode == 0

    def verify(*words):
        return subprocess.run(
            [REMIT, "approval", "verify", *words], capture_output=True, text=True, check=False, env={"PATH": "/usr/bin"}
        )

    good = verify(str(log), approval, "--signed")
    assert good.returncode == 0 and "frank said yes" in good.stdout and "their passkey signed it" in good.stdout
    machine = json.loads(verify(str(log), approval, "--json").stdout)
    assert machine["answers"][0]["evidence"] == "passkey" and machine["used_at"]
    text = log.read_text()
    twin = tmp_path / "twin.jsonl"
    for old, new in (('"yes":true', '"yes":false'), ('"person":"frank","yes"', '"person":"gina","yes"')):
        assert old in text
        twin.write_text(text.replace(old, new))
        bad = verify(str(twin), approval)
        assert bad.returncode == 1 and "NOT proved" in bad.stderr
    assert verify(str(log), "apv_nothing").returncode == 1
    assert [one["id"] for one in frank.get("/v1/passkeys").json()["items"]] == [key]
    assert here.cli("passkey", "list", "--as", "frank").stdout.count(key) == 1
    assert here.cli("passkey", "remove", key, "--as", "gina").returncode == 6
    assert here.cli("passkey", "remove", key, "--as", "frank").returncode == 0
    assert frank.post(f"/v1/passkeys/{key}/remove").json()["removed_at"]


def test_an_answer_with_a_key_says_that_it_is_one(here, tmp_path):
    *_, approval = held(here, {**PAY, "invoice": 18})
    done = here.cli("approve", approval, "--as", "frank", "--json")
    assert json.loads(done.stdout)["answers"][0]["evidence"] == "key"
    assert "by a key, not signed" in here.cli("approval", "show", approval, "--as", "frank").stdout
    time.sleep(0.4)
    log = tmp_path / "log.jsonl"
    here.cli("log", "export", str(log))
    assert "nobody signed it" in here.cli("approval", "verify", str(log), approval).stdout
    assert here.cli("approval", "verify", str(log), approval, "--signed").returncode == 1


def test_one_request_carries_all_that_the_page_shows(here):
    bot, task, token, first = held(here, {"to": "ann", "amount": "1.00"}, "send")
    assert here.cli("deny", first, "--as", "frank", "--note", "who is that?").returncode == 0
    bot.call(task, token, "inbox", {})
    gate = here.http("gate")
    told = gate.post(f"/v1/tasks/{task}/observations", json={"tool": "inbox", "content": [{"from": "eve"}]})
    assert told.status_code < 300
    approval = bot.call(task, token, "send", {"to": "eve", "amount": "120.00"})["approval"]["id"]
    found = here.http("frank").get(f"/v1/approvals/{approval}").json()
    by_name = {one["name"]: one for one in found["arguments"]}
    assert by_name["to"]["says"] == "from inbox, where anybody could have written it"
    assert by_name["amount"]["says"] == "made up by the agent" and by_name["amount"]["value"] == "120.00"
    assert found["what"] == {"tool": "send", "title": "", "effect": "write", "reversible": True, "resource": "send"}
    assert found["owner"] == "olga" and found["initiator"] == "person:dana" and found["chain"] == ["bot"]
    assert found["shown"]["trust"] == "untrusted" and found["shown"]["read"] == ["inbox"]
    assert found["did"]["read"][0]["tool"] == "inbox" and found["did"]["calls"] == 1
    assert [one["person"] for one in found["can_answer"]] == ["frank", "gina"]
    (before,) = found["earlier"]
    assert (before["id"], before["state"], before["same_task"]) == (first, "refused", True)
    assert before["differs"] == [{"name": "amount", "was": "1.00"}, {"name": "to", "was": "ann"}]
    assert found["escalates_to"] == "gina"  # dana is on the path, and began it
    assert "bot is told so. gina is asked too" in found["if_nothing"]
    assert 0 < found["left_ms"] <= 600_000 and found["again"]["most"] == 10
    assert found["you"]["answers"] >= 1 and json.loads(found["covers"])["task"] == task
    said = here.cli("approval", "show", approval, "--as", "frank").stdout
    for words in (
        "[PENDING]",
        "made up by the agent",
        "dana → bot; olga answers for bot",
        "amount was 1.00",
        "if nothing",
    ):
        assert words in said, words


def test_asking_back_handing_on_and_standing_in_from_the_command_line(here):
    bot, task, token, approval = held(here, {"to": "ann", "amount": "2.00"}, "send")
    assert here.cli("approval", "question", approval, "Who is Ann?", "--as", "frank").returncode == 0
    again = bot.call(task, token, "send", {"to": "ann", "amount": "2.00"})
    assert again["why"][-1]["sentence"] == "frank asks: Who is Ann?"
    assert here.cli("approve", approval, "--as", "olga").returncode == 3  # she sees it, and may not answer
    assert here.cli("away", "set", "olga", "--for", "2h", "--as", "frank").returncode == 0
    assert "olga stands in for you" in here.cli("away", "show", "--as", "frank").stdout
    assert "You stand in for frank" in here.cli("away", "show", "--as", "olga").stdout
    done = json.loads(here.cli("approve", approval, "--as", "olga", "--json").stdout)
    assert (done["state"], done["wants_another"]) == ("pending", True)  # she answers for the agent: not alone
    assert here.cli("away", "end", "--as", "frank").returncode == 0
    assert here.cli("approval", "hand-on", approval, "dana", "--as", "gina").returncode == 3  # dana began it
    assert "granted" in here.cli("approve", approval, "--as", "gina").stdout
    assert here.cli("away", "set", "gina", "--for", "soon", "--as", "frank").returncode == 2


def test_a_standing_yes_from_the_command_line(here):
    bot, task, token, approval = held(here, {"to": "ann", "amount": "9.00"}, "send")
    done = here.cli("approve", approval, "--as", "frank", "--next", "2", "--release", "amount", "--for", "5m")
    assert "granted" in done.stdout, done.stderr
    assert bot.call(task, token, "send", {"to": "ann", "amount": "9.00"})["decision"] == "permit"
    smaller = bot.call(task, token, "send", {"to": "ann", "amount": "8.50"})
    assert smaller["decision"] == "permit" and "1 are left" in smaller["why"][0]["sentence"]
    assert bot.call(task, token, "send", {"to": "ann", "amount": "9.01"})["decision"] == "hold"
    (row,) = here.http("frank").get(f"/v1/standing-yeses?task={task}").json()["items"]
    assert (row["left"], row["released"], row["people"]) == (1, ["amount"], ["frank"])
    assert here.http("gina").get(f"/v1/standing-yeses?task={task}").json()["items"] == []
    ended = here.http("frank").post(f"/v1/standing-yeses/{row['id']}/end", json={"reason": "enough"})
    assert ended.json()["end_reason"] == "enough"
    assert bot.call(task, token, "send", {"to": "ann", "amount": "8.00"})["decision"] == "hold"


def test_how_people_answer_is_counted_and_said_when_it_is_a_problem(here):
    for number in range(6):
        *_, approval = held(here, {"to": "ann", "amount": f"3.0{number}"}, "send", subject="")
        digest = here.http("gina").get(f"/v1/approvals/{approval}").json()["digest"]
        here.http("gina").post(f"/v1/approvals/{approval}/answer", json={"digest": digest, "yes": True})
    time.sleep(0.4)
    found = here.http("anna").get("/v1/approvals/stats").json()
    gina = next(one for one in found["people"] if one["person"] == "gina")
    assert gina["yes"] >= 6 and gina["no"] == 0 and gina["median_ms"] < 2000
    assert "nobody reads it" in gina["problem"]
    assert found["holds_per_task"] > 0 and found["behind"] == 0 and found["all"]["asked"] >= 6
    assert "gina" in here.cli("approval", "stats").stdout
    assert json.loads(here.cli("approval", "stats", "--json").stdout)["all"]["asked"] >= 6


def test_a_freeze_counts_down_to_zero_and_says_how_long_it_took(here):
    bot = here.agent()
    task, token = bot.task()
    secret = bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "rs"})
    assert secret.status_code == 201
    done = here.cli("freeze", "purpose", "pay", "--reason", "pays twice", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["tasks"], found["credentials"], found["reach"]) == (0, 0, "purpose")
    assert 0 < found["ms"] < 20_000
    try:
        assert bot.call(task, token)["why"][0]["sentence"] == ("bot is stopped: purpose pay is frozen: pays twice")
        assert "pays twice" in here.cli("frozen").stdout
        assert here.http("olga").get("/v1/freezes").json()["items"][0]["name"] == "pay"
        assert here.http("frank").get("/v1/freezes").json()["items"] == []
        assert here.cli("unfreeze", "purpose", "pay", "--as", "olga").returncode == 6
    finally:
        assert here.cli("unfreeze", "purpose", "pay").returncode == 0
    assert here.http("operator").get(f"/v1/tasks/{task}").json()["state"] == "revoked"
    assert here.cli("freeze", "agent", "nobody", "--reason", "x").returncode == 6
    wrong = here.http("operator").post("/v1/freezes", json={"reach": "all", "reason": "x"})
    assert wrong.status_code == 400
    assert httpx.post(f"{here.url}/v1/freezes", json={}).status_code == 401

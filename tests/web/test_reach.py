"""Questions about reach at a real server: what is imported, who is told what, and what a plan says."""

from __future__ import annotations

import json

import pytest

from remit.discover import clouds
from remit.formats.chart import pack
from tests.console.estate import ACCOUNT, EXPORT, FILES, imported
from tests.server import furnished, process

ADMIN = f"aws-admin:{ACCOUNT}"
TINY = {"nodes": ["aws-role:a", "aws-role:b"], "rules": [["aws-may", ""]], "steps": [0, 1, 0]}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reach")
    with process(folder / "data") as running:
        furnished(running, FILES)
        imported(running, folder)
        yield running


def asked(server, who="operator", **query):
    return server.http(who).get("/v1/reach", params={"from" if k == "start" else k: v for k, v in query.items()})


def test_from_an_agent_over_its_credential_into_the_cloud_and_the_step_to_take_away(server):
    found = asked(server, start="agent:invoice-bot", cut="yes").json()
    first = found["reached"][0]
    assert first["beyond"] and found["beyond"] > 10 and found["left_off"] == 0
    assert [step["how"] for step in first["way"]][:3] == ["may-propose", "issues", "opens"]
    assert (found["cuts"][0]["how"], found["cuts"][0]["cuts"]) == ("opens", found["beyond"])
    way = asked(server, start="agent:invoice-bot", to=ADMIN).json()
    assert way["way"][-1]["how"] == "aws-put-role-policy"
    reached = server.http("operator").get("/v1/reach", params={"who": ADMIN}).json()["reached"]
    who = {row["node"] for row in reached}
    assert {"agent:invoice-bot", "person:dana", "aws-key:AKIAIOSFODNN7EXAMPLE"} <= who
    assert len(asked(server, start="agent:invoice-bot", limit=3).json()["reached"]) == 3


def test_a_lease_that_leaked_is_its_credential_and_a_finding_what_it_is_about(server):
    bot, http = server.agent("invoice-bot"), server.http("operator")
    subject = server.http("dana").post("/v1/subject-tokens", json={"agent": "invoice-bot"}).json()["subject_token"]
    server.cli("secret", "put", "bank-api", stdin="hunter2")
    kind = "urn:ietf:params:oauth:token-type:jwt"
    details = {"type": "pay-invoices", "goal": "pay"}
    answer = bot.token(details, subject_token=subject, subject_token_type=kind).json()
    task = answer["authorization_details"][0]["task"]
    bot.send("POST", f"/v1/tasks/{task}/credentials", answer["access_token"], {"credential": "bank"})
    leases = http.get(f"/v1/tasks/{task}/leases").json()["items"]
    assert asked(server, start=f"lease:{leases[0]['id']}").json()["from"] == "credential:pay-invoices/bank"
    body = {"severity": "low", "subject": "tool", "name": "mail.send", "title": "odd"}
    found = http.post("/v1/findings", json=body).json()["id"]
    about = {**body, "subject": "task", "name": task}
    of_task = http.post("/v1/findings", json=about).json()["id"]
    assert asked(server, start=f"finding:{found}").json()["from"] == "tool:mail.send"
    assert asked(server, start=f"finding:{of_task}").json()["from"] == "purpose:pay-invoices"
    keys = {row["name"]: row for row in http.get("/v1/keys").json()["items"]}
    digest = next(value for value in keys["dana"].values() if isinstance(value, str) and len(value) >= 64)
    assert asked(server, start=f"key:{digest}").json()["from"] == "person:dana"
    for nothing in ("lease:x", "finding:x", "key:x"):
        assert asked(server, start=nothing).status_code == 404
    for mine in (f"finding:{found}", f"key:{digest}"):
        assert asked(server, "frank", start=mine).content == asked(server, "frank", start="tool:no").content


def test_what_is_hidden_from_a_person_looks_as_if_it_were_not_there(server):
    """frank answers for report-bot, olga for invoice-bot; dana for nothing, and may begin pay-invoices."""
    absent = asked(server, "frank", start="aws-role:none").content
    hidden = ["agent:invoice-bot", "purpose:pay-invoices", "person:dana", "group:billing", ADMIN, "tool:payments.send"]
    for node in hidden:
        for question in ({"start": node}, {"start": "agent:report-bot", "to": node}):
            answer = asked(server, "frank", **question)
            assert answer.status_code == 404 and answer.content == absent, (node, question)
        assert server.http("frank").get("/v1/reach", params={"who": node}).content == absent, node
    mine = asked(server, "frank", start="agent:report-bot").json()
    assert {row["node"] for row in mine["reached"]} == {"purpose:tell-customers", "tool:mail.send", "tool:mail.read"}
    to_mail = server.http("frank").get("/v1/reach", params={"who": "tool:mail.send"}).json()
    assert {row["node"] for row in to_mail["reached"]} == {
        "agent:report-bot", "purpose:tell-customers", "person:frank", "group:*"
    }, "nobody who comes there by what is hidden, and no count of them"  # fmt: skip
    assert to_mail["count"] == 4
    assert ADMIN in str(asked(server, "olga", start="agent:invoice-bot").json())
    assert ADMIN not in str(asked(server, "dana", start="person:dana").json()), (
        "it may begin it, and answers for nothing"
    )
    assert set(asked(server, "frank", q="aws").json()["items"]) == set()


def test_only_operators_import_and_people_do_not_even_list(server):
    for who in ("frank", "anna"):
        assert server.http(who).post("/v1/charts/x", json=TINY).status_code in (403, 404)
        assert server.http(who).post("/v1/charts/production/remove", json={}).status_code in (403, 404)
    assert server.http("frank").get("/v1/charts").status_code in (403, 404)
    assert [one["name"] for one in server.http("anna").get("/v1/charts").json()["items"]] == ["production"]


def test_an_import_that_is_replaced_or_removed_is_asked_no_more(server):
    http = server.http("operator")
    assert http.post("/v1/charts/small", json=TINY).status_code == 201
    assert asked(server, start="aws-role:a").json()["count"] == 1
    other = {**TINY, "nodes": ["aws-role:c", "aws-role:d"]}
    assert http.post("/v1/charts/small", json=other).status_code == 201
    assert asked(server, start="aws-role:a").status_code == 404
    assert asked(server, start="aws-role:c").json()["count"] == 1
    assert http.post("/v1/charts/small/remove", json={}).status_code == 200
    assert asked(server, start="aws-role:c").status_code == 404
    assert http.post("/v1/charts/small/remove", json={}).status_code == 404


def test_what_an_import_says_of_the_catalogue_is_refused(server):
    http = server.http("operator")
    for bad in (
        {**TINY, "nodes": ["agent:invoice-bot", ADMIN]},
        {**TINY, "steps": [0, 1, 7]},
        {**TINY, "more": 1},
        {**TINY, "nodes": ["aws-role:\x1b[2J", "aws-role:b"]},
    ):
        assert http.post("/v1/charts/evil", json=bad).status_code == 400
    as_json = {"Content-Type": "application/json"}
    assert http.post("/v1/charts/evil", content=b"[" * 10_000, headers=as_json).status_code == 413
    big = b'{"nodes":["' + b"a" * (17 * 2**20) + b'"],"rules":[],"steps":[]}'
    assert http.post("/v1/charts/evil", content=big, headers={"Content-Type": "application/json"}).status_code == 413
    assert "evil" not in str(http.get("/v1/charts").json())


def test_a_plan_says_who_would_reach_what_and_what_is_together(server, tmp_path):
    def plan(**files):
        return server.http("operator").post("/v1/catalogue/plan", json={"files": {**FILES, **files}}).json()

    assert plan()["reach"]["agents"] == []
    (there,) = plan()["trifectas"]
    assert (there["purpose"], there["new"], there["breaks"]) == ("pay-invoices", False, ["tell-customers: mail.send"])
    text = FILES["purposes/tell-customers.toml"].replace('tool = "mail.read"', 'tool = "invoices.read"')
    found = plan(**{"purposes/tell-customers.toml": text})
    agents = {one["agent"]: one for one in found["reach"]["agents"]}
    assert [row["node"] for row in agents["report-bot"]["gained"]] == ["tool:invoices.read"]
    assert agents["report-bot"]["lost"] == ["tool:mail.read"] and agents["report-bot"]["beyond"] == 0
    assert found["trifectas"] == []
    wide = FILES["purposes/tell-customers.toml"].replace(
        "[[grants]]", '[[grants]]\ntool = "invoices.read"\nresource = "x"\n[[grants]]', 1
    )
    folder = tmp_path / "catalogue"
    for path, content in {**FILES, "purposes/tell-customers.toml": wide}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    done = server.cli("plan", str(folder))
    assert "report-bot: 1 more (0 beyond its purpose), 0 fewer" in done.stdout, done.stdout + done.stderr
    assert "New: purpose tell-customers has private data" in done.stdout and "take away" in done.stdout
    assert json.loads(server.cli("--json", "plan", str(folder)).stdout)["trifectas"][0]["legs"]["out"]


def test_the_command_asks_the_server_and_imports_nothing_dry(server, tmp_path):
    done = server.cli("blast", "agent:invoice-bot")
    assert "Beyond:" in done.stdout and done.returncode == 0, done.stderr
    assert "opens" in server.cli("blast", "agent:invoice-bot", "--cut").stdout
    assert "can reach" in server.cli("blast", ADMIN, "--who").stdout
    assert "aws-put-role-policy" in server.cli("blast", "agent:invoice-bot", "--to", ADMIN).stdout
    assert server.cli("blast", "agent:nobody").returncode == 6
    assert "agent:invoice-bot" in server.cli("blast").stdout
    (tmp_path / "a.json").write_text(json.dumps(EXPORT))
    assert "Would be imported as a" in server.cli("blast", "import", str(tmp_path / "a.json"), "--dry-run").stdout
    assert "production" in server.cli("blast", "imports").stdout
    packed = pack(clouds.load([tmp_path / "a.json"]))
    assert (
        server.http("operator")
        .post("/v1/charts/a", json={"nodes": packed.nodes, "rules": packed.rules, "steps": packed.steps})
        .status_code
        == 201
    )
    assert server.cli("blast", "remove", "a").returncode == 0

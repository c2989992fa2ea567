"""From one identifier to the whole story: nothing that the caller may not see, and nothing that an agent made up."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from remit.domain.errors import ProofInvalid
from remit.formats import base64url, leak_digest
from remit.formats.tlog import NoteKey
from remit.govern import bundle as packed
from tests.console.browser import HOSTILE
from tests.docs.howtos import fenced
from tests.server import CATALOGUE, eventually, furnished, process
from tests.web.test_delegation import accept, hand, opened, whole

PAY = {"customer": "acme", "invoice": 17, "amount": "120.00"}
SPY = 'owner = "dana"\n[[attestations]]\nmethod = "join_token"\n'


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A task that listed, asked, paid and was given a secret; one that was handed on; and a spy's, who is dana's."""
    spying = CATALOGUE["purposes/pay.toml"].replace('"olga"', '"dana"').replace('"bot"', '"spy"')
    stops = CATALOGUE["remit.toml"] + "[findings]\nstop = []\n"
    files = {**CATALOGUE, "remit.toml": stops, "agents/spy.toml": SPY, "purposes/spy.toml": spying}
    with process(tmp_path_factory.mktemp("incident") / "data") as running:
        furnished(running, files)
        bot = running.agent()
        task, token = bot.task()
        bot.call(task, token)
        held = bot.call(task, token, "pay", PAY)["approval"]["id"]
        shown = running.http("frank").get(f"/v1/approvals/{held}").json()
        body = {"digest": shown["digest"], "yes": True}
        assert running.http("frank").post(f"/v1/approvals/{held}/answer", json=body).status_code == 200
        assert bot.call(task, token, "pay", PAY)["decision"] == "permit"
        lease = bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "shown"}).json()["id"]
        running.bot, running.task, running.token, running.approval = bot, task, token, held
        running.lease = lease
        lead, other = running.agent("lead"), running.agent("other")
        running.top = whole(lead)
        running.child, below = opened(accept(other, hand(lead, *running.top).json()["delegation_token"]))
        assert other.call(running.child, below)["decision"] == "permit"
        running.spy = running.agent("spy")
        details = {"type": "spy", "goal": "look around", "parameters": {"customer": "acme"}}
        running.theirs = running.spy.task(**details)
        assert running.spy.call(*running.theirs)["decision"] == "permit"
        eventually(lambda: story(running, running.theirs[0])["events"], lambda found: len(found) >= 2)
        eventually(lambda: story(running, running.child)["events"], lambda found: "Permitted: list" in says(found))
        yield running


def ask(server, of, who="anna", **more):
    return server.http(who).get("/v1/incident", params={"of": of, **more})


def story(server, of, who="anna", **more):
    answer = ask(server, of, who, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def says(events):
    return [one["says"] for one in events]


def things(found, kind, within=3):
    return {one["id"] for one in found["things"] if one["kind"] == kind and one["distance"] < within}


def of_log(server, *words):
    return server.http("anna").get("/v1/log/search", params={"q": " ".join(words)}).json()["items"]


def test_from_whatever_names_it_to_the_same_task(server):
    lease = of_log(server, "LeaseReserved", server.lease)[0]["data"]
    place = of_log(server, "AccessDecided", "permit", server.task)[0]["index"]
    resource = "customer/acme/17"
    for of in (server.task, server.approval, server.lease, lease["handle"], f"#{place}", str(place), resource):
        found = story(server, of)
        assert server.task in things(found, "task", 1), of
        assert "frank said yes" in says(found["events"]), of
    (kind,) = {one["kind"] for one in story(server, resource)["is"]}
    assert kind == "resource" and resource not in json.dumps(of_log(server, "AccessDecided", server.task))


def test_a_token_for_somebody_else_leads_to_its_task(server):
    body = {"credential": "rs"}
    lease = server.bot.send("POST", f"/v1/tasks/{server.task}/credentials", server.token, body).json()["id"]
    handle = eventually(lambda: of_log(server, "LeaseReserved", lease)[0]["data"]["handle"], bool)
    assert lease in things(story(server, handle), "lease", 1) and server.task in things(
        story(server, handle), "task", 1
    )


def test_the_story_says_who_asked_what_was_read_who_agreed_and_what_lives(server):
    found = story(server, server.task)
    (task,) = [one for one in found["things"] if one["id"] == server.task]
    assert (task["facts"]["state"], task["facts"]["agent"], task["facts"]["initiator"]) == ("open", "bot", "agent:bot")
    assert task["facts"]["trust"] and "list" in task["facts"]["read"]
    (approval,) = [one for one in found["things"] if one["kind"] == "approval"]
    assert approval["facts"]["answers"][0]["person"] == "frank" and approval["facts"]["resource"] == "customer/acme/17"
    live = {one["kind"]: one for one in found["live"] if one["distance"] == 0}
    assert live["task"]["do"] == [f"remit task end {server.task} --reason …"]
    assert live["lease"]["do"] == [f"remit lease end {server.lease}"] or live["lease"]["id"] != server.lease
    assert live["agent"]["do"] == ["remit freeze agent bot --reason …"] and "secret" in live
    assert [one["index"] for one in found["events"]] == sorted(one["index"] for one in found["events"])


def test_a_hand_off_is_one_story_from_either_end(server):
    for of in (server.top[0], server.child):
        found = story(server, of)
        assert things(found, "task", 1) >= {server.top[0], server.child} and things(found, "agent") >= {"lead", "other"}


def test_tasks_that_share_something_are_listed_and_entered_only_if_asked(server):
    again, token = server.bot.task(goal="another one")
    server.bot.call(again, token, "list", {"customer": "acme"})
    eventually(lambda: story(server, again)["events"], lambda found: "Permitted: list" in says(found))
    found = story(server, server.task)
    assert again in things(found, "task") - things(found, "task", 1)
    assert all(one["task"] != again for one in found["events"])
    assert any(one["task"] == again for one in story(server, server.task, depth=2)["events"])
    assert things(story(server, "customer/acme"), "task", 1) >= {server.task, again}


def test_a_secret_leads_to_everybody_who_had_it(server):
    found = story(server, "secret:stripe")
    assert (
        server.task in things(found, "task", 1) and found["live"][0]["do"][0] == "remit freeze secret stripe --reason …"
    )


def made(server, kind, name):
    return server.http("operator").post("/v1/keys", json={"kind": kind, "name": name}).json()["key"]


@pytest.fixture(scope="module")
def leaks(server):
    """A token of a task, a sealed secret and a person's key, seen where they should not be: (digest, finding) of each;
    and the digest of a token that nobody has reported.
    """
    server.keys["ci"], persons = made(server, "scanner", "ci"), made(server, "person", "dana")
    server.leaky, token = server.bot.task(goal="what it holds leaks")
    held = [
        server.bot.send("POST", f"/v1/tasks/{server.leaky}/credentials", token, {"credential": name}).json()
        for name in ("rs", "rs", "shown")
    ]
    server.leaked = held[0]["id"]
    key = base64url.decode(server.http("ci").get("/v1/scans/key").json()["key"])
    secrets = (held[0]["parts"]["access_token"], held[2]["parts"]["value"], persons, held[1]["parts"]["access_token"])
    *digests, unreported = [leak_digest.seen(key, one) for one in secrets]
    seen = [{"digest": one, "rule": "secret-in-file", "place": "shop/.env:1"} for one in digests]
    assert server.http("ci").post("/v1/scans", json={"seen": seen}).status_code == 201
    rows = eventually(
        lambda: server.http("operator").get("/v1/findings").json()["items"], lambda found: len(found) == 3, 30
    )
    eventually(lambda: of_log(server, "FindingReported"), lambda found: len(found) == 3)
    by = {row["subject"]: row for row in rows}
    return {kind: (one, by[kind]) for kind, one in zip(("task", "secret", "key"), digests, strict=True)} | {
        "unreported": unreported
    }


def test_a_leaked_credential_leads_to_its_lease_its_task_and_its_agent(server, leaks):
    digest, row = leaks["task"]
    for of in (row["id"], row["evidence"], digest):
        found = story(server, of)
        assert {"kind": "lease", "id": server.leaked} in found["is"], of
        assert things(found, "task", 1) == {server.leaky} and "bot" in things(found, "agent"), of
        assert any(one["says"].startswith("Found, high, about task") for one in found["events"]), says(found["events"])
    assert row["id"] in things(story(server, server.leaky), "finding", 1)


def test_a_leaked_secret_leads_to_everybody_who_had_it_and_a_leaked_key_to_whose_it_is(server, leaks):
    digest, row = leaks["secret"]
    for of in (row["id"], row["evidence"], digest):
        found = story(server, of)
        assert {"kind": "secret", "id": row["leak"].partition(":")[2]} in found["is"], of
        assert things(found, "task", 1) >= {server.task, server.leaky}, of
    (live,) = [one for one in found["live"] if one["kind"] == "finding" and one["id"] == row["id"]]
    assert live["do"] == [f"remit finding contain {row['id']} --reason …"]
    digest, row = leaks["key"]
    for of in (row["id"], row["name"], digest):
        found = story(server, of)
        assert {"kind": "access key", "id": row["name"]} in found["is"] and "dana" in things(found, "person"), of


def test_a_digest_that_nobody_reported_is_nothing_and_nobody_else_may_ask(server, leaks):
    """Or whoever reads could try what a secret is, and no event would say so."""
    assert ask(server, leaks["unreported"]).status_code == 404
    nothing = ask(server, "tsk_" + "0" * 32, "olga")
    for digest, row in (leaks["task"], leaks["secret"], leaks["key"]):
        for of in (digest, row["id"], row["evidence"], f"fingerprint:{digest}", f"finding:{row['id']}"):
            answer = ask(server, of, "olga")
            assert (answer.status_code, answer.content) == (404, nothing.content), of


def test_an_agent_that_says_anothers_id_is_not_in_its_story_and_does_not_push_it_out(server):
    task, token = server.theirs
    for _ in range(25):  # more than are shown of what others said
        server.spy.call(task, token, server.task, {})
    server.spy.call(task, token, server.lease, {})
    server.spy.call(task, token, "bot", {})
    eventually(lambda: of_log(server, server.lease, "deny"), bool)
    eventually(lambda: story(server, server.task)["mentioned"], lambda found: len(found) == 20)
    for of in (server.task, server.lease, "bot", "agent:bot", server.approval):
        found = story(server, of)
        assert all(one["task"] != task for one in found["events"]), of
        assert task not in things(found, "task", 1), of
        assert "frank said yes" in says(found["events"]), of
    assert says(story(server, server.task)["mentioned"]) == [f"Denied: {server.task}"] * 20


def test_what_a_person_may_not_see_is_as_absent_as_what_is_not_there(server):
    nothing = ask(server, "tsk_" + "0" * 32, "dana")
    place = of_log(server, "AccessDecided", "permit", server.task)[0]["index"]
    handle = of_log(server, "LeaseReserved", server.lease)[0]["data"]["handle"]
    hidden = (server.task, server.approval, server.lease, handle, f"#{place}", "customer/acme/17")
    hidden += ("secret:stripe", "stripe", "person:olga", "issuer:box", "10.0.0.1")
    for of in hidden:
        answer = ask(server, of, "dana")
        assert (answer.status_code, answer.content) == (404, nothing.content), of
    assert {ask(server, of, "olga").status_code for of in hidden[:6]} == {200}


def test_a_person_does_not_pass_through_what_is_shared(server):
    theirs = server.theirs[0]
    for of in (theirs, "agent:spy", "customer/acme", "tool:list", "agent:bot", "person:dana", "purpose:pay"):
        for depth in (1, 2, 3):
            answer = ask(server, of, "dana", depth=depth)
            found = answer.json() if answer.status_code == 200 else {"things": [], "events": [], "mentioned": []}
            assert things(found, "task") <= {theirs} and not things(found, "lease") | things(found, "secret"), of
            assert {one["task"] for one in found["events"]} <= {theirs} and not found["mentioned"], of
            assert server.child not in answer.text and server.approval not in answer.text, of
    assert things(story(server, "customer/acme", "dana"), "task") <= {theirs}
    cuts = [story(server, of, "dana")["cut"] for of in (theirs, "agent:bot")]
    assert cuts[0] == cuts[1] and len(cuts[0]) == 1  # says nothing of how much else there is


@pytest.mark.parametrize(
    "of", ["*", "%", "tsk_%", "' OR 1=1 --", "tsk_* OR bot", "AccessDecided permit", "NEAR(bot)", "."]
)
def test_no_character_means_anything(server, of):
    assert ask(server, of).status_code == 404


@pytest.mark.parametrize("of", ["", " ", "x" * 1025, "tsk_\x1b[2J", "a\nb", "a\u202eb", "event:", "#", "#" + "9" * 30])
def test_what_cannot_be_an_identifier_is_refused_or_absent(server, of):
    assert ask(server, of).status_code in (400, 404)
    assert ask(server, server.task, depth=4).status_code == ask(server, server.task, depth=0).status_code == 400


def test_the_command_line_tells_it_and_escapes_what_agents_said(server):
    task, token = server.theirs
    server.spy.call(task, token, "\x1b[31m" + HOSTILE[0], {})
    eventually(lambda: story(server, task)["events"], lambda found: any("[31m" in one["says"] for one in found))
    said = server.cli("incident", task)
    assert said.returncode == 0, said.stderr
    assert "\x1b" not in said.stdout and "\\x1b[31m<script>" in said.stdout
    assert "Alive now:" in said.stdout and f"remit task end {task}" in said.stdout
    assert server.cli("incident", "nobody-at-all").returncode == 6


@pytest.fixture(scope="module")
def bundle(server, tmp_path_factory):
    file = tmp_path_factory.mktemp("bundle") / "it.zip"
    said = server.cli("incident", server.task, "--export", str(file))
    assert said.returncode == 0, said.stderr
    assert server.cli("incident", server.task, "--export", str(file)).returncode == 2  # never over a file
    return file


def test_the_page_does_as_it_says(server, key, tmp_path):
    """Its commands in a shell, with this server's names in the place of the page's."""
    names = (
        ("tsk_0123456789abcdef", server.task),
        ("invoice/acme/17", "customer/acme/17"),
        ("agent:invoice-bot", "agent:bot"),
        ("remit.local/log+…", key),
        ("tools/verify_incident.py", str(Path(__file__).parents[2] / "tools/verify_incident.py")),
    )
    blocks = fenced("incident.md", "console")
    assert len(blocks) == 2
    for script in blocks:
        for old, new in names:
            script = script.replace(old, new)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        env = {"REMIT_URL": server.url, "REMIT_KEY": server.keys["anna"], "PATH": path, "HOME": str(tmp_path)}
        done = subprocess.run(
            ["bash", "-euc", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def key(server):
    return server.http("anna").get("/log/key").text.strip()


def test_what_was_taken_away_is_verified_by_both_and_without_the_server(server, bundle, key):
    said = server.cli("log", "verify", str(bundle), "--key", key, REMIT_URL="http://127.0.0.1:1")
    assert said.returncode == 0 and "Verified:" in said.stdout, said.stderr
    assert "events are in" in independent(bundle, key)
    with zipfile.ZipFile(bundle) as files:
        told = json.loads(files.read("story.json"))
        rows = list(csv.DictReader(io.StringIO(files.read("events.csv").decode())))
        page = files.read("story.html").decode()
    assert [int(row["index"]) for row in rows] == [one["index"] for one in told["events"]]
    assert "frank said yes" in page and "<script" not in page and "http" not in page.replace("http-equiv", "")


def independent(file, key):
    tool = Path(__file__).parents[2] / "tools" / "verify_incident.py"
    done = subprocess.run(
        [sys.executable, tool, file, "--key", key], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == (1 if done.stderr else 0) and "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def rebuilt(files):
    """The same files with a manifest that fits: whoever tampers makes one."""
    names = sorted(name for name in files if name != "MANIFEST.sha256")
    files = {**files, "MANIFEST.sha256": "".join(f"{sha256(files[n]).hexdigest()}  {n}\n" for n in names).encode()}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, content in files.items():
            made.writestr(name, content)
    return out.getvalue()


def tampered(files, how):
    event, other = sorted(name for name in files if name.endswith(".json") and name.startswith("events/"))[:2]
    proof = event.replace(".json", ".tlog-proof")
    match how:
        case "an event is edited":
            return {**files, event: files[event].replace(b'"v":1', b'"v":2')}
        case "two events change places":
            return {**files, event: files[other], other: files[event]}
        case "an event stands at another place":
            moved = {event: "events/999.json", proof: "events/999.tlog-proof"}
            return {moved.get(name, name): content for name, content in files.items()}
        case "a receipt is gone":
            return {name: content for name, content in files.items() if name != proof}
        case "the checkpoint is another":
            return {**files, "checkpoint": files["checkpoint"].replace(b"\n", b"\n1", 1)}
        case "an event is a mere claim":
            return {**files, "events/5000.json": files[event], "events/5000.tlog-proof": files[proof]}
    raise AssertionError(how)


@pytest.mark.parametrize(
    "how",
    [
        "an event is edited",
        "two events change places",
        "an event stands at another place",
        "a receipt is gone",
        "the checkpoint is another",
        "an event is a mere claim",
    ],
)
def test_a_bundle_that_was_tampered_with_is_not_verified(bundle, key, tmp_path, how):
    with zipfile.ZipFile(bundle) as made:
        files = {name: made.read(name) for name in made.namelist()}
    packed.verify(rebuilt(files), NoteKey.parse(key))
    forged = rebuilt(tampered(files, how))
    with pytest.raises(ProofInvalid):
        packed.verify(forged, NoteKey.parse(key))
    (tmp_path / "forged.zip").write_bytes(forged)
    assert independent(tmp_path / "forged.zip", key).startswith("NOT GOOD")


def test_a_bundle_whose_manifest_is_wrong_or_that_is_none_is_not_verified(bundle, key, tmp_path):
    note, data = NoteKey.parse(key), bundle.read_bytes()
    with zipfile.ZipFile(bundle) as made:
        files = {name: made.read(name) for name in made.namelist()}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, content in files.items():
            made.writestr(name, content + b"<!-- more -->" if name == "story.html" else content)
    (tmp_path / "page.zip").write_bytes(out.getvalue())
    assert independent(tmp_path / "page.zip", key).startswith("NOT GOOD")
    for bad in (out.getvalue(), b"", b"PK\x05\x06" + b"\0" * 18, data[:-40], data[: len(data) // 2], rebuilt({})):
        with pytest.raises(ProofInvalid):
            packed.verify(bad, note)


def test_a_person_takes_away_only_what_they_may_see(server):
    http = server.http("dana")
    assert http.get("/v1/incident/export", params={"of": server.task}).status_code == 404
    answer = http.get("/v1/incident/export", params={"of": server.theirs[0]})
    assert answer.headers["Content-Type"] == "application/zip" and answer.headers["Cache-Control"] == "no-store"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as files:
        whole_text = b"".join(files.read(name) for name in files.namelist())
    assert server.theirs[0].encode() in whole_text and server.child.encode() not in whole_text

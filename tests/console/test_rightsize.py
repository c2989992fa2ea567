"""What a purpose could do without, from the calls of a server to the catalogue in force: by API, page and command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.howtos import fenced
from tests.server import CATALOGUE, eventually

from .browser import HOSTILE, console, looking

PAY = CATALOGUE["purposes/pay.toml"].replace(
    '[[grants]]\ntool = "pay"', f'# {HOSTILE[0]} {HOSTILE[1]}\n[[grants]]  # {HOSTILE[9]}\ntool = "pay"'
)
FILES = {**CATALOGUE, "purposes/pay.toml": PAY.replace("\n[parameters", " # much\n[parameters", 1)}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Two tasks that list, one of which is held and denied a lot, under a purpose with hostile words in its file."""
    with console(tmp_path_factory.mktemp("rightsize") / "data", FILES) as running:
        bot = running.agent()
        for _ in range(2):
            task, token = bot.task()
            assert bot.call(task, token)["decision"] == "permit"
        for n in range(3):
            bot.call(task, token, "pay", {"customer": "acme", "invoice": n, "amount": "1.00"})
            bot.call(task, token, "pay", {"customer": "other", "invoice": n, "amount": "1.00"})
        running.bot = bot
        running.http("operator").post(f"/v1/tasks/{task}/end", json={"reason": "done"})
        eventually(lambda: counted(running)["pay"], lambda one: (one["held"], one["denied"]) == (3, 3))
        yield running


def asked(server, of="pay", who="anna", **more):
    answer = server.http(who).get("/v1/rightsize", params={"of": of, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def counted(server, of="pay"):
    return {one["tool"]: one for one in asked(server, of)["items"][0]["uses"]}


@pytest.fixture
def folder(tmp_path):
    """The catalogue in files, as it is in force."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_little_is_said_and_force_proposes_and_replays(server):
    (one,) = asked(server)["items"]
    assert one["kept"][0].startswith("Seen 2 tasks in 0 days: too little") and not one["diff"]
    found = asked(server, force="yes")
    (one,) = found["items"]
    assert one["excess"]["tools"] == ["pay"] and one["excess"]["credentials"] == ["rs", "shown"]
    assert '-tool = "pay"' in one["diff"] and (found["broken"], found["already"]) == (0, 0)
    assert "tool pay" in one["loses"] and "more than 14 calls a task" not in one["loses"]
    assert found["replay"]["replayed"] >= 5 and found["replay"]["whole"] and found["against"].startswith("sha256:")
    counts = {use["tool"]: (use["permitted"], use["held"], use["denied"]) for use in one["uses"]}
    assert counts == {"list": (2, 0, 0), "pay": (0, 3, 3)}


def test_an_agents_are_its_purposes_and_nobody_is_absent(server):
    assert [one["purpose"] for one in asked(server, "other")["items"]] == ["part"]
    assert [one["purpose"] for one in asked(server, "")["items"]] == ["part", "pay", "whole"]
    http = server.http("anna")
    assert http.get("/v1/rightsize", params={"of": "nobody"}).status_code == 404
    assert http.get("/v1/rightsize", params={"days": "0"}).status_code == 400
    assert server.http("olga").get("/v1/rightsize").status_code == 403
    assert server.http("olga").get("/console/rightsize.json").status_code == 403


def test_what_was_used_is_shown_to_who_answers_for_it(server):
    page = server.http("anna").get("/console/purposes/pay", headers={"Accept": "text/html"}).text
    assert "never used" in page and "/console/rightsize?of=pay" in page
    assert server.http("olga").get("/console/purposes/pay.json").json()["uses"]
    assert server.http("frank").get("/console/purposes/pay.json").json()["uses"] is None


def test_in_a_browser_from_the_purpose_to_the_diff(browser, server):
    for size in ({"width": 1280, "height": 800}, {"width": 360, "height": 740}):
        with looking(browser, server, viewport=size) as look:
            look.sign_in("anna", "auditor")
            page = look.go("/console/purposes/pay")
            page.get_by_role("link", name="What it could do without").click()
            page.get_by_role("heading", name="Right-sizing").wait_for()
            look.fit()
            page.get_by_label("also by little").check()
            page.get_by_role("button", name="Work it out").click()
            page.locator("del", has_text='tool = "pay"').wait_for()
            look.fit()
            shown = page.inner_text("main")
            assert "none would have been stopped" in shown and HOSTILE[0] in shown and "\u202e" not in shown
            assert "remit rightsize pay --days 30 --force --write ." in shown
            assert page.get_by_role("link", name="The diff").get_attribute("href").endswith("force=yes")


def test_a_diff_to_take_away_applies_as_a_patch(server, folder):
    answer = server.http("anna").get("/v1/rightsize/diff", params={"of": "pay", "force": "yes"})
    assert answer.text.startswith("--- a/purposes/pay.toml\n+++ b/purposes/pay.toml\n")
    (folder / "it.diff").write_text(answer.text)
    done = subprocess.run(["git", "apply", "it.diff"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (folder / "purposes/pay.toml").read_text() == asked(server, force="yes")["files"]["purposes/pay.toml"]


def test_the_command_line_writes_over_what_is_in_force_alone(server, folder):
    file = folder / "purposes/pay.toml"
    asked_for = ("rightsize", "pay", "--force", "--write", str(folder))
    dry = server.cli(*asked_for, "--dry-run")
    assert dry.returncode == 0 and "none would have been stopped" in dry.stdout, dry.stderr
    assert "\u202e" not in dry.stdout and file.read_text() == FILES["purposes/pay.toml"]
    file.write_text("# mine\n" + FILES["purposes/pay.toml"])
    mine = server.cli(*asked_for)
    assert mine.returncode == 1 and "is not what is in force" in mine.stderr and file.read_text().startswith("# mine")
    file.write_text(FILES["purposes/pay.toml"])
    (folder / "purposes/other.toml").write_text("not ours")
    assert server.cli(*asked_for).returncode == 0
    text = file.read_text()
    assert 'tool = "pay"' not in text and "# much" in text and 'tool = "list"' in text
    assert (folder / "purposes/other.toml").read_text() == "not ours"


def shell(server, folder, script):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {"REMIT_URL": server.url, "REMIT_KEY": server.keys["operator"], "PATH": path, "HOME": str(folder)}
    done = subprocess.run(
        ["bash", "-euc", script], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_it_proposes_is_planned_and_applied_and_nothing_that_was_used_is_lost(server, folder):
    """As the page says, in a shell. The last test: the catalogue is another one after it."""
    look, put = fenced("rightsize.md", "console")
    told = shell(server, folder, look.replace("invoices", "pay").replace("invoice-bot", "bot"))
    assert "too little to narrow by" in told
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run(["git", "add", "."], cwd=folder, check=True)
    planned = shell(server, folder, put.replace("invoices", "pay --force"))
    assert "~ purpose pay" in planned and '-tool = "pay"' in planned, planned
    task, token = server.bot.task()
    assert server.bot.call(task, token)["decision"] == "permit"
    gone = server.bot.call(task, token, "pay", {"customer": "acme", "invoice": 1, "amount": "1.00"})
    assert (gone["decision"], [why["code"] for why in gone["why"]]) == ("deny", ["out_of_scope"])
    assert server.bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "rs"}).status_code == 403
    again = asked(server, force="yes")
    assert not again["files"] and again["items"][0]["excess"] == {}

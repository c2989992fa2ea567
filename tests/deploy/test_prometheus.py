"""Rules and dashboards name metrics that a real server has; rules do what their tests say; every alert has a runbook."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
NAME = re.compile(r"\b(?:remit|process)_[a-z0-9_]+")


def expressions():
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    for board in sorted((ROOT / "deploy" / "grafana").glob("*.json")):
        for panel in json.loads(board.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{board.name}: {panel['title']}", target["expr"]


def test_every_metric_in_a_rule_or_panel_is_there_with_these_labels(server):
    bot = server.agent()
    task, token = bot.task()
    bot.call(task, token)
    text = server.http("anna").get("/metrics").text
    there = set(re.findall(r"^# TYPE (\S+) ", text, re.M)) | set(re.findall(r"^([a-z_]+)(?:\{| )", text, re.M))
    labels = {}
    for name, inside in re.findall(r"^([a-z_]+)\{([^}]*)\}", text, re.M):
        labels.setdefault(name, set()).update(re.findall(r"([a-z_]+)=", inside))
    used = 0
    for where, expression in expressions():
        for name in NAME.findall(expression):
            family = re.sub(r"_bucket$", "", name)
            assert name in there or family in there, f"{where}: {name}"
            for label in re.findall(rf"{name}\{{([a-z]+)", expression):
                assert name not in labels or label in labels[name], f"{where}: {name} has no {label}"
            used += 1
    assert used > 50
    ours = {name for name in re.findall(r"^# TYPE (remit_\S+) ", text, re.M) if not name.endswith("_created")}
    shown = {re.sub(r"_(bucket|total)$", "", name) for _, e in expressions() for name in NAME.findall(e)}
    assert {re.sub("_total$", "", name) for name in ours} <= shown, "each of ours is looked at somewhere"


def test_what_is_counted_is_what_happened(server):
    http = server.http("anna")

    def value(name):
        found = re.search(rf"^{re.escape(name)} (\S+)$", http.get("/metrics").text, re.M)
        return float(found[1]) if found else 0.0

    before, done = value("remit_tasks_open"), value('remit_commits_total{outcome="done"}')
    bot = server.agent()
    task, token = bot.task()
    answer = bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "rs"})
    assert answer.status_code == 201
    assert bot.call(task, token, "pay", {"customer": "acme", "invoice": 1, "amount": "5"})["decision"] == "hold"
    assert value("remit_tasks_open") == before + 1
    assert value('remit_leases_held{issuer="tokens",state="live"}') >= 1
    assert value("remit_approvals_waiting") >= 1 and value("remit_log_size") > 0
    assert value('remit_commits_total{outcome="done"}') > done
    assert value("remit_commit_seconds_count") > done and value('remit_signing_key_age_seconds{use="token"}') >= 0
    assert value('remit_reconciler_last_success_timestamp_seconds{name="sequence"}') > 1e9
    bot.send("POST", f"/v1/tasks/{task}/end", token, {"reason": "done"})
    assert value("remit_tasks_open") == before


def test_every_alert_has_its_section_and_every_section_its_alert():
    page = (ROOT / "docs" / "runbooks" / "alerts.md").read_text()
    sections = re.findall(r"^## (\S+)$", page, re.M)
    alerts = []
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
            assert ROOT / path == ROOT / "docs" / "runbooks" / "alerts.md" and anchor == rule["alert"].lower()
            assert rule["labels"]["severity"] in ("page", "ticket")
            alerts.append(rule["alert"])
    assert sections == alerts


def test_rules_fire_when_they_should_and_are_quiet_when_not():
    promtool = shutil.which("promtool")
    if promtool is None:
        message = "promtool is missing: apt-get install prometheus"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    for arguments in (["check", "rules", RULES], ["test", "rules", RULES.with_name("rules.test.yaml")]):
        done = subprocess.run([promtool, *arguments], capture_output=True, text=True, timeout=60, cwd=RULES.parent)
        assert done.returncode == 0, done.stdout + done.stderr


def test_dashboards_are_whole():
    for board in (ROOT / "deploy" / "grafana").glob("*.json"):
        read = json.loads(board.read_text())
        assert read["uid"] and read["schemaVersion"] >= 39 and read["templating"]["list"][0]["type"] == "datasource"
        places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in read["panels"]]
        assert len(set(places)) == len(places) and len({panel["id"] for panel in read["panels"]}) == len(places)

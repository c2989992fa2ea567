"""The blast radius in a real browser: the picture and its list, for everybody's screen, and what hostile names try."""

from __future__ import annotations

import re
from itertools import pairwise
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from remit.discover.radius import radius
from remit.domain.reach import Graph, Step
from remit.formats.chart import pack
from remit.web.console.picture import BOX, PITCH, SHOWN, pictured
from remit.web.console.reach import _answered

from .browser import HOSTILE, console, looking
from .estate import ACCOUNT, FILES, imported

ADMIN = f"aws-admin:{ACCOUNT}"
FROM = "/console/reach?from=agent:invoice-bot"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reach")
    with console(folder / "data", FILES) as running:
        imported(running, folder)
        names = [f"pg-role:{text}".replace("\u202e", "").replace("\u200b", "") for text in HOSTILE]
        steps = [Step("pg-role:evil", name, "pg-security-definer", name[:100]) for name in names]
        steps += [Step(name, "pg-host:server", "pg-execute-server-program") for name in names]
        packed = pack(steps)
        body = {"nodes": packed.nodes, "rules": packed.rules, "steps": packed.steps}
        assert running.http("operator").post("/v1/charts/evil", json=body).status_code == 201
        yield running


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_it_is_fit_for_people_whatever_it_shows(browser, server, scheme, width):
    with looking(browser, server, viewport={"width": width, "height": 800}, color_scheme=scheme) as look:
        look.sign_in("frank", "person", "operator")
        for path in (
            FROM,
            "/console/reach",
            f"/console/reach?who={ADMIN}",
            f"{FROM}&to={ADMIN}",
            "/console/reach?from=pg-role:evil",
            f"/console/reach?from=pg-role:evil&to={quote('pg-role:' + HOSTILE[2])}",
            "/console/reach?who=pg-host:server",
            f"/console/reach?q={quote(HOSTILE[0])}",
            "/console/purposes/pay-invoices",
        ):
            look.go(path)
            look.fit()


def test_one_clicks_from_the_picture_to_the_way_and_back_to_who(browser, server):
    with looking(browser, server) as look:
        page = look.sign_in("frank", "person", "operator").page
        look.go("/console/agents/invoice-bot")
        page.get_by_role("link", name="What it can reach").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("What invoice-bot reaches")
        expect(page.locator("#cut")).to_have_text("The one step to take away")
        page.locator(".node.beyond", has_text="14 AWS roles").click()
        page.wait_for_url("**kind=aws-role")
        expect(page.locator("ul.rows")).to_contain_text("worker-11")
        page.locator("ul.rows a", has_text="worker-3").click()
        expect(page.locator("ol.steps li.beyond")).to_contain_text(
            "Take lambda:UpdateFunctionCode out of its policies."
        )
        page.locator("ol.steps a", has_text="invoice-bot").click()
        page.locator(".node.beyond", has_text="AWS account").click()
        expect(page.locator("ol.steps li")).to_have_count(6)
        look.go(f"/console/reach?who={ADMIN}")
        expect(page.locator(".node", has_text="AKIAIOSFODNN7EXAMPLE")).to_be_visible()


def test_the_list_says_all_that_the_picture_does(server):
    found = server.http("operator").get(FROM.replace("reach?", "reach.json?")).json()
    text = server.http("operator").get(FROM, headers={"Accept": "text/html"}).text
    beneath = text.partition("</figure>")[2]
    for group in found["groups"]:
        for one in group["nodes"]:
            assert f">{one['name']}</a>" in beneath, one["name"]
    assert beneath.count("Beyond:") == len([group for group in found["groups"] if group["beyond"]])
    assert found["cut"]["rule"] == "opens" and found["cut"]["cuts"] == found["beyond"]


def test_a_person_sees_what_they_answer_for_and_nothing_of_the_rest(server):
    def page(who, path):
        return server.http(who).get(path, headers={"Accept": "text/html"})

    def refused(path):
        answer = page("frank", path)
        return answer.status_code, re.sub(r'data-now="\d+"', "", answer.text)

    absent = refused("/console/reach?from=aws-role:none")
    assert absent[0] == 404
    hidden = (
        FROM,
        f"/console/reach?who={ADMIN}",
        "/console/reach?from=person:dana",
        "/console/reach?from=pg-role:evil",
    )
    for path in (*hidden, "/console/reach?from=agent:report-bot&to=tool:payments.send"):
        assert refused(path) == absent, path
    assert page("olga", FROM).status_code == 200
    names = {one["node"] for one in server.http("frank").get("/console/reach.json?q=:").json()["items"]}
    assert names == {
        "agent:report-bot",
        "person:frank",
        "purpose:tell-customers",
        "tool:mail.read",
        "tool:mail.send",
        "group:*",
        "group:finance",
    }
    assert server.http("frank").get("/console/reach.json").json()["imported"] == []
    assert "What it can reach" not in page("frank", "/console/agents/invoice-bot").text
    assert "What it can reach" in page("frank", "/console/agents/report-bot").text


def test_three_that_are_dangerous_together_are_flagged_where_they_are(server):
    for path in ("/console/reach", "/console/purposes/pay-invoices", "/console/agents/invoice-bot"):
        text = server.http("operator").get(path, headers={"Accept": "text/html"}).text
        assert "The smallest change that breaks it: take away tell-customers: mail.send." in text, path
    assert (
        "smallest change"
        not in server.http("operator").get("/console/purposes/tell-customers", headers={"Accept": "text/html"}).text
    )


def test_many_ways_are_a_few_lines_and_no_page_outgrows_its_reader():
    steps = [Step("agent:a", f"purpose:p{n}", "may-propose") for n in range(60)]
    steps += [Step(f"purpose:p{n}", f"tool:t{n}-{m}", "grants") for n in range(60) for m in range(60)]
    model = _answered(radius(Graph().add(steps), "agent:a"), "", "")
    drawn = pictured(model["node"], model["groups"], False)
    assert len(drawn["ends"]) == SHOWN and drawn["more"] == len(model["groups"]) - SHOWN
    assert drawn["height"] == SHOWN * PITCH and all(0 <= one["y"] <= drawn["height"] - BOX for one in drawn["middles"])
    assert len(str(model)) < 250_000 and model["left_off"] == 20


@pytest.mark.parametrize("who", [False, True])
def test_boxes_do_not_lie_on_each_other(who):
    steps = [Step("a:1", "b:1", "grants"), Step("b:1", "tool:1", "grants"), Step("a:1", "tool:2", "grants")]
    steps += [Step("b:1", "aws-role:1", "aws-pass-ec2"), Step("aws-role:1", "aws-admin:1", "aws-administrator")]
    found = radius(Graph().add(steps), "tool:1" if who else "a:1", who=who)
    model = _answered(found, "", "")
    drawn = pictured(model["node"], model["groups"], who)
    for column in ("starts", "middles", "ends"):
        places = sorted(one["y"] for one in drawn[column])
        assert all(after - before >= BOX for before, after in pairwise(places))

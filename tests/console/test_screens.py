"""Every screen in a real browser, with whatever agents and people may have written in it; and by keyboard alone."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.server import CATALOGUE, eventually

from .browser import HOSTILE, console, looking

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
TITLE = f"title = '''{HOSTILE[2]}'''\n"
FILES = {
    **CATALOGUE,
    "agents/bot.toml": TITLE + CATALOGUE["agents/bot.toml"],
    "purposes/pay.toml": TITLE + CATALOGUE["purposes/pay.toml"],
    "tools/list.toml": TITLE + CATALOGUE["tools/list.toml"],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with console(tmp_path_factory.mktemp("screens") / "data", FILES) as running:
        yield running


@pytest.fixture(scope="module")
def paths(server):
    """Every screen, where there is something to see."""
    bot, http = server.agent(), server.http("operator")
    task, token = bot.task(goal=HOSTILE[6])
    bot.call(task, token)
    bot.call(task, token, "pay", {"customer": "acme", "invoice": 1, "amount": "1.00"})
    for strange in HOSTILE:
        bot.call(task, token, strange[:60], {})
    lease = bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "rs"}).json()["id"]
    ended, _ = bot.task(goal="over")
    http.post(f"/v1/tasks/{ended}/end", json={"reason": HOSTILE[1]})
    items = eventually(lambda: http.get(f"/console/log.json?task={task}").json()["items"], lambda it: len(it) > 14)
    return {
        "task": f"/console/tasks/{task}",
        "ended": f"/console/tasks/{ended}",
        "agents": "/console/agents",
        "agent": "/console/agents/bot",
        "leases": "/console/leases",
        "lease": f"/console/leases/{lease}",
        "catalogue": "/console/catalogue",
        "purpose": "/console/purposes/pay",
        "tool": "/console/tools/list",
        "playground": "/console/playground",
        "log": f"/console/log?task={task}",
        "event": f"/console/log/{items[-1]['index']}",
        "evidence": "/console/evidence",
        "incident": f"/console/incident?of={task}",
        "rightsize": "/console/rightsize?of=pay&force=yes",
        "verify": "/console/log/verify",
        "settings": "/console/settings",
        "estate": "/console/estate",
    }


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (PHONE, "dark")], ids=["wide-light", "phone-dark"])
def test_every_screen_is_fit_for_people_whatever_it_shows(browser, server, paths, size, scheme):
    with looking(browser, server, viewport=size, color_scheme=scheme) as look:
        look.sign_in("frank", "person", "operator")
        for path in paths.values():
            look.go(path)
            look.fit()


def test_every_screen_has_its_twin_and_its_place_in_the_menu(server, paths):
    http = server.http("operator")
    for path in paths.values():
        where, _, query = path.partition("?")
        assert http.get(f"{where}.json?{query}").json(), path
    page = http.get("/console", headers={"Accept": "text/html"}).text
    for word in ("Agents", "Leases", "Catalogue", "Log", "Settings"):
        assert f">{word}</a>" in page


def test_a_task_is_ended_by_keyboard_alone_and_seen_to_end(browser, server):
    task, _ = server.agent().task(goal="to be ended")
    with looking(browser, server) as look:
        page = look.sign_in("olga").page
        look.go(f"/console/tasks/{task}")
        page.get_by_label("Why it ends").focus()
        page.keyboard.type("not needed")
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name="End this task")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#task .lead .state")).to_have_text("revoked")
        expect(page.locator("#events")).to_contain_text("Ended (revoked): not needed")  # live: the log follows
        look.fit()


def test_an_agents_unused_access_is_found_by_keyboard_alone(browser, server, paths):
    with looking(browser, server) as look:
        page = look.sign_in("olga").page
        page.keyboard.press("g")
        page.keyboard.press("e")
        page.wait_for_url("**/console/agents")
        page.keyboard.press("/")
        page.keyboard.type("bot")
        page.keyboard.press("Escape")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.wait_for_url("**/console/agents/bot")
        expect(page.locator("#access li").first).to_contain_text("pay")
        expect(page.locator("#access li").first).to_contain_text("never used")


def test_a_credential_is_ended_by_keyboard_alone(browser, server):
    bot = server.agent()
    task, token = bot.task(goal="holds something")
    bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "rs"})
    with looking(browser, server) as look:
        page = look.sign_in("", "operator").page
        page.keyboard.press("g")
        page.keyboard.press("c")
        page.wait_for_url("**/console/leases")
        before = page.locator("#leases tbody tr").count()
        page.locator("#leases a.open").first.focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**/console/leases/lse_*")
        page.get_by_label("Why it ends").focus()
        page.keyboard.type("leaked")
        page.keyboard.press("Enter")
        expect(page.locator("#lease .lead .state")).to_have_text("ended")
        look.go("/console/leases")
        assert page.locator("#leases tbody tr").count() == before - 1


def test_the_log_is_searched_and_a_checkpoint_checked_by_keyboard_alone(browser, server, paths):
    with looking(browser, server) as look:
        page = look.sign_in("", "operator").page
        page.keyboard.press("g")
        page.keyboard.press("l")
        page.wait_for_url("**/console/log")
        page.keyboard.press("/")
        page.keyboard.type("TaskEnded")
        page.keyboard.press("Enter")
        page.wait_for_url("**q=TaskEnded**")
        expect(page.locator("#found li").first).to_contain_text("Ended (revoked)")
        page.get_by_role("link", name="Check it against").press("Enter")
        kept = page.get_by_label("The newest checkpoint").inner_text()
        page.get_by_label("Checkpoint", exact=True).focus()
        page.keyboard.insert_text(kept)
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status").nth(1)).to_contain_text("begin with exactly")
        look.fit()


def test_a_policy_is_tried_by_keyboard_alone_and_without_a_script(browser, server, paths):
    with looking(browser, server, java_script_enabled=False) as look:
        page = look.sign_in("frank", "person", "operator").page
        look.go("/console/playground?tool=list&agent=bot&purpose=pay")
        page.locator("#policy").focus()
        page.keyboard.press("Control+End")
        page.keyboard.insert_text('\n@id("no-list") forbid (principal, action == Remit::Action::"list", resource);\n')
        page.get_by_role("button", name="Try").press("Enter")
        expect(page.locator(".result .lead")).to_contain_text("deny")
        expect(page.locator(".result .lead")).to_contain_text("instead of")
        expect(page.locator(".result h2")).to_contain_text("would be another")


def test_the_story_prints_and_its_marks_lead_to_its_lines_without_a_script(browser, server, paths):
    with looking(browser, server, java_script_enabled=False) as look:
        look.sign_in("frank", "person", "operator")
        page = look.go(paths["task"])
        mark = page.locator(".story a:has(.mark)").first
        href = mark.get_attribute("href")
        mark.focus()  # of marks that stand close, the last lies on top
        page.keyboard.press("Enter")
        page.wait_for_url(f"**{href}")
        assert page.url.endswith(href) and page.locator(href).is_visible()
        page.emulate_media(media="print")
        assert page.locator(".story svg").first.bounding_box()["width"] > 500
        expect(page.get_by_role("button", name="End this task")).to_be_hidden()

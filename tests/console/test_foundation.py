"""The console in a real browser: signing in, what is shown, live parts, keys; and what hostile pages and values try."""

from __future__ import annotations

import http.server
import threading
import time
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from .browser import HOSTILE, link, looking, people_url

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def tasks(server):
    """A task for each hostile goal, and one that asks for something that is held and something that is denied."""
    bot = server.agent()
    for goal in HOSTILE:
        bot.task(goal=goal)
    task, token = bot.task(goal="Pay ACME's invoice 17, due on Friday")
    bot.call(task, token, "pay", {"customer": "acme", "invoice": 17, "amount": "120.00"})
    bot.call(task, token, HOSTILE[1][:60], {})
    return bot, task, token


def test_one_signs_in_by_a_link_and_out_again(browser, server):
    with looking(browser, server) as look:
        page = look.page
        page.goto(link(server, "frank"))
        look.fit()
        page.keyboard.press("Enter")  # the button has the focus
        page.wait_for_url("**/console")
        expect(page.get_by_role("heading", level=1)).to_have_text("Now")
        expect(page.get_by_text("Nothing waits for you.")).to_be_visible()  # an empty part teaches
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/sign-in")
        look.fit()
        page.goto(look.url + "/console/tasks?q=x")
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
        look.errors = [one for one in look.errors if "401" not in one]


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_what_one_governs_by_is_in_a_menu_of_its_own(browser, server, size):
    with looking(browser, server, viewport=size) as look:
        look.sign_in("frank", "person", "operator")
        page = look.page
        word, reach = page.locator("header nav summary"), page.get_by_role("link", name="Reach")
        expect(reach).to_be_hidden()
        word.click()
        expect(reach).to_be_visible()
        look.fit()
        page.keyboard.press("Escape")
        expect(reach).to_be_hidden()
        word.click()
        page.mouse.click(5, 700)  # anywhere else
        expect(reach).to_be_hidden()
        page.keyboard.press("g")
        page.keyboard.press("w")
        page.wait_for_url("**/console/estate")
        assert word.get_attribute("aria-current") == "true"


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (PHONE, "dark")], ids=["wide-light", "phone-dark"])
def test_every_screen_is_fit_for_people_whatever_it_shows(browser, server, tasks, size, scheme):
    _, task, _ = tasks
    with looking(browser, server, viewport=size, color_scheme=scheme) as look:
        look.sign_in("frank", "person", "operator")
        for path in ("/console", "/console/tasks", f"/console/tasks/{task}"):
            look.go(path)
            look.fit()
        look.page.goto(look.url + "/console/nothing")
        expect(look.page.get_by_role("heading", level=1)).to_have_text("Not found")
        look.fit()
        look.errors = [one for one in look.errors if "404" not in one]


def test_what_is_shown_is_never_run(browser, server, tasks):
    with looking(browser, server) as look:
        look.sign_in("frank", "person", "operator")
        page = look.go("/console/tasks")
        text = page.locator("#tasks").inner_text()
        for goal in HOSTILE:
            assert goal.replace("\u202e", "\\u202e").replace("\u200b", "\\u200b") in text, goal
        for goal in HOSTILE:
            page.goto(look.url + "/console/tasks?q=" + quote(goal))
        assert page.evaluate("window.xss") is None


def test_without_a_script_pages_say_the_same_and_forms_still_post(browser, server, tasks):
    with looking(browser, server, java_script_enabled=False) as look:
        look.sign_in("frank", "person", "operator")
        page = look.go("/console/tasks")
        page.get_by_role("searchbox").fill("Friday")
        page.get_by_role("button", name="Filter").click()
        assert page.locator("#tasks tbody tr").count() == 1 and "q=Friday" in page.url
        page.get_by_role("link", name="Friday").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("Friday")
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/sign-in")


def test_a_task_is_found_and_opened_by_keyboard_alone(browser, server, tasks):
    with looking(browser, server) as look:
        page = look.sign_in("frank", "person", "operator").page
        page.keyboard.press("g")
        page.keyboard.press("t")
        page.wait_for_url("**/console/tasks")
        page.keyboard.press("/")
        page.keyboard.type("friday")
        expect(page.locator("#tasks tbody tr:visible")).to_have_count(1)
        assert page.url.endswith("q=friday")
        page.keyboard.press("Escape")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.wait_for_url("**/console/tasks/tsk_*")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_be_visible()
        look.fit()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()


def test_a_new_task_is_seen_at_once_and_nothing_jumps(browser, server, tasks):
    bot, _, _ = tasks
    with looking(browser, server) as look:
        page = look.sign_in("frank", "person", "operator").page
        look.go("/console/tasks")
        time.sleep(0.3)  # the stream is open
        page.keyboard.press("j")
        page.keyboard.press("j")
        marked = page.locator("tr.at a").get_attribute("href")
        page.evaluate("""() => { window.seen = 0; new MutationObserver(() => {
            if (!window.seen && document.body.textContent.includes("quite new")) window.seen = Date.now(); })
            .observe(document.body, { subtree: true, childList: true }); }""")
        started = time.time()
        bot.task(goal="quite new")
        expect(page.get_by_text("quite new")).to_be_visible()
        took = page.evaluate("window.seen") / 1000 - started
        print(f"\nrow seen {took * 1000:.0f} ms after it was asked for")
        assert took < 2
        assert page.locator("tr.at a").get_attribute("href") == marked  # the mark stays where it was
        assert page.evaluate("document.activeElement.getAttribute('href')") == marked


def test_a_lost_connection_says_so_and_comes_back(browser, server):
    with looking(browser, server) as look:
        page = look.sign_in("frank").page
        page.route("**/console/changes", lambda route: route.abort())
        page.reload()
        expect(page.get_by_role("status")).to_have_text("Connection lost; trying again")
        page.unroute("**/console/changes")
        expect(page.get_by_role("status")).to_have_text("", timeout=8000)
        look.errors = [one for one in look.errors if "ERR_FAILED" not in one]


EVIL = """<!doctype html><title>evil</title><body>
<iframe id=framed src="{console}/console"></iframe>
<form id=f method=post action="{console}/sign-out"><input name=form_token value=x></form>
<script>
  fetch("{console}/console/tasks.json", {{ credentials: "include" }}).then(() => document.title = "read", () => document.title = "could not");
</script>"""


def test_another_sites_page_can_neither_frame_read_nor_post(browser, server):
    """A page at another origin of the same host, so that the browser does send the cookie (the harder case)."""
    console = people_url(server)

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(EVIL.format(console=console).encode())

        def log_message(self, *_):
            pass

    evil = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=evil.serve_forever, daemon=True).start()
    try:
        with looking(browser, server) as look:
            page = look.sign_in("frank").page
            page.goto(f"http://localhost:{evil.server_port}/")
            page.wait_for_function("document.title == 'could not'")
            assert page.frames[1].url.startswith("chrome-error:")  # clickjacking: it is not framed
            with page.expect_navigation():
                page.evaluate("document.getElementById('f').submit()")
            expect(page.get_by_role("heading", level=1)).to_have_text("Not from this console")
            look.go("/console")  # still signed in
            look.errors.clear()
    finally:
        evil.shutdown()

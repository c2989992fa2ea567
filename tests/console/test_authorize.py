"""A person lets a client act, in a real browser: by keyboard, under the policy, whatever the client calls itself."""

from __future__ import annotations

import http.server
import json
import threading
from contextlib import contextmanager
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import expect

from tests.gateway.own_clients import CHALLENGE, Documents
from tests.server import CATALOGUE

from .browser import HOSTILE, console, looking


@contextmanager
def program():
    """A program on this computer that waits for the answer; what it was told."""
    told = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path.startswith("/callback"):
                told.append({n: v[0] for n, v in parse_qs(urlsplit(self.path).query).items()})
            body = b"<!doctype html><title>Done</title><link rel=icon href=data:,><p>Back in the program."
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/callback", told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    with Documents(tmp_path_factory.mktemp("clients")).running() as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory, documents):
    clients = "".join(
        f'[[attestations]]\nmethod = "client_metadata"\nclient_id = "{documents.url}/{n}.json"\nbearer = true\n'
        'gateways = ["https://rs.example"]\nallow_private_network = true\n'
        for n in range(len(HOSTILE))
    )
    files = {**CATALOGUE, "agents/bot.toml": CATALOGUE["agents/bot.toml"] + clients}
    with console(tmp_path_factory.mktemp("console") / "data", files, **documents.trust) as running:
        yield running


def address(documents, number, back, goal):
    documents.put(f"/{number}.json", client_name=HOSTILE[number], redirect_uris=[back])
    asked = {
        "response_type": "code",
        "client_id": f"{documents.url}/{number}.json",
        "redirect_uri": back,
        "state": HOSTILE[number],
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "resource": "https://rs.example",
        "authorization_details": json.dumps([{"type": "pay", "goal": goal, "parameters": {"customer": "acme"}}]),
    }
    return "/oauth/authorize?" + urlencode(asked)


def test_a_person_agrees_by_keyboard_to_what_the_page_says_and_is_back_in_the_program(browser, server, documents):
    with program() as (back, told), looking(browser, server, viewport={"width": 360, "height": 740}) as look:
        page = look.sign_in("dana").page
        look.go(address(documents, 0, back, "Pay ACME's invoice"))
        look.fit()
        expect(page.get_by_role("heading", level=1)).to_contain_text(documents.url.removeprefix("https://"))
        expect(page.get_by_text("any program on it could be the one that asks")).to_be_visible()
        page.get_by_label("What is it to do?").focus()
        for key in ("End", "!", "Tab", "Tab"):
            page.keyboard.press(key)
        expect(page.get_by_role("button", name="Yes, pay")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_text("Back in the program.")).to_be_visible()
    assert told[0]["code"].startswith("code_") and told[0]["state"] == HOSTILE[0] and told[0]["iss"] == server.url


def test_whatever_a_client_calls_itself_or_asks_is_shown_and_never_run(browser, server, documents):
    with program() as (back, told), looking(browser, server) as look:
        page = look.sign_in("dana").page
        goal = "\n".join(HOSTILE[::3])
        for number in range(0, len(HOSTILE), 2):
            look.go(address(documents, number, back, goal))
            seen = HOSTILE[number].replace("\u202e", "\\u202e").replace("\u200b", "\\u200b")
            assert seen in page.locator("#main").inner_text() and page.evaluate("window.xss") is None
            assert page.get_by_label("What is it to do?").input_value() == goal
        look.fit()
        page.get_by_role("button", name="No, nothing").click()
        expect(page.get_by_text("Back in the program.")).to_be_visible()
    assert told == [told[0]] and told[0]["error"] == "access_denied" and told[0]["state"] == HOSTILE[-1]

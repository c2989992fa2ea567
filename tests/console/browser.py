"""A real browser at a real server: pages that complain of anything they should not, and people signed in to them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from tests.server import CATALOGUE, Server, furnished, process

CHROMIUM = "/usr/bin/chromium"
# What a page may be shown and must not run: as markup, in attributes, as addresses, in templates, in other letters.
HOSTILE = (
    "<script>window.xss=1</script>",
    "<img src=x onerror=window.xss=1>",
    '"><svg onload=window.xss=1>',
    "' autofocus onfocus=window.xss=1 x='",
    "javascript:window.xss=1",
    "{{7*7}}{% raw %}${window.xss=1}",
    "</title><script>window.xss=1</script>",
    "<iframe srcdoc='<script>top.xss=1</script>'>",
    "<a href=javascript:window.xss=1>pay</a>",
    "\u202e<style>*{display:none}</style>\u200b",
    "<!--><img src=x onerror=window.xss=1>-->",
    "<math><mtext><table><mglyph><style><img src=x onerror=window.xss=1>",
    "&lt;script&gt;window.xss=1&lt;/script&gt;",
)
WATCH = """
document.addEventListener("securitypolicyviolation", (e) => console.error("CSP", e.violatedDirective, e.blockedURI));
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's; a test that needs it is skipped where it is absent, but never in CI."""
    if not Path(CHROMIUM).exists() and os.environ.get("CI") != "true":
        pytest.skip("no chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def console(data: Path, files: dict[str, str] | None = None, **env: str) -> Iterator[Server]:
    """A server with people and agents in it."""
    with process(data, **env) as running:
        yield furnished(running, files or CATALOGUE)


def people_url(server: Server) -> str:
    """Where people go: by name, because passkeys want one."""
    return server.url.replace("127.0.0.1", "localhost")


def link(server: Server, name: str = "", *roles: str, by: str = "operator") -> str:
    """A one-time link for somebody."""
    answer = server.http(by).post("/v1/sessions/links", json={"name": name, "roles": list(roles)})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["url"])


class Looked:
    """A page, what it complained of, and how to check that it is fit for people."""

    def __init__(self, page: Page, server: Server) -> None:
        self.page = page
        self.url = people_url(server)
        self.server = server
        self.errors: list[str] = []
        page.on("console", lambda said: self.errors.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", lambda dialog: (self.errors.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.add_init_script(WATCH)

    def go(self, path: str) -> Page:
        """Open one of our pages, and check that it is one."""
        answer = self.page.goto(self.url + path)
        assert answer is not None and answer.status == 200, (path, answer and answer.status)
        return self.page

    def sign_in(self, name: str = "", *roles: str) -> Looked:
        """By a one-time link, as people do."""
        self.page.goto(link(self.server, name, *roles))
        self.page.get_by_role("button", name="Sign in as").click()
        self.page.wait_for_url("**/console")
        return self

    def fit(self) -> None:
        """No violation that axe knows, nothing run that was shown, and nothing wider than the screen."""
        found = Axe().run(self.page)
        assert not found.response["violations"], found.generate_report()
        assert self.page.evaluate("window.xss") is None
        assert self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "scrolls sideways"

    def quiet(self) -> None:
        """Nothing was complained of."""
        assert self.errors == []


@contextmanager
def looking(browser: Browser, server: Server, **options: Any) -> Iterator[Looked]:
    """A page in a browser profile of its own; at the end nothing may have been complained of."""
    context = browser.new_context(**options)
    context.set_default_timeout(5000)
    page = Looked(context.new_page(), server)
    try:
        yield page
        page.quiet()
    finally:
        context.close()

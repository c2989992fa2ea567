"""A browser without a screen: signed in by a link, it reads pages and posts their forms."""

from __future__ import annotations

import re

import httpx

from tests.server import Server

from .browser import link, people_url


class SignedIn:
    """Somebody's session over plain HTTP."""

    def __init__(self, server: Server, name: str = "", *roles: str) -> None:
        self.url = people_url(server)
        self.http = httpx.Client(
            base_url=self.url,
            headers={"Accept": "text/html", "Sec-Fetch-Site": "same-origin"},
            trust_env=False,
            timeout=20,
        )
        answer = self.http.post(link(server, name, *roles))
        assert answer.status_code == 303, answer.text

    def page(self, path: str, status: int = 200) -> str:
        """A page's text."""
        answer = self.http.get(path)
        assert answer.status_code == status, (path, answer.status_code, answer.text[:500])
        return answer.text

    def json(self, path: str) -> dict:
        """A page's twin."""
        where, _, query = path.partition("?")
        answer = self.http.get(f"{where}.json" + (f"?{query}" if query else ""))
        assert answer.status_code == 200, answer.text
        return answer.json()

    @property
    def token(self) -> str:
        """What stands in this session's forms."""
        found = re.search(r'name="form_token" value="([0-9a-f]+)"', self.page("/console"))
        assert found is not None
        return found[1]

    def post(self, path: str, **form: str) -> httpx.Response:
        """A form, with its token."""
        return self.http.post(path, data={"form_token": self.token, **form})

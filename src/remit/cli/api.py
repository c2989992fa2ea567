"""The CLI's side of the wire: one server, one key, problems become exit codes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from .exits import Exit, Failure

DEFAULT_URL = "http://127.0.0.1:7450"
TIMEOUT = httpx.Timeout(35.0, connect=2.0)


def data_dir() -> Path:
    """Where an embedded server keeps its keys: REMIT_DATA, or ./remit-data."""
    return Path(os.environ.get("REMIT_DATA") or "remit-data")


def server_url() -> str:
    """REMIT_URL, else what the embedded server here wrote, else loopback."""
    written = data_dir() / "url"
    if os.environ.get("REMIT_URL"):
        return os.environ["REMIT_URL"].rstrip("/")
    return written.read_text().strip().rstrip("/") if written.is_file() else DEFAULT_URL


def find_key(person: str = "") -> tuple[str, str]:
    """Return (key, where it came from): `--as NAME` beats REMIT_KEY beats the embedded operator's key."""
    if person:
        path = person_key_path(person)
        if not path.is_file():
            raise Failure(
                f"there is no key for {person} at {path}",
                Exit.UNAUTHENTICATED,
                next_step=f"An operator makes one: remit key create person {person} --save",
            )
        return path.read_text().strip(), str(path)
    if os.environ.get("REMIT_KEY"):
        return os.environ["REMIT_KEY"], "REMIT_KEY"
    path = data_dir() / "operator.key"
    if path.is_file():
        return path.read_text().strip(), str(path)
    raise Failure(
        "no key to call the server with",
        Exit.UNAUTHENTICATED,
        next_step="Set REMIT_KEY, or run this where `remit up` keeps its data (REMIT_DATA).",
    )


def person_key_path(person: str) -> Path:
    """Where `key create person NAME --save` puts a key on this machine."""
    if not person.replace("-", "").replace(".", "").replace("_", "").isalnum():
        raise Failure(f"{person!r} is not a name", Exit.USAGE)
    return data_dir() / "keys" / f"{person}.key"


class Api:
    """Calls one server as one caller."""

    def __init__(self, person: str = "") -> None:
        self.url = server_url()
        self.key, self.key_source = find_key(person)
        self._http = httpx.Client(
            base_url=self.url,
            timeout=TIMEOUT,
            headers={"Authorization": f"Bearer {self.key}"},
            trust_env=False,
            verify=self.url.startswith("https:"),  # reading the authorities takes 30 ms, which http is not worth
        )

    def request(self, method: str, path: str, body: Any = None, *, against: str = "", **query: Any) -> httpx.Response:
        """Send one request; anything but success raises `Failure`. `against` is what it may replace (`If-Match`)."""
        params = {name: value for name, value in query.items() if value not in ("", None)}
        try:
            only = {"If-Match": f'"{against}"'} if against else {}
            response = self._http.request(method, path, json=body, params=params, headers=only)
        except httpx.TransportError as error:
            raise Failure(
                f"no answer from {self.url} ({type(error).__name__})",
                Exit.UNREACHABLE,
                next_step="Is it running? Start one with `remit up`, or set REMIT_URL.",
            ) from error
        if response.is_success:
            return response
        try:
            problem = response.json()
        except ValueError:
            problem = {}
        raise Failure.of_problem(response.status_code, problem if isinstance(problem, Mapping) else {})

    def get(self, path: str, **query: Any) -> Any:
        """GET and read JSON."""
        return self.request("GET", path, **query).json()

    def post(self, path: str, body: Any = None, **query: Any) -> Any:
        """POST JSON and read JSON."""
        response = self.request("POST", path, {} if body is None else body, **query)
        return response.json() if response.content else {}

    def every(self, path: str, limit: int = 0, **query: Any) -> Iterator[Mapping[str, Any]]:
        """Walk a list to its end, or to `limit` items."""
        after, count = "", 0
        while True:
            page = self.get(path, after=after, limit=min(limit - count, 500) if limit else 500, **query)
            for item in page["items"]:
                yield item
                count += 1
                if limit and count >= limit:
                    return
            after = page["next"]
            if not after:
                return

"""Issuers that mint of a grant which a person gives once, at somebody else's authorization server."""

from __future__ import annotations

import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import click

from .api import Api
from .app import Context
from .exits import Exit, Failure

PASTED_AT = "http://127.0.0.1:1/callback"
_THANKS = b"<!doctype html><title>Remit</title><p>Remit has the answer. You can close this page.\n"
_OTHER = b"This is not an answer that is waited for.\n"


@click.group()
def issuer() -> None:
    """Issuers: systems that mint credentials; these need a person's word once."""


@issuer.command("list")
@click.pass_obj
def issuer_list(obj: Context) -> None:
    """List connections: which authorization server, as whom, with which scopes."""
    columns = {
        "ISSUER": "issuer",
        "STATE": "state",
        "AUTHORIZATION SERVER": "authorization_server",
        "CLIENT": "client_id",
        "SCOPES": "scopes",
        "CONNECTED": "connected_at",
        "BY": "connected_by",
    }
    found = list(Api(obj.person).every("/v1/connections"))
    obj.out.many(found, columns, empty="No connections. Make one: remit issuer connect NAME")


@issuer.command("show")
@click.argument("name")
@click.pass_obj
def issuer_show(obj: Context, name: str) -> None:
    """Show the connection of issuer NAME."""
    obj.out.one(Api(obj.person).get(f"/v1/issuers/{name}/connection"))


@issuer.command("connect")
@click.argument("name")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=0, help="Listen for the answer there; 0: any free port."
)
@click.option(
    "--paste", is_flag=True, help="Do not listen: paste the address that the browser ends at (another machine)."
)
@click.option(
    "--answer", default="", metavar="URL", help="The address that the browser ended at, of an attempt begun before."
)
@click.option("--seconds", type=click.IntRange(1, 600), default=300, show_default=True, help="How long to listen.")
@click.option("--no-input", is_flag=True, help="Ask nothing: print the address to open, and the command that goes on.")
@click.pass_obj
def issuer_connect(obj: Context, name: str, port: int, paste: bool, answer: str, seconds: int, no_input: bool) -> None:
    """Let Remit into the account that issuer NAME mints of: prints an address to open, once, in your browser.

    \b
    What is asked for is what purposes name. Nothing is opened or started for you.
    Example:  remit issuer connect crm
    """
    api = Api(obj.person)
    if answer:
        _answered(obj, api, name, answer)
        return
    listening = not (paste or no_input)
    server = _Listener(port) if listening else None
    redirect = f"http://127.0.0.1:{server.server_port}/callback" if server else PASTED_AT
    try:
        begun = api.post(f"/v1/issuers/{name}/connection", {"redirect_uri": redirect})
        if no_input:
            obj.out.say(f"Then: remit issuer connect {name} --answer 'THE ADDRESS THE BROWSER ENDS AT'")
            obj.out.one(begun, begun["authorization_url"])
            return
        _tell(obj, begun)
        redirected = server.answer(begun["state"], redirect, seconds) if server else _pasted()
    finally:
        if server:
            server.server_close()
    _answered(obj, api, name, redirected)


def _tell(obj: Context, begun: dict[str, Any]) -> None:
    """Asked of a person, so it is talk, even with --json."""
    asked = " ".join(begun["asked"]) or "nothing in particular"
    if not begun["asked"] and begun["offered"]:
        asked += f" (no purpose names a scope; it has: {' '.join(begun['offered'])})"
    click.echo(f"Server: {begun['authorization_server']}, for {begun['resource']}", err=True)
    click.echo(f"Asks for: {asked}", err=True)
    click.echo("Open this address, as the account that tasks are to use:", err=True)
    click.echo(begun["authorization_url"], err=True)


def _pasted() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline(16_384).strip()
    return str(click.prompt("The address your browser ends at (a page that does not load)", err=True)).strip()


def _answered(obj: Context, api: Api, name: str, redirected: str) -> None:
    row = api.post(f"/v1/issuers/{name}/connection/answer", {"redirected": redirected})
    scopes = " ".join(row["scopes"]) or "no scope"
    obj.out.one(row, f"{name} is connected to {row['authorization_server']}: {scopes}.")


@issuer.command("disconnect")
@click.argument("name")
@click.option("--reason", default="disconnected from the command line", show_default=True)
@click.pass_obj
def issuer_disconnect(obj: Context, name: str, reason: str) -> None:
    """Mint of NAME's grant no more: its leases end, then the grant at its authorization server."""
    row = Api(obj.person).post(f"/v1/issuers/{name}/connection/end", {"reason": reason})
    obj.out.one(row, f"{name} is {row['state']}; see: remit issuer show {name}")


class _Listener(HTTPServer):
    """Loopback, for one answer. Whoever else on this machine calls here gets nothing and ends nothing."""

    def __init__(self, port: int) -> None:
        try:
            super().__init__(("127.0.0.1", port), _Callback)
        except OSError as taken:
            raise Failure(
                f"cannot listen on port {port}: {taken.strerror}", Exit.ERROR, next_step="--port 0"
            ) from taken
        self.wanted, self.found = "", ""

    def answer(self, state: str, redirect: str, seconds: int) -> str:
        """The whole address, once a request with our state has come."""
        self.wanted = state
        until = time.monotonic() + seconds
        while not self.found:
            self.timeout = until - time.monotonic()
            if self.timeout <= 0:
                raise Failure(f"nobody answered in {seconds} s", Exit.HELD, next_step="Begin again when you are ready.")
            self.handle_request()
        return redirect + "?" + self.found


class _Callback(BaseHTTPRequestHandler):
    server: _Listener
    timeout = 5

    def do_GET(self) -> None:
        """One request; another state than ours is somebody else's."""
        parts = urlsplit(self.path)
        ours = parts.path == "/callback" and parse_qs(parts.query).get("state") == [self.server.wanted]
        self.send_response(200 if ours else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8" if ours else "text/plain")
        self.send_header("Content-Security-Policy", "default-src 'none'")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(_THANKS if ours else _OTHER)
        if ours:
            self.server.found = parts.query

    def log_message(self, format: str, *args: object) -> None:
        """The address has a code in it."""

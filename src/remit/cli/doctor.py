"""`remit doctor` and `remit config`: what is wrong here, and what is in effect."""

from __future__ import annotations

import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any

import click

from remit import __version__

from .api import Api, data_dir, find_key, server_url
from .app import Context
from .exits import Exit, Failure
from .output import table
from .settings import effective

Check = tuple[str, bool, str]
LATE = 60_000  # ms that a sink may be behind


@click.command()
@click.option("--ready", is_flag=True, help="Only: does this host's own server answer that it is ready?")
@click.pass_obj
def doctor(obj: Context, ready: bool) -> None:
    """Check version, keys, server, clock, store, log and the kill backlog; say what to do about each."""
    if ready:
        _ready_here(obj)
        return
    checks = list(_checks(obj))
    if obj.out.as_json:
        for name, ok, said in checks:
            obj.out.one({"check": name, "ok": ok, "said": said})
    else:
        rows = [("ok" if ok else "FIX", name, said) for name, ok, said in checks]
        click.echo("\n".join(table(("", "CHECK", ""), rows)))
    if not all(ok for _, ok, _ in checks):
        raise Failure("something needs fixing", Exit.ERROR)


def _ready_here(obj: Context) -> None:
    """For health checks inside a container: needs no key, no name and no certificate authority."""
    settings = {name: value for name, (value, _) in effective({}).items()}
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings["host"], settings["host"])  # noqa: S104
    try:
        if settings["tls_cert"]:
            unchecked = ssl.create_default_context()
            unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
            asked: HTTPConnection = HTTPSConnection(host, settings["port"], timeout=4, context=unchecked)
        else:
            asked = HTTPConnection(host, settings["port"], timeout=4)
        asked.request("GET", "/readyz")
        status = asked.getresponse().status
    except (OSError, HTTPException) as failure:
        raise Failure(f"no server answers here: {failure}", Exit.UNREACHABLE) from failure
    if status != 200:
        raise Failure(f"it is not ready ({status})", Exit.UNREACHABLE)
    obj.out.one({"ready": True}, "ready")


def _checks(obj: Context) -> Iterator[Check]:
    yield "version", True, f"remit {__version__}, Python {sys.version.split()[0]}"
    yield from _files(data_dir())
    try:
        _, source = find_key(obj.person)
        yield "key", True, f"from {source}"
        api = Api(obj.person)
    except Failure as failure:
        yield "key", False, f"{failure.message}. {failure.next_step}"
        return
    for name, check in (
        ("server", _server),
        ("clock", _clock),
        ("log", _log),
        ("restore", _restore),
        ("leases", _leases),
        ("connections", _connections),
        ("out", _out),
        ("witnesses", _witnesses),
    ):
        yield _tried(name, check, api)


def _tried(name: str, check: Callable[[Api], tuple[bool, str]], api: Api) -> Check:
    try:
        ok, said = check(api)
    except Failure as failure:
        return name, False, f"{failure.message}. {failure.next_step}"
    return name, ok, said


def _files(data: Path) -> Iterator[Check]:
    for name in ("root.key", "operator.key"):
        path = data / name
        if path.is_file():
            private = not path.stat().st_mode & 0o077
            yield name, private, f"{path}" if private else f"{path} can be read by others: chmod 600 {path}"


def _server(api: Api) -> tuple[bool, str]:
    started = time.perf_counter()
    api.request("GET", "/readyz")
    return True, f"{api.url} is ready ({(time.perf_counter() - started) * 1000:.1f} ms)"


def _clock(api: Api) -> tuple[bool, str]:
    date = api.request("GET", "/healthz").headers.get("date", "")
    if not date:
        return True, "the server does not tell its time"
    skew = abs(time.time() - parsedate_to_datetime(date).timestamp())
    return skew < 5, f"{skew:.0f} s from the server's; more than 5 s and proofs are refused"


def _log(api: Api) -> tuple[bool, str]:
    status = api.get("/v1/log")
    return bool(status["size"]), f"{status['size']} events under the newest checkpoint"


def _restore(api: Api) -> tuple[bool, str]:
    row = api.get("/v1/freezes").get("restore")
    if not row:
        return True, "never restored"
    orphans = f"{row['orphans']} credentials had no lease"
    if row["finished"]:
        return True, f"finished; {row['lost']} events were lost, {orphans}"
    return False, f"issuers are being compared; {orphans} so far. Everything stays frozen until that is finished"


def _leases(api: Api) -> tuple[bool, str]:
    late: list[Mapping[str, Any]] = [row for row in api.every("/v1/leases", 500, state="ending") if row["attempts"]]
    if not late:
        return True, "no kill is overdue"
    return False, f"{len(late)} kills failed and are retried; {late[0]['issuer']}: {late[0]['last_error']}"


def _connections(api: Api) -> tuple[bool, str]:
    rows = [row for row in api.every("/v1/connections", 500) if row["state"] in ("connected", "lost")]
    lost = [row["issuer"] for row in rows if row["state"] == "lost"]
    if lost:
        return False, f"lost: {', '.join(lost)}; connect again: remit issuer connect {lost[0]}"
    return True, f"{len(rows)} to other authorization servers, none lost"


def _out(api: Api) -> tuple[bool, str]:
    rows = api.get("/v1/out")["items"]
    late = [row for row in rows if row["failing"] or row["lag"] > LATE]
    if late:
        one = late[0]
        why = one["error"] or f"it is {one['state']}"
        return False, f"{len(late)} sinks are behind; {one['name']}, by {one['behind']} events: {why}. Nothing is lost"
    return True, f"{len(rows)} sinks of the log, none behind"


def _witnesses(api: Api) -> tuple[bool, str]:
    rows = api.get("/v1/witnesses")["items"]
    for row in rows:
        if row["refused"] or row["failing"]:
            return False, f"{row['name']}: {row['error']}"
    return True, f"{len(rows)} witnesses of the log, none refuses"


@click.command()
@click.pass_obj
def config(obj: Context) -> None:
    """Show every server setting, its value, and where it came from; and where the CLI would call."""
    rows = [{"setting": n, "value": str(v), "from": source} for n, (v, source) in effective({}).items()]
    rows.append({"setting": "(client) url", "value": server_url(), "from": "REMIT_URL, data/url, or default"})
    obj.out.many(rows, {"SETTING": "setting", "VALUE": "value", "FROM": "from"}, empty="")

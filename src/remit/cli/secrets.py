"""Static secrets in versions, and secrets handed over once. A value is read from standard input, never from argv."""

from __future__ import annotations

import base64
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from .api import Api
from .app import Context
from .exits import Exit, Failure

_DAY = 86_400_000
_UNITS: Mapping[str, int] = {"m": 60_000, "h": 3_600_000, "d": _DAY}


class Duration(click.ParamType[int]):
    """`30m`, `24h` or `90d`, as ms."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        if isinstance(value, int):
            return value
        number, unit = value[:-1], value[-1:]
        if unit not in _UNITS or not number.isdecimal() or len(number) > 5:
            self.fail(f"{value!r} is not like 30m, 24h or 90d", param, ctx)
        return int(number) * _UNITS[unit]


DURATION = Duration()
NOTE = click.option("--note", default="", help="For people; not secret.")


@click.group()
def secret() -> None:
    """Static secrets, sealed; agents never see one unless their purpose says so."""


def _value() -> bytes:
    """A prompt on a terminal; else all of standard input, of which one trailing newline is dropped."""
    if sys.stdin.isatty():
        return str(click.prompt("secret", hide_input=True, err=True)).encode()
    return sys.stdin.buffer.read(200_000).removesuffix(b"\n")


def _put(obj: Context, name: str, note: str, expires: int, rotate_after: int) -> tuple[Api, list[dict[str, Any]]]:
    try:
        text = _value().decode()
    except UnicodeDecodeError as binary:
        raise Failure("the value is not UTF-8 text", Exit.USAGE, next_step="Encode it, e.g. base64.") from binary
    expires_at = int(time.time() * 1000) + expires if expires else 0
    body = {"value": text, "note": note, "expires_at": expires_at, "rotate_after_ms": rotate_after}
    api = Api(obj.person)
    api.request("PUT", f"/v1/secrets/{name}", body)
    return api, api.get(f"/v1/secrets/{name}")["versions"]


def _terms(command: Any) -> Any:
    rotate = click.option(
        "--rotate-after", type=DURATION, default=-1, help="Remind when it is older, as 90d; 0d: never."
    )
    expires = click.option("--expires", type=DURATION, default=0, help="Not minted after this time, as 30d.")
    return NOTE(expires(rotate(command)))


@secret.command("put")
@click.argument("name")
@_terms
@click.pass_obj
def secret_put(obj: Context, name: str, note: str, expires: int, rotate_after: int) -> None:
    """Seal standard input as the next version of NAME. Older versions stay; what is minted from now on is this one.

    \b
    Example:  pass show stripe | remit secret put stripe --rotate-after 90d
    """
    _, versions = _put(obj, name, note, expires, rotate_after)
    obj.out.one(versions[-1], f"Sealed {name}, version {versions[-1]['number']}.")


@secret.command("rotate")
@click.argument("name")
@_terms
@click.pass_obj
def secret_rotate(obj: Context, name: str, note: str, expires: int, rotate_after: int) -> None:
    """Seal standard input as the next version of NAME and retire all older ones: leases that hold them end now."""
    api, versions = _put(obj, name, note, expires, rotate_after)
    newest = versions[-1]["number"]
    older = [version for version in versions[:-1] if version["state"] == "active"]
    for version in older:
        body = {"number": version["number"], "reason": f"rotated to version {newest}"}
        api.post(f"/v1/secrets/{name}/retire", body)
    held = sum(len(version["leases"]) for version in older)
    text = f"Sealed {name}, version {newest}; {len(older)} older retired, {held} leases that hold them are being ended."
    obj.out.one(versions[-1], text)


@secret.command("list")
@click.pass_obj
def secret_list(obj: Context) -> None:
    """List secrets: what is minted now, and what is overdue for rotation."""
    newest: dict[str, dict[str, Any]] = {}
    for row in Api(obj.person).every("/v1/secrets"):
        known = newest.setdefault(row["name"], {**row, "versions": 0})
        known["versions"] += row["state"] == "active"
        if (row["state"] == "active", row["number"]) > (known["state"] == "active", known["number"]):
            newest[row["name"]] = {**row, "versions": known["versions"]}
    columns = {
        "SECRET": "name",
        "NEWEST": "number",
        "STATE": "state",
        "ACTIVE": "versions",
        "SEALED": "sealed_at",
        "BY": "sealed_by",
        "EXPIRES": "expires_at",
        "ROTATE": "rotate_at",
        "OVERDUE": "overdue",
        "NOTE": "note",
    }
    obj.out.many(list(newest.values()), columns, empty="No secrets. Seal one: remit secret put NAME")


@secret.command("show")
@click.argument("name")
@click.pass_obj
def secret_show(obj: Context, name: str) -> None:
    """Show NAME's versions and the leases that hold each of them; never a value."""
    columns = {
        "VERSION": "number",
        "STATE": "state",
        "SEALED": "sealed_at",
        "BY": "sealed_by",
        "EXPIRES": "expires_at",
        "RETIRED": "retired_at",
        "LEASES": "leases",
        "NOTE": "note",
    }
    obj.out.many(Api(obj.person).get(f"/v1/secrets/{name}")["versions"], columns, empty="")


@secret.command("retire")
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@click.option("--reason", default="", help="Why; goes to the log.")
@click.pass_obj
def secret_retire(obj: Context, name: str, version: int, reason: str) -> None:
    """Never mint VERSION of NAME again; leases that hold it end, and then its envelope is destroyed."""
    row = Api(obj.person).post(f"/v1/secrets/{name}/retire", {"number": version, "reason": reason})
    obj.out.one(row, f"Version {version} of {name} is {row['state']}.")


@secret.command("rollback")
@click.argument("name")
@click.option("--to", "version", type=click.IntRange(1), default=None, help="Which; else the one before the newest.")
@click.pass_obj
def secret_rollback(obj: Context, name: str, version: int | None) -> None:
    """Seal what an older version of NAME holds again, as its next version."""
    row = Api(obj.person).post(f"/v1/secrets/{name}/rollback", {"number": version or 0})
    obj.out.one(row, f"Sealed {name}, version {row['number']}: {row['note']}.")


@secret.command("rewrap")
@click.pass_obj
def secret_rewrap(obj: Context) -> None:
    """Bring every envelope under the root key the server was started with; run it again until nothing is left.

    \b
    The server needs both: REMIT_ROOT_KEY, and the old one as REMIT_ROOT_KEY_PREVIOUS.
    """
    found = Api(obj.person).post("/v1/root-key/rewrap")
    if found["unopened"]:
        step = "Is REMIT_ROOT_KEY_PREVIOUS the key that they were sealed under?"
        raise Failure(f"under neither root key: {', '.join(found['unopened'])}", Exit.ERROR, next_step=step)
    text = (
        f"{found['rewrapped']} envelopes rewrapped, {found['already']} were already; the previous root key opens none."
    )
    obj.out.one(found, text)


# --- hand-overs ---


@secret.command("send")
@click.option("--to", required=True, metavar="PERSON", help="Who alone may open it.")
@click.option("--expires", type=DURATION, default="24h", show_default=True, help="At most 7d.")
@NOTE
@click.pass_obj
def secret_send(obj: Context, to: str, expires: int, note: str) -> None:
    """Leave standard input for PERSON, to be opened once; prints the link to give them.

    \b
    It is sealed here: the server never has the value, nor the key behind the `#`.
    Example:  pass show vpn | remit secret send --to frank --note "VPN, as discussed"
    """
    from remit.formats import hand_over

    key, api = hand_over.new_key(), Api(obj.person)
    body = {"envelope": hand_over.close(_value(), key), "proof": hand_over.proof(key)}
    row = api.post("/v1/hand-overs", {"to": to, "ttl_ms": expires, "note": note, **body})
    link = hand_over.link(row["url"].partition("/handover/")[0], row["id"], key)
    obj.out.say(f"Only {to} can open this, once. Withdraw it: remit secret withdraw {row['id']}")
    obj.out.one({**row, "link": link}, link)


@secret.command("open")
@click.argument("link", required=False)
@click.option("--out", type=click.Path(path_type=Path), help="Write it to this new file, 0600, instead of printing it.")
@click.pass_obj
def secret_open(obj: Context, link: str | None, out: Path | None) -> None:
    """Open what was left for you at LINK. This works once; without LINK it is asked for, and is in no shell history.

    \b
    Example:  remit secret open --as frank --out vpn.txt
    """
    from remit.formats import hand_over

    if link is None:
        link = click.prompt("link", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline(4096)
    server, id_, key = hand_over.parse_link(link)
    api = Api(obj.person)
    if server != api.url:  # a key goes to its own server only, whatever a link says
        step = "If you trust it, and your key is for it, set REMIT_URL to it."
        raise Failure(f"this link is for {server}, and your key for {api.url}", Exit.USAGE, next_step=step)
    descriptor = _created(out) if out else None
    try:
        row = api.post(f"/v1/hand-overs/{id_}/open", {"proof": hand_over.proof(key)})
        value = hand_over.open_(row.pop("envelope"), key)
        if descriptor is not None:
            _write(descriptor, value)
    except BaseException:
        if out and os.stat(out).st_size == 0:
            out.unlink()
        raise
    if out:
        obj.out.one({**row, "saved": str(out)}, f"Saved {out}.")
    elif obj.out.as_json:
        obj.out.one({**row, **_as_json(value)})
    else:
        sys.stdout.buffer.write(value + (b"\n" if sys.stdout.isatty() else b""))


def _as_json(value: bytes) -> dict[str, str]:
    try:
        return {"value": value.decode()}
    except UnicodeDecodeError:
        return {"value_base64": base64.b64encode(value).decode()}


def _created(path: Path) -> int:
    """Made before anything is opened: what cannot be kept must not be spent."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as failure:
        step = "Nothing was opened; choose another file."
        raise Failure(f"{path} cannot be made: {failure.strerror}", Exit.USAGE, next_step=step) from failure


def _write(descriptor: int, value: bytes) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(value)
        file.flush()
        os.fsync(descriptor)


@secret.command("sent")
@click.option("--received", is_flag=True, help="What was left for you, instead.")
@click.pass_obj
def secret_sent(obj: Context, received: bool) -> None:
    """List what you left for others: who opened it, and when."""
    columns = {
        "ID": "id",
        "STATE": "state",
        "FROM": "sender",
        "TO": "recipient",
        "SENT": "sent_at",
        "EXPIRES": "expires_at",
        "ENDED": "ended_at",
        "NOTE": "note",
    }
    found = list(Api(obj.person).every("/v1/hand-overs", box="received" if received else "sent"))
    obj.out.many(found, columns, empty="Nothing.")


@secret.command("withdraw")
@click.argument("hand_over")
@click.pass_obj
def secret_withdraw(obj: Context, hand_over: str) -> None:
    """Take back what you left and nobody has opened."""
    row = Api(obj.person).post(f"/v1/hand-overs/{hand_over}/withdraw")
    if row["state"] != "withdrawn":
        raise Failure(f"it is {row['state']} already", Exit.ERROR, next_step="See: remit secret sent")
    obj.out.one(row, f"{hand_over} is withdrawn; its contents are destroyed.")

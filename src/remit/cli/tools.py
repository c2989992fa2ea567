"""`remit tool`: what a call does to the world, and what an MCP server says of itself."""

from __future__ import annotations

import json
import sys
from difflib import unified_diff
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from remit.formats import mcp_proposal

from .api import Api
from .app import Context
from .exits import Exit, Failure
from .nouns import LIMIT, list_of
from .openapi import options as openapi_options
from .openapi import proposals

Described = tuple[str, dict[str, Any], str]
SERVER = click.option("--server", default="", help="Catalogue tools are named SERVER.TOOL.")
COMMAND = click.argument("command", nargs=-1)


@click.group()
def tool() -> None:
    """Tools: what a call does to the world."""


@tool.command("list")
@LIMIT
@click.pass_obj
def tool_list(obj: Context, limit: int) -> None:
    """List the reviewed tools."""
    columns = {
        "TOOL": "name",
        "EFFECT": "effect",
        "SENSITIVITY": "sensitivity",
        "ENVIRONMENT": "environment",
        "RESOURCE": "resource",
        "TITLE": "title",
    }
    list_of(obj, "/v1/tools", columns, "No tools yet. Describe one in tools/NAME.toml.", limit)


@tool.command("show")
@click.argument("name")
@click.pass_obj
def tool_show(obj: Context, name: str) -> None:
    """Show one tool."""
    obj.out.one(Api(obj.person).get(f"/v1/tools/{quote(name, safe='')}"))


def live(obj: Context, server: str, command: tuple[str, ...]) -> list[Described]:
    """What a server says now: of COMMAND, or of the one that the catalogue in force declares."""
    if command:
        return obj.parts.describe(server, command=command)
    if not server:
        raise Failure("say which server", Exit.USAGE, next_step="--server NAME of the catalogue, or -- COMMAND.")
    items = Api(obj.person).get("/v1/servers")["items"]
    found = next((item for item in items if item["name"] == server), None)
    if found is None:
        step = "Add it to remit.toml and `remit apply`, or give its command after `--`."
        raise Failure(f"the catalogue declares no server {server!r}", Exit.NOT_FOUND, next_step=step)
    return obj.parts.describe(server, command=tuple(found["command"]), url=found["url"])


@tool.command("pin", context_settings={"ignore_unknown_options": True})
@SERVER
@COMMAND
@click.pass_obj
def tool_pin(obj: Context, server: str, command: tuple[str, ...]) -> None:
    """Print each tool's pin: the digest of what an MCP server tells a model, and of where that server comes from.

    \b
    Examples:
      remit tool pin --server payments                    as the catalogue's [servers.payments] says
      remit tool pin --server payments -- python payments_server.py
    """
    for name, described, pinned in live(obj, server, command):
        text = f'{name}\n  {described.get("description", "")}\n  pin = "{pinned}"'
        obj.out.one({"tool": name, "pin": pinned, "described": described}, text)


@tool.command("diff", context_settings={"ignore_unknown_options": True})
@SERVER
@COMMAND
@click.pass_obj
def tool_diff(obj: Context, server: str, command: tuple[str, ...]) -> None:
    """Show how an MCP server differs from what was reviewed. Leaves with 1 when it does.

    \b
    A tool that differs cannot be called until somebody reviews it again: `remit tool pin` prints its new pin.
    """
    api, differs = Api(obj.person), False
    known = {item["name"]: item for item in api.every("/v1/tools")}
    found = live(obj, server, command)
    gone = {name for name in known if server and name.startswith(f"{server}.")} - {name for name, _, _ in found}
    for name, described, pinned in found:
        entry = known.get(name)
        state = "new" if entry is None else "same" if pinned and entry["pin"] == pinned else "changed"
        lines = [] if state == "same" or entry is None else _difference(entry["reviewed"], described)
        differs |= state != "same"
        obj.out.one(
            {"tool": name, "state": state, "pin": pinned, "diff": lines}, "\n".join([f"{name}: {state}", *lines])
        )
    for name in sorted(gone):
        differs = True
        obj.out.one({"tool": name, "state": "gone", "pin": "", "diff": []}, f"{name}: gone")
    if differs:
        sys.exit(int(Exit.ERROR))


def _difference(reviewed: str, described: dict[str, Any]) -> list[str]:
    if not reviewed:
        return ["  (its entry has no 'reviewed' to compare with; `remit tool import` writes one)"]
    before, after = (json.dumps(x, indent=2, sort_keys=True).splitlines() for x in (json.loads(reviewed), described))
    return [f"  {line}" for line in unified_diff(before, after, "reviewed", "now", lineterm="", n=2)]


@tool.command("import", context_settings={"ignore_unknown_options": True})
@SERVER
@openapi_options
@click.option("--into", type=click.Path(path_type=Path, file_okay=False), help="Write tools/NAME.toml in this folder.")
@COMMAND
@click.pass_obj
def tool_import(obj: Context, /, server: str, into: Path | None, command: tuple[str, ...], **api: Any) -> None:
    """Propose catalogue entries from a live MCP server or an OpenAPI document, for you to judge.

    Nothing is ever overwritten.

    \b
    Examples:
      remit tool import --server notes --into catalogue -- mcp-server-notes ./notes
      remit tool import --openapi api.yaml --origin https://api.example/v1 --credential api --into catalogue
    """
    if api["openapi"] is not None:
        _propose(obj, [(each.name, each.text, each.why) for each in proposals(obj, api)], into)
        return
    why = "its name cannot be a catalogue name, or it cannot be pinned"
    drafts = [(name, mcp_proposal.draft(name, told, pinned)) for name, told, pinned in live(obj, server, command)]
    _propose(obj, [(name, text, "" if text else why) for name, text in drafts], into)


def _propose(obj: Context, entries: list[tuple[str, str, str]], into: Path | None) -> None:
    for name, text, why in entries:
        path = into / "tools" / f"{name}.toml" if into and text else None
        state = "proposed" if text else "skipped"
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with path.open("x", encoding="utf-8") as file:
                    file.write(text)
                state = "written"
            except FileExistsError:
                state = "kept"
        shown = text if path is None and text else f"{path or name}: {state} {why}".rstrip()
        obj.out.one({"tool": name, "state": state, "file": str(path or ""), "toml": text, "why": why}, shown)

"""`remit tool`: what a call does to the world, and what an MCP server says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from .api import Api
from .app import Context
from .exits import Exit, Failure
from .nouns import LIMIT, list_of
from .openapi import import_openapi
from .openapi import options as openapi_options

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


@tool.command("import")
@openapi_options
@click.pass_obj
def tool_import(
    obj: Context,
    openapi: Path | None,
    origin: str,
    into: Path | None,
    prefix: str,
    credential: str,
    ours: bool,
    private: bool,
) -> None:
    """Propose a tools/NAME.toml for each operation of an API. Read each of them before you apply it.

    \b
    Example:
      remit tool import --openapi api.yaml --origin https://api.example/v1 --credential api --into catalogue
    """
    if openapi is None:
        raise Failure("say what to import", Exit.USAGE, next_step="--openapi FILE --origin URL")
    import_openapi(obj, openapi, origin, into, prefix=prefix, credential=credential, ours=ours, private=private)

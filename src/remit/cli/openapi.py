"""`remit tool import --openapi`: what it is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .app import Context
from .exits import Exit, Failure

if TYPE_CHECKING:
    from remit.formats.openapi_import import Proposed


def proposals(obj: Context, said: Mapping[str, Any]) -> list[Proposed]:
    """From a document, by `options`."""
    from remit.formats.openapi_import import propose

    if not said["origin"]:
        raise Failure("say where the API is", Exit.USAGE, next_step="--origin https://api.example")
    more = {name: said[name] for name in ("prefix", "credential", "ours", "private")}
    return propose(said["openapi"].read_text("utf-8"), said["origin"], **more)


def options(command: click.decorators.FC) -> click.decorators.FC:
    """What is said with `--openapi`."""
    existing = click.Path(path_type=Path, exists=True, dir_okay=False)
    for option in (
        click.option("--private", is_flag=True, help="It is in our own network (allow_private_network)."),
        click.option("--ours", is_flag=True, help="The API is ours: what is sent there does not leave."),
        click.option("--credential", default="", help="The purpose's credential that its requests carry."),
        click.option("--prefix", default="", help="Tools are named PREFIX.OPERATION."),
        click.option("--origin", default="", metavar="URL", help="Where the API is, with its base path."),
        click.option("--openapi", type=existing, help="An OpenAPI 3 document, JSON or YAML, instead of a server."),
    ):
        command = option(command)
    return command

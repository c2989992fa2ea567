"""`remit tool import --openapi`: proposals for tool files, to be reviewed."""

from __future__ import annotations

from pathlib import Path

import click

from .app import Context
from .exits import Exit, Failure


def import_openapi(
    obj: Context, file: Path, origin: str, into: Path | None, *, prefix: str, credential: str, ours: bool, private: bool
) -> None:
    """To standard output, or as new files below `into`/tools; a file that is there is never touched."""
    from remit.formats.openapi_import import propose

    if not origin:
        raise Failure("say where the API is", Exit.USAGE, next_step="--origin https://api.example")
    source = file.read_text("utf-8")
    found = propose(source, origin, prefix=prefix, credential=credential, ours=ours, private=private)
    for each in found:
        if not each.text:
            obj.out.say(f"left out: {each.operation}: {each.why}")
            if obj.out.as_json:
                obj.out.one({"tool": each.name, "operation": each.operation, "left_out": each.why})
        elif into is None:
            obj.out.one(
                {"tool": each.name, "operation": each.operation, "file": f"tools/{each.name}.toml", "text": each.text},
                f"# tools/{each.name}.toml\n{each.text}",
            )
        else:
            path = into / "tools" / f"{each.name}.toml"
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with path.open("x", encoding="utf-8") as written:
                    written.write(each.text)
                done = "written"
            except FileExistsError:
                done = "kept as it was"
            obj.out.one({"tool": each.name, "file": str(path), "state": done}, f"{done}: {path}")
    if not any(each.text for each in found):
        raise Failure("nothing in it can be proposed", Exit.ERROR, next_step="Write tools/NAME.toml by hand.")


def options(command: click.decorators.FC) -> click.decorators.FC:
    """What is said with `--openapi`."""
    folder = click.Path(path_type=Path, file_okay=False)
    existing = click.Path(path_type=Path, exists=True, dir_okay=False)
    for option in (
        click.option("--private", is_flag=True, help="It is in our own network (allow_private_network)."),
        click.option("--ours", is_flag=True, help="The API is ours: what is sent there does not leave."),
        click.option("--credential", default="", help="The purpose's credential that its requests carry."),
        click.option("--prefix", default="", help="Tools are named PREFIX.OPERATION."),
        click.option("--into", type=folder, help="Write new files below this catalogue folder."),
        click.option("--origin", default="", metavar="URL", help="Where the API is, with its base path."),
        click.option("--openapi", type=existing, help="An OpenAPI 3 document, JSON or YAML."),
    ):
        command = option(command)
    return command

"""`remit plan`, `remit apply`: files in git become the catalogue in force."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from . import reach_text
from .api import Api
from .app import Context
from .exits import Exit, Failure
from .output import ago

_FOLDERS = {"agents": ".toml", "purposes": ".toml", "tools": ".toml", "policies": ".cedar"}
_LIMIT = 4 * 1024 * 1024


class Percent(click.ParamType):  # type: ignore[type-arg]
    """`10%`, or `10`."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See click."""
        text = str(value).removesuffix("%")
        if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:4]) <= 100:
            self.fail(f"{value!r} is not 1% to 100%", param, ctx)
        return int(text)


SHARE = Percent()
DAY = 86_400_000
FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=".")


def read_folder(folder: Path, *, new: bool = False) -> dict[str, str]:
    """Read the catalogue's files by relative path; nothing else in the folder matters. `new`: there may be none yet."""
    if new and not folder.exists():
        return {}
    if not folder.is_dir():
        raise Failure(f"{folder} is not a folder", Exit.USAGE)
    paths = [folder / "remit.toml"] if (folder / "remit.toml").is_file() else []
    for name, suffix in _FOLDERS.items():
        paths += sorted(p for p in (folder / name).glob(f"*{suffix}") if p.is_file())
    if not paths and not new:
        raise Failure(
            f"{folder} has no catalogue files",
            Exit.USAGE,
            next_step="A catalogue is remit.toml, agents/*.toml, purposes/*.toml, tools/*.toml, policies/*.cedar.",
        )
    if sum(path.stat().st_size for path in paths) > _LIMIT:
        raise Failure(f"the catalogue in {folder} is over 4 MiB", Exit.USAGE)
    try:
        return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    except UnicodeDecodeError as error:
        raise Failure(f"a catalogue file is not UTF-8 text: {error}", Exit.USAGE) from error


@click.command()
@FOLDER
@click.option("--replay", type=click.IntRange(1, 10_000), help="Also: which of the newest N decisions would differ.")
@click.option("--detailed-exitcode", is_flag=True, help="0: no changes, 2: changes, 1: an error.")
@click.pass_obj
def plan(obj: Context, folder: Path, replay: int | None, detailed_exitcode: bool) -> None:
    """Show what applying FOLDER would change, and check every file; changes nothing.

    \b
    With --json `against` is what it was planned against: apply exactly this plan, or nothing:
      remit plan --json . > plan.json && remit apply . --against "$(jq -r .against plan.json)"
    """
    files = read_folder(folder)
    api = Api(obj.person)
    answer = api.post("/v1/catalogue/plan", {"files": files})
    text = _changes(answer["changes"]) + _ends(answer["ends"], "would end") + reach_text.changed(answer)
    if replay:
        answer["replay"] = api.post("/v1/catalogue/replay", {"files": files, "decisions": replay})
        text += "\n" + _replayed(answer["replay"])
    obj.out.one(answer, text)
    if detailed_exitcode and answer["changed"]:
        raise click.exceptions.Exit(2)


@click.command()
@FOLDER
@click.option("--against", default="", help="Only over the revision with this digest, as `remit plan --json` says.")
@click.option("--dry-run", is_flag=True, help="The same as `remit plan`.")
@click.option("--edges", type=SHARE, help="Only at so many percent of the edges: see `remit rollout`.")
@click.pass_obj
def apply(obj: Context, folder: Path, against: str, dry_run: bool, edges: int | None) -> None:
    """Put FOLDER in force as one change; if anything is wrong, nothing changes.

    \b
    With --edges 10% a tenth of the edges have it first. What it would have decided of the last day is said before.
    """
    if edges and not dry_run:
        _roll_out(obj, read_folder(folder), edges)
        return
    path = "/v1/catalogue/plan" if dry_run else "/v1/catalogue"
    answer = Api(obj.person).post(path, {"files": read_folder(folder)}, against=against)
    text = _changes(answer["changes"]) + _ends(answer["ends"], "would end" if dry_run else "to end")
    if dry_run:
        text += reach_text.changed(answer)
    else:
        text += f"\nIn force: revision {answer['number']} ({answer['digest'].removeprefix('sha256:')[:12]})"
    obj.out.one(answer, text)


def _roll_out(obj: Context, files: dict[str, str], share: int) -> None:
    api = Api(obj.person)
    asked = {"files": files, "decisions": 10_000, "since": int(time.time() * 1000) - DAY}
    told = api.post("/v1/catalogue/replay", asked)
    count = told["replayed"] + told["unknown"]
    obj.out.say(f"It would change {told['differ']} of {count} decisions of the last day.")
    answer = api.post("/v1/rollout", {"files": files, "share": share})
    obj.out.one({**answer, "replay": told}, "\n".join([_changes(answer["changes"]), rolled_out(answer)]))


def rolled_out(answer: dict[str, Any]) -> str:
    """Which revision is in force where."""
    if not answer["share"]:
        return f"Everywhere: {answer['digest'].removeprefix('sha256:')[:12]}"
    where = ", ".join(answer["edges"]) or "no edge yet"
    said = f"{answer['rollout'].removeprefix('sha256:')[:12]} at {answer['share']} % of the edges"
    return f"{said}, {len(answer['edges'])} of {answer['of']}: {where}"


def _replayed(found: dict[str, Any]) -> str:
    lines = [f"Of the newest {found['replayed'] + found['unknown']} decisions, {found['differ']} would differ."]
    for flip in found["changed"]:
        lines.append(f"  {ago(flip['at'])}  {flip['was']} → {flip['would_be']}  {flip['agent']} {flip['tool']}")
        lines += [f"    {sentence}" for sentence in flip["why"]]
    if found["differ"] > len(found["changed"]):
        lines.append(f"  and {found['differ'] - len(found['changed'])} more.")
    if found["unknown"]:
        lines.append(f"{found['unknown']} cannot be told: a policy asks for arguments, and the log keeps none.")
    return "\n".join(lines)


def _ends(found: dict[str, Any], verb: str) -> str:
    """`Open tasks: 3 would end (4 looked at):`, and which, as far as they were named."""
    if not found["looked_at"]:
        return ""
    looked = f"the first {found['looked_at']} looked at" if found["more"] else f"{found['looked_at']} looked at"
    lines = ["", f"Open tasks: {found['count']} {verb} ({looked})" + (":" if found["count"] else ".")]
    lines += [f"  {one['task']}  {one['reason']}" for one in found["tasks"]]
    if found["count"] > len(found["tasks"]):
        lines.append(f"  and {found['count'] - len(found['tasks'])} more.")
    return "\n".join(lines)


def _changes(changes: list[str]) -> str:
    return "\n".join(changes) or "No changes."

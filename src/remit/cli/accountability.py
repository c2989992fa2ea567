"""Who answers for what: what nobody answers for, and taking it over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .api import Api
from .app import Context
from .exits import Exit, Failure
from .output import ago
from .rightsize import write_files


@click.group()
def succession() -> None:
    """Agents and purposes that nobody answers for: list, accept."""


@succession.command("list")
@click.pass_obj
def succession_list(obj: Context) -> None:
    """List what somebody is asked to answer for, or took over, and when it stops otherwise."""
    found = [_line(one) for one in Api(obj.person).get("/v1/successions")["items"]]
    columns = {"WHAT": "what", "OWNER": "owner", "MISSING": "missing", "STATE": "state", "ASKED": "asked"}
    columns = {**columns, "ANSWERS": "heir", "STOPS": "stops_at"}
    obj.out.many(found, columns, empty="Somebody answers for everything.")


@succession.command("accept")
@click.argument("reach", type=click.Choice(["agent", "purpose"]))
@click.argument("name")
@click.option("--digest", default="", help="Of what you were shown; without it, of what is there now.")
@click.pass_obj
def succession_accept(obj: Context, reach: str, name: str, digest: str) -> None:
    """Answer for it from here on. Whoever keeps the catalogue then writes you in as its owner.

    \b
      remit --as gina succession accept agent invoice-bot
    """
    api = Api(obj.person)
    if not digest:
        items = api.get("/v1/successions")["items"]
        same = [one for one in items if (one["reach"], one["name"]) == (reach, name) and one["yours"]]
        if not same:
            raise Failure(f"nobody asks you to answer for {reach} {name}", Exit.NOT_FOUND)
        digest = same[0]["digest"]
    answer = api.post(f"/v1/successions/{reach}/{name}/accept", {"digest": digest})
    step = f'In its file: owner = "{answer["heir"]}"; then remit apply.'
    obj.out.one(answer, f"{answer['heir']} answers for {reach} {name}. {step}")


def _line(one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "what": f"{one['reach']} {one['name']}", "stops_at": one["until"] if one["left_ms"] else 0}


@click.group()
def review() -> None:
    """Reviews of what agents may do: open, list, show, answer, change."""


@review.command("open")
@click.argument("agents", nargs=-1)
@click.option("--all", "everyone", is_flag=True, help="Every agent.")
@click.option("--campaign", default="", help="A name for all of them together.")
@click.pass_obj
def review_open(obj: Context, agents: tuple[str, ...], everyone: bool, campaign: str) -> None:
    """Ask whoever answers for AGENTS to look at what they may do. Overdue, they are narrowed, then frozen.

    \b
      remit review open invoice-bot
      remit review open --all --campaign autumn
    """
    answer = Api(obj.person).post("/v1/reviews", {"agents": list(agents), "all": everyone, "campaign": campaign})
    obj.out.one(answer, f"{len(answer['opened'])} reviews are open; {answer['waited']} waited already.")


@review.command("list")
@click.option("--campaign", default="", help="Only those opened under this name.")
@click.pass_obj
def review_list(obj: Context, campaign: str) -> None:
    """List reviews, those that wait for you first."""
    found = Api(obj.person).get("/v1/reviews", campaign=campaign)["items"]
    columns = {"AGENT": "agent", "STATE": "state", "YOURS": "yours", "DUE": "due_at", "NARROWS": "narrow_at"}
    obj.out.many(found, {**columns, "FREEZES": "freeze_at", "ANSWER": "verdict", "BY": "person"}, empty="No reviews.")


@review.command("show")
@click.argument("agent")
@click.pass_obj
def review_show(obj: Context, agent: str) -> None:
    """Show what AGENT may do, what it did, and what it never used."""
    found = Api(obj.person).get(f"/v1/reviews/{agent}")
    obj.out.one(found, _story(found))


@review.command("answer")
@click.argument("agent")
@click.argument("verdict", type=click.Choice(["keep", "narrow", "retire"]))
@click.option("--digest", default="", help="Of what you were shown; without it, of what there is to see now.")
@click.option("--upto", type=int, default=0, help="The place in the log that was shown with it.")
@click.option("--note", default="", help="Why; its digest goes to the log.")
@click.pass_obj
def review_answer(obj: Context, agent: str, verdict: str, digest: str, upto: int, note: str) -> None:
    """Keep it as it is, narrow it to what it used, or retire it.

    \b
      remit --as olga review answer invoice-bot narrow
    """
    api = Api(obj.person)
    if not digest:
        seen = api.get(f"/v1/reviews/{agent}")
        digest, upto = seen["digest"], seen["upto"]
    body = {"digest": digest, "upto": upto, "answer": verdict, "note": note}
    answer = api.post(f"/v1/reviews/{agent}/answer", body)
    then = " In the catalogue: remit review change " + agent if verdict == "narrow" else ""
    obj.out.one(answer, f"{agent}: {verdict}.{then}")


@review.command("change")
@click.argument("agent")
@click.option(
    "--write", "folder", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Into this folder."
)
@click.pass_obj
def review_change(obj: Context, agent: str, folder: Path | None) -> None:
    """Propose the catalogue without what AGENT never used, to operators: a diff for `git apply`, or the files.

    \b
      remit review change invoice-bot > narrower.patch
      remit review change invoice-bot --write . && remit plan . && remit apply .
    """
    api = Api(obj.person)
    found = api.get(f"/v1/reviews/{agent}/change")
    for one in found["kept"]:
        obj.out.say(f"stays: {one}")
    if folder is not None and found["files"]:
        write_files(api, folder, found)
    told = f"{len(found['files'])} files written." if folder else found["diff"].rstrip("\n") or "Nothing to change."
    obj.out.one(found, told)


def _story(found: dict[str, Any]) -> str:
    seen = found["shown"]
    lines = [f"{seen['agent']} is reviewed since {ago(seen['since'])} (round {seen['round']}), {found['state']}", ""]
    for one in seen["may"]:
        lines.append(f"  {_did(one):<40} {one['purpose']} {one['kind']} {one['name']}")
    lines += ["", *(f"  {name} began {count} of its tasks" for name, count in seen["began"].items())]
    for one in seen["holds"]:
        said = [f"{who['person']} said {'yes' if who['yes'] else 'no'}" for who in one["answers"]]
        lines.append(f"  asked about {one['tool']}: {', '.join(said) or 'nobody answered'}")
    lines += [f"  found, {one['severity']}: {one['title']}" for one in seen["findings"]]
    lines += [f"  changed by {one['by']}: {'; '.join(one['lines'])}" for one in seen["changes"]]
    return "\n".join([*lines, f"  digest {found['digest']}"])


def _did(one: dict[str, Any]) -> str:
    if one["unused"]:
        return "never used"
    if one["kind"] == "credential":
        return f"last given {ago(one['last_at'])}" if one["last_at"] else "not known"
    return f"{one['permit']} permitted, {one['hold']} held, {one['deny']} denied"

"""What open tasks are permitted in: findings, posture, people who left; and what a change of it has ended."""

from __future__ import annotations

from pathlib import Path

import click

from .api import Api
from .app import Context
from .exits import Exit, Failure
from .nouns import LIMIT, list_of

_EVIDENCE = 65_536


@click.command()
@click.option("--lasts", is_flag=True, help="Only those that have not reached every open task.")
@LIMIT
@click.pass_obj
def redecided(obj: Context, lasts: bool, limit: int) -> None:
    """List changes after which open tasks were decided again, and how many ended."""
    columns = {"WHAT CHANGED": "cause", "SINCE": "since", "LOOKED AT": "seen", "ENDED": "ended", "MS": "ms"}
    list_of(obj, "/v1/redecisions", columns, "None.", limit, lasts="yes" if lasts else "")


@click.group()
def finding() -> None:
    """What was found out about an agent, a tool, a secret or a task."""


@finding.command("report")
@click.argument("subject", type=click.Choice(["agent", "tool", "secret", "task"]))
@click.argument("name")
@click.option("--severity", type=click.Choice(["low", "medium", "high", "critical"]), required=True)
@click.option("--title", required=True, help="What was found, in a few words; whoever is refused sees it.")
@click.option(
    "--evidence",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Only a keyed digest of it is kept.",
)
@click.pass_obj
def report(obj: Context, subject: str, name: str, severity: str, title: str, evidence: Path | None) -> None:
    """Report something. High and critical ones stop what they are about, unless the catalogue says otherwise.

    \b
      remit finding report tool crm.export --severity high --title 'its description was changed'
      remit finding report secret stripe --severity critical --title 'in a public repository' --evidence leak.txt
    """
    shown = ""
    if evidence is not None:
        if evidence.stat().st_size > _EVIDENCE:
            raise Failure(f"{evidence} is over {_EVIDENCE} bytes", Exit.USAGE)
        shown = evidence.read_bytes().decode(errors="replace")
    body = {"severity": severity, "subject": subject, "name": name, "title": title, "evidence": shown}
    answer = Api(obj.person).post("/v1/findings", body)
    stopped = f"; {subject} {name} is stopped" if answer["stopped"] else ""
    obj.out.one(answer, f"{answer['id']} is open{stopped}.")


@finding.command("list")
@click.option("--state", type=click.Choice(["open", "resolved"]), default=None)
@LIMIT
@click.pass_obj
def finding_list(obj: Context, state: str | None, limit: int) -> None:
    """List findings."""
    columns = {
        "FINDING": "id",
        "SEVERITY": "severity",
        "ABOUT": "subject",
        "NAME": "name",
        "STATE": "state",
        "CONTAINED": "contained_at",
    }
    list_of(
        obj, "/v1/findings", {**columns, "STOPPED": "stopped", "TITLE": "title"}, "No findings.", limit, state=state
    )


@finding.command("show")
@click.argument("finding_id")
@click.pass_obj
def finding_show(obj: Context, finding_id: str) -> None:
    """Show a finding, and whether what leaked is still good."""
    obj.out.one(Api(obj.person).get(f"/v1/findings/{finding_id}"))


@finding.command("contain")
@click.argument("finding_id")
@click.option("--reason", required=True, help="Why; goes to the log.")
@click.option("--agent", is_flag=True, help="Freeze the agent whose credential it was, too.")
@click.pass_obj
def finding_contain(obj: Context, finding_id: str, reason: str, agent: bool) -> None:
    """Take what leaked out of use. What cannot be undone waits for somebody else's yes.

    \b
      remit finding contain fnd_… --reason 'in a public repository'
    """
    answer = Api(obj.person).post(f"/v1/findings/{finding_id}/contain", {"reason": reason, "agent": agent})
    waits = f"; destroying it waits for a yes: remit approval show {answer['approval']}" if answer["approval"] else ""
    obj.out.one(answer, f"{finding_id} is contained{waits}.")


@finding.command("resolve")
@click.argument("finding_id")
@click.option("--note", required=True, help="How; goes to the log.")
@click.pass_obj
def finding_resolve(obj: Context, finding_id: str, note: str) -> None:
    """Say that it counts no more. What it ended stays ended."""
    answer = Api(obj.person).post(f"/v1/findings/{finding_id}/resolve", {"note": note})
    obj.out.one(answer, f"{finding_id} is resolved.")


@click.group()
def posture() -> None:
    """What is known of an agent's surroundings."""


@posture.command("set")
@click.argument("agent")
@click.argument("facts", nargs=-1, required=True, metavar="NAME=VALUE...")
@click.option("--minutes", type=click.IntRange(1, 43_200), required=True, help="For how long it is known.")
@click.pass_obj
def posture_set(obj: Context, agent: str, facts: tuple[str, ...], minutes: int) -> None:
    """Say what is known. Tasks that need something else end.

    \b
      remit posture set invoice-bot disk_encrypted=yes os_patched=yes --minutes 60
    """
    pairs = dict(fact.partition("=")[::2] for fact in facts)
    answer = Api(obj.person).post(f"/v1/agents/{agent}/posture", {"facts": pairs, "ttl_ms": minutes * 60_000})
    known = ", ".join(f"{one['name']}={one['value']}" for one in answer["facts"])
    obj.out.one(answer, f"Known of {agent}: {known}.")


@click.group()
def person() -> None:
    """People who are here no more, and who are again."""


@person.command("leave")
@click.argument("name")
@click.option("--reason", required=True, help="Why; goes to the log.")
@click.option("--freeze", is_flag=True, help="What they answer for is frozen with it.")
@click.pass_obj
def leave(obj: Context, name: str, reason: str, freeze: bool) -> None:
    """NAME is here no more: their keys and sessions are refused, they begin nothing, and what they began ends."""
    answer = Api(obj.person).post(f"/v1/people/{name}/leave", {"reason": reason, "freeze": freeze})
    obj.out.one(answer, f"{name} has left. What they began ends: remit redecided")


@person.command("return")
@click.argument("name")
@click.pass_obj
def come_back(obj: Context, name: str) -> None:
    """NAME is here again. What ended stays ended, and what was frozen stays frozen."""
    answer = Api(obj.person).post(f"/v1/people/{name}/return", {})
    obj.out.one(answer, f"{name} is here again.")

"""`remit whoami`, and how an agent is told to people."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from .api import Api, find_key
from .app import Context
from .exits import Failure
from .output import ago, table


@click.command()
@click.option("--agent", "as_agent", is_flag=True, help="The agent whose key is on this machine.")
@click.pass_obj
def whoami(obj: Context, as_agent: bool) -> None:
    """Who the caller is: the agent of REMIT_AGENT_DIR, else the person or operator whose key is here.

    \b
    Example: REMIT_AGENT_DIR=~/.remit/agent remit whoami
    """
    if as_agent or (not obj.person and (os.environ.get("REMIT_AGENT_DIR") or _only_an_agent(obj))):
        from remit_client import Remit

        found = Remit().whoami()
        obj.out.one(found, _agent(found))
        return
    api = Api(obj.person)
    found = {**api.get("/v1/whoami"), "server": api.url, "key": api.key_source}
    obj.out.one(found, _person(found))


def _only_an_agent(obj: Context) -> bool:
    """No key here, but an agent that proved itself before."""
    try:
        find_key(obj.person)
    except Failure:
        return (Path.home() / ".remit" / "agent" / "agent.json").is_file()
    return False


def _person(found: Mapping[str, Any]) -> str:
    groups = f", in {', '.join(found['groups'])}" if found["groups"] else ""
    lines = [
        f"{found['kind']} {found['name']}{groups}",
        f"  key     from {found['key']}, expires {ago(found['expires_at'])}",
    ]
    return "\n".join([*lines, f"  server  {found['server']}"])


def _agent(found: Mapping[str, Any]) -> str:
    lines = [
        f"agent {found['name']} ({found['state']}, {found['tier']}), for which {found['owner']} answers",
        f"  key       {found['jkt']}",
        f"  proved    by {found['method']}, {ago(found['proved_at'])}; expires {ago(found['expires_at'])}",
        f"  identity  {found['spiffe_id']}",
        f"  purposes  {', '.join(found['purposes']) or 'none'}",
    ]
    if found["stale"]:
        lines.append(f"  but       {found['stale']}")
    if not found["tasks"]:
        return "\n".join([*lines, "  no open tasks"])
    rows = [(t["id"], t["purpose"], ago(t["deadline"]), t["goal"]) for t in found["tasks"]]
    return "\n".join([*lines, "", *table(("OPEN TASK", "PURPOSE", "ENDS", "GOAL"), rows)])


_MEANS = {
    "credential": "it was issued what it needs, and cannot act without",
    "gateway": "an enforcement point asks for its calls",
    "hook": "advisory: its own process asks",
    "": "nothing it did was asked about",
}


def _grade(found: Mapping[str, Any]) -> str:
    """What the newest events show, and never more than that."""
    seen = ", ".join(f"{count} by {way}" for way, count in found["seen"].items() if count)
    return f"{found['grade'] or 'not'} ({_MEANS[found['grade']]}{'; ' + seen if seen else ''})"


def agent_story(found: Mapping[str, Any]) -> str:
    """One agent: who answers, how it may prove itself, and each key that it proved."""
    why = f": {found['state_reason']}" if found["state_reason"] else ""
    lines = [
        f"{found['name']} is {found['state']}{why}",
        f"  title       {found['title'] or '-'}",
        f"  owner       {found['owner']}",
        f"  escalation  {', '.join(found['escalation']) or '-'}",
        f"  tier        {found['tier']}",
        f"  proves by   {', '.join(found['attests_by']) or 'nothing: it cannot prove itself'}",
    ]
    lines.append(f"  enforced    {_grade(found['enforcement'])}")
    if not found["identities"]:
        return "\n".join([*lines, "", f"No key is proved. `remit agent invite {found['name']}` makes a join token."])
    rows = [
        (key["jkt"], key["method"], ago(key["proved_at"]), ago(key["expires_at"]), key["spiffe_id"])
        for key in sorted(found["identities"], key=lambda key: -int(key["proved_at"]))
    ]
    return "\n".join([*lines, "", *table(("KEY", "METHOD", "PROVED", "EXPIRES", "IDENTITY"), rows)])

"""The nouns an operator looks at: agent, purpose, tool, task, lease."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from .api import Api
from .app import Context
from .watch import watch
from .whoami import agent_story

LIMIT = click.option("--limit", type=click.IntRange(1, 100_000), default=200, show_default=True)


def list_of(obj: Context, path: str, columns: dict[str, str], empty: str, limit: int, **query: Any) -> None:
    """Print a list of the server's, to its end or to `limit`."""
    obj.out.many(list(Api(obj.person).every(path, limit, **query)), columns, empty=empty)


@click.group()
def agent() -> None:
    """Agents: who exists, and who answers for them."""


@agent.command("list")
@LIMIT
@click.pass_obj
def agent_list(obj: Context, limit: int) -> None:
    """List the registered agents."""
    columns = {"AGENT": "name", "OWNER": "owner", "ANSWERS": "answering", "TIER": "tier", "STATE": "state"}
    found = [{**one, "answering": _answering(one)} for one in Api(obj.person).every("/v1/agents", limit)]
    empty = "No agents yet. Describe one in agents/NAME.toml and `remit apply`."
    obj.out.many(found, {**columns, "TITLE": "title"}, empty=empty)


def _answering(one: Mapping[str, Any]) -> str:
    """Who answers for it, or how long it may go on without anybody."""
    row = one["succession"]
    if row is None or row["state"] == "taken":
        return str(one["answers"])
    if row["state"] == "stopped":
        return f"nobody ({row['missing']}), frozen"
    return f"nobody ({row['missing']}), {row['left_ms'] // 3_600_000} h left"


@agent.command("show")
@click.argument("name")
@click.pass_obj
def agent_show(obj: Context, name: str) -> None:
    """Show one agent: owner, tier, how it may prove itself, and its proven keys."""
    found = Api(obj.person).get(f"/v1/agents/{name}")
    obj.out.one(found, agent_story(found))


@agent.command("invite")
@click.argument("name")
@click.option("--minutes", type=click.IntRange(1, 1440), default=60, show_default=True)
@click.pass_obj
def agent_invite(obj: Context, name: str, minutes: int) -> None:
    """Make a one-time join token that binds one key to agent NAME."""
    answer = Api(obj.person).post(f"/v1/agents/{name}/join-tokens", {"ttl_ms": minutes * 60_000})
    obj.out.say(f"Good once, for {minutes} min. On the agent's machine: export REMIT_JOIN_TOKEN=…")
    obj.out.one(answer, answer["join_token"])


@click.group()
def purpose() -> None:
    """Purposes: what kind of task may be asked of whom."""


@purpose.command("list")
@LIMIT
@click.pass_obj
def purpose_list(obj: Context, limit: int) -> None:
    """List the purposes in force."""
    columns = {
        "PURPOSE": "name",
        "OWNER": "owner",
        "AGENTS": "agents",
        "REVISION": "revision",
        "TITLE": "title",
    }
    list_of(obj, "/v1/purposes", columns, "No purposes yet. Describe one in purposes/NAME.toml.", limit)


@purpose.command("show")
@click.argument("name")
@click.pass_obj
def purpose_show(obj: Context, name: str) -> None:
    """Show one purpose: its ceiling, parameters, grants and credentials."""
    obj.out.one(Api(obj.person).get(f"/v1/purposes/{name}"))


@click.group()
def task() -> None:
    """Tasks: what agents have been asked to do."""


@task.command("list")
@click.option("--state", type=click.Choice(["open", "closed", "revoked", "expired"]), default=None)
@click.option("--agent", "agent_name", default="", help="Only this agent's.")
@LIMIT
@click.pass_obj
def task_list(obj: Context, state: str | None, agent_name: str, limit: int) -> None:
    """List tasks."""
    columns = {
        "TASK": "id",
        "AGENT": "agent",
        "PURPOSE": "purpose",
        "STATE": "state",
        "CALLS": "calls",
        "OPENED": "opened_at",
        "DEADLINE": "deadline",
        "GOAL": "goal",
    }
    list_of(obj, "/v1/tasks", columns, "No tasks.", limit, state=state, agent=agent_name)


@task.command("show")
@click.argument("task_id")
@click.pass_obj
def task_show(obj: Context, task_id: str) -> None:
    """Show one task and its leases."""
    api = Api(obj.person)
    found = api.get(f"/v1/tasks/{task_id}")
    obj.out.one({**found, "leases": api.get(f"/v1/tasks/{task_id}/leases")["items"]})


@task.command("end")
@click.argument("task_id")
@click.option("--reason", default="ended from the command line", show_default=True)
@click.option("--wait/--no-wait", default=True, help="Watch until every credential is dead.")
@click.option("--seconds", type=click.IntRange(1, 86_400), default=60, show_default=True, help="How long to watch.")
@click.pass_obj
def task_end(obj: Context, task_id: str, reason: str, wait: bool, seconds: int) -> None:
    """Revoke a task: no permit after this, and every credential it holds dies.

    \b
    Leaves with 5 if some are left when it stops watching; they are killed all the same.
    """
    api = Api(obj.person)
    answer = api.post(f"/v1/tasks/{task_id}/end", {"reason": reason})
    if wait:
        answer = watch(obj, api, task_id, seconds)
    dead = "every credential is dead" if answer.get("settled_at") else "its credentials are being killed"
    obj.out.one(answer, f"{task_id} is {answer['state']}; {dead}.")


@click.group()
def lease() -> None:
    """Leases: credentials that may exist."""


@lease.command("list")
@click.option("--state", type=click.Choice(["reserved", "live", "ending", "ended"]), default=None)
@LIMIT
@click.pass_obj
def lease_list(obj: Context, state: str | None, limit: int) -> None:
    """List leases; ENDING ones with their last failure."""
    columns = {
        "LEASE": "id",
        "TASK": "task",
        "CREDENTIAL": "credential",
        "ISSUER": "issuer",
        "STATE": "state",
        "EXPIRES": "expires_at",
        "KILLS FAILED": "attempts",
        "LAST ERROR": "last_error",
    }
    list_of(obj, "/v1/leases", columns, "No leases.", limit, state=state)


@lease.command("end")
@click.argument("lease_id")
@click.option("--reason", default="", help="Why, for the log.")
@click.pass_obj
def lease_end(obj: Context, lease_id: str, reason: str) -> None:
    """End one credential; its task stays open."""
    found = Api(obj.person).post(f"/v1/leases/{lease_id}/end", {"reason": reason})
    obj.out.one(found, f"{lease_id} is {found['state']}; `remit lease list --state ending` shows what is not dead yet.")

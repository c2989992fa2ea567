"""What people do: approve, deny, ask; and the keys an operator hands out."""

from __future__ import annotations

import json
import os
from typing import Any

import click

from .api import Api, person_key_path
from .app import Context
from .exits import Exit, Failure
from .output import ago


@click.group()
def approval() -> None:
    """Approvals: what waits for a person."""


@approval.command("list")
@click.option(
    "--state",
    type=click.Choice(["pending", "granted", "refused", "used", "expired", "all"]),
    default="pending",
)
@click.option("--limit", type=click.IntRange(1, 100_000), default=200, show_default=True)
@click.pass_obj
def approval_list(obj: Context, state: str, limit: int) -> None:
    """List approvals."""
    columns = {
        "APPROVAL": "id",
        "STATE": "state",
        "FOR": "approvers",
        "EXPIRES": "expires_at",
        "ASKS": "shown.sentence",
    }
    query = "" if state == "all" else state
    obj.out.many(list(Api(obj.person).every("/v1/approvals", limit, state=query)), columns, empty="Nothing waits.")


@approval.command("show")
@click.argument("approval_id")
@click.pass_obj
def approval_show(obj: Context, approval_id: str) -> None:
    """Show exactly what an approval covers."""
    found = Api(obj.person).get(f"/v1/approvals/{approval_id}")
    obj.out.one(found, story(found))


@approval.command("wait")
@click.argument("approval_id")
@click.option("--seconds", type=click.IntRange(1, 86_400), default=300, show_default=True)
@click.pass_obj
def approval_wait(obj: Context, approval_id: str, seconds: int) -> None:
    """Block until somebody answers; leaves with 5 if nobody does."""
    api, left = Api(obj.person), seconds
    while left > 0:
        found = api.get(f"/v1/approvals/{approval_id}", wait=min(left, 25))
        if found["state"] != "pending":
            obj.out.one(found, f"{approval_id} is {found['state']}.")
            return
        left -= 25
        obj.out.say(f"still waiting for {', '.join(found['approvers'])}")
    raise Failure(f"nobody answered {approval_id} in {seconds} s", Exit.HELD)


def story(found: dict[str, Any]) -> str:
    """Say in a few lines what a person agrees to."""
    shown = found["shown"]
    needs = " and ".join(f"{need['quorum']} of {', '.join(need['approvers'])}" for need in found["needs"])
    lines = [f"[{found['state'].upper()}] {shown['sentence']}", ""]
    came = {one["argument"]: _came(one, found["initiator"]) for one in shown.get("origins", [])}
    arguments = json.loads(shown["arguments"])
    width = max((len(str(value)) for name, value in arguments.items() if name in came), default=0)
    for name, value in arguments.items():
        lines.append(
            f"  {name:<12} {str(value).ljust(min(width, 40))}  {came[name]}"
            if name in came
            else f"  {name:<12} {value}"
        )
    lines += [
        "",
        f"  resource     {shown['resource']} ({shown['effect']})",
        f"  goal         {shown['goal']}",
        f"  why          {' '.join(shown['why'])}",
        f"  asks         {needs}, until {ago(found['expires_at'])}",
        f"  digest       {found['digest']}",
    ]
    lines += [f"  {'yes' if a['yes'] else 'no':<12} {a['person']} {a['note']}" for a in found["answers"]]
    return "\n".join(lines)


def _came(one: dict[str, Any], initiator: str) -> str:
    """Where a value came from, for the person who is asked."""
    where = ", ".join(source for source in one["sources"] if source != "stated")
    match one["origin"]:
        case "stated":
            return f"(said by {initiator.partition(':')[2]})"
        case "trusted":
            return f"(from {where})"
        case "untrusted" if where:
            return f"(from {where}, where anybody could have written it)"
        case "untrusted":
            return "(looks like what was said, and is not)"
    return "(made up by the agent)"


def _answer(obj: Context, approval_id: str, yes: bool, note: str, digest: str) -> None:
    api = Api(obj.person)
    if not digest:
        found = api.get(f"/v1/approvals/{approval_id}")
        digest = found["digest"]
        obj.out.say(story(found))
    body = {"digest": digest, "yes": yes, "note": note}
    answer = api.post(f"/v1/approvals/{approval_id}/answer", body)
    obj.out.one(answer, f"{approval_id} is {answer['state']}.")


@click.command()
@click.argument("approval_id")
@click.option("--digest", default="", help="Approve only if this is the digest shown.")
@click.option("--note", default="", help="Kept with the answer.")
@click.pass_obj
def approve(obj: Context, approval_id: str, digest: str, note: str) -> None:
    """Say yes, once, to exactly what APPROVAL_ID shows.

    \b
    Example: remit approve apv_… --as frank
    """
    _answer(obj, approval_id, True, note, digest)


@click.command()
@click.argument("approval_id")
@click.option("--digest", default="", help="Deny only if this is the digest shown.")
@click.option("--note", default="", help="Why; the agent's people see it.")
@click.pass_obj
def deny(obj: Context, approval_id: str, digest: str, note: str) -> None:
    """Say no to what APPROVAL_ID shows."""
    _answer(obj, approval_id, False, note, digest)


@click.command()
@click.argument("agent")
@click.pass_obj
def ask(obj: Context, agent: str) -> None:
    """Make a short-lived token that names you as the one who began AGENT's next task."""
    answer = Api(obj.person).post("/v1/subject-tokens", {"agent": agent})
    obj.out.one(answer, answer["subject_token"])


@click.group()
def key() -> None:
    """Bearer keys; agents have none, they prove possession of their own."""


@key.command("create")
@click.argument("kind", type=click.Choice(["person", "operator", "auditor", "enforcer"]))
@click.argument("name")
@click.option("--days", type=click.IntRange(1, 365), default=30, show_default=True)
@click.option("--save", is_flag=True, help="Keep it here, for `--as NAME`, instead of printing it.")
@click.pass_obj
def key_create(obj: Context, kind: str, name: str, days: int, save: bool) -> None:
    """Make a key; it is shown once and kept nowhere on the server."""
    answer = Api(obj.person).post("/v1/keys", {"kind": kind, "name": name, "ttl_ms": days * 86_400_000})
    if not save:
        obj.out.one(answer, answer["key"])
        return
    path = person_key_path(name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(answer["key"] + "\n")
    saved = {"kind": kind, "name": name, "saved": str(path), "expires_at": answer["expires_at"]}
    obj.out.one(saved, f"Saved {path}; use it with --as {name}.")


@key.command("signing")
@click.pass_obj
def key_signing(obj: Context) -> None:
    """List the keys Remit signs with: next, current, retiring and retired."""
    columns = {
        "USE": "use",
        "STATE": "state",
        "MADE": "created_at",
        "SIGNS FROM": "signs_from_at",
        "VERIFIES UNTIL": "retire_at",
        "KID": "kid",
    }
    found = list(Api(obj.person).every("/v1/signing-keys"))
    if not obj.out.as_json:
        found = [{**key, "signs_from_at": key["signs_from"]} for key in found]
    obj.out.many(found, columns, empty="No keys.")


@key.command("rotate")
@click.option(
    "--use",
    type=click.Choice(["token", "federation", "svid", "authority", "ssh", "x509", "client", "log"]),
    required=True,
)
@click.option("--now", is_flag=True, help="The key may be known to somebody: destroy it; what it signed is refused.")
@click.option("--reason", default="", help="Why; needed with --now, and goes to the log.")
@click.pass_obj
def key_rotate(obj: Context, use: str, now: bool, reason: str) -> None:
    """Replace the key Remit signs with for one use; nothing restarts and nothing valid is refused.

    \b
    Example: remit key rotate --use token
    """
    answer = Api(obj.person).post(f"/v1/signing-keys/{use}/rotate", {"now": now, "reason": reason})
    if now:
        gone = len(answer["destroyed"])
        text = f"{answer['kid']} signs now; {gone} destroyed. Refused from now on: {answer['dies']}."
    else:
        text = f"{answer['kid']} is published and signs {ago(answer['signs_from'])}; the old one verifies meanwhile."
    obj.out.one(answer, text)

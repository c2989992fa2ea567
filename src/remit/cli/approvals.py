"""What people are asked and what they answer: approve, deny, ask back, hand on, stand in."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from .api import Api
from .app import Context
from .exits import Exit, Failure
from .output import ago

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@click.group()
def approval() -> None:
    """Approvals: what waits for a person, and how people answer."""


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
    """Show exactly what an approval covers, and all there is to know before answering."""
    found = Api(obj.person).get(f"/v1/approvals/{approval_id}")
    obj.out.one(found, story(found))


@approval.command("wait")
@click.argument("approval_id")
@click.option("--seconds", type=click.IntRange(1, 86_400), default=300, show_default=True)
@click.pass_obj
def approval_wait(obj: Context, approval_id: str, seconds: int) -> None:
    """Block until somebody answers; leaves with 5 if nobody does."""
    found = _waited(obj, Api(obj.person), approval_id, seconds)
    obj.out.one(found, f"{approval_id} is {found['state']}.")


def _waited(obj: Context, api: Api, approval_id: str, seconds: int) -> dict[str, Any]:
    left = seconds
    while left > 0:
        found: dict[str, Any] = api.get(f"/v1/approvals/{approval_id}", wait=min(left, 25))
        if found["state"] != "pending":
            return found
        left -= 25
        obj.out.say(f"still waiting for {', '.join(one['person'] for one in found['can_answer'])}")
    raise Failure(f"nobody answered {approval_id} in {seconds} s", Exit.HELD)


def story(found: dict[str, Any]) -> str:
    """Say in a few lines what a person agrees to."""
    shown, what = found["shown"], found["what"]
    lines = [f"[{found['state'].upper()}] {shown['sentence']}", ""]
    width = min(40, max((len(str(one["value"])) for one in found["arguments"] if one["says"]), default=0))
    for one in found["arguments"]:
        said = f"  ({one['says']})" if one["says"] else ""
        lines.append(f"  {one['name']:<12} {str(one['value']).ljust(width if said else 0)}{said}")
    can = "cannot be undone" if not what["reversible"] else what["effect"]
    needs = " and ".join(f"{need['quorum']} of {', '.join(need['approvers'])}" for need in found["needs"])
    read = ", ".join(shown["read"]) or "nothing"
    lines += [
        "",
        f"  what         {what['title'] or what['tool']} on {what['resource']} ({can})",
        f"  goal         {shown['goal']}",
        f"  why          {' '.join(shown['why'])}",
        f"  who          {_chain(found)}; {found['owner']} answers for {found['agent']}",
        f"  has read     {read} ({shown['trust']}, {shown['sensitivity']})",
        *_did(found["did"]),
        *(f"  before       {_before(one)}" for one in found["earlier"][:5]),
        f"  asks         {needs}, until {ago(found['expires_at'])}"
        + (", by passkey (a yes in a provider's app is not enough)" if found["passkey"] else ""),
        f"  if nothing   {found['if_nothing']}",
        f"  code         {found['code']} (an identity provider's app shows the same)",
        *(f"  in their app {_in_app(one)}" for one in found["in_app"]),
        f"  digest       {found['digest']}",
    ]
    lines += [f"  {'yes' if a['yes'] else 'no':<12} {_answered(a)}" for a in found["answers"]]
    lines += [f"  {one['person']} asks  {one['text']}" for one in found["questions"]]
    if found["state"] == "pending":
        lines.append(f"  can answer   {', '.join(map(_can, found['can_answer'])) or 'nobody'}")
        lines += (
            ["  wants        a yes of somebody who does not answer for the agent"] if found["wants_another"] else []
        )
    you = found["you"]
    if you["answers"]:
        rate, seconds = round(100 * you["yes_rate"]), you["median_ms"] / 1000
        lines.append(f"  you          say yes to {rate} % of {you['answers']}, in {seconds:.1f} s mostly")
    return "\n".join(lines)


def _chain(found: dict[str, Any]) -> str:
    return " → ".join([found["initiator"].partition(":")[2], *found["chain"]])


def _did(did: dict[str, Any]) -> list[str]:
    if not did:
        return []
    changed = ", ".join(f"{tool} ×{count}" for tool, count in did["changed"].items()) or "changed nothing yet"
    return [f"  did          {did['calls']} of {did['max_calls']} calls; {changed}"]


def _before(one: dict[str, Any]) -> str:
    differs = ", ".join(f"{d['name']} was {d['was']}" for d in one["differs"]) or "exactly the same"
    return f"{one['state']} {ago(one['at'])}: {differs}"


def _answered(one: dict[str, Any]) -> str:
    app = f"in the app of {one['provider']}"
    by = {"passkey": "signed by a passkey", "provider": app}.get(one["evidence"], "by a key, not signed")
    instead = f" for {one['instead_of']}" if one["instead_of"] else ""
    return f"{one['person']}{instead} ({by}) {one['note']}".rstrip()


def _in_app(one: dict[str, Any]) -> str:
    why = f": {one['why']}" if one["why"] else ""
    return f"{one['person']} at {one['provider']}, {one['state']}{why}"


def _can(one: dict[str, Any]) -> str:
    instead = f" or {', '.join(one['stand_ins'])} for them" if one["stand_ins"] else ""
    return f"{one['person']}{'' if one['alone'] else ' (not alone)'}{instead}"


def _answer(obj: Context, approval_id: str, body: dict[str, Any]) -> None:
    api = Api(obj.person)
    if not body["digest"]:
        found = api.get(f"/v1/approvals/{approval_id}")
        body["digest"] = found["digest"]
        obj.out.say(story(found))
    answer = api.post(f"/v1/approvals/{approval_id}/answer", body)
    more = "; somebody who does not answer for the agent must agree too" if answer["wants_another"] else ""
    pending = answer["state"] == "pending"
    obj.out.one(answer, f"{approval_id} is {answer['state']}{more if pending else ''}.")


@click.command()
@click.argument("approval_id")
@click.option("--digest", default="", help="Approve only if this is the digest shown.")
@click.option("--note", default="", help="Kept with the answer.")
@click.option("--next", "count", type=click.IntRange(0), default=0, help="And the next N like it in this task.")
@click.option("--for", "lasts", default="30m", show_default=True, help="How long --next lasts: 90s, 30m, 2h.")
@click.option("--release", multiple=True, help="With --next: an argument that may be other, a number only smaller.")
@click.pass_obj
def approve(
    obj: Context, approval_id: str, digest: str, note: str, count: int, lasts: str, release: tuple[str, ...]
) -> None:
    """Say yes, once, to exactly what APPROVAL_ID shows.

    \b
    Example: remit approve apv_… --as frank
             remit approve apv_… --as frank --next 3 --release amount
    """
    body: dict[str, Any] = {"digest": digest, "yes": True, "note": note}
    if count:
        body["again"] = {"count": count, "until": _until(lasts), "released": list(release)}
    _answer(obj, approval_id, body)


@click.command()
@click.argument("approval_id")
@click.option("--digest", default="", help="Deny only if this is the digest shown.")
@click.option("--note", default="", help="Why; the agent's people see it.")
@click.pass_obj
def deny(obj: Context, approval_id: str, digest: str, note: str) -> None:
    """Say no to what APPROVAL_ID shows."""
    _answer(obj, approval_id, {"digest": digest, "yes": False, "note": note})


@approval.command("question")
@click.argument("approval_id")
@click.argument("text")
@click.pass_obj
def approval_question(obj: Context, approval_id: str, text: str) -> None:
    """Ask back before you answer; the agent is told TEXT."""
    answer = Api(obj.person).post(f"/v1/approvals/{approval_id}/questions", {"text": text})
    obj.out.one(answer, f"{answer['agent']} is told: {text}")


@approval.command("hand-on")
@click.argument("approval_id")
@click.argument("person")
@click.pass_obj
def approval_hand_on(obj: Context, approval_id: str, person: str) -> None:
    """Have PERSON answer this one in your place."""
    answer = Api(obj.person).post(f"/v1/approvals/{approval_id}/hand-on", {"to": person})
    obj.out.one(answer, f"{person} may answer {approval_id} for you.")


@approval.command("stats")
@click.pass_obj
def approval_stats(obj: Context) -> None:
    """How people answer, by policy and by person; what is wrong with it comes first."""
    found = Api(obj.person).get("/v1/approvals/stats")
    if obj.out.as_json:
        obj.out.one(found)
        return
    rate = found["holds_per_task"]
    obj.out.say(
        f"{found['all']['asked']} requests in {found['tasks']} tasks" + (f": {rate:.2f} a task" if rate else "")
    )
    for noun, items in (("POLICY", found["policies"]), ("PERSON", found["people"])):
        columns = {noun: noun.lower(), "ASKED": "asked", "YES": "yes", "NO": "no", "IN TIME": "in_time"}
        rows = [{**one, "in_time": _in_time(one)} for one in items]
        obj.out.many(rows, {**columns, "PROBLEM": "problem"}, empty=f"No {noun.lower()} yet.")


def _in_time(one: dict[str, Any]) -> str:
    return f"{one['median_ms'] / 1000:.1f} s" if one["median_ms"] is not None else "-"


@approval.command("verify")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.argument("approval_id")
@click.option("--signed", is_flag=True, help="Fail unless every yes was signed by a passkey.")
@click.pass_obj
def approval_verify(obj: Context, file: Path, approval_id: str, signed: bool) -> None:
    """Prove from an exported log who agreed to what; no server is asked.

    \b
    That the log itself is whole is checked by `remit log verify`:
      remit log export log.jsonl && remit log verify log.jsonl --key …
      remit approval verify log.jsonl apv_… --signed
    """
    from remit.domain.errors import ProofInvalid
    from remit.formats.approval_proof import prove

    try:
        with file.open("rb") as lines:
            found = prove((line.rstrip(b"\n") for line in lines), approval_id)
    except ProofInvalid as bad:
        raise Failure(f"NOT proved: {bad}", Exit.ERROR) from bad
    if signed and not (found.signed and found.answers):
        raise Failure(f"NOT proved: a yes to {approval_id} is not signed by a passkey", Exit.ERROR)
    answers = [
        {
            "person": a.person,
            "yes": a.yes,
            "at": a.at,
            "evidence": "passkey" if a.passkey else "provider" if a.provider else "key",
            "passkey": a.passkey,
            "provider": a.provider,
        }
        for a in found.answers
    ]
    shown = {"approval": approval_id, "digest": found.digest, "access": found.access, "tool": found.tool}
    said = [
        f"{a['person']} said {'yes' if a['yes'] else 'no'} to exactly {found.digest}: " + _rests_on(a) for a in answers
    ]
    lines_ = [*said, f"It was used {ago(found.used_at)}." if found.used_at else "It was never used."]
    obj.out.one({**shown, "task": found.task, "answers": answers, "used_at": found.used_at}, "\n".join(lines_))


def _rests_on(one: dict[str, Any]) -> str:
    if one["passkey"]:
        return "their passkey signed it"
    by = f", whom {one['provider']} vouched for" if one["provider"] else ""
    return f"the log says so{by}; nobody signed it here"


def _grade(passkey: str) -> str:
    return "passkey" if passkey else "key"


@click.group()
def away() -> None:
    """Have somebody answer what you are asked, for a time."""


@away.command("set")
@click.argument("person")
@click.option("--for", "lasts", required=True, help="How long: 2h, 5d; at most 90d.")
@click.option("--reason", default="")
@click.pass_obj
def away_set(obj: Context, person: str, lasts: str, reason: str) -> None:
    """Have PERSON stand in for you."""
    answer = Api(obj.person).post("/v1/away", {"to": person, "until": _until(lasts), "reason": reason})
    obj.out.one(answer, f"{person} answers what you are asked, until {ago(answer['until'])}.")


@away.command("end")
@click.pass_obj
def away_end(obj: Context) -> None:
    """You answer for yourself again."""
    obj.out.one(Api(obj.person).post("/v1/away/end"), "You are back.")


@away.command("show")
@click.pass_obj
def away_show(obj: Context) -> None:
    """Who stands in for you, and for whom you do."""
    found = Api(obj.person).get("/v1/away")
    mine = found["away"]
    lines = [f"{mine['to']} stands in for you until {ago(mine['until'])}." if mine else "You are not away."]
    lines += [f"You stand in for {one['person']} until {ago(one['until'])}." for one in found["for"]]
    obj.out.one(found, "\n".join(lines))


@click.group()
def passkey() -> None:
    """Your passkeys; they are registered in the console."""


@passkey.command("list")
@click.pass_obj
def passkey_list(obj: Context) -> None:
    """List your passkeys."""
    columns = {"PASSKEY": "id", "TITLE": "title", "DOMAIN": "rp_id", "SYNCED": "synced", "MADE": "registered_at"}
    obj.out.many(list(Api(obj.person).every("/v1/passkeys")), columns, empty="None; register one in the console.")


@passkey.command("remove")
@click.argument("passkey_id")
@click.pass_obj
def passkey_remove(obj: Context, passkey_id: str) -> None:
    """It answers nothing any more; what it signed stays evidence."""
    answer = Api(obj.person).post(f"/v1/passkeys/{passkey_id}/remove")
    obj.out.one(answer, f"{answer['person']}'s passkey answers nothing any more.")


def _until(lasts: str) -> int:
    """Now, and so much later, in ms."""
    number, unit = lasts[:-1], lasts[-1:]
    if unit not in UNITS or not number.isdecimal() or len(number) > 6:
        raise Failure(f"{lasts!r} is no time: 90s, 30m, 2h, 5d", Exit.USAGE)
    return int(time.time() * 1000) + int(number) * UNITS[unit] * 1000

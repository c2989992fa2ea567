"""Static secrets and hand-overs, as operators and people see them. No answer here but `open` has anything secret."""

from __future__ import annotations

from starlette.responses import Response

from remit.domain.caller import Call, CallerKind
from remit.domain.errors import Absent, BadField
from remit.domain.lease import Lease, LeaseState
from remit.domain.secret import HandOver, SealedSecret
from remit.verbs import hand_over as hand_over_verb
from remit.verbs import seal as seal_verb
from remit.verbs.rewrap import rewrap as rewrap_verb

from . import shapes
from .house import Asked, House
from .problems import json_response, text_response


async def list_secrets(house: House, call: Call, asked: Asked) -> Response:
    """Every version of every secret."""
    limit = asked.whole("limit", 100, most=500)
    rows = await house.env.store.find(SealedSecret, {}, after=asked.query.get("after", ""), limit=limit)
    found = {"items": [shapes.secret(row) for row in rows], "next": rows[-1].key if rows and len(rows) == limit else ""}
    return json_response(found)


async def show_secret(house: House, call: Call, asked: Asked) -> Response:
    """One secret's versions, and the leases that hold each of them."""
    rows = await seal_verb.versions(house.env, asked.path["secret"])
    if not rows:
        raise Absent(inside=f"secret {asked.path['secret']}")
    shown = [{**shapes.secret(row), "leases": await _holders(house, row)} for row in rows]
    return json_response({"name": rows[0].name, "versions": shown})


async def _holders(house: House, row: SealedSecret) -> list[str]:
    found: list[str] = []
    for state in (LeaseState.RESERVED, LeaseState.LIVE, LeaseState.ENDING):
        where = {"holds": row.label, "state": state.value}
        found += [lease.id for lease in await house.env.store.find(Lease, where, limit=1000)]
    return found


async def put(house: House, call: Call, asked: Asked) -> Response:
    """Seal a static secret as its next version."""
    wanted = asked.json(shapes.SecretRequest)
    terms = seal_verb.Terms(wanted.note, wanted.expires_at, wanted.rotate_after_ms)
    await seal_verb.seal(house.env, call, asked.path["secret"], wanted.value.encode(), terms)
    return Response(status_code=204)


async def rollback(house: House, call: Call, asked: Asked) -> Response:
    """Seal what an older version holds again, as the next version."""
    number = _number(asked.json(shapes.VersionRequest).number)
    return json_response(shapes.secret(await seal_verb.rollback(house.env, call, asked.path["secret"], number)))


async def retire(house: House, call: Call, asked: Asked) -> Response:
    """Mint a version no more, and end the leases that hold it."""
    wanted = asked.json(shapes.RetireRequest)
    row = await seal_verb.retire(house.env, call, asked.path["secret"], _number(wanted.number), wanted.reason)
    return json_response(shapes.secret(row))


def _number(number: int) -> int:
    if not 0 <= number < 2**31:
        raise BadField("number", "must be the number of a version")
    return number


async def rewrap(house: House, call: Call, asked: Asked) -> Response:
    """Bring every envelope under the root key that this server was started with."""
    found = await rewrap_verb(house.env, call)
    return json_response({"rewrapped": found.done, "already": found.already, "unopened": list(found.unopened)})


# --- hand-overs ---


async def send(house: House, call: Call, asked: Asked) -> Response:
    """Leave something sealed for one person, to be opened once."""
    wanted = asked.json(shapes.HandOverRequest)
    row = await hand_over_verb.send(
        house.env, call, wanted.to, wanted.envelope, wanted.proof, wanted.ttl_ms, wanted.note
    )
    return json_response({**shapes.hand_over(row), "url": f"{house.url}/handover/{row.id}"}, 201)


async def open_(house: House, call: Call, asked: Asked) -> Response:
    """What was sealed, to its recipient, once; it is in this answer and nowhere else."""
    proof = asked.json(shapes.OpenRequest).proof
    row, envelope = await hand_over_verb.open_(house.env, call, asked.path["handover"], proof)
    return json_response({**shapes.hand_over(row), "envelope": envelope})


async def withdraw(house: House, call: Call, asked: Asked) -> Response:
    """Take back what nobody has opened yet."""
    return json_response(shapes.hand_over(await hand_over_verb.withdraw(house.env, call, asked.path["handover"])))


async def list_hand_overs(house: House, call: Call, asked: Asked) -> Response:
    """Hand-overs the caller sent, or is the recipient of; operators and auditors see that all of them exist."""
    box = asked.query.get("box", "received")
    if box not in ("sent", "received", "all"):
        raise BadField("box", "must be sent, received or all")
    where = {"sent": {"sender": str(call.caller)}, "received": {"recipient": call.caller.name}, "all": {}}[box]
    if call.caller.kind is CallerKind.PERSON and box == "all":
        raise BadField("box", "all is for operators and auditors")
    limit = asked.whole("limit", 100, most=500)
    rows = await house.env.store.find(HandOver, where, after=asked.query.get("after", ""), limit=limit)
    shown = [shapes.hand_over(row) for row in rows]
    return json_response({"items": shown, "next": rows[-1].id if rows and len(rows) == limit else ""})


_PAGE = "Something was left for you here. Open it, once, with: remit secret open '<this whole address>'\n"


async def page(house: House, call: Call, asked: Asked) -> Response:
    """What to do with a link; the same for every address, whether anything is there or not."""
    return text_response(_PAGE)

"""Hand over: something secret from one person to another, opened once, by nobody else."""

from __future__ import annotations

from dataclasses import replace

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.errors import Absent, BadField, Busy, Conflict
from remit.domain.secret import HandOver, HandOverState, Outbox
from remit.formats.hand_over import checked_envelope, digest_of
from remit.ports import Env

LONGEST = 7 * 86_400_000
SHORTEST = 60_000
WAITING_LIMIT = 100
NOTE_LIMIT = 500
ROUNDS = WAITING_LIMIT * 2


async def send(env: Env, call: Call, to: str, envelope: str, proof: str, ttl: int, note: str = "") -> HandOver:
    """Leave what the sender sealed under the link's key for one person, for `ttl` ms.

    `proof` is what whoever opens it will have to show; here it becomes a digest.
    """
    inner, digest = checked_envelope(envelope), digest_of(proof)
    if not digest:
        raise BadField("proof", "must be 32 bytes in base64url")
    if not SHORTEST <= ttl <= LONGEST:
        raise BadField("ttl_ms", "must be one minute to seven days")
    if len(note) > NOTE_LIMIT:
        raise BadField("note", f"longer than {NOTE_LIMIT} characters")
    _, force = await env.in_force()
    if to not in force.catalogue.people:
        raise Absent(inside=f"person {to}")
    sender, id_ = str(call.caller), env.new_id("hov")
    row = HandOver(id_, sender, to, env.sealer.seal(inner, _context(id_)), digest, call.now, call.now + ttl, note)
    because = events.HandOverSent(id_, sender, to, row.expires_at)
    for _ in range(ROUNDS):
        outbox = await env.store.get(Outbox, sender)
        waiting = await env.store.find(HandOver, {"sender": sender, "state": "waiting"}, limit=WAITING_LIMIT)
        if len(waiting) >= WAITING_LIMIT:
            step = "Withdraw some: remit secret sent."
            raise Busy(f"{WAITING_LIMIT} of yours wait to be opened.", next_step=step)
        moved = replace(outbox or Outbox(sender), sent=(outbox.sent if outbox else 0) + 1)
        try:
            await env.store.commit(Change(because, call).put(row, was=None).put(moved, was=outbox))
            return row
        except Conflict:
            continue
    raise Busy("You are sending too much at once.", next_step="Try again.")


async def open_(env: Env, call: Call, hand_over: str, proof: str) -> tuple[HandOver, str]:
    """What the sender sealed, to its recipient, once; every other case is the same `Absent` (law 11).

    Record, then act: the event is durable and the envelope destroyed before this returns. Who crashes in between has
    lost it, and the sender, who sees that it was opened, has to send it again.
    """
    for _ in range(ROUNDS):
        row = await env.store.get(HandOver, hand_over)
        if row is None or not row.opens_for(call.caller, digest_of(proof), call.now):
            raise Absent(inside=f"hand-over {hand_over[:40]} for {call.caller}")
        inner = env.sealer.unseal(row.envelope, _context(row.id)).decode()
        opened = row.ended(HandOverState.OPENED, call.now)
        because = events.HandOverOpened(row.id, row.sender, row.recipient)
        try:
            await env.store.commit(Change(because, call).put(opened, was=row))
        except Conflict:  # somebody opened, withdrew or rewrapped it: look again
            continue
        return opened, inner
    raise Busy("It keeps changing.", next_step="Try again.")


async def withdraw(env: Env, call: Call, hand_over: str) -> HandOver:
    """Its sender takes it back, unless it is over already; then it is returned as it is."""
    for _ in range(ROUNDS):
        row = await env.store.get(HandOver, hand_over)
        if row is None or row.sender != str(call.caller):
            raise Absent(inside=f"hand-over {hand_over[:40]} for {call.caller}")
        if row.state is not HandOverState.WAITING:
            return row
        withdrawn = row.ended(HandOverState.WITHDRAWN, call.now)
        because = events.HandOverEnded(row.id, row.sender, row.recipient, withdrawn.state.value)
        try:
            await env.store.commit(Change(because, call).put(withdrawn, was=row))
        except Conflict:
            continue
        return withdrawn
    raise Busy("It keeps changing.", next_step="Try again.")


def _context(id_: str) -> bytes:
    return b"hand_over:" + id_.encode()

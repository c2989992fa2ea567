"""Enrol: a person's passkeys, registered by themselves, and taken away by themselves or an operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from remit.domain import events
from remit.domain.caller import Call, CallerKind
from remit.domain.change import Change
from remit.domain.errors import Absent, BadField, BadPasskey, WrongState
from remit.domain.identity import Person
from remit.domain.passkey import Passkey
from remit.formats import webauthn
from remit.ports import Env

MOST = 16


async def invitation(env: Env, call: Call) -> dict[str, Any]:
    """What the person's device is asked to make (`publicKey`), and what to send back with it."""
    person, known = await _person(env, call)
    party = webauthn.relying_party(env.issuer_url)
    expires_at = call.now + webauthn.CHALLENGE_TTL
    bare = webauthn.registration_statement(person.name, party, env.new_id("chl"), expires_at)
    statement = webauthn.vouched(env.passkey_secret, bare)
    options = webauthn.registration_options(party, person.name, person.title, statement, [key.id for key in known])
    return {"publicKey": options, "nonce": statement["nonce"], "expires_at": expires_at}


async def register(
    env: Env, call: Call, credential: Mapping[str, Any], nonce: str, expires_at: int, title: str = ""
) -> Passkey:
    """Keep what the device made; raises `BadPasskey` when it is not what this person was invited to make, just now."""
    if len(title) > 100:
        raise BadField("title", "longer than 100 characters")
    person, _ = await _person(env, call)
    party = webauthn.relying_party(env.issuer_url)
    statement = webauthn.registration_statement(person.name, party, nonce, expires_at)
    webauthn.asked(env.passkey_secret, statement, call.now)
    made = webauthn.registered(party, statement, credential)
    if not await env.store.spend(f"passkey:{nonce}", expires_at):
        raise BadPasskey("This invitation was used before.", next_step="Ask for another.")
    if await env.store.get(Passkey, made.id) is not None:
        raise BadPasskey("This passkey is known already.", inside=made.id)
    row = Passkey(made.id, person.name, made.public_key, party.id, title, made.synced, made.sign_count, call.now)
    because = events.PasskeyRegistered(made.id, person.name, made.public_key, party.id, party.origin, made.synced)
    await env.store.commit(Change(because, call).put(row, was=None))
    return replace(row, version=1)


async def remove(env: Env, call: Call, passkey: str) -> Passkey:
    """It answers nothing from now on. Removing it twice is fine."""
    row = await env.store.get(Passkey, passkey)
    mine = row is not None and call.caller.kind is CallerKind.PERSON and row.person == call.caller.name
    if row is None or not (mine or call.caller.kind is CallerKind.OPERATOR):
        raise Absent(inside=f"passkey {passkey[:100]} for {call.caller}")
    if row.removed_at:
        return row
    after = row.removed(call.now)
    await env.store.commit(Change(events.PasskeyRemoved(row.id, row.person), call).put(after, was=row))
    return after


async def _person(env: Env, call: Call) -> tuple[Person, list[Passkey]]:
    _, force = await env.in_force()
    person = force.catalogue.people.get(call.caller.name)
    if person is None or call.caller.kind is not CallerKind.PERSON:
        raise Absent(inside=f"person {call.caller}")
    known = list(await env.passkeys(person.name))
    if len(known) >= MOST:
        raise WrongState(f"You have {MOST} passkeys already.", next_step="Remove one that you do not use.")
    return person, known

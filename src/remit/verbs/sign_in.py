"""Sign in: a browser becomes somebody's, by a one-time link or on the word of an identity provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256

from remit.domain import events
from remit.domain.caller import Call, CallerKind
from remit.domain.change import Change
from remit.domain.errors import Absent, BadField, BadToken, Conflict
from remit.domain.flow import Json
from remit.domain.identity import checked_name
from remit.domain.session import LINK_LIFE, ROLES, SESSION_LIFE, Provider, Session, SignInLink
from remit.ports import Env


async def link(env: Env, call: Call, name: str, roles: tuple[CallerKind, ...]) -> tuple[str, SignInLink]:
    """Make a link's secret, good once within ten minutes. The text is returned here and kept nowhere.

    An operator makes it for anybody; everybody else for themselves, as what they are.
    """
    checked_name("name", name)
    kinds = tuple(role for role in ROLES if role in roles)
    if not kinds or len(kinds) < len(roles):
        raise BadField("roles", "must be some of person, operator and auditor, each once")
    own = (call.caller.name, (call.caller.kind,)) == (name, kinds)
    if not own and call.caller.kind not in (CallerKind.OPERATOR, CallerKind.SYSTEM):
        raise Absent(inside=f"a link for {name} by {call.caller}")
    _, force = await env.in_force()
    if CallerKind.PERSON in kinds and name not in force.catalogue.people:
        raise Absent(inside=f"person {name}")
    text = env.new_id("link")
    row = SignInLink(digest(text), name, kinds, call.now + LINK_LIFE)
    because = events.SignInLinkMade(name, tuple(k.value for k in kinds), row.digest, row.expires_at)
    await env.store.commit(Change(because, call).put(row, was=None))
    return text, row


async def offered(env: Env, text: str, now: int) -> SignInLink:
    """The link this text is of, if it is still good; using nothing up."""
    row = await env.store.get(SignInLink, digest(text))
    if row is None or not row.good_at(now):
        raise BadToken(
            "This link has been used, or its ten minutes are over.",
            next_step="Get a fresh one: `remit session link`.",
        )
    return row


async def by_link(env: Env, call: Call, text: str) -> tuple[str, Session]:
    """Use the link up and begin its session: exactly one of many who try at once. Returns the cookie's text."""
    row = await offered(env, text, call.now)
    used = replace(row, used_at=call.now)
    try:
        return await _begin(env, call, row.name, row.roles, (), "link", lambda change: change.put(used, was=row))
    except Conflict as lost:
        raise BadToken("This link has been used.", next_step="Get a fresh one: `remit session link`.") from lost


async def by_provider(env: Env, call: Call, provider: Provider, claims: Mapping[str, Json]) -> tuple[str, Session]:
    """Begin a session for whoever these verified claims are here. Returns the cookie's text."""
    _, force = await env.in_force()
    name, roles, groups = provider.admits(claims, force.catalogue.people)
    return await _begin(env, call, name, roles, groups, provider.way, lambda change: change)


async def _begin(
    env: Env,
    call: Call,
    name: str,
    roles: tuple[CallerKind, ...],
    groups: tuple[str, ...],
    way: str,
    also: Callable[[Change], Change],
) -> tuple[str, Session]:
    text = env.new_id("ses")
    row = Session(digest(text), name, roles, way, call.now, call.now + SESSION_LIFE, call.now, groups)
    _, force = await env.in_force()
    if not row.stands(force.catalogue):
        raise BadToken("You have no part here any more.", inside=f"{name} by {way}")
    said = tuple(role.value for role in roles)
    because = events.SessionBegan(row.digest, name, said, groups, way, row.expires_at)
    await env.store.commit(also(Change(because, call).put(row, was=None)))
    return text, row


def digest(text: str) -> str:
    """What a link's or a cookie's text is stored under."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

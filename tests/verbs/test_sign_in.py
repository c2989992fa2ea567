"""Signing in: links that work once, providers whose word is read strictly, sessions that end."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.errors import Absent, BadCatalogue, BadField, BadToken, Busy, Conflict, WrongState
from remit.domain.session import IDLE, KEPT_EVERY, LINK_LIFE, SESSION_LIFE, Provider, Session, SignInLink
from remit.formats.catalogue import parse
from remit.store.memory import MemoryStore
from remit.verbs import sign_in, sign_out
from remit.verbs.apply import apply
from tests.world import FILES, world

PERSON, OPERATOR, AUDITOR, AGENT = CallerKind.PERSON, CallerKind.OPERATOR, CallerKind.AUDITOR, CallerKind.AGENT
SIGN_IN = """
[sign_in.company]
issuer = "https://login.example"
client_id = "remit"
[sign_in.company.roles]
operator = ["admins"]
[sign_in.company.approvers]
finance = ["fin", "cfo"]
"""
WITH = {**FILES, "remit.toml": FILES["remit.toml"] + SIGN_IN}


def provider(text=SIGN_IN):
    return parse({"remit.toml": text}).providers["company"]


def call(env, kind=OPERATOR, name="op", now=None):
    return Call(Caller(kind, name), env.clock() if now is None else now)


def run(test):
    """With a world whose catalogue has a provider."""

    async def main():
        here = await world(files=WITH)
        await test(here)

    asyncio.run(main())


async def begun(env, name="dana", roles=(PERSON,)):
    text, _ = await sign_in.link(env, call(env), name, roles)
    return await sign_in.by_link(env, call(env), text)


def test_a_link_begins_one_session_and_only_in_time():
    async def test(here):
        env = here.env
        text, row = await sign_in.link(env, call(env), "dana", (PERSON, OPERATOR))
        assert row.roles == (OPERATOR, PERSON) and text not in repr(row)
        assert await sign_in.offered(env, text, env.clock()) == await sign_in.offered(env, text, env.clock())
        found = await asyncio.gather(
            *(sign_in.by_link(env, call(env), text) for _ in range(20)), return_exceptions=True
        )
        good = [one for one in found if not isinstance(one, BadToken)]
        assert len(good) == 1
        cookie, session = good[0]
        assert session.digest == sign_in.digest(cookie) and session.expires_at == env.clock() + SESSION_LIFE
        for bad, now in ((text, env.clock()), ("link_x", env.clock())):
            with pytest.raises(BadToken):
                await sign_in.by_link(env, call(env, now=now), bad)
        late, _ = await sign_in.link(env, call(env), "dana", (PERSON,))
        with pytest.raises(BadToken):
            await sign_in.by_link(env, call(env, now=env.clock() + LINK_LIFE), late)

    run(test)


def test_two_who_read_the_link_at_once_do_not_both_use_it():
    async def test(here):
        env = here.env
        text, row = await sign_in.link(env, call(env), "dana", (PERSON,))
        await sign_in.by_link(env, call(env), text)

        class Late:  # what the loser read before the winner's commit
            def __getattr__(self, name):
                return getattr(env.store, name)

            async def get(self, kind, key):
                return replace(row, version=1) if kind is SignInLink else await env.store.get(kind, key)

        with pytest.raises(BadToken):
            await sign_in.by_link(replace(env, store=Late()), call(env), text)

    run(test)


def test_who_may_make_a_link_for_whom():
    async def test(here):
        env = here.env
        await sign_in.link(env, call(env, PERSON, "dana"), "dana", (PERSON,))
        await sign_in.link(env, call(env, CallerKind.SYSTEM, "setup"), "local", (OPERATOR,))
        for kind, name, wanted, roles in (
            (PERSON, "dana", "frank", (PERSON,)),
            (PERSON, "dana", "dana", (PERSON, OPERATOR)),
            (PERSON, "dana", "dana", (OPERATOR,)),
            (AUDITOR, "anna", "anna", (OPERATOR,)),
            (OPERATOR, "op", "nobody", (PERSON,)),
        ):
            with pytest.raises(Absent):
                await sign_in.link(env, call(env, kind, name), wanted, roles)
        for name, roles in (("dana", ()), ("dana", (AGENT,)), ("dana", (PERSON, PERSON)), ("Dana X", (PERSON,))):
            with pytest.raises(BadField):
                await sign_in.link(env, call(env), name, roles)

    run(test)


def test_what_a_provider_says_is_read_strictly():
    people = {"dana", "frank"}
    one = provider()
    assert one.admits({"preferred_username": "dana", "groups": ["fin"]}, people) == ("dana", (PERSON,), ("finance",))
    assert one.admits({"preferred_username": "root", "groups": ["admins", 5]}, people) == ("root", (OPERATOR,), ())
    for claims in (
        {},
        {"preferred_username": "eve"},
        {"preferred_username": "eve", "groups": ["fin", "cfo"]},
        {"preferred_username": "eve", "groups": "admins"},
        {"preferred_username": ["dana"]},
        {"preferred_username": "Dana", "groups": ["admins"]},
        {"preferred_username": "eve", "groups": ["x"] * 1000 + ["admins"]},
    ):
        with pytest.raises(BadToken):
            one.admits(claims, people)
    by_mail = provider(SIGN_IN + '[sign_in.company.people]\ndana = "d@x.example"\n')
    by_mail = replace(by_mail, person="email")
    assert by_mail.admits({"email": "d@x.example", "email_verified": True}, people)[0] == "dana"
    for claims in (
        {"email": "d@x.example"},
        {"email": "d@x.example", "email_verified": "true"},
        {"email": "dana", "email_verified": True},
    ):
        with pytest.raises(BadToken):
            by_mail.admits(claims, people)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('issuer = "http://login.example"', "https"),
        ('issuer = "http://login.example"\nallow_private_network = true', "https"),
        ('issuer = "https://u@login.example"', "https"),
        ('issuer = "https://a.example"\nscopes = ["profile"]', "openid"),
        ('issuer = "https://a.example"\nrole = 1', "did you mean 'roles'"),
        ('issuer = "https://a.example"\npeople = { a = "x", b = "x" }', "same value"),
        ('issuer = "https://a.example"\nroles = { owner = ["x"] }', "unknown key 'owner'"),
    ],
)
def test_a_provider_is_written_strictly(line, says):
    with pytest.raises(BadCatalogue) as refused:
        parse({"remit.toml": f'[sign_in.company]\nclient_id = "remit"\n{line}\n'})
    assert says in str(refused.value)


def test_a_session_counts_while_the_catalogue_vouches_for_it():
    async def test(here):
        env = here.env
        claims = {"preferred_username": "dana", "groups": ["fin", "admins"]}
        _, session = await sign_in.by_provider(env, call(env), provider(), claims)
        assert session.way.startswith("oidc:company:") and session.groups == ("finance",)
        _, force = await env.in_force()
        assert session.stands(force.catalogue)
        both = session.caller({PERSON, OPERATOR}, ("billing",))
        assert (both.kind, both.groups) == (OPERATOR, ("billing", "finance"))
        assert session.caller({PERSON}, ()).kind is PERSON and session.caller({AGENT}, ()) is None
        for text in (FILES["remit.toml"], WITH["remit.toml"].replace('"fin"', '"other"'), WITH["remit.toml"].replace("[people.dana]", "[people.dan]")):  # fmt: skip
            changed = parse({**WITH, "remit.toml": text})
            assert not session.stands(changed)
        await apply(env, call(env), FILES)
        with pytest.raises(BadToken):
            await sign_in.by_provider(env, call(env), provider(), claims)

    run(test)


def test_sessions_end_by_themselves_and_by_somebody():
    async def test(here):
        env = here.env
        _, session = await begun(env)
        now = env.clock()
        assert session.good_at(now + IDLE - 1) and not session.good_at(now + IDLE)
        await sign_out.keep(env, call(env, now=now + KEPT_EVERY - 1), session)
        assert await env.store.get(Session, session.digest) == replace(session, version=1)
        await sign_out.keep(env, call(env, now=now + KEPT_EVERY), replace(session, version=1))
        kept = await env.store.get(Session, session.digest)
        assert kept.seen_at == now + KEPT_EVERY and kept.good_at(now + IDLE)
        assert not replace(kept, seen_at=now + SESSION_LIFE).good_at(now + SESSION_LIFE)
        await sign_out.keep(
            env, call(env, now=now + 2 * KEPT_EVERY), replace(session, version=1)
        )  # lost, and no matter
        for kind, name in ((PERSON, "frank"), (AUDITOR, "anna")):
            with pytest.raises(Absent):
                await sign_out.end(env, call(env, kind, name), session.digest, "")
        with pytest.raises(Absent):
            await sign_out.end(env, call(env), "no", "")
        with pytest.raises(BadField):
            await sign_out.end(env, call(env), session.digest, "x" * 501)
        ended = await sign_out.end(env, call(env, PERSON, "dana"), session.digest, "left")
        assert not ended.good_at(now) and (ended.ended_at, ended.end_reason) == (now, "left")
        again = await sign_out.end(env, call(env), session.digest, "other")
        assert again.end_reason == "left"
        with pytest.raises(WrongState):
            again.ended(now, "")

    run(test)


def test_a_session_that_is_kept_while_it_is_ended_ends(monkeypatch):
    async def test(here):
        env = here.env
        _, session = await begun(env)
        lost, commit = [], MemoryStore.commit

        async def late(store, change):
            if len(lost) < 2:
                lost.append(change)
                raise Conflict("moved")
            return await commit(store, change)

        monkeypatch.setattr(MemoryStore, "commit", late)
        assert (await sign_out.end(env, call(env), session.digest, "r")).ended_at

        async def never(store, change):
            raise Conflict("moved")

        monkeypatch.setattr(MemoryStore, "commit", commit)
        _, fresh = await begun(env)
        monkeypatch.setattr(MemoryStore, "commit", never)
        with pytest.raises(Busy):
            await sign_out.end(env, call(env), fresh.digest, "r")

    run(test)


def test_a_provider_is_told_apart_by_everything_it_says():
    assert provider().revision != provider(SIGN_IN.replace('"fin"', '"f"')).revision
    assert isinstance(provider(), Provider)

"""A person lets a client act: offers, a code good once and for one client, and what is bound to it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from remit.domain.caller import CallerKind
from remit.domain.chain import Principal, PrincipalKind
from remit.domain.consent import BEARER_LIFE, CODE_LIFE, Consent, has_key
from remit.domain.errors import Absent, BadCatalogue, BadField, BadGrant, Conflict, NotAttested, WrongState
from remit.domain.identity import stale
from remit.formats.catalogue import parse
from remit.verbs.apply import apply
from remit.verbs.authorize import Shown, Wanted, agree, bind, is_replayed, offers, redeem
from remit.verbs.propose import Proposal, propose
from remit.verbs.vouch import identify
from tests.gateway.own_clients import CHALLENGE, VERIFIER
from tests.world import FILES, World, world

IDE, KEYED = "https://ide.example/client.json", "https://keyed.example/client.json"
GATE, OTHER, BACK = "https://gate.example/mcp", "https://other.example/mcp", "https://ide.example/back"
RULE = '[[attestations]]\nmethod = "client_metadata"\nclient_id = "{}"\ngateways = ["{}"]\n'
AGENT = 'owner = "olga"\n' + RULE.format(IDE, GATE) + "bearer = true\n" + RULE.format(KEYED, GATE)
WORK = f"""
owner = "olga"
agents = ["bot", "ide"]
max_duration = "15m"
max_calls = 5
initiators = ["billing"]
[parameters.customer]
pattern = "[a-z]+"
required = false
[[grants]]
tool = "list"
resource = "customer/{{customer}}"
[[credentials]]
name = "db"
issuer = "pg"
ttl = "1m"
grants = {{ audience = "{GATE}" }}
[[credentials]]
name = "other"
issuer = "tokens"
ttl = "1m"
grants = {{ audience = "{OTHER}" }}
[[credentials]]
name = "gateway"
issuer = "tokens"
ttl = "20m"
grants = {{ audience = "{GATE}" }}
"""
WITH = {
    **FILES,
    "remit.toml": FILES["remit.toml"] + '[issuers.tokens]\nkind = "jwt"\n',
    "agents/ide.toml": AGENT,
    "purposes/work.toml": WORK,
}
JWK = {"kty": "EC"}


def run(test):
    async def main():
        await test(await world(files=WITH))

    asyncio.run(main())


async def wanted(w: World, **more):
    _, force = await w.env.in_force()
    revision = force.catalogue.purposes["work"].revision
    return replace(Wanted(IDE, "doc", BACK, CHALLENGE, GATE, "work", revision, "file it", {}), **more)


def shown(**more):
    return replace(Shown(IDE, BACK, VERIFIER, GATE, ""), **more)


async def agreed(w: World, **more):
    return await agree(w.env, w.person("dana"), await wanted(w, **more))


def test_one_is_offered_what_the_agent_the_person_and_the_gateway_have_in_common():
    async def test(w):
        _, force = await w.env.in_force()
        catalogue = force.catalogue
        agent, rule = catalogue.client(IDE)
        (offer,) = offers(catalogue, agent, rule, "dana", GATE)
        assert (offer.purpose.name, offer.credential.name, offer.duration) == ("work", "gateway", BEARER_LIFE)
        (offer,) = offers(catalogue, *catalogue.client(KEYED), "dana")
        assert offer.duration == 15 * 60_000  # a key's token may live as long as its purpose
        for person, resource in (("frank", GATE), ("nobody", GATE), ("dana", OTHER), ("dana", "https://x.example")):
            assert offers(catalogue, agent, rule, person, resource) == ()
        assert offers(catalogue, catalogue.agents["other"], rule, "dana", GATE) == ()
        assert catalogue.client("https://evil.example/c") is None and catalogue.bearer_gateways == (GATE,)

    run(test)


def test_a_code_is_redeemed_once_and_then_its_task_is_the_persons():
    async def test(w):
        text, row = await agreed(w, parameters={"customer": "acme"})
        assert text not in repr(row) and row.expires_at == w.clock.now + CODE_LIFE
        consent = await redeem(w.env, w.call(CallerKind.ANYONE, "anyone"), text, shown())
        identity = await bind(w.env, w.call(), consent, "", {})
        assert identity.jkt == f"bearer:{row.task}" and not has_key(identity.jkt) and has_key("abc")
        by = w.call(name="ide", jkt=identity.jkt)
        proposal = Proposal(consent.purpose, consent.goal, consent.parameters, consent.duration)
        task = await propose(w.env, by, proposal, Principal(PrincipalKind.PERSON, consent.person), task_id=row.task)
        assert (task.id, str(task.initiator), task.jkt) == (row.task, "person:dana", identity.jkt)
        assert task.deadline == w.clock.now + BEARER_LIFE and not await is_replayed(w.env, consent)
        with pytest.raises(NotAttested):  # it begins nothing by itself
            await identify(w.env, w.call(), identity.jkt)
        again = await redeem(w.env, w.call(), text, shown(client="https://thief.example/c"))
        assert again.replayed_at and await is_replayed(w.env, consent)
        assert (await redeem(w.env, w.call(), text, shown())).replayed_at == again.replayed_at
        assert w.events()[-4:] == ["ConsentRedeemed", "AgentProved", "TaskProposed", "ConsentReplayed"]

    run(test)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"client": KEYED}, "another client"),
        ({"redirect_uri": BACK + "/"}, "another redirect_uri"),
        ({"verifier": "w" * 43}, "another code_verifier"),
        ({"verifier": "short"}, "another code_verifier"),
        ({"verifier": CHALLENGE}, "another code_verifier"),
        ({"resource": OTHER}, "another resource"),
    ],
)
def test_a_code_shown_wrong_is_void_and_says_so_to_the_operator_alone(wrong, why):
    async def test(w):
        text, _ = await agreed(w)
        with pytest.raises(BadGrant) as flaw:
            await redeem(w.env, w.call(), text, shown(**wrong))
        assert why in flaw.value.inside and str(flaw.value) == "This code is not good."
        assert (await redeem(w.env, w.call(), text, shown())).replayed_at

    run(test)


def test_a_code_is_over_in_a_minute_and_with_what_it_was_given_under():
    async def test(w):
        text, _ = await agreed(w)
        w.clock.now += CODE_LIFE
        for given, why in ((text, "over"), ("code_none", "no such")):
            with pytest.raises(BadGrant) as flaw:
                await redeem(w.env, w.call(), given, shown())
            assert why in flaw.value.inside
        operator = w.call(CallerKind.OPERATOR, "op")
        for files in (
            {**WITH, "purposes/work.toml": WORK.replace("max_calls = 5", "max_calls = 6")},
            {**WITH, "agents/ide.toml": AGENT.replace(IDE, "https://new.example/c")},
            {**WITH, "agents/ide.toml": AGENT.replace("bearer = true", "bearer = false")},
            {name: text for name, text in WITH.items() if name != "purposes/work.toml"},
        ):
            text, _ = await agreed(w)
            await apply(w.env, operator, files)
            with pytest.raises(BadGrant) as flaw:
                await redeem(w.env, w.call(), text, shown())
            assert "has changed" in flaw.value.inside
            await apply(w.env, operator, WITH)

    run(test)


def test_whoever_agreed_must_still_be_here():
    async def test(w):
        everybody = {**WITH, "purposes/work.toml": WORK.replace('initiators = ["billing"]\n', "")}
        await apply(w.env, w.call(CallerKind.OPERATOR, "op"), everybody)
        text, _ = await agreed(w)
        gone = {name: text for name, text in everybody.items() if name != "purposes/asked.toml"}
        gone["remit.toml"] = WITH["remit.toml"].replace('[people.dana]\ngroups = ["billing"]\n', "")
        await apply(w.env, w.call(CallerKind.OPERATOR, "op"), gone)
        with pytest.raises(BadGrant) as flaw:
            await redeem(w.env, w.call(), text, shown())
        assert "no longer here" in flaw.value.inside

    run(test)


def test_without_a_key_and_without_leave_there_is_nothing():
    async def test(w):
        text, _ = await agreed(w, client=KEYED)
        with pytest.raises(BadGrant) as flaw:
            await redeem(w.env, w.call(), text, shown(client=KEYED))
        assert "no key" in flaw.value.inside

    run(test)


def test_a_key_is_one_agents_and_one_rules_while_that_lasts():
    async def test(w):
        text, _ = await agreed(w, client=KEYED)
        consent = await redeem(w.env, w.call(), text, shown(client=KEYED, jkt="k1"))
        first = await bind(w.env, w.call(), consent, "k1", JWK)
        _, force = await w.env.in_force()
        assert stale(first, force.catalogue.agents["ide"], w.clock.now) == "" and first.jwk == JWK
        w.clock.now += 1
        assert (await bind(w.env, w.call(), replace(consent, duration=1), "k1", JWK)).expires_at == first.expires_at
        for other in (replace(consent, agent="bot"), replace(consent, rule="another")):
            with pytest.raises(NotAttested):
                await bind(w.env, w.call(), other, "k1", JWK)
        w.clock.now = first.expires_at  # another rule may have it now, another agent never
        assert (await bind(w.env, w.call(), replace(consent, rule="another"), "k1", JWK)).rule == "another"
        w.clock.now += consent.duration
        with pytest.raises(NotAttested):
            await bind(w.env, w.call(), replace(consent, agent="bot", rule="x"), "k1", JWK)

    run(test)


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        ({"client": "https://evil.example/c"}, Absent),
        ({"purpose": "pay"}, Absent),
        ({"purpose": "nothing"}, Absent),
        ({"resource": OTHER}, Absent),
        ({"resource": ""}, Absent),
        ({"revision": "0"}, WrongState),
        ({"goal": ""}, BadField),
        ({"goal": "x" * 4097}, BadField),
        ({"parameters": {"customer": "A"}}, BadField),
        ({"parameters": {"x": "a"}}, BadField),
    ],
    ids=str,
)
def test_a_yes_is_to_what_can_be_had(wrong, refusal):
    async def test(w):
        with pytest.raises(refusal):
            await agreed(w, **wrong)
        assert "ConsentGiven" not in w.events()

    run(test)


def test_of_many_that_show_one_code_at_once_one_is_first():
    async def test(w):
        text, row = await agreed(w)
        found = await asyncio.gather(
            *(redeem(w.env, w.call(), text, shown()) for _ in range(8)), return_exceptions=True
        )
        good = [one for one in found if isinstance(one, Consent) and not one.replayed_at]
        assert len(good) == 1 and (await is_replayed(w.env, row))

    run(test)


def test_a_store_that_conflicts_for_ever_gives_nothing():
    async def test(w):
        text, row = await agreed(w)

        async def never(change):
            raise Conflict("moved")

        w.store.commit = never
        with pytest.raises(BadGrant):
            await redeem(w.env, w.call(), text, shown())
        assert await is_replayed(w.env, replace(row, digest="gone"))

    run(test)


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (IDE, "http://ide.example/client.json", "https"),
        (IDE, "http://127.0.0.1/client.json", "https"),
        (IDE, "https://ide.example", "path"),
        (IDE, "https://ide.example/", "path"),
        (IDE, "https://ide.example/a/../b", "path"),
        (IDE, "https://ide.example/c#x", "plain"),
        (IDE, "https://me@ide.example/c", "user information"),
        (IDE, "https://ide.example/c?x=1", "plain"),
        (IDE, KEYED, "named twice"),
        (f'gateways = ["{GATE}"]', "gateways = []", "gateways"),
        (f'gateways = ["{GATE}"]', 'gateways = ["ftp://x"]', "plain"),
        (f'gateways = ["{GATE}"]', f'gateways = ["{GATE}"]\nredirect_uris = ["javascript:x"]', "plain"),
        ("bearer = true", "bearer = true\nclaims = {}", "unknown key"),
    ],
    ids=str,
)
def test_an_entry_that_names_no_client_exactly_is_refused(before, after, problem):
    with pytest.raises(BadCatalogue, match=problem):
        parse({**WITH, "agents/ide.toml": AGENT.replace(before, after, 1)})

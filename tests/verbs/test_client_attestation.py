"""Client attestations through the verb: whom they prove, by which attester, until when, and whose keys are asked for."""

from __future__ import annotations

import json

import pytest

from remit.domain.caller import CallerKind
from remit.domain.errors import BadCatalogue, Denied, NotAttested, Unavailable
from remit.domain.identity import stale
from remit.formats.catalogue import parse
from remit.verbs.apply import apply
from remit.verbs.attest import ClientAttestation, attest
from remit_client import AgentKey
from tests.attester import AGENT, RULE, Attester
from tests.test_oidc_issuer import LocalIssuer
from tests.world import FILES, world

ACME, SECOND = Attester(), Attester("EdDSA")


def files(*attesters, **more):
    """`bot` is the client of every attester given, by its pinned key."""
    toml = "".join(a.toml() for a in attesters or (ACME,))
    return {**FILES, "agents/bot.toml": AGENT, "remit.toml": FILES["remit.toml"] + toml, **more}


async def prove(w, key, text):
    return await attest(w.env, w.call(), ClientAttestation(text), key.jkt, key.jwk)


async def refused(w, key, text):
    with pytest.raises(NotAttested) as flaw:
        await prove(w, key, text)
    assert str(flaw.value) == "This evidence proves no registered agent."
    return flaw.value.inside


def test_an_attestation_proves_the_agent_whose_client_it_names(run):
    async def main():
        w, key = await world(files=files()), AgentKey.generate()
        now = w.clock.now
        text = ACME.attest(key, now, iat=now // 1000 - 50)
        identity = await prove(w, key, text)
        assert (identity.agent, identity.method, identity.jkt) == ("bot", "client_attestation:acme", key.jkt)
        assert (identity.proved_at, identity.expires_at) == (now - 50_000, now + 600_000)
        w.clock.now += 1_000
        assert (await prove(w, key, text)).proved_at == identity.proved_at  # shown again, no younger
        long = await prove(w, key, ACME.attest(key, w.clock.now, exp=w.clock.now // 1000 + 86_400))
        assert long.expires_at == w.clock.now + 3_600_000
        w.clock.now = now + 600_000
        assert "expired" in await refused(w, key, text)

    run(main())


def test_an_attestation_that_does_not_say_when_it_was_made_is_of_no_age(run):
    async def main():
        demands = FILES["purposes/pay.toml"].replace("max_calls = 5", 'max_calls = 5\nidentity_max_age = "30d"', 1)
        w, key = await world(files=files(**{"purposes/pay.toml": demands})), AgentKey.generate()
        identity = await prove(w, key, ACME.attest(key, w.clock.now, iat=None))
        assert identity.proved_at == 0
        with pytest.raises(Denied, match="too old"):
            await w.task(w.call(jkt=key.jkt))
        await prove(w, key, ACME.attest(key, w.clock.now))
        assert (await w.task(w.call(jkt=key.jkt))).agent == "bot"

    run(main())


def test_what_speaks_against_it_is_for_the_operator(run):
    async def main():
        w, key, thief = await world(files=files()), AgentKey.generate(), AgentKey.generate()
        now = w.clock.now
        assert "not the key of the proof" in await refused(w, thief, ACME.attest(key, now))
        assert "no agent's rule names this client" in await refused(w, key, ACME.attest(key, now, sub="bot"))
        assert "bot: attester acme: no key of this kid" in await refused(w, key, SECOND.attest(key, now))
        both = await world(files=files(**{"agents/other.toml": AGENT}))
        assert "several agents match" in await refused(both, key, ACME.attest(key, now))

    run(main())


def test_a_key_taken_away_ends_what_it_signed_and_nothing_else(run):
    async def main():
        two = FILES["remit.toml"] + ACME.toml("acme", SECOND)
        w, first, other = await world(files=files(**{"remit.toml": two})), AgentKey.generate(), AgentKey.generate()
        by_first = await prove(w, first, ACME.attest(first, w.clock.now))
        by_second = await prove(w, other, SECOND.attest(other, w.clock.now))
        assert by_first.rule != by_second.rule and by_first.method == by_second.method

        async def counts(catalogue):
            await apply(w.env, w.call(CallerKind.OPERATOR, "op"), catalogue)
            agent = (await w.env.in_force())[1].catalogue.agents["bot"]
            return [not stale(identity, agent, w.clock.now) for identity in (by_first, by_second)]

        assert await counts(files(**{"remit.toml": two})) == [True, True]
        assert await counts(files(ACME)) == [True, False]
        assert await counts(files(SECOND)) == [False, True]
        assert await counts(files(**{"remit.toml": two.replace("attester.example", "other.example")})) == [False, False]
        assert await counts(files(**{"agents/bot.toml": AGENT.replace("/bot", "/x"), "remit.toml": two})) == [False] * 2

    run(main())


def test_keys_at_an_address_rotate_and_are_fetched_for_known_clients_only(run):
    with LocalIssuer() as there:
        there.jwks = {"keys": [ACME.jwk]}
        at = f'[attesters.acme]\njwks_uri = "{there.url}/keys"\nallow_private_network = true\n'

        async def main():
            w, key = await world(files=files(**{"remit.toml": FILES["remit.toml"] + at})), AgentKey.generate()
            await refused(w, key, ACME.attest(key, w.clock.now, sub="somebody"))
            assert there.requests == []
            identity = await prove(w, key, ACME.attest(key, w.clock.now, iss=None))
            for _ in range(5):  # unknown keys: nothing is asked within half a minute
                assert "no key of this kid" in await refused(w, key, SECOND.attest(key, w.clock.now))
            assert there.requests == ["/keys"]
            there.jwks = {"keys": [SECOND.jwk]}
            w.clock.now += 31_000
            again = await prove(w, key, SECOND.attest(key, w.clock.now))
            assert again.rule == identity.rule and there.requests == ["/keys", "/keys"]
            assert "no key of this kid" in await refused(w, key, ACME.attest(key, w.clock.now))
            # RSA that leaves its algorithm open is no key here.
            rsa = Attester("RS256")
            there.jwks = {"keys": [{k: v for k, v in rsa.jwk.items() if k != "alg"}]}
            w.clock.now += 31_000
            assert "no key of this kid" in await refused(w, key, rsa.attest(key, w.clock.now))
            there.jwks = {"keys": [rsa.jwk]}
            w.clock.now += 31_000
            assert (await prove(w, key, rsa.attest(key, w.clock.now))).agent == "bot"
            assert "does not fit" in await refused(w, key, rsa.attest(key, w.clock.now, header={"alg": "PS256"}))

        run(main())


def test_an_attester_whose_keys_cannot_be_had_is_unavailable(run):
    async def main():
        at = '[attesters.acme]\njwks_uri = "http://127.0.0.1:1/keys"\nallow_private_network = true\n'
        w, key = await world(files=files(**{"remit.toml": FILES["remit.toml"] + at})), AgentKey.generate()
        with pytest.raises(Unavailable):
            await prove(w, key, ACME.attest(key, w.clock.now))

    run(main())


def keyed(*keys):
    return f"[attesters.acme]\nkeys = '''{json.dumps({'keys': keys})}'''\n"


OPEN_RSA = {k: v for k, v in Attester("RS256").jwk.items() if k != "alg"}


@pytest.mark.parametrize(
    ("agent", "attester", "words"),
    [
        (AGENT, "[attesters.acme]\n", "either 'keys'"),
        (AGENT, keyed(ACME.jwk) + 'jwks_uri = "https://a.example"\n', "either 'keys'"),
        (AGENT, '[attesters.acme]\njwks_uri = "http://a.example/keys"\n', "must be an https:// URL"),
        (AGENT, '[attesters.acme]\njwks_uri = "file:///etc/keys"\nallow_private_network = true\n', "https:// URL"),
        (AGENT, '[attesters.acme]\njwks_uri = "https://u@a.example/"\n', "must be an https:// URL"),
        (AGENT, keyed(), "1 to 16"),
        (AGENT, keyed(*[ACME.jwk] * 17), "1 to 16"),
        (AGENT, keyed(ACME.jwk, OPEN_RSA), "an RSA key says its 'alg'"),
        (AGENT, keyed({"kty": "oct", "k": "AA"}), "1 to 16 public"),
        (AGENT, keyed({**ACME.jwk, "d": "AA"}), "1 to 16 public"),
        (AGENT, "[attesters.acme]\nkeys = '[]'\n", "is not a JWK set"),
        (AGENT, "[attesters.acme]\nkeys = '{'\n", "is not a JWK set"),
        (AGENT, "[attesters.acme]\nkeys = '{\"keys\": {}}'\n", "is not a JWK set"),
        (AGENT, ACME.toml("acm"), "did you mean 'acm'"),
        (AGENT, ACME.toml() + 'audience = "x"\n', "unknown key 'audience'"),
        (RULE, ACME.toml(), "client_attestation needs 'attester' and 'client'"),
        (AGENT + 'federation = "x"\n', ACME.toml(), "takes neither more nor less"),
        (AGENT.replace('attester = "acme"\n', ""), ACME.toml(), "needs 'attester' and 'client'"),
        (AGENT.replace("client_attestation", "join_token"), ACME.toml(), "join_token needs nothing else"),
    ],
    ids=lambda v: str(v)[:40].replace("\n", " "),
)
def test_an_attester_or_rule_that_is_wrong_is_refused_when_applied(agent, attester, words):
    with pytest.raises(BadCatalogue) as flaw:
        parse({**FILES, "agents/bot.toml": agent, "remit.toml": FILES["remit.toml"] + attester})
    assert words in flaw.value.problem


def test_the_how_to_is_a_catalogue():
    import re
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs" / "howto" / "client-attestation.md").read_text()
    (block,) = re.findall(r"^```toml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    parts = re.split(r"^# (\S+\.toml)\n", block, flags=re.MULTILINE)[1:]
    written = dict(zip(parts[::2], parts[1::2], strict=True))
    catalogue = parse({**written, "remit.toml": "[people.olga]\n" + written["remit.toml"]})
    (rule,) = catalogue.agents["bot"].attestations
    assert rule.kind == "client_attestation:acme" and rule.key

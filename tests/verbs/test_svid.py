"""SVIDs as evidence: ours and others', what makes them count no more, and code that takes another's place."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from remit.domain import events
from remit.domain.above import Branch
from remit.domain.caller import CallerKind
from remit.domain.change import Change
from remit.domain.errors import BadToken, Busy, Denied, NotAttested, Replayed, Unavailable
from remit.domain.freeze import Reach
from remit.domain.identity import Agent, Attestation, Identity, SpiffeId, Tier, stale
from remit.domain.task import Task, TaskState
from remit.formats import signing_key, spiffe, x509_svid
from remit.formats.jws import SigningKey
from remit.store.memory import MemoryStore
from remit.verbs.apply import apply
from remit.verbs.attest import JoinEvidence, JwtSvidEvidence, X509SvidEvidence, attest, invite
from remit.verbs.certify import Workload, certify_jwt, certify_x509, entitled
from remit.verbs.decide import decide
from remit.verbs.freeze import freeze, unfreeze
from remit.verbs.issue import issue
from remit.verbs.propose import Proposal, propose
from remit.verbs.revoke import end_task
from remit.verbs.vouch import identify
from tests import delegating
from tests.world import FILES, world

UID = "unix:uid:1000"
HOST = f'owner = "olga"\nlatest_only = true\n[[attestations]]\nmethod = "unix"\nselectors = ["{UID}"]\n'
FOREIGN = 'owner = "olga"\n[[attestations]]\nmethod = "spiffe"\nspiffe_id = "spiffe://other.example/bot"\n'
DOMAIN = '[trust_domains."other.example"]\nbundle_url = "https://other.example/b"\nprofile = "https_web"\n'
HERE = {**FILES, "agents/bot.toml": HOST}
THERE = {**FILES, "remit.toml": FILES["remit.toml"] + DOMAIN, "agents/bot.toml": FOREIGN}
V1, V2 = "1" * 64, "2" * 64


def at(code=V1, *more):
    return Workload(frozenset({UID, *more}), code, "pid 7")


def key():
    return signing_key.generate("ES256").public


async def svid(w, workload, audience=("https://remit.test",)):
    (of,) = await entitled(w.env, workload)
    return await certify_jwt(w.env, w.call(CallerKind.SYSTEM, "wl"), workload, of, audience)


async def prove(w, evidence, public=None):
    public = public or key()
    return await attest(w.env, w.call(), evidence, public.thumbprint, public.jwk)


def test_a_workload_is_what_its_host_says(run):
    async def main():
        w = await world(files=HERE)
        made = await svid(w, at())
        identity = await prove(w, JwtSvidEvidence(made.token))
        assert (identity.agent, identity.method, identity.code) == ("bot", "unix", V1)
        assert str(made.id) == identity.spiffe_id == "spiffe://remit.test/agent/bot" and made.token not in repr(made)
        with pytest.raises(Replayed):
            await prove(w, JwtSvidEvidence(made.token))
        with pytest.raises(NotAttested) as nobody:
            await entitled(w.env, Workload(frozenset({"unix:uid:1"}), "", "pid 8"))
        assert nobody.value.inside == f"pid 8: bot wants {UID}"
        await freeze(w.env, w.call(CallerKind.OPERATOR, "op"), Reach.AGENT, "bot", "off")
        with pytest.raises(NotAttested, match="No identity") as frozen:
            await entitled(w.env, at())
        assert "bot is frozen" in frozen.value.inside
        plain = await world()
        with pytest.raises(NotAttested) as none:
            await entitled(plain.env, at())
        assert "no agent attests by unix" in none.value.inside

    run(main())


def test_a_certificate_counts_as_its_token_does(run):
    async def main():
        w = await world(files=HERE)
        (of,) = await entitled(w.env, at())
        made = await certify_x509(w.env, w.call(CallerKind.SYSTEM, "wl"), at(), of)
        assert made.private_key and repr(made.private_key) not in repr(made)
        first = await prove(w, X509SvidEvidence((made.certificate,)))
        again = await prove(w, X509SvidEvidence((made.certificate,)))
        assert (first.agent, again.agent, first.code) == ("bot", "bot", V1)
        w.clock.now += 3_700_000
        with pytest.raises(BadToken):
            await prove(w, X509SvidEvidence((made.certificate,)))
        assert w.events().count("SvidIssued") == 1

    run(main())


def test_nobody_is_certified_once_a_freeze_was_acknowledged(run):
    async def main():
        w = await world(files=HERE)
        (of,) = await entitled(w.env, at())
        operator = w.call(CallerKind.OPERATOR, "op")
        await freeze(w.env, operator, Reach.AGENT, "bot", "off")
        with pytest.raises(NotAttested):
            await certify_jwt(w.env, w.call(CallerKind.SYSTEM, "wl"), at(), of, ["a"])
        await unfreeze(w.env, operator, Reach.AGENT, "bot", "on")
        assert (await certify_jwt(w.env, w.call(CallerKind.SYSTEM, "wl"), at(), of, ["a"])).token
        (of,) = await entitled(w.env, at())
        assert of.agent.name == "bot"

    run(main())


def test_what_was_proved_by_a_rule_ends_with_the_rule(run):
    async def main():
        w = await world(files=HERE)
        made = await svid(w, at())
        identity = await prove(w, JwtSvidEvidence(made.token))
        call = w.call(jkt=identity.jkt)
        task = await w.task(call)
        assert (await identify(w.env, call, identity.jkt)).agent == "bot"
        changed = {**HERE, "agents/bot.toml": HOST.replace(UID, "unix:uid:1001")}
        await apply(w.env, w.call(CallerKind.OPERATOR, "op"), changed)
        for attempt in (w.task(call), issue(w.env, call, task.id, "db")):
            with pytest.raises(Denied, match="rule that this identity was proved by has changed"):
                await attempt
        with pytest.raises(NotAttested):
            await identify(w.env, call, identity.jkt)
        unused = await svid(w, Workload(frozenset({"unix:uid:1001"}), V1))
        with pytest.raises(NotAttested) as gone:  # the first SVID, shown again, is of the rule that was
            await prove(w, JwtSvidEvidence(made.token))
        assert "rule it was issued by has changed" in gone.value.inside
        assert (await prove(w, JwtSvidEvidence(unused.token))).agent == "bot"

    run(main())


def test_new_code_ends_what_old_code_proved(run):
    async def main():
        w = await world(files=HERE)
        old, other = key(), key()
        await prove(w, JwtSvidEvidence((await svid(w, at())).token), old)
        call = w.call(jkt=old.thumbprint)
        tasks = [await w.task(call) for _ in range(3)]
        w.clock.now += 1000
        await prove(w, JwtSvidEvidence((await svid(w, at())).token), other)  # the same code elsewhere: nothing ends
        kept = await w.task(w.call(jkt=other.thumbprint))
        assert (await w.store.get(Task, tasks[0].id)).state is TaskState.OPEN
        await prove(w, JwtSvidEvidence((await svid(w, at(V2))).token))
        for task in (*tasks, kept):
            assert (await w.store.get(Task, task.id)).state is TaskState.REVOKED
        with pytest.raises(Denied, match="too old"):
            await w.task(replace(call, now=w.clock.now))
        assert w.events().count("IdentitySuperseded") == 2 and w.nudges

    run(main())


class Busily(MemoryStore):
    """`meddle` runs between what is read of an old task and the commit that ends it."""

    meddle = None

    async def commit(self, change):
        if self.meddle is not None and getattr(change.because, "reason", "") == "the agent's code has changed":
            await self.meddle()
        return await super().commit(change)


@pytest.mark.parametrize("meanwhile", ["called", "ended", "always called"])
def test_a_task_of_old_code_ends_with_what_it_handed_on_however_busy_it_is(run, meanwhile):
    async def main():
        w, old = await world(Busily(), {**delegating.CATALOGUE, "agents/bot.toml": HOST}), key()
        await prove(w, JwtSvidEvidence((await svid(w, at())).token), old)
        call, left = w.call(jkt=old.thumbprint), [100 if meanwhile == "always called" else 3]
        task = await propose(w.env, call, Proposal("lead", "g", {"customer": "acme"}))
        await delegating.hand(w, call, task)

        async def meddle():
            if meanwhile == "ended":
                await end_task(w.env, w.call(CallerKind.OPERATOR, "op"), task.id, "first")
            elif left[0]:
                left[0] -= 1
                row = await w.store.get(Task, task.id)
                await w.store.commit(Change(events.TaskWaits(task.id), call).put(row, was=row))

        w.store.meddle = meddle
        newer = [JwtSvidEvidence((await svid(w, at(V2, more))).token) for more in "ab"]
        if meanwhile == "always called":
            with pytest.raises(Busy):
                await prove(w, newer[0])
            assert (await w.store.get(Task, task.id)).state is TaskState.OPEN
            left[0] = 0
        await prove(w, newer[1])  # what it was superseded by has not counted yet, and it is done again
        ended = await w.store.get(Task, task.id)
        assert ended.end_reason == ("first" if meanwhile == "ended" else "the agent's code has changed")
        assert (await w.store.get(Branch, task.id)).ended_at

    run(main())


def test_other_code_under_the_same_key_ends_its_tasks_even_where_versions_may_mix(run):
    async def main():
        files = {**HERE, "agents/bot.toml": HOST.replace("latest_only = true\n", "")}
        w = await world(files=files)
        mine, elsewhere = key(), key()
        await prove(w, JwtSvidEvidence((await svid(w, at())).token), mine)
        await prove(w, JwtSvidEvidence((await svid(w, at(V1, "x"))).token), elsewhere)
        task, others = await w.task(w.call(jkt=mine.thumbprint)), await w.task(w.call(jkt=elsewhere.thumbprint))
        identity = await prove(w, JwtSvidEvidence((await svid(w, at(V2))).token), mine)
        assert identity.code == V2 and (await w.store.get(Task, task.id)).state is TaskState.REVOKED
        assert (await w.store.get(Task, others.id)).state is TaskState.OPEN
        assert "IdentitySuperseded" not in w.events()

    run(main())


class Elsewhere:
    """A foreign domain's key and bundle, as the attestor would fetch them."""

    def __init__(self, name="other.example", now=0):
        self.jwt, self.ca = signing_key.generate("ES256"), signing_key.generate("ES256")
        self.held = signing_key.HeldKey(self.ca.public, self.ca.sign)
        self.authority = x509_svid.authority(name, self.held, now, now + 86_400_000)
        self.found = spiffe.TrustBundle(name, (self.jwt.public,), (self.authority,))
        self.name, self.asked = name, []

    async def bundle(self, domain, now, *, kid=""):
        self.asked.append((domain.name, kid))
        return self.found

    def token(self, id, now, audience="https://remit.test"):
        made = spiffe.JwtSvid(SpiffeId.parse(id), now, now + 60_000, x509_svid.Proof("forged", "forged"))
        return spiffe.encode_jwt_svid(made, [audience], "j", SigningKey(self.jwt.public.kid, "ES256", self.jwt.sign))

    def leaf(self, id, now):
        pair = x509_svid.generate()
        id = SpiffeId.parse(id)
        return x509_svid.leaf(id, pair.public, self.authority, self.held, now + 60_000, now, x509_svid.Proof())


def test_a_foreign_domain_proves_only_whom_a_rule_names(run):
    async def main():
        w = await world(files=THERE)
        there = Elsewhere(now=w.clock.now)
        w = replace(w, env=replace(w.env, attestor=there))
        identity = await prove(w, JwtSvidEvidence(there.token("spiffe://other.example/bot", w.clock.now)))
        assert (identity.agent, identity.method, identity.code) == ("bot", "spiffe:other.example", "")
        assert there.asked == [("other.example", there.jwt.public.kid)]
        leaf = there.leaf("spiffe://other.example/bot", w.clock.now)
        assert (await prove(w, X509SvidEvidence((leaf,)))).agent == "bot"
        for id, why in (
            ("spiffe://other.example/bot2", "no agent has it"),
            ("spiffe://other.example/agent/bot", "no agent has it"),
            ("spiffe://third.example/bot", "nobody configured"),
        ):
            for evidence in (
                JwtSvidEvidence(there.token(id, w.clock.now)),
                X509SvidEvidence((there.leaf(id, w.clock.now),)),
            ):
                with pytest.raises(NotAttested) as refused:
                    await prove(w, evidence)
                assert why in refused.value.inside and id not in str(refused.value)
                seen = None if why == "nobody configured" else ("workload", id, "other.example")
                assert refused.value.subject == seen, "told of what a domain that is believed has proved, and no more"
        # Said to be ours, signed by them.
        forged = there.token("spiffe://remit.test/agent/bot", w.clock.now)
        with pytest.raises(BadToken):
            await prove(w, JwtSvidEvidence(forged))
        with pytest.raises(BadToken):
            await prove(w, X509SvidEvidence((there.leaf("spiffe://remit.test/agent/bot", w.clock.now),)))
        # No keys at all: everything is revoked.
        there.found = spiffe.parse_bundle("other.example", json.dumps({"keys": []}).encode())
        with pytest.raises(BadToken):
            await prove(w, JwtSvidEvidence(there.token("spiffe://other.example/bot", w.clock.now)))
        with pytest.raises(BadToken):
            await prove(w, X509SvidEvidence((leaf,)))

    run(main())


def test_a_join_token_is_nothing_once_its_agent_joins_no_more(run):
    async def main():
        w = await world()
        operator = w.call(CallerKind.OPERATOR, "op")
        token, _ = await invite(w.env, operator, "bot", 60_000)
        await apply(w.env, operator, HERE)
        with pytest.raises(NotAttested, match="no registered agent"):
            await prove(w, JoinEvidence(token))

    run(main())


def test_an_id_of_two_agents_is_nobodys_and_a_bundle_that_cannot_be_had_is_unavailable(run):
    async def main():
        w = await world(files={**THERE, "agents/other.toml": FOREIGN})
        there = Elsewhere(now=w.clock.now)
        both = replace(w, env=replace(w.env, attestor=there))
        with pytest.raises(NotAttested) as refused:
            await prove(both, JwtSvidEvidence(there.token("spiffe://other.example/bot", w.clock.now)))
        assert "several agents" in refused.value.inside
        with pytest.raises(Unavailable):
            await prove(w, JwtSvidEvidence(there.token("spiffe://other.example/bot", w.clock.now)))

    run(main())


def test_a_key_of_one_agent_never_becomes_anothers(run):
    async def main():
        w = await world(files=HERE)
        identity, _ = await w.proved("other")
        made = await svid(w, at())
        with pytest.raises(NotAttested):
            await attest(w.env, w.call(), JwtSvidEvidence(made.token), identity.jkt, identity.jwk)

    run(main())


def test_a_purpose_may_demand_a_fresh_proof_of_some_kind(run):
    async def main():
        pay = FILES["purposes/pay.toml"]
        demands = pay.replace(
            'approval = { ttl = "10m" }', 'approval = { ttl = "10m" }\nattested_by = ["unix"]\nidentity_max_age = "60s"'
        )
        both = HOST + '[[attestations]]\nmethod = "join_token"\n'
        w = await world(files={**FILES, "agents/bot.toml": both, "purposes/pay.toml": demands})
        _, joined = await w.proved()
        with pytest.raises(Denied, match="wants a proof by unix; this one is by join_token"):
            await w.task(joined)
        made = await svid(w, at())
        w.clock.now += 50_000  # the proof is as old as the SVID, not as its showing
        identity = await prove(w, JwtSvidEvidence(made.token))
        assert identity.proved_at == w.clock.now - 50_000
        call = w.call(jkt=identity.jkt)
        task = await propose(w.env, call, Proposal("pay", "g", {"customer": "acme"}))
        late = replace(call, now=call.now + 11_000)
        with pytest.raises(Denied, match="too old"):
            await issue(w.env, late, task.id, "db")
        from remit.domain.decision import Access

        denied = await decide(w.env, late, Access(task.id, "list", {"customer": "acme"}))
        assert "too old" in denied.why[0].sentence

    run(main())


def test_why_a_proof_does_not_count():
    rule = Attestation("oidc", "github", {"sub": "x"}, rule="r")
    agent = Agent("bot", "olga", (), Tier.ASSISTANT, attestations=(rule,))
    proved = Identity("jkt", "bot", "spiffe://t/agent/bot", rule.kind, "e", {}, 100, 1000, "r")
    assert rule.kind == "oidc:github" and stale(proved, agent, 500) == ""
    assert stale(proved, agent, 500, kinds=("oidc",)) == stale(proved, agent, 500, kinds=("oidc:github",)) == ""
    assert "no agent" in stale(None, agent, 500) and "no agent" in stale(replace(proved, agent="x"), agent, 500)
    assert "too old" in stale(proved, agent, 1000) and "too old" in stale(proved, agent, 500, max_age=399)
    assert stale(proved, agent, 500, max_age=400) == ""
    assert "has changed" in stale(replace(proved, rule="s"), agent, 500)
    assert "wants a proof by oidc:gitlab or unix" in stale(proved, agent, 500, kinds=("oidc:gitlab", "unix"))

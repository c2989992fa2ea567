"""Transaction tokens: whatever is handed from workload to workload only narrows, and dies with its task."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.domain.errors import Absent, BadCatalogue, BadField, Busy, Denied
from remit.domain.events import IdentitySuperseded
from remit.domain.freeze import Reach
from remit.domain.identity import Identity
from remit.domain.transaction import LIFE, Transaction, TransactionRule, assurance
from remit.issuers.jwt import JwtIssuer
from remit.verbs.apply import apply
from remit.verbs.freeze import freeze
from remit.verbs.issue import issue
from remit.verbs.revoke import end_lease, end_task
from remit.verbs.transact import Further, alive, transact
from tests.delegating import CATALOGUE, Between, below, last, now
from tests.world import world

AGENT = 'owner = "olga"\n[[attestations]]\nmethod = "join_token"\n'
GRAPH = """
[[credentials]]
name = "api"
issuer = "pg"
ttl = "5m"
grants = { scope = ["read", "write"], transaction = { endpoint = "billing", workloads = ["ledger", "archive", "mailer"], max_hops = 3 } }
"""
WORKLOADS = ("billing", "ledger", "archive", "mailer")
FILES = {
    **CATALOGUE,
    **{f"agents/{name}.toml": AGENT for name in (*WORKLOADS, "extra")},
    **{f"purposes/{name}.toml": CATALOGUE[f"purposes/{name}.toml"] + GRAPH for name in ("lead", "dig")},
}
BOTH, READ = frozenset({"read", "write"}), frozenset({"read"})


class Graph:
    """A task, the lease of its access token, and four workloads with proven keys."""

    def __init__(self, w, task, call, lease, calls):
        self.w, self.task, self.call, self.lease, self.calls = w, task, call, lease, calls

    async def carry(self, who, begun=None, scope=READ, **more) -> Transaction:
        return await transact(self.w.env, now(self.w, self.calls[who]), begun or self.lease.id, Further(scope, **more))

    async def refused(self, who, begun=None, scope=READ):
        with pytest.raises(Denied) as denied:
            await self.carry(who, begun, scope)
        told = last(self.w, "TransactionTokenDenied")
        assert tuple(told["reasons"]) == denied.value.reasons and told["path"][-1] == self.calls[who].caller.name
        return denied.value.reasons[0]


async def graph(*, handed=False, purpose="lead") -> Graph:
    w = await world(Between(), FILES)
    _, call = await w.proved()
    task = await w.task(call, purpose)
    if handed:
        _, other = await w.proved("other")
        task, call = await below(w, call, task, other), other
    lease, _ = await issue(w.env, now(w, call), task.id, "api")
    calls = {name: (await w.proved(name))[1] for name in WORKLOADS}
    return Graph(w, task, call, lease, calls)


def test_each_hop_is_recorded_with_the_whole_chain(run):
    async def main():
        g = await graph(handed=True)
        first = await g.carry("billing", scope=BOTH, details={"invoice": 17}, context={"ip": "192.0.2.1"})
        assert (first.subject, first.actors, first.domain) == ("agent:bot", ("other", "bot"), g.w.env.trust_domain)
        assert (first.task, first.purpose, first.parameters) == (g.task.id, "dig", {"customer": "acme"})
        assert first.expires_at == g.w.clock.now + LIFE <= g.lease.expires_at and first.assurance == 1
        told = last(g.w, "TransactionTokenIssued")
        assert told == {
            "task": g.task.id,
            "agent": "other",
            "txn": first.txn,
            "lease": g.lease.id,
            "initiator": "agent:bot",
            "path": ["billing"],
            "scope": ["read", "write"],
            "expires_at": first.expires_at,
            "chain": [g.task.parent],
        }
        second = await g.carry("ledger", first)
        assert second.status != first.status
        assert second == replace(
            first, status=second.status, path=("billing", "ledger"), scope=READ, issued_at=second.issued_at
        )
        assert last(g.w, "TransactionTokenIssued")["path"] == ["billing", "ledger"]
        another = await g.carry("billing")
        assert another.txn != first.txn
        events = json.dumps([leaf.decode() for leaf, _ in g.w.store._events])
        assert "192.0.2.1" not in events

    run(main())


def test_who_may_carry_what_how_far(run):
    async def main():
        g = await graph()
        assert await g.refused("ledger") == "not_its_workload"
        assert await g.refused("billing", scope=BOTH | {"admin"}) == "out_of_scope"
        assert await g.refused("billing", scope=frozenset()) == "out_of_scope"
        first = await g.carry("billing")
        assert await g.refused("billing", first) == "transaction_loop"
        assert await g.refused("ledger", first, scope=BOTH) == "out_of_scope"
        with pytest.raises(Denied):  # an agent of the very chain, which nobody named
            await transact(g.w.env, now(g.w, g.call), first, Further(READ))
        second = await g.carry("ledger", first)
        assert await g.refused("ledger", second) == "transaction_loop"
        assert await g.refused("billing", second) == "transaction_loop"
        third = await g.carry("archive", second)
        assert await g.refused("mailer", third) == "too_deep"
        assert (await g.carry("mailer", first)).path == ("billing", "mailer")

    run(main())


def test_a_credential_without_the_rule_begins_no_transaction(run):
    async def main():
        g = await graph()
        lease, _ = await issue(g.w.env, now(g.w, g.call), g.task.id, "db")
        with pytest.raises(Denied) as denied:
            await transact(g.w.env, now(g.w, g.calls["billing"]), lease.id, Further(READ))
        assert denied.value.reasons == ("not_its_workload",)
        with pytest.raises(Absent):
            await transact(g.w.env, now(g.w, g.calls["billing"]), "lse_nothing", Further(READ))

    run(main())


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("task", "task_not_open"),
        ("lease", "credential_ended"),
        ("late", "credential_ended"),
        ("freeze bot", "agent_frozen"),
        ("freeze billing", "agent_frozen"),
        ("freeze ledger", "agent_frozen"),
        ("key", "identity_stale"),
        ("agent's key", "identity_stale"),
        ("freeze everything", "agent_frozen"),
        ("workload on the way", "agent_frozen"),
        ("registered", "agent_unknown"),
        ("purpose", "purpose_superseded"),
    ],
)
def test_it_dies_with_everything_behind_it(run, what, reason):
    async def main():
        g = await graph()
        first = await g.carry("billing")
        assert await alive(g.w.env, first.lease, first.path, g.w.clock.now)
        operator = g.w.call(CallerKind.OPERATOR, "op")
        match what.split():
            case ["task"]:
                await end_task(g.w.env, now(g.w, g.call), g.task.id, "done")
            case ["lease"]:
                await end_lease(g.w.env, now(g.w, g.call), g.lease.id, "done")
            case ["late"]:
                g.w.clock.now += 300_000
            case ["freeze", "everything"]:
                await freeze(g.w.env, operator, Reach.EVERYTHING, "", "why not")
            case ["freeze", name]:
                await freeze(g.w.env, operator, Reach.AGENT, name, "why not")
            case ["agent's", "key"]:
                identity = await g.w.store.get(Identity, g.task.jkt)
                late = identity.superseded(g.w.clock.now)
                because = IdentitySuperseded("bot", identity.jkt, "", "")
                await g.w.store.commit(Change(because, operator).put(late, was=identity))
            case ["workload", *_]:
                await freeze(g.w.env, operator, Reach.AGENT, "billing", "why not")
            case ["key"]:
                g.calls["ledger"] = g.w.call(name="ledger", jkt="nothing")
            case ["registered"]:
                g.calls["ledger"] = (await g.w.proved("extra"))[1]
                await apply(g.w.env, operator, {n: t for n, t in FILES.items() if n != "agents/extra.toml"})
            case ["purpose"]:
                await apply(
                    g.w.env,
                    operator,
                    {
                        **FILES,
                        "purposes/lead.toml": FILES["purposes/lead.toml"].replace("max_calls = 20", "max_calls = 21"),
                    },
                )
        assert await g.refused("ledger", first) == reason
        own = what in ("key", "freeze ledger", "registered")
        assert await alive(g.w.env, first.lease, first.path, g.w.clock.now) is own

    run(main())


@pytest.mark.parametrize("above", [False, True])
@pytest.mark.parametrize("moment", ["before", "between"])
def test_no_token_is_recorded_after_the_end_that_forbids_it(run, above, moment):
    async def main():
        g = await graph(handed=True)
        first = await g.carry("billing")
        root = g.task.parent if above else g.task.id

        async def end():
            await end_task(g.w.env, g.w.call(CallerKind.OPERATOR, "op"), root, "stop")

        if moment == "between":
            g.w.store.between = end
        else:
            await end()
        assert await g.refused("ledger", first) == ("ancestor_ended" if above else "task_not_open")
        assert not await alive(g.w.env, first.lease, first.path, g.w.clock.now)
        assert g.w.events().count("TransactionTokenIssued") == 1

    run(main())


def test_freezing_a_workload_meanwhile_is_seen(run):
    async def main():
        g = await graph()
        first = await g.carry("billing")

        async def between():
            await freeze(g.w.env, g.w.call(CallerKind.OPERATOR, "op"), Reach.AGENT, "ledger", "why not")

        g.w.store.between = between
        assert await g.refused("ledger", first) == "agent_frozen"

    run(main())


def test_a_task_that_never_stands_still_is_busy(run):
    async def main():
        g = await graph()
        commit = g.w.store.commit

        async def always(change):
            from remit.domain.errors import Conflict

            raise Conflict("moved")

        g.w.store.commit = always
        with pytest.raises(Busy):
            await g.carry("billing")
        g.w.store.commit = commit

    run(main())


STEPS = st.lists(
    st.tuples(st.sampled_from(WORKLOADS), st.sets(st.sampled_from(["read", "write", "admin"])), st.integers(0, 90_000)),
    max_size=8,
)


@settings(max_examples=15)
@given(STEPS)
def test_a_random_walk_of_replacements_only_narrows(steps):
    """Each is the one before it, or narrower: whoever it is for, whatever is asked, however late."""
    import asyncio

    async def main():
        g = await graph()
        first = held = await g.carry("billing", scope=BOTH, details={"invoice": 17})
        for who, scope, later in steps:
            g.w.clock.now += later
            try:
                found = await g.carry(who, held, frozenset(scope))
            except Denied:
                assert who in held.path or not scope or not scope <= held.scope or len(held.path) >= 3 or later
                continue
            same = (
                "txn",
                "subject",
                "domain",
                "actors",
                "task",
                "lease",
                "purpose",
                "parameters",
                "details",
                "context",
            )
            assert all(getattr(found, name) == getattr(first, name) for name in same)
            assert found.scope <= held.scope and found.scope == scope and found.expires_at <= held.expires_at
            assert found.assurance <= held.assurance and found.path == (*held.path, who)
            assert len(set(found.path)) == len(found.path) <= 3
            held = found
        assert g.w.clock.now < first.expires_at or held.expires_at <= first.expires_at

    asyncio.run(main())


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8))
def test_assurance_is_that_of_the_weakest_on_the_way(levels):
    found = Transaction("t", "d", "s", ("a",), READ, "tsk", "lse", "p", 0, LIFE, 2)
    for number, level in enumerate(levels):
        found = found.carried(f"w{number}", READ, level, LIFE, 0)
    assert found.assurance == min(2, *levels) and len(found.path) == len(levels)


def test_how_far_a_proof_is_from_a_secret():
    identity = Identity("k", "a", "", "oidc:github", "", {}, 0, 1)
    assert [assurance(replace(identity, method=m)) for m in ("join_token", "oidc:x", "unix", "telepathy")] == [
        1,
        2,
        3,
        0,
    ]
    assert assurance(None) == 0


@pytest.mark.parametrize(
    ("table", "field"),
    [
        ("x", "transaction"),
        ({}, "endpoint"),
        ({"endpoint": "No Name"}, "endpoint"),
        ({"endpoint": "{customer}"}, "endpoint"),
        ({"endpoint": "a", "workloads": "b"}, "workloads"),
        ({"endpoint": "a", "workloads": [1]}, "workloads"),
        ({"endpoint": "a", "workloads": ["a"] * 101}, "workloads"),
        ({"endpoint": "a", "max_hops": 0}, "max_hops"),
        ({"endpoint": "a", "max_hops": 17}, "max_hops"),
        ({"endpoint": "a", "max_hops": True}, "max_hops"),
        ({"endpoint": "a", "hops": 1}, "hops"),
    ],
)
def test_an_ill_formed_rule_is_refused(table, field):
    grants = {"audience": "https://rs.example", "transaction": table}
    with pytest.raises(BadField, match=field):
        TransactionRule.of(grants)
    with pytest.raises(BadField, match=field):
        JwtIssuer(None, type("Tools", (), {"issuer_url": "https://remit.test"})).checked(grants)
    assert TransactionRule.named(grants) == ()


def test_a_rule_names_agents_that_are_there(run):
    async def main():
        w = await world()
        files = {n: t for n, t in FILES.items() if n != "agents/mailer.toml"}
        with pytest.raises(BadCatalogue, match="mailer"):
            await apply(w.env, Call(Caller(CallerKind.OPERATOR, "op"), w.clock.now), files)

    run(main())

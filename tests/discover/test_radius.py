"""The blast radius: what is meant and what is not, the step to take away, and what hostile exports try."""

from __future__ import annotations

import json
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from remit.discover import catalogue_graph, clouds
from remit.discover.cuts import best_cuts
from remit.discover.radius import cuts, radius
from remit.discover.reach_change import change
from remit.domain.errors import BadField
from remit.domain.reach import Graph, Step
from remit.formats.catalogue import parse
from tests.console.estate import ACCOUNT, EXPORT, FILES, KEYS

ADMIN = f"aws-admin:{ACCOUNT}"
ROLE = f"aws-role:arn:aws:iam::{ACCOUNT}:role/"


def written(folder: Path, *exports: Any) -> Graph:
    paths = []
    for number, whole in enumerate(exports):
        paths.append(folder / f"{number}.json")
        paths[-1].write_text(whole if isinstance(whole, str) else json.dumps(whole))
    return Graph().add(clouds.load(paths))


@pytest.fixture
def estate(tmp_path: Path) -> Graph:
    return written(tmp_path, EXPORT, KEYS)


@pytest.fixture
def whole(estate: Graph) -> Graph:
    return catalogue_graph.joined(parse(FILES), estate)


def test_a_longer_way_as_it_was_meant_is_meant() -> None:
    found = Graph().add(
        [Step("a", "b", "aws-pass-ec2"), Step("a", "c", "grants"), Step("c", "b", "grants"), Step("b", "d", "grants")]
    )
    seen = radius(found, "a")
    assert list(seen.beyond) == []
    assert [step.target for step in seen.way("d")] == ["c", "b", "d"]


def test_who_begins_where_the_power_is_was_given_it_and_an_agent_was_not(whole: Graph) -> None:
    boss = f"aws-user:arn:aws:iam::{ACCOUNT}:user/boss"
    assert list(radius(whole, boss).beyond) == []
    assert ADMIN in radius(whole, "agent:invoice-bot").beyond
    assert list(radius(whole, "agent:report-bot").beyond) == []


def test_a_session_can_do_what_its_policy_says_of_what_its_role_can(estate: Graph) -> None:
    def agents(actions: str, role: str = "invoice-archive") -> Graph:
        text = FILES["purposes/pay-invoices.toml"].replace('"s3:GetObject", "lambda:UpdateFunctionCode"', actions)
        files = {**FILES, "purposes/pay-invoices.toml": text.replace("role/invoice-archive", f"role/{role}")}
        return catalogue_graph.joined(parse(files), estate)

    start, worker = ["agent:invoice-bot"], f"{ROLE}worker-1"
    assert worker in agents('"lambda:UpdateFunctionCode"').reached(start)
    assert worker in agents('"lambda:*"').reached(start)
    assert worker not in agents('"s3:GetObject"').reached(start)
    assert f"aws-action:{ACCOUNT}/s3:GetObject" in agents('"s3:GetObject"').reached(start)
    assert f"aws-action:{ACCOUNT}/s3:GetObject" not in agents('"s3:PutObject"').reached(start)
    assert ADMIN not in agents('"s3:*", "lambda:*"', "nightly-report").reached(start), "iam is in no session policy"


def test_a_leaked_key_reaches_what_its_user_does(whole: Graph) -> None:
    found = radius(whole, "aws-key:AKIAIOSFODNN7EXAMPLE")
    assert ADMIN in found.beyond
    assert [step.how for step in found.way(ADMIN)] == ["is-key-of", "aws-create-access-key", "aws-administrator"]


def test_people_reach_only_what_they_may_begin(whole: Graph) -> None:
    assert "tool:payments.send" in whole.reached(["person:dana"])
    assert "tool:payments.send" not in whole.reached(["person:frank"])
    who = radius(whole, "tool:payments.send", who=True)
    kinds = {node for group in who.groups() for node in group.nodes}
    assert kinds == {"person:dana", "agent:invoice-bot"} and list(who.beyond) == []


def test_the_step_to_take_away_leaves_what_was_meant(whole: Graph) -> None:
    (first, *_) = cuts(radius(whole, "agent:invoice-bot"))
    assert (first["how"], first["cuts"]) == ("opens", len(radius(whole, "agent:invoice-bot").beyond))
    (to, *_) = cuts(radius(whole, ADMIN, who=True))
    assert (to["source"], to["target"]) == (f"{ROLE}nightly-report", ADMIN)


@pytest.mark.parametrize("seed", range(60))
def test_the_best_cut_is_what_taking_each_step_away_says(seed: int) -> None:
    chance = random.Random(seed)
    size = chance.randint(2, 10)
    node = lambda: f"n{chance.randrange(size)}"  # noqa: E731
    steps = [Step(node(), node(), chance.choice("xy"), str(i)) for i in range(chance.randint(1, 22))]
    found = Graph().add(steps)
    starts = [one for one in ("n0", "n1") if one in found]
    targets = [one for one in found.nodes() if one not in starts]
    there = set(found.reached(starts)) & set(targets)
    wanted = {}
    for step in {one for out in found.out.values() for one in out}:
        lost = there - set(Graph().add(one for one in steps if one is not step).reached(starts))
        if lost:
            wanted[step] = len(lost)
    assert dict(best_cuts(found, starts, targets, 99)) == wanted


def test_groups_say_everything_once(whole: Graph) -> None:
    found = radius(whole, "agent:invoice-bot")
    nodes = [node for group in found.groups() for node in group.nodes]
    assert len(nodes) == len(set(nodes)) and set(found.beyond) <= set(nodes)
    assert found.groups()[0].beyond and found.groups()[0].kind == "aws-admin"


def test_a_plan_says_what_becomes_reachable_and_what_no_more(estate: Graph) -> None:
    old = parse(FILES)
    without = FILES["purposes/pay-invoices.toml"].replace(
        '"s3:GetObject", "lambda:UpdateFunctionCode"', '"s3:GetObject"'
    )
    narrow = parse({**FILES, "purposes/pay-invoices.toml": without})
    assert change(old, old, estate).agents == ()
    (widened,) = change(narrow, old, estate).agents
    assert (widened.agent, widened.losses, widened.beyond) == ("invoice-bot", 0, widened.gains)
    assert ADMIN in [row["node"] for row in widened.gained] and widened.gained[0]["beyond"]
    (narrowed,) = change(old, narrow, estate).agents
    assert (narrowed.gains, narrowed.losses, ADMIN in narrowed.lost) == (0, widened.gains, True)
    everybody = FILES["purposes/pay-invoices.toml"].replace('initiators = ["billing"]\n', "")
    opened = change(old, parse({**FILES, "purposes/pay-invoices.toml": everybody}), estate)
    assert [(s.source, s.target) for s in opened.begin] == [("group:*", "purpose:pay-invoices")]
    assert [(s.source, s.target) for s in opened.begin_no_more] == [("group:billing", "purpose:pay-invoices")]


HOSTILE = [
    "[" * 100_000,
    '{"UserDetailList": [' + "[" * 500 + "]" * 500 + '], "RoleDetailList": []}',
    json.dumps({"UserDetailList": [{"Arn": 5, "UserPolicyList": "x"}], "RoleDetailList": [7]}),
    json.dumps({"UserDetailList": [{"Arn": "a", "UserPolicyList": [{"PolicyDocument": 5}, 6]}], "RoleDetailList": []}),
    json.dumps({"kind": "List", "items": [{"kind": "Role", "metadata": 5, "rules": 7}]}),
    json.dumps({"kind": "List", "items": [{"kind": "RoleBinding", "subjects": [5], "roleRef": "x"}]}),
    json.dumps({"roles": [{}], "members": [{}], "definers": [{}]}),
    json.dumps([{"roleDefinitionId": 5, "scope": {}}]),
    json.dumps([{"vaultUri": 1, "properties": "x", "type": "Microsoft.KeyVault/vaults"}]),
    json.dumps({"AccessKeyMetadata": [5, {"UserName": {}}]}),
    "null",
    "",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_an_odd_export_is_refused_or_says_nothing_and_breaks_nothing(tmp_path: Path, text: str) -> None:
    try:
        found = written(tmp_path, text)
    except BadField as refused:
        assert "json" in str(refused.message) or "exports" in str(refused.message)
    else:
        assert not any(node.startswith("aws-admin") for node in found.reached(list(found.nodes("aws-user"))))


def test_cycles_end_and_everybody_trusting_everybody_has_an_end(tmp_path: Path, monkeypatch: Any) -> None:
    names = [f"r{n}" for n in range(40)]
    trusted = {"AWS": [f"arn:aws:iam::{ACCOUNT}:role/{name}" for name in names]}
    allows = {"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": trusted}]}
    rows = [
        {"Arn": f"arn:aws:iam::{ACCOUNT}:role/{name}", "RoleName": name, "AssumeRolePolicyDocument": allows}
        for name in names
    ]
    whole = {"UserDetailList": [], "RoleDetailList": rows, "GroupDetailList": [], "Policies": []}
    assert len(radius(written(tmp_path, whole), f"{ROLE}r0").others) == len(names) - 1
    monkeypatch.setattr(clouds, "STEPS", 1000)
    with pytest.raises(BadField, match="more than 1,000 steps"):
        written(tmp_path, whole)


def test_every_binding_in_a_large_cluster_is_no_square(tmp_path: Path) -> None:
    accounts = [{"kind": "ServiceAccount", "metadata": {"name": f"a{n}", "namespace": "x"}} for n in range(300)]
    rules = [{"resources": ["secrets", "pods"], "verbs": ["*"]}]
    subject = [{"kind": "ServiceAccount", "name": "a1", "namespace": "x"}]
    bound = [
        {"kind": "ClusterRoleBinding", "metadata": {"name": f"b{n}"}, "subjects": subject}
        | {"roleRef": {"kind": "ClusterRole", "name": "r"}}
        for n in range(300)
    ]
    role = {"kind": "ClusterRole", "metadata": {"name": "r"}, "rules": rules}
    found = written(tmp_path, {"kind": "List", "items": [role, *accounts, *bound]})
    assert sum(map(len, found.out.values())) < 3000
    assert "k8s-sa:x/a299" in found.reached(["k8s-sa:x/a1"])


def test_names_are_seen_as_they_are_and_never_as_the_catalogues(tmp_path: Path) -> None:
    long = "x" * 5000
    rows = [{"name": "agent:bot\x1b[2J"}, {"name": "\u202eevil"}, {"name": long}]
    members = [{"role": "agent:bot\x1b[2J", "member": "\u202eevil"}, {"role": long, "member": long + "y"}]
    found = written(tmp_path, {"roles": rows, "members": members, "grants": [], "definers": []})
    assert all(node.isprintable() and len(node) <= clouds.LONGEST for node in found.nodes())
    assert "pg-role:\\u202eevil" in found and "pg-role:agent:bot\\x1b[2J" in found
    assert len([node for node in found.nodes() if node.startswith("pg-role:xxx")]) == 2
    assert not any(node.partition(":")[0] in catalogue_graph.KINDS for node in found.nodes())


def test_many_steps_between_few_nodes_take_no_more_room_than_they_are() -> None:
    tracemalloc.start()
    found = Graph().add(Step(f"n{i % 100}", f"n{i % 101}", "aws-may", "x") for i in range(100_000))
    seen = radius(found, "n0")
    assert len(seen.others) > 90 and cuts(seen) == []
    assert tracemalloc.get_traced_memory()[1] < 120 * 2**20
    tracemalloc.stop()


def test_within_is_what_is_between_these_and_they_themselves() -> None:
    whole = Graph().add([Step("a", "b", "grants"), Step("b", "c", "grants"), Step("z", "a", "grants")])
    seen = whole.within(["a", "b", "nobody"])
    assert set(seen.nodes()) == {"a", "b"} and [step[:2] for step in seen.out["a"]] == [("a", "b")]
    assert not seen.out["b"] and not seen.into["a"] and set(whole.nodes()) == {"a", "b", "c", "z"}

"""Who reaches what: each rule with a twin that it must leave alone, on exports as the clouds' own tools write them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from click.testing import CliRunner

from remit.cli.app import Context, Parts, cli
from remit.cli.exits import Failure
from remit.cli.output import Output
from remit.discover import aws_account, azure_estate, kubernetes_rbac, postgres_roles
from remit.discover.aws_paths import WAYS, Onto
from remit.discover.cuts import best_cuts
from remit.domain.reach import Graph, Step
from remit.formats.aws_policy import ANY, allowed, matches, parse
from remit.testing.postgres import PostgresServer

ACCOUNT = "123456789012"
ADMIN = f"aws-admin:{ACCOUNT}"


def arn(kind: str, name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:{kind}/{name}"


def may(*actions: str, resource: Any = "*", effect: str = "Allow", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": list(actions), "Resource": resource, **more}


def user(name: str, *statements: dict[str, Any], **more: Any) -> dict[str, Any]:
    policies = [{"PolicyName": "p", "PolicyDocument": {"Statement": list(statements)}}]
    return {"Arn": arn("user", name), "UserName": name, "UserPolicyList": policies, **more}


def role(name: str, *statements: dict[str, Any], trust: Any) -> dict[str, Any]:
    allows = {"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": trust}]}
    policies = [{"PolicyName": "p", "PolicyDocument": {"Statement": list(statements)}}]
    return {"Arn": arn("role", name), "RoleName": name, "RolePolicyList": policies, "AssumeRolePolicyDocument": allows}


def graph(*rows: dict[str, Any], policies: Any = (), groups: Any = ()) -> Graph:
    users = [row for row in rows if "UserName" in row]
    roles = [row for row in rows if "RoleName" in row]
    whole = {
        "UserDetailList": users,
        "RoleDetailList": roles,
        "GroupDetailList": list(groups),
        "Policies": list(policies),
    }
    return Graph().add(aws_account.steps(aws_account.read(whole)))


def becomes_admin(found: Graph, name: str = "bot", kind: str = "user") -> list[str]:
    return [step.how for step in found.way([f"aws-{kind}:{arn(kind, name)}"], ADMIN)]


EVERYWHERE = [f"{s}.amazonaws.com" for s in ("ec2", "lambda", "glue", "cloudformation", "datapipeline", "codebuild")]
EVERYWHERE += [f"{s}.amazonaws.com" for s in ("sagemaker", "ecs-tasks", "bedrock", "bedrock-agentcore")]
POWERFUL = role("powerful", may("*"), trust={"Service": EVERYWHERE})
POLICY = {
    "Arn": arn("policy", "mine"),
    "PolicyVersionList": [{"IsDefaultVersion": True, "Document": {"Statement": [may("s3:ListAllMyBuckets")]}}],
}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.id)
def test_every_way_leads_to_administrator_and_without_one_of_its_actions_nowhere(way: Any) -> None:
    needs = (*way.needs, "iam:PassRole") if way.onto is Onto.PASS else way.needs
    boss, group = user("boss", may("*")), {"Arn": arn("group", "g"), "GroupName": "g"}
    group |= {"GroupPolicyList": [{"PolicyDocument": {"Statement": [may("*")]}}]} if way.onto is Onto.GROUP else {}
    more = {"AttachedManagedPolicies": [{"PolicyArn": POLICY["Arn"]}]} if way.onto is Onto.OWN_POLICY else {}
    more |= {"GroupList": ["g"]} if way.onto is Onto.OWN_GROUP else {}
    kind = "role" if way.onto is Onto.SELF_ROLE else "user"

    def actor(*actions: str) -> dict[str, Any]:
        statements = [may(*actions)] if actions else []
        return role("bot", *statements, trust={"Service": "x"}) if kind == "role" else user("bot", *statements, **more)

    rows = (boss, POWERFUL)
    assert becomes_admin(graph(actor(*needs), *rows, policies=[POLICY], groups=[group]), kind=kind)[:1] == [way.id]
    for missing in needs:
        rest = [action for action in needs if action != missing]
        ways = becomes_admin(graph(actor(*rest), *rows, policies=[POLICY], groups=[group]), kind=kind)
        assert way.id not in ways
        assert not ways or ways[0] == "aws-notebook-url", "a notebook that is there will do"


def test_a_denial_wins_wherever_it_stands() -> None:
    allow, deny = may("iam:PutUserPolicy"), may("iam:*", effect="Deny")
    assert becomes_admin(graph(user("bot", allow))) == ["aws-put-user-policy"]
    assert becomes_admin(graph(user("bot", allow, deny))) == []
    split = user("bot", allow) | {"AttachedManagedPolicies": [{"PolicyArn": arn("policy", "no")}]}
    no = {
        "Arn": arn("policy", "no"),
        "PolicyVersionList": [{"IsDefaultVersion": True, "Document": {"Statement": [deny]}}],
    }
    assert becomes_admin(graph(split, policies=[no])) == []


def test_a_boundary_narrows_and_adds_nothing() -> None:
    limit = {
        "Arn": arn("policy", "b"),
        "PolicyVersionList": [{"IsDefaultVersion": True, "Document": {"Statement": [may("s3:*")]}}],
    }
    bound = {"PermissionsBoundary": {"PermissionsBoundaryArn": limit["Arn"]}}
    assert becomes_admin(graph(user("bot", may("*"), **bound), policies=[limit])) == []
    assert becomes_admin(graph(user("bot", **bound), policies=[limit])) == []


def test_a_role_is_passed_only_where_it_may_be_and_is_trusted() -> None:
    start = may("lambda:CreateFunction", "lambda:InvokeFunction")
    elsewhere = may("iam:PassRole", resource=arn("role", "other"))
    only_ec2 = may("iam:PassRole", Condition={"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}})
    right = may("iam:PassRole", Condition={"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}})
    assert becomes_admin(graph(user("bot", start, right), POWERFUL)) == ["aws-pass-lambda-invoke", "aws-administrator"]
    assert becomes_admin(graph(user("bot", start, elsewhere), POWERFUL)) == []
    assert becomes_admin(graph(user("bot", start, only_ec2), POWERFUL)) == []
    nobody = role("powerful", may("*"), trust={"Service": "ec2.amazonaws.com"})
    assert becomes_admin(graph(user("bot", start, right), nobody)) == []


def test_a_trust_that_names_somebody_needs_no_policy_and_one_that_names_the_account_does() -> None:
    named = role("powerful", may("*"), trust={"AWS": arn("user", "bot")})
    whole = role("powerful", may("*"), trust={"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
    assert becomes_admin(graph(user("bot"), named)) == ["aws-assume-role", "aws-administrator"]
    assert becomes_admin(graph(user("bot"), whole)) == []
    assert becomes_admin(graph(user("bot", may("sts:AssumeRole")), whole)) == ["aws-assume-role", "aws-administrator"]
    assert len([*aws_account.flaws(aws_account.read({"UserDetailList": [], "RoleDetailList": [whole]}), "x")]) == 1
    assert not [*aws_account.flaws(aws_account.read({"UserDetailList": [], "RoleDetailList": [named]}), "x")]


CONDITIONS = [
    ({"DateGreaterThan": {"aws:TokenIssueTime": "2020-01-01T00:00:00Z"}}, True),
    ({"DateLessThan": {"aws:TokenIssueTime": "2020-01-01T00:00:00Z"}}, False),
    ({"DateLessThan": {"aws:CurrentTime": "2099-01-01T00:00:00Z"}}, True),
    ({"Bool": {"aws:MultiFactorAuthPresent": "true"}}, True),  # not known here: it may be met
    ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, True),
]


@pytest.mark.parametrize(("condition", "holds"), CONDITIONS)
def test_conditions_count_where_they_are_known(condition: Any, holds: bool) -> None:
    bot = user("bot", may("iam:PutUserPolicy", Condition=condition))
    assert bool(becomes_admin(graph(bot))) is holds


def test_a_denial_that_may_not_be_met_is_not_relied_on() -> None:
    deny = may("iam:*", effect="Deny", Condition={"Bool": {"aws:MultiFactorAuthPresent": "false"}})
    assert becomes_admin(graph(user("bot", may("iam:PutUserPolicy"), deny))) == ["aws-put-user-policy"]


def test_not_action_and_not_resource_mean_what_they_say() -> None:
    (one,) = parse({"Statement": {"Effect": "Allow", "NotAction": "iam:*", "NotResource": "arn:aws:s3:::secret/*"}})
    assert allowed([one], "s3:GetObject", "arn:aws:s3:::open/a", {})
    assert not allowed([one], "s3:GetObject", "arn:aws:s3:::secret/a", {})
    assert not allowed([one], "iam:PassRole", ANY, {})
    assert matches("a?c*", "abcdef")
    assert not matches("a?c", "ac")


ASSIGNMENT = {"principalName": "deploy-bot", "scope": "/subscriptions/s/resourceGroups/rg"}
VAULT = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/prod"


def azure(role_id: str, *, by_roles: bool, scope: str = ASSIGNMENT["scope"], policies: Any = ()) -> list[str]:
    assigned = [{**ASSIGNMENT, "scope": scope, "roleDefinitionId": f"/x/roleDefinitions/{role_id}"}]
    properties = {"enableRbacAuthorization": by_roles, "accessPolicies": list(policies), "vaultUri": "https://prod"}
    vaults = [{"id": VAULT, "name": "prod", "type": "Microsoft.KeyVault/vaults", "properties": properties}]
    found = Graph().add(azure_estate.steps([assigned, vaults]))
    return [step.how for step in found.way(["azure-principal:deploy-bot"], "azure-vault-data:prod")]


def test_a_vaults_contributor_reads_its_secrets_in_access_policy_mode_and_not_in_role_mode() -> None:
    for role_id in (azure_estate.KEY_VAULT_CONTRIBUTOR, azure_estate.CONTRIBUTOR):
        assert azure(role_id, by_roles=False) == ["azure-vault-access-policy"]
        assert azure(role_id, by_roles=True) == []
    assert azure(azure_estate.OWNER, by_roles=True) == ["azure-assigns-itself"]
    assert azure(azure_estate.USER_ACCESS_ADMINISTRATOR, by_roles=True) == ["azure-assigns-itself"]
    assert azure("4633458b-17de-408a-b874-0445c86b69e6", by_roles=True) == ["azure-may"]
    assert azure("4633458b-17de-408a-b874-0445c86b69e6", by_roles=False) == []
    assert azure(azure_estate.CONTRIBUTOR, by_roles=False, scope="/subscriptions/s/resourceGroups/r") == []
    assert azure(azure_estate.CONTRIBUTOR, by_roles=False, scope="/subscriptions/S") == ["azure-vault-access-policy"]


def k8s(*rules: dict[str, Any], cluster: bool = False) -> Graph:
    kind = "ClusterRole" if cluster else "Role"
    meta = {"name": "r"} if cluster else {"name": "r", "namespace": "apps"}
    subjects = [{"kind": "ServiceAccount", "name": "bot", "namespace": "apps"}]
    items = [
        {"kind": kind, "metadata": meta, "rules": list(rules)},
        {"kind": f"{kind}Binding", "metadata": meta, "roleRef": {"kind": kind, "name": "r"}, "subjects": subjects},
        {"kind": "Pod", "metadata": {"name": "p", "namespace": "apps"}, "spec": {"serviceAccountName": "deployer"}},
        {"kind": "Pod", "metadata": {"name": "q", "namespace": "kube-system"}, "spec": {"serviceAccountName": "root"}},
    ]
    whole = {"kind": "List", "items": items}
    assert kubernetes_rbac.is_export(whole)
    return Graph().add(kubernetes_rbac.steps(whole))


def reached(found: Graph, start: str = "k8s-sa:apps/bot") -> dict[str, str]:
    return {node: step.how for node, step in found.reached([start]).items() if step}


def rule(resources: str, *verbs: str) -> dict[str, Any]:
    return {"resources": [resources], "verbs": list(verbs)}


def test_a_clusters_roles_reach_what_they_can_become() -> None:
    assert reached(k8s(rule("pods", "get", "list"))) == {}
    assert reached(k8s(rule("pods/exec", "create"))) == {"k8s-sa:apps/deployer": "k8s-enters-pods"}
    assert "k8s-sa:kube-system/root" in reached(k8s(rule("pods/exec", "create"), cluster=True))
    assert reached(k8s(rule("secrets", "list")))["k8s-secrets:apps"] == "k8s-reads-secrets"
    assert reached(k8s({**rule("secrets", "get"), "resourceNames": ["one"]})) == {
        "k8s-secrets:apps": "k8s-reads-secrets"
    }
    assert reached(k8s(rule("roles", "escalate"), cluster=True))[kubernetes_rbac.ADMIN] == "k8s-gives-itself-more"
    assert reached(k8s(rule("roles", "get"), cluster=True)) == {}
    assert reached(k8s(rule("*", "*"), cluster=True))[kubernetes_rbac.ADMIN] == "k8s-everything"
    assert kubernetes_rbac.ADMIN not in reached(k8s(rule("*", "*")))
    assert reached(k8s(rule("users", "impersonate"), cluster=True))[kubernetes_rbac.ADMIN] == "k8s-impersonates"
    assert reached(k8s(rule("deployments", "create")))["k8s-sa:apps/deployer"] == "k8s-makes-pods"


def test_a_real_servers_roles(postgres: PostgresServer) -> None:
    async def export() -> Any:
        db = await asyncpg.connect(postgres.dsn())
        try:
            for name in ("bl_app", "bl_reader", "bl_runner", "bl_owner", "bl_plain"):
                await db.execute(f"CREATE ROLE {name} LOGIN")
            await db.execute("CREATE TABLE bl_ledger (x int); ALTER TABLE bl_ledger OWNER TO bl_owner")
            await db.execute("GRANT SELECT ON bl_ledger TO bl_reader; GRANT bl_reader TO bl_app")
            await db.execute("GRANT pg_execute_server_program TO bl_runner")
            for name, safe in (("bl_unsafe", ""), ("bl_safe", "SET search_path = pg_catalog")):
                await db.execute(
                    f"CREATE FUNCTION {name}() RETURNS int LANGUAGE sql SECURITY DEFINER {safe} AS 'SELECT 1'"
                )
                await db.execute(
                    f"ALTER FUNCTION {name}() OWNER TO bl_owner; REVOKE ALL ON FUNCTION {name}() FROM PUBLIC"
                )
            await db.execute(
                "GRANT EXECUTE ON FUNCTION bl_unsafe() TO bl_app; GRANT EXECUTE ON FUNCTION bl_safe() TO bl_plain"
            )
            return json.loads(await db.fetchval(postgres_roles.QUERY))
        finally:
            await db.close()

    whole = asyncio.run(export())
    assert postgres_roles.is_export(whole)
    found = Graph().add(postgres_roles.steps(whole))
    ways = {node: [s.how for s in found.way([f"pg-role:{name}"], node)] for name, node in (
        ("bl_app", "pg-table:public.bl_ledger"), ("bl_runner", postgres_roles.HOST), ("bl_app", "pg-role:bl_owner"))}  # fmt: skip
    assert ways["pg-table:public.bl_ledger"] == ["pg-member", "pg-may"]
    assert ways[postgres_roles.HOST] == ["pg-member", "pg-execute-server-program"]
    assert ways["pg-role:bl_owner"] == ["pg-security-definer"]
    assert {node for node in found.reached(["pg-role:bl_plain"]) if node != "pg-role:bl_plain"} == set()


def test_the_best_cut_is_the_step_that_every_way_goes_over() -> None:
    found = Graph().add(
        [
            Step("a", "b", "x"),
            Step("b", "c", "y"),
            Step("c", "d", "z"),
            Step("c", "e", "z"),
            Step("a", "e", "w"),
            Step("a", "a", "q"),
        ]
    )
    cuts = best_cuts(found, ["a"], ["c", "d", "e"])
    assert [(step.source, step.target, count) for step, count in cuts] == [("a", "b", 2), ("b", "c", 2), ("c", "d", 1)]
    for step, count in cuts:
        lost = {"c", "d", "e"} - set(found.without(step).reached(["a"]))
        assert len(lost) == count
    assert best_cuts(found, ["a"], []) == []
    assert "z" not in found


def test_two_steps_between_two_nodes_are_two_ways() -> None:
    found = Graph().add([Step("a", "b", "x"), Step("a", "b", "y"), Step("b", "c", "z")])
    assert [(step.how, count) for step, count in best_cuts(found, ["a"], ["c"])] == [("z", 1)]


CATALOGUE = {
    "remit.toml": '[people.dana]\n[issuers.cloud]\nkind = "aws"\n',
    "agents/bot.toml": 'owner = "dana"\ntier = "assistant"\nattestations = [{method = "join_token"}]\n',
}


def run(*words: str) -> tuple[int, str]:
    none = lambda *_, **__: None  # noqa: E731
    done = CliRunner().invoke(
        cli, list(words), obj=Context(Output(as_json=False, quiet=False), Parts(*[none] * len(fields(Parts))))
    )  # type: ignore[arg-type]
    if isinstance(done.exception, Failure):
        return int(done.exception.exit_code), done.exception.message
    return done.exit_code, done.output


def test_the_command_shows_what_nobody_meant_first(tmp_path: Path) -> None:
    export = tmp_path / "account.json"
    rows = [user("bot", may("iam:PutUserPolicy", "s3:GetObject"))]
    export.write_text(json.dumps({"UserDetailList": rows, "RoleDetailList": [], "GroupDetailList": [], "Policies": []}))
    code, text = run("blast", "bot", "--cloud", str(export))
    assert code == 0, text
    assert "Beyond:" in text
    assert text.index(f"aws-put-user-policy→ {ADMIN}") < text.index("As meant:")
    code, text = run("--json", "blast", "bot", "--cloud", str(export))
    first = json.loads(text)["reached"][0]
    assert (first["beyond"], first["node"]) == (True, ADMIN)
    code, text = run("blast", "aws-admin", "--cloud", str(export), "--who")
    assert (code, "there is no" in text) == (6, True)
    code, text = run("blast", ADMIN, "--cloud", str(export), "--who")
    assert "1 can reach" in text
    code, text = run("blast", "bot", "--cloud", str(export), "--cut")
    assert "aws-put-user-policy" in text
    code, text = run("blast", "bot", "--cloud", str(export), "--to", ADMIN)
    assert "writes itself a policy" in text
    (tmp_path / "odd.json").write_text("[]")
    assert run("blast", "--cloud", str(tmp_path / "odd.json"))[0] != 0

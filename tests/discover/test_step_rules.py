"""Every rule of the graph, with an export in which it leads somewhere and its twin in which it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from remit.discover import aws_account, azure_estate, catalogue_graph, gcp_policy, kubernetes_rbac, postgres_roles
from remit.discover.aws_paths import WAYS
from remit.discover.step_rules import GIVEN, MEANT, STEP_RULES, rule_of
from remit.domain.reach import Graph, Step
from remit.formats.catalogue import parse

from .test_blast import ASSIGNMENT, VAULT, arn, may, role, user

SERVER: dict[str, Any] = {"version": 160_000, "roles": [], "members": [], "grants": [], "definers": []}


def aws(*rows: dict[str, Any]) -> list[Step]:
    users, roles = [one for one in rows if "UserName" in one], [one for one in rows if "RoleName" in one]
    groups = [{"Arn": arn("group", "g"), "GroupName": "g"}]
    whole = {"UserDetailList": users, "RoleDetailList": roles, "GroupDetailList": groups, "Policies": []}
    return [*aws_account.steps(aws_account.read(whole))]


def key(status: str) -> list[Step]:
    listed = {"AccessKeyMetadata": [{"UserName": "bot", "AccessKeyId": "AKIA1", "Status": status}]}
    return [*aws_account.keys(listed, [arn("user", "bot")])]


def azure(role_id: str, *, by_roles: bool) -> list[Step]:
    assigned = [{**ASSIGNMENT, "roleDefinitionId": f"/x/{role_id}"}]
    vault = {"id": VAULT, "name": "prod", "properties": {"enableRbacAuthorization": by_roles, "vaultUri": "x"}}
    return [*azure_estate.steps([assigned, [vault]])]


def gcp(*roles: str, resource: str = "//cloudresourcemanager.googleapis.com/projects/shop") -> list[Step]:
    """A user with these roles, in a project where a service account has one that is not of this table."""
    rows = [{"role": one, "members": ["user:a@b"]} for one in roles]
    rows.append({"role": "roles/browser", "members": ["serviceAccount:ci@shop.iam.gserviceaccount.com"]})
    steps = [*gcp_policy.steps([[{"resource": resource, "project": "projects/shop", "policy": {"bindings": rows}}]])]
    return [one for one in steps if one.source == "gcp-user:a@b"]


def k8s(*rules: tuple[str, str], cluster: bool = True, group: str = "", named: bool = False) -> list[Step]:
    kind = "ClusterRole" if cluster else "Role"
    meta = {"name": "r"} if cluster else {"name": "r", "namespace": "apps"}
    who = {"kind": "Group", "name": group} if group else {"kind": "ServiceAccount", "name": "bot", "namespace": "apps"}
    given = [
        {"resources": [what], "verbs": [verb]} | ({"resourceNames": ["x"]} if named else {}) for what, verb in rules
    ]
    items = [
        {"kind": kind, "metadata": meta, "rules": given},
        {"kind": f"{kind}Binding", "metadata": meta, "roleRef": {"kind": kind, "name": "r"}, "subjects": [who]},
        {"kind": "Pod", "metadata": {"name": "p", "namespace": "apps"}, "spec": {"serviceAccountName": "deployer"}},
    ]
    steps = [*kubernetes_rbac.steps({"kind": "List", "items": items})]
    start = f"k8s-group:{group}" if group else "k8s-sa:apps/bot"
    return [one for one in steps if one.source in (start, "k8s-sa:apps/deployer") or one.how == "k8s-one-of"]


def pg(**more: Any) -> list[Step]:
    return [*postgres_roles.steps(SERVER | more)]


def roles(name: str, **more: Any) -> list[dict[str, Any]]:
    return [{"name": name, **more}, {"name": "app"}]


def definer(**more: Any) -> dict[str, Any]:
    return {"roles": roles("owner"), "definers": [{"function": "f", "owner": "owner", "callers": ["app"], **more}]}


def remit(purpose: str = "", people: str = "") -> list[Step]:
    base = 'owner = "olga"\nmax_duration = "5m"\nmax_calls = 5\n'
    files = {
        "remit.toml": "[people.olga]\n" + people + '[people.dana]\ngroups = ["ops"]\n[issuers.box]\nkind = "static"\n',
        "agents/bot.toml": 'owner = "olga"\n[[attestations]]\nmethod = "join_token"\n',
        "tools/list.toml": 'effect = "read"\nresource = "x"\n',
        "purposes/p.toml": base + (purpose or 'agents = ["bot"]'),
        "purposes/q.toml": base + 'agents = ["bot"]\ninitiators = ["ops"]',
    }
    return [*catalogue_graph.steps(parse(files))]


GRANT = 'agents = ["bot"]\n[[grants]]\ntool = "list"\nresource = "x"\n'
ISSUE = 'agents = ["bot"]\n[[credentials]]\nname = "c"\nissuer = "box"\nttl = "5m"\ngrants = { secret = "s" }\n'
HAND = 'agents = ["bot"]\nmax_depth = 1\n[[delegations]]\nagents = ["bot"]\npurposes = ["q"]\n'
CONTRIBUTOR, OFFICER = azure_estate.KEY_VAULT_CONTRIBUTOR, "b86a8fe4-44ce-4948-aee5-eccb2c155cd7"
ASSUMED = role("boss", trust={"AWS": arn("user", "bot")})
Twin = Callable[[], list[Step]]
TWINS: dict[str, tuple[Twin, Twin]] = {
    "in-group": (
        lambda: [s for s in remit(people='groups = ["ops"]\n') if s[:2] == ("person:olga", "group:ops")],
        lambda: [s for s in remit() if s[:2] == ("person:olga", "group:ops")],
    ),
    "may-begin": (lambda: remit(), lambda: [s for s in remit('agents = ["bot"]\ninitiators = ["ops"]') if s.source == "group:*"]),
    "may-propose": (lambda: remit(), lambda: [s for s in remit('agents = []') if s.target == "purpose:p"]),
    "grants": (lambda: remit(GRANT), lambda: remit()),
    "issues": (lambda: remit(ISSUE), lambda: remit()),
    "opens": (lambda: remit(ISSUE), lambda: remit()),
    "hands-on": (lambda: remit(HAND), lambda: remit()),
    "is-key-of": (lambda: key("Active"), lambda: key("Inactive")),
    "aws-may": (lambda: aws(user("bot", may("s3:GetObject"))), lambda: [s for s in aws(user("bot", may("s3:List*"))) if "user" in s.source]),
    "aws-in-group": (lambda: aws(user("bot", GroupList=["g"])), lambda: aws(user("bot"))),
    "aws-administrator": (lambda: aws(user("bot", may("*"))), lambda: aws(user("bot", may("s3:*")))),
    "aws-administers": (lambda: aws(user("bot")), lambda: aws()),
    "aws-assume-role": (lambda: aws(user("bot"), ASSUMED), lambda: aws(user("other"), ASSUMED)),
    "azure-may": (lambda: azure(OFFICER, by_roles=True), lambda: azure(OFFICER, by_roles=False)),
    "azure-vault-access-policy": (lambda: azure(CONTRIBUTOR, by_roles=False), lambda: azure(CONTRIBUTOR, by_roles=True)),
    "azure-assigns-itself": (lambda: azure(azure_estate.OWNER, by_roles=True), lambda: azure(CONTRIBUTOR, by_roles=True)),
    "k8s-in-group": (lambda: k8s(("pods", "get"), group="system:serviceaccounts:apps"), lambda: k8s(("pods", "get"), group="ops")),
    "k8s-one-of": (lambda: k8s(), list),
    "k8s-everything": (lambda: k8s(("*", "*")), lambda: k8s(("*", "*"), cluster=False)),
    "k8s-reads-secrets": (lambda: k8s(("secrets", "list")), lambda: k8s(("configmaps", "list"))),
    "k8s-reads-tokens": (lambda: k8s(("secrets", "list")), lambda: k8s(("secrets", "get"), named=True)),
    "k8s-enters-pods": (lambda: k8s(("pods/exec", "create")), lambda: k8s(("pods/log", "get"))),
    "k8s-makes-pods": (lambda: k8s(("replicasets", "create")), lambda: k8s(("replicasets", "list"))),
    "k8s-makes-tokens": (lambda: k8s(("serviceaccounts/token", "create")), lambda: k8s(("serviceaccounts", "create"))),
    "k8s-gives-itself-more": (lambda: k8s(("clusterroles", "bind")), lambda: k8s(("clusterroles", "create"))),
    "k8s-impersonates": (lambda: k8s(("users", "impersonate")), lambda: k8s(("users", "get"))),
    "k8s-node-proxy": (lambda: k8s(("nodes/proxy", "get")), lambda: k8s(("nodes", "get"))),
    "k8s-signs-certificates": (
        lambda: k8s(("certificatesigningrequests", "create"), ("certificatesigningrequests/approval", "update")),
        lambda: k8s(("certificatesigningrequests", "create")),
    ),
    "k8s-changes-what-is-admitted": (
        lambda: k8s(("mutatingwebhookconfigurations", "patch")),
        lambda: k8s(("mutatingwebhookconfigurations", "get")),
    ),
    "pg-may": (lambda: pg(grants=[{"grantee": "app", "table": "public.t", "privilege": "SELECT"}]), lambda: pg()),
    "pg-member": (lambda: pg(members=[{"role": "r", "member": "app"}]), lambda: pg()),
    "pg-member-admin": (
        lambda: pg(members=[{"role": "r", "member": "app", "admin": True}]),
        lambda: pg(members=[{"role": "r", "member": "app", "admin": False}]),
    ),
    "gcp-may": (lambda: gcp("roles/secretmanager.secretAccessor"), lambda: gcp("roles/secretmanager.viewer")),
    "gcp-administrator": (lambda: gcp("roles/editor"), lambda: gcp("roles/viewer")),
    "gcp-gives-itself-more": (lambda: gcp("roles/iam.securityAdmin"), lambda: gcp("roles/iam.securityReviewer")),
    "gcp-makes-tokens": (lambda: gcp("roles/iam.serviceAccountTokenCreator"), lambda: gcp("roles/iam.serviceAccountViewer")),
    "gcp-makes-keys": (lambda: gcp("roles/iam.serviceAccountKeyAdmin"), lambda: gcp("roles/iam.serviceAccountViewer")),
    "gcp-acts-as": (lambda: gcp("roles/iam.serviceAccountUser"), lambda: gcp("roles/iam.serviceAccountViewer")),
    "gcp-workload-identity": (lambda: gcp("roles/iam.workloadIdentityUser"), lambda: gcp("roles/iam.serviceAccountViewer")),
    "gcp-writes-its-policy": (lambda: gcp("roles/iam.serviceAccountAdmin"), lambda: gcp("roles/iam.serviceAccountViewer")),
    "pg-superuser": (lambda: pg(roles=roles("root", super=True)), lambda: pg(roles=roles("root", super=False))),
    "pg-createrole": (
        lambda: pg(version=150_004, roles=roles("maker", creates=True)),
        lambda: pg(version=160_000, roles=roles("maker", creates=True)),
    ),
    "pg-execute-server-program": (lambda: pg(roles=roles("pg_execute_server_program")), lambda: pg(roles=roles("pg_monitor"))),
    "pg-write-server-files": (lambda: pg(roles=roles("pg_write_server_files")), lambda: pg(roles=roles("pg_monitor"))),
    "pg-read-server-files": (lambda: pg(roles=roles("pg_read_server_files")), lambda: pg(roles=roles("pg_monitor"))),
    "pg-all-data": (
        lambda: pg(roles=roles("pg_read_all_data"), grants=[{"grantee": "x", "table": "t"}]),
        lambda: pg(roles=roles("pg_monitor"), grants=[{"grantee": "x", "table": "t"}]),
    ),
    "pg-security-definer": (lambda: pg(**definer(safe=False)), lambda: pg(**definer(safe=True))),
}  # fmt: skip


def test_every_rule_has_twins_a_reference_and_a_way_to_take_it_away() -> None:
    assert set(TWINS) | {way.id for way in WAYS} == set(STEP_RULES)  # those of WAYS have theirs in test_blast
    for rule in STEP_RULES.values():
        assert rule.reference.startswith(("https://", "docs/")) and rule.cut.endswith(".") and rule.says
    assert GIVEN.isdisjoint(MEANT) and set(STEP_RULES) >= GIVEN
    assert not rule_of("gcp-new").meant, "what is not known here is not meant"


@pytest.mark.parametrize("rule", TWINS)
def test_it_leads_somewhere_and_in_its_twin_nowhere(rule: str) -> None:
    there, not_there = TWINS[rule]
    assert rule in {step.how for step in there()}
    assert rule not in {step.how for step in not_there()}


def test_no_step_is_by_a_rule_that_is_not_in_the_table() -> None:
    hows = {step.how for twins in TWINS.values() for twin in twins for step in twin()}
    assert hows <= set(STEP_RULES)


def test_a_policy_in_a_vault_is_of_the_same_principal_as_an_assignment() -> None:
    assigned = [{"principalId": "id-1", "principalName": "deploy-bot", "roleDefinitionId": "/x/none", "scope": "/s"}]
    properties = {"vaultUri": "x", "accessPolicies": [{"objectId": "id-1", "permissions": {"secrets": ["Get"]}}, "odd"]}
    steps = azure_estate.steps([assigned, [{"id": VAULT, "name": "prod", "properties": properties}]])
    assert [(one.source, one.how) for one in steps] == [("azure-principal:deploy-bot", "azure-may")]


def test_a_group_of_accounts_has_what_is_bound_to_it() -> None:
    found = Graph().add(k8s(("secrets", "list"), group="system:serviceaccounts:apps"))
    assert "k8s-secrets:*" in found.reached(["k8s-sa:apps/deployer"])
    other = Graph().add(k8s(("secrets", "list"), group="system:serviceaccounts:other"))
    assert "k8s-secrets:*" not in other.reached(["k8s-sa:apps/deployer"])

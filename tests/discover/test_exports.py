"""What is wrong in an export: each rule with a twin that it must leave alone, and exports that nobody wrote."""

from __future__ import annotations

import base64
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from remit.cli.app import Context, Parts, cli
from remit.cli.output import Output
from remit.discover import clouds, exports, gcp_policy
from remit.discover.rules import RULES
from remit.domain.errors import BadField
from remit.domain.reach import Graph

from .test_blast import may, role, user

NOW = 1_800_000_000_000  # 2027-01-15
DAYS = 86_400_000
SA = "bot@shop.iam.gserviceaccount.com"
CI = "ci@shop.iam.gserviceaccount.com"


def look(tmp_path: Path, *wholes: Any) -> set[tuple[str, str]]:
    """(rule, subject) of everything wrong in these exports."""
    paths = []
    for number, whole in enumerate(wholes):
        paths.append(tmp_path / f"{number}.json")
        paths[-1].write_text(whole if isinstance(whole, str) else json.dumps(whole))
    return {(flaw.rule, flaw.subject) for flaw in exports.scan(paths, NOW).flaws}


def aws(*rows: dict[str, Any]) -> dict[str, Any]:
    users, roles = [r for r in rows if "UserName" in r], [r for r in rows if "RoleName" in r]
    return {"UserDetailList": users, "RoleDetailList": roles, "GroupDetailList": [], "Policies": []}


def report(**columns: str) -> dict[str, str]:
    row = {"user": "ci", "arn": "arn:aws:iam::1:user/ci", "access_key_1_active": "true", **columns}
    text = ",".join(row) + "\n" + ",".join(row.values()) + "\n"
    return {"Content": base64.b64encode(text.encode()).decode(), "ReportFormat": "text/csv"}


def app(ends: str) -> list[dict[str, Any]]:
    secret = {"startDateTime": "2026-01-01T00:00:00Z", "endDateTime": ends}
    return [{"appId": "a", "displayName": "shop", "passwordCredentials": [secret]}]


def policy(*bindings: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {"etag": "x", "bindings": [{"role": r, "members": [m]} for r, m in bindings], **more}


def assets(resource: str, *bindings: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"resource": resource, "policy": policy(*bindings)}]


def account(name: str = SA) -> str:
    return f"//iam.googleapis.com/projects/shop/serviceAccounts/{name}"


def assigned(role_id: str, scope: str, kind: str = "ServicePrincipal") -> list[dict[str, str]]:
    return [{"roleDefinitionId": f"/x/{role_id}", "principalName": "shop", "principalType": kind, "scope": scope}]


def vault(by_roles: bool) -> list[dict[str, Any]]:
    where = "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/v"
    return [{"id": where, "name": "v", "type": "Microsoft.KeyVault/vaults", "properties": {"enableRbacAuthorization": by_roles}}]  # fmt: skip


def cluster(*items: dict[str, Any]) -> dict[str, Any]:
    everyone = {"kind": "ServiceAccount", "metadata": {"name": "agent", "namespace": "shop"}}
    return {
        "kind": "List",
        "items": [everyone, {"kind": "Role", "metadata": {"name": "r", "namespace": "shop"}}, *items],
    }


def bound(verbs: list[str], resources: list[str], subject: dict[str, str] | None = None) -> list[dict[str, Any]]:
    subject = subject or {"kind": "ServiceAccount", "name": "agent", "namespace": "shop"}
    return [
        {"kind": "ClusterRole", "metadata": {"name": "c"}, "rules": [{"verbs": verbs, "resources": resources}]},
        {"kind": "ClusterRoleBinding", "metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "c"}, "subjects": [subject]},
    ]  # fmt: skip


def pg(**more: Any) -> dict[str, Any]:
    return {
        "roles": [{"name": "postgres", "super": True}, {"name": "bot"}],
        "members": [],
        "grants": [],
        "definers": [],
        **more,
    }


KEY = "f25e0fa2-a7c8-4377-a976-54943a77a395"
OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
SUB, GROUP = "/subscriptions/s", "/subscriptions/s/resourceGroups/g"
TRUST = {"Service": "ec2.amazonaws.com"}
OLD, NEW = "2026-01-01T00:00:00Z", "2027-01-10T00:00:00Z"
DEFAULT = {"kind": "ServiceAccount", "name": "default", "namespace": "shop"}
TOKEN = {"kind": "Secret", "type": "kubernetes.io/service-account-token", "metadata": {"name": "t", "namespace": "shop", "annotations": {"kubernetes.io/service-account.name": "agent"}}}  # fmt: skip
SAFE = {"function": "f", "owner": "postgres", "safe": True, "callers": ["bot"]}


def used(row: dict[str, Any], last: str = "", made: str = OLD) -> dict[str, Any]:
    return {**row, "CreateDate": made, "RoleLastUsed": {"LastUsedDate": last} if last else {}}


# rule, what has it, and its twin that has not.
CASES: list[tuple[str, list[Any], list[Any]]] = [
    ("cloud-identity-is-admin", [aws(user("bot", may("*")))], [aws(user("bot", may("s3:GetObject")))]),
    ("cloud-identity-takes-more", [aws(user("bot", may("iam:PutUserPolicy")))], [aws(user("bot", may("iam:GetUser")))]),
    ("role-trusts-everybody", [aws(role("r", trust={"AWS": "*"}))], [aws(role("r", trust=TRUST))]),
    ("cloud-identity-unused", [aws(used(role("r", trust=TRUST)))], [aws(used(role("r", trust=TRUST), NEW))]),
    ("cloud-identity-unused", [aws(used(role("r", trust=TRUST), OLD))], [aws(used(role("r", trust=TRUST), made=NEW))]),
    ("cloud-key-long-lived", [report(access_key_1_last_rotated=OLD)], [report(access_key_1_last_rotated=NEW)]),
    ("cloud-key-unused", [report(access_key_1_last_rotated=OLD, access_key_1_last_used_date="N/A")], [report(access_key_1_last_rotated=OLD, access_key_1_last_used_date=NEW)]),
    ("cloud-key-long-lived", [report(access_key_1_last_rotated=OLD)], [report(access_key_1_last_rotated=OLD, access_key_1_active="false")]),
    ("cloud-key-of-root", [report(user="<root_account>")], [report(user="ci")]),
    ("vault-by-access-policies", [vault(False), assigned(KEY, SUB)], [vault(True), assigned(KEY, SUB)]),
    ("cloud-identity-takes-more", [vault(True), assigned(OWNER, SUB)], [vault(True), assigned(KEY, SUB)]),
    ("cloud-identity-is-admin", [assigned(OWNER, SUB)], [assigned(OWNER, GROUP)]),
    ("cloud-identity-is-admin", [assigned(OWNER, SUB)], [assigned(OWNER, SUB, "User")]),
    ("cloud-key-long-lived", [app("2028-01-01T00:00:00Z")], [app("2026-03-01T00:00:00Z")]),
    ("cloud-identity-is-admin", [policy(("roles/editor", f"serviceAccount:{SA}"))], [policy(("roles/viewer", f"serviceAccount:{SA}"))]),
    ("cloud-identity-is-admin", [policy(("roles/editor", f"serviceAccount:{SA}"))], [policy(("roles/editor", f"deleted:serviceAccount:{SA}?uid=1"))]),
    ("cloud-identity-takes-more", [policy(("roles/resourcemanager.projectIamAdmin", f"serviceAccount:{SA}"))], [policy(("roles/browser", f"serviceAccount:{SA}"))]),
    ("cloud-identity-takes-more", [assets(account(SA), ("roles/iam.serviceAccountTokenCreator", f"serviceAccount:{CI}"))], [assets(account(SA), ("roles/iam.serviceAccountViewer", f"serviceAccount:{CI}"))]),
    ("cloud-resource-public", [assets("//storage.googleapis.com/b", ("roles/storage.objectViewer", "allUsers"))], [assets("//storage.googleapis.com/b", ("roles/storage.objectViewer", "group:a@b"))]),
    ("cloud-key-long-lived", [[{"name": f"projects/shop/serviceAccounts/{SA}/keys/1", "keyType": "USER_MANAGED", "validAfterTime": OLD}]], [[{"name": f"projects/shop/serviceAccounts/{SA}/keys/1", "keyType": "SYSTEM_MANAGED", "validAfterTime": OLD}]]),
    ("cloud-key-long-lived", [[{"name": f"projects/shop/serviceAccounts/{SA}/keys/1", "keyType": "USER_MANAGED", "validAfterTime": OLD}]], [[{"name": f"projects/shop/serviceAccounts/{SA}/keys/1", "keyType": "USER_MANAGED", "validAfterTime": NEW}]]),
    ("cloud-identity-is-admin", [cluster(*bound(["*"], ["*"]))], [cluster(*bound(["*"], ["*"], {"kind": "Group", "name": "system:masters"}))]),
    ("cloud-identity-takes-more", [cluster(*bound(["create"], ["serviceaccounts/token"]))], [cluster(*bound(["get"], ["configmaps"]))]),
    ("default-identity-has-rights", [cluster(*bound(["get"], ["configmaps"], DEFAULT))], [cluster(*bound(["get"], ["configmaps"]))]),
    ("cloud-key-long-lived", [cluster(TOKEN)], [cluster({**TOKEN, "type": "Opaque"})]),
    ("cloud-identity-is-admin", [pg(roles=[{"name": "bot", "super": True}])], [pg()]),
    ("database-function-takes-more", [pg(definers=[{**SAFE, "safe": False}])], [pg(definers=[SAFE])]),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "has", "has_not"), CASES, ids=lambda one: one if isinstance(one, str) else "")
def test_each_rule_and_its_twin(tmp_path: Path, rule: str, has: list[Any], has_not: list[Any]) -> None:
    assert rule in {name for name, _ in look(tmp_path, *has)}
    assert rule not in {name for name, _ in look(tmp_path, *has_not)}
    assert RULES[rule].reference or rule == "role-trusts-everybody"


def test_whoever_has_everything_is_told_once(tmp_path: Path) -> None:
    everything = aws(user("bot", may("*")))
    assert {rule for rule, _ in look(tmp_path, everything)} == {"cloud-identity-is-admin"}


def test_the_graph_of_google_cloud(tmp_path: Path) -> None:
    """A chain: a pipeline's identity asks for tokens of another, which edits the project, and so reads its secrets."""
    whole = [
        *assets(account(SA), ("roles/iam.workloadIdentityUser", f"serviceAccount:{CI}")),
        *assets("//cloudresourcemanager.googleapis.com/projects/shop", ("roles/editor", f"serviceAccount:{SA}")),
        *assets("//secretmanager.googleapis.com/projects/shop/secrets/db", ("roles/secretmanager.secretAccessor", "user:a@b")),
        *assets("//cloudresourcemanager.googleapis.com/projects/other", ("roles/owner", "user:o@b")),
    ]  # fmt: skip
    (tmp_path / "gcp.json").write_text(json.dumps(whole))
    graph = Graph().add(clouds.load([tmp_path / "gcp.json"]))
    way = [step.how for step in graph.way([f"gcp-sa:{CI}"], "gcp-secrets:shop")]
    assert way == ["gcp-workload-identity", "gcp-administrator", "gcp-may"]
    assert set(graph.reached(["gcp-user:a@b"])) == {"gcp-user:a@b", "gcp-secret:shop/db"}
    assert "gcp-secrets:shop" not in graph.reached(["gcp-user:o@b"])
    at_project = policy(
        ("roles/iam.serviceAccountUser", f"serviceAccount:{CI}"), ("roles/viewer", f"serviceAccount:{SA}")
    )
    (tmp_path / "one.json").write_text(json.dumps(at_project))
    graph = Graph().add(clouds.load([tmp_path / "one.json"]))
    assert f"gcp-sa:{SA}" in graph.reached([f"gcp-sa:{CI}"])


@pytest.mark.parametrize(
    "whole",
    [
        "[]", "{}", "nothing", "[1]", '{"bindings": []}', '{"Content": "%%%"}', '{"Content": 3}',
        '{"Content": "' + base64.b64encode(b"\xff\xfe").decode() + '"}', "[" * 100_000, '{"a":' * 1000,
        '{"UserDetailList": [{"Arn": 3}], "RoleDetailList": [{"Arn": "a", "AttachedManagedPolicies": 7}]}',
        '{"etag": "x", "bindings": [{"role": "roles/owner", "members": 7}]}',
        '{"kind": "List", "items": [{"kind": "RoleBinding", "subjects": [3]}]}',
        '[{"appId": "a", "passwordCredentials": [3]}]', '[{"appId": "a", "passwordCredentials": []}, 7]',
        '[{"keyType": "USER_MANAGED", "name": "serviceAccounts/"}, 7]',
        '{"roles": [{"super": true}], "members": [], "definers": []}',
    ],
)  # fmt: skip
def test_what_is_no_export_is_said_to_be_none(tmp_path: Path, whole: str) -> None:
    with pytest.raises(BadField, match=r"0\.json"):
        look(tmp_path, whole)


def test_from_the_command_line_with_every_name_spelled_out(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(aws(user("bot\x1b[2J\u202e", may("*")))))
    none = lambda *_, **__: None  # noqa: E731
    parts = Parts(*[none] * len(fields(Parts)))  # type: ignore[arg-type]
    done = CliRunner().invoke(
        cli, ["scan", "--cloud", str(tmp_path / "a.json")], obj=Context(Output(as_json=False, quiet=False), parts)
    )
    assert done.exit_code == 1 and "[cloud-identity-is-admin]" in done.output
    assert "\x1b" not in done.output and "\u202e" not in done.output
    assert "0 files" not in done.output


def test_a_binding_says_which_account_it_is_about() -> None:
    (one,) = gcp_policy.bindings(assets(account(SA), ("roles/owner", "group:a@b")))
    assert (one.account, one.project, one.node) == (SA, "shop", "gcp-group:a@b")

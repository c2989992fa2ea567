"""What is wrong in an export of a cloud, a cluster or a database: by its steps, and by how old its keys are.

Each rule is data in `rules` with its source. `now` (ms) is when the export is looked at.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from remit.domain.discovery import Flaw, Place, Scan
from remit.domain.errors import BadField
from remit.domain.reach import Step

from . import aws_account, azure_estate, gcp_policy, kubernetes_rbac, postgres_roles
from .aws_paths import WAYS
from .clouds import read
from .rules import RULES

DAY = 86_400_000
OLD = 90 * DAY
UNUSED = 90 * DAY
SHOWN = 3
# What a step says of whoever has its source. An identity's everyday rights are in no row.
_BY_STEP: Mapping[str, str] = {
    "aws-administrator": "cloud-identity-is-admin",
    "azure-assigns-itself": "cloud-identity-takes-more",
    "azure-vault-access-policy": "vault-by-access-policies",
    "gcp-administrator": "cloud-identity-is-admin",
    "gcp-gives-itself-more": "cloud-identity-takes-more",
    "gcp-makes-tokens": "cloud-identity-takes-more",
    "gcp-makes-keys": "cloud-identity-takes-more",
    "gcp-acts-as": "cloud-identity-takes-more",
    "gcp-writes-its-policy": "cloud-identity-takes-more",
    "k8s-everything": "cloud-identity-is-admin",
    "k8s-gives-itself-more": "cloud-identity-takes-more",
    "k8s-impersonates": "cloud-identity-takes-more",
    "k8s-node-proxy": "cloud-identity-takes-more",
    "k8s-reads-tokens": "cloud-identity-takes-more",
    "k8s-makes-tokens": "cloud-identity-takes-more",
    "k8s-enters-pods": "cloud-identity-takes-more",
    "k8s-makes-pods": "cloud-identity-takes-more",
    "pg-superuser": "cloud-identity-is-admin",
    "pg-execute-server-program": "cloud-identity-takes-more",
    "pg-security-definer": "database-function-takes-more",
    **dict.fromkeys((way.id for way in WAYS), "cloud-identity-takes-more"),
}
# Whoever is meant to have everything: the system's own, and the role that a server begins with.
_MEANT = (
    "k8s-group:system:",
    "k8s-user:system:",
    "k8s-sa:kube-system/",
    "gcp-admin:",
    "pg-role:postgres",
    "pg-role:pg_",
)


def scan(paths: Sequence[Path], now: int) -> Scan:
    """Everything that is wrong in these exports; `BadField` for a file that is none that is known."""
    exports = [(path, read(path)) for path in paths]
    found: list[Flaw] = []
    for path, whole in exports:
        with _as_written(path):
            found += _one(whole, path, now)
    for reader, known in ((azure_estate, azure_estate.is_export), (gcp_policy, gcp_policy.is_policy)):
        some = [(path, whole) for path, whole in exports if known(whole)]
        if some:
            with _as_written(some[0][0]):
                found += _by_steps(reader.steps([whole for _, whole in some]), some[0][0])
    order = sorted(set(found), key=lambda f: (-f.severity, f.rule, f.place, f.what))
    return Scan((), tuple(order), len(paths))


@contextmanager
def _as_written(path: Path) -> Iterator[None]:
    """What is not where its command puts it is told as a flaw of the file."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as odd:
        raise BadField(str(path), "is not as its command writes it") from odd


def _one(whole: Any, path: Path, now: int) -> list[Flaw]:
    """What one file says by itself."""
    if aws_account.is_export(whole):
        account = aws_account.read(whole)
        steps = _by_steps(aws_account.steps(account), path)
        return [*steps, *aws_account.flaws(account, path.name), *_unused_roles(whole, path, now)]
    if kubernetes_rbac.is_export(whole):
        return [*_by_steps(kubernetes_rbac.steps(whole), path), *_cluster(whole, path)]
    if postgres_roles.is_export(whole):
        return _by_steps(postgres_roles.steps(whole), path)
    if azure_estate.is_export(whole):
        return list(_azure(whole, path))
    if gcp_policy.is_policy(whole):
        return list(_public(whole, path))
    if gcp_policy.is_keys(whole):
        return list(_gcp_keys(whole, path, now))
    return list(_app_secrets(whole, path) if _is_apps(whole) else _aws_keys(whole, path, now))


def _flaw(rule: str, path: Path, what: str, subject: str) -> Flaw:
    return Flaw(rule, RULES[rule].severity, Place(path.name), what[:500], subject)


def _by_steps(steps: Iterable[Step], path: Path) -> list[Flaw]:
    """One for each identity and rule, with the first few ways."""
    ways: dict[tuple[str, str], dict[str, None]] = {}
    for step in steps:
        rule = _BY_STEP.get(step.how)
        if rule is not None and not step.source.startswith(_MEANT):
            node = step.target if rule == "vault-by-access-policies" else step.source
            said = f"{step.source} {step.detail}" if node == step.target else f"{step.detail}: {step.target}"
            ways.setdefault((rule, node), {})[said] = None
    admins = {node for rule, node in ways if rule == "cloud-identity-is-admin"}
    found = []
    for (rule, node), all_ways in ways.items():
        if rule == "cloud-identity-takes-more" and node in admins:
            continue  # it has everything already
        more = f", and {len(all_ways) - SHOWN} more ways" if len(all_ways) > SHOWN else ""
        found.append(_flaw(rule, path, f"{node}: {'; '.join(list(all_ways)[:SHOWN])}{more}", node))
    return found


# --- keys and identities that stay ---


def _aws_keys(whole: Any, path: Path, now: int) -> Iterator[Flaw]:
    """`aws iam get-credential-report`: a CSV in base64."""
    content = whole.get("Content") if isinstance(whole, dict) else None
    if not isinstance(content, str):
        step = "docs/howto/scan.md says which commands export what is read here."
        raise BadField(str(path), "is no export that is known here", next_step=step)
    try:
        text = base64.b64decode(content, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as broken:
        raise BadField(str(path), "is a credential report that cannot be read") from broken
    for row in csv.DictReader(io.StringIO(text)):
        user = f"aws-user:{row.get('arn', '')}"
        for key in ("access_key_1", "access_key_2"):
            if row.get(f"{key}_active") != "true":
                continue
            what = f"{user}: {key.replace('_', ' ')}"
            if row.get("user") == "<root_account>":
                yield _flaw("cloud-key-of-root", path, what, user)
            made, used = _at(row.get(f"{key}_last_rotated")), _at(row.get(f"{key}_last_used_date"))
            yield from _aged(path, what, user, made, now)
            if _idle(used or made, now):
                yield _flaw("cloud-key-unused", path, f"{what}: {_last(used)}", user)


def _aged(path: Path, what: str, subject: str, made: int, now: int) -> Iterator[Flaw]:
    if made and now - made > OLD:
        yield _flaw("cloud-key-long-lived", path, f"{what}: made {(now - made) // DAY} days ago", subject)


def _unused_roles(whole: Mapping[str, Any], path: Path, now: int) -> Iterator[Flaw]:
    for role in whole.get("RoleDetailList") or ():
        arn, used = str(role.get("Arn", "")), role.get("RoleLastUsed")
        if not isinstance(used, dict) or ":role/aws-service-role/" in arn:
            continue  # not in the export, or not ours to take away
        last = _at(used.get("LastUsedDate"))
        if _idle(last or _at(role.get("CreateDate")), now):
            yield _flaw("cloud-identity-unused", path, f"aws-role:{arn}: {_last(last)}", f"aws-role:{arn}")


def _gcp_keys(whole: Sequence[Any], path: Path, now: int) -> Iterator[Flaw]:
    for key in whole:
        name = str(key.get("name", ""))
        if key.get("keyType") == "USER_MANAGED" and not key.get("disabled"):
            node = f"gcp-sa:{name.partition('/serviceAccounts/')[2].partition('/')[0]}"
            what = f"{node}: key {name.rpartition('/')[2][:12]}"
            yield from _aged(path, what, node, _at(key.get("validAfterTime")), now)


def _is_apps(whole: Any) -> bool:
    first = whole[0] if isinstance(whole, list) and whole else None
    return isinstance(first, dict) and "appId" in first and "passwordCredentials" in first


def _app_secrets(whole: Sequence[Any], path: Path) -> Iterator[Flaw]:
    """`az ad app list --all`: how long a client secret is good is decided when it is made."""
    for app in whole:
        node = f"azure-principal:{app.get('displayName') or app.get('appId')}"
        for secret in app.get("passwordCredentials") or ():
            begins, ends = _at(secret.get("startDateTime")), _at(secret.get("endDateTime"))
            if ends - begins > 2 * OLD:
                what = f"{node}: a client secret for {(ends - begins) // DAY} days"
                yield _flaw("cloud-key-long-lived", path, what, node)


def _idle(last: int, now: int) -> bool:
    return last > 0 and now - last > UNUSED


def _last(used: int) -> str:
    return f"last used on {datetime.fromtimestamp(used / 1000, UTC):%Y-%m-%d}" if used else "never used"


def _at(text: Any) -> int:
    """ms; 0 for what is no instant (`N/A`, `no_information`)."""
    try:
        at = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return 0
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


# --- each cloud's own ---


def _azure(whole: Sequence[Any], path: Path) -> Iterator[Flaw]:
    for one in whole:
        role = str(one.get("roleDefinitionId", "")).rpartition("/")[2].lower() if isinstance(one, dict) else ""
        broad = role and str(one.get("scope", "")).strip("/").count("/") <= 1  # a subscription, or all of them
        if broad and one.get("principalType") == "ServicePrincipal" and role in azure_estate.WRITES_POLICIES:
            node = f"azure-principal:{one.get('principalName') or one.get('principalId', '')}"
            what = f"{node}: {azure_estate.WRITES_POLICIES[role]} of {one.get('scope')}"
            yield _flaw("cloud-identity-is-admin", path, what, node)


def _public(whole: Any, path: Path) -> Iterator[Flaw]:
    for one in gcp_policy.bindings(whole):
        if one.member in gcp_policy.EVERYBODY:
            what = f"{one.resource or one.project}: {one.member} has {one.role}"
            yield _flaw("cloud-resource-public", path, what, one.resource or one.project)


def _cluster(whole: Mapping[str, Any], path: Path) -> Iterator[Flaw]:
    for one in whole["items"]:
        if not isinstance(one, dict):
            continue
        meta = one.get("metadata") or {}
        if one.get("kind") == "Secret" and one.get("type") == "kubernetes.io/service-account-token":
            owner = (meta.get("annotations") or {}).get("kubernetes.io/service-account.name", "")
            node = f"k8s-sa:{meta.get('namespace', '')}/{owner}"
            yield _flaw("cloud-key-long-lived", path, f"{node}: a token that never expires ({meta.get('name')})", node)
        if one.get("kind") in ("RoleBinding", "ClusterRoleBinding"):
            for subject in one.get("subjects") or ():
                inside = str(subject.get("namespace") or meta.get("namespace") or "")
                if (subject.get("kind"), subject.get("name")) == (
                    "ServiceAccount",
                    "default",
                ) and inside != "kube-system":
                    what = f"k8s-sa:{inside}/default: {meta.get('name')}"
                    yield _flaw("default-identity-has-rights", path, what, f"k8s-sa:{inside}/default")

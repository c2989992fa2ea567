"""A cluster's RBAC, as `kubectl get roles,rolebindings,clusterroles,clusterrolebindings,pods -A -o json` exports it.

    k8s-sa:NAMESPACE/NAME, k8s-user:NAME, k8s-group:NAME
    k8s-secrets:NAMESPACE                every secret there; `*` is every namespace
    k8s-admin:cluster
    k8s-accounts:*, k8s-pods:*           every service account; those that pods have

Sources: Kubernetes RBAC Good Practices, Privilege escalation risks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from remit.domain.reach import Step

ADMIN = "k8s-admin:cluster"
ACCOUNTS, PODS = "k8s-accounts:*", "k8s-pods:*"
_MAKE_PODS = (
    "pods", "deployments", "daemonsets", "statefulsets", "replicasets", "replicationcontrollers", "jobs", "cronjobs",
)  # fmt: skip
_WEBHOOKS = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")
_KINDS = frozenset(["Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"])


def is_export(whole: Any) -> bool:
    """Whether this is a List with RBAC in it."""
    items = whole.get("items") if isinstance(whole, dict) and whole.get("kind") == "List" else None
    return isinstance(items, list) and any(isinstance(one, dict) and one.get("kind") in _KINDS for one in items)


def steps(whole: Mapping[str, Any]) -> Iterator[Step]:
    """Every step of this cluster."""
    items = [one for one in whole["items"] if isinstance(one, dict)]
    roles = {(str(r["kind"]), _namespace(r), _name(r)): r.get("rules") or [] for r in items if r.get("kind") in _KINDS}
    pods = [(_namespace(p), _account(p)) for p in items if p.get("kind") == "Pod"]
    accounts = sorted({*pods, *_subjects_that_are_accounts(items)})
    bound = {str(s.get("name")) for one in items for s in one.get("subjects") or () if s.get("kind") == "Group"}
    for one in accounts:
        yield Step(ACCOUNTS, _sa(one), "k8s-one-of")
        for group in ("system:authenticated", "system:serviceaccounts", f"system:serviceaccounts:{one[0]}"):
            if group in bound:
                yield Step(_sa(one), f"k8s-group:{group}", "k8s-in-group")
    yield from (Step(PODS, _sa(one), "k8s-one-of") for one in sorted(set(pods)))
    yield Step("k8s-group:system:masters", ADMIN, "k8s-everything", "no role is asked for")
    for binding in items:
        if binding.get("kind") not in ("RoleBinding", "ClusterRoleBinding"):
            continue
        ref = binding.get("roleRef") or {}
        where = _namespace(binding) if binding["kind"] == "RoleBinding" else "*"
        role_at = "" if ref.get("kind") == "ClusterRole" else where
        rules = roles.get((str(ref.get("kind")), role_at, str(ref.get("name"))), [])
        gains = [gain for rule in rules if isinstance(rule, dict) for gain in _gains(rule, where, accounts, pods)]
        if where == "*":
            gains += _over_the_cluster([rule for rule in rules if isinstance(rule, dict)])
        for subject in binding.get("subjects") or ():
            source = _subject(subject, where)
            yield from (Step(source, target, how, f"{ref.get('name')}: {says}") for target, how, says in gains)


def _subjects_that_are_accounts(items: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for one in items:
        if one.get("kind") == "ServiceAccount":
            yield _namespace(one), _name(one)
        for subject in one.get("subjects") or ():
            if subject.get("kind") == "ServiceAccount":
                yield str(subject.get("namespace") or _namespace(one)), str(subject.get("name"))


def _gains(
    rule: Mapping[str, Any], where: str, accounts: Sequence[tuple[str, str]], pods: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, str, str]]:
    named, may = bool(rule.get("resourceNames")), partial(_may, [rule])
    if "*" in _words(rule, "verbs") and "*" in _words(rule, "resources") and where == "*":
        yield ADMIN, "k8s-everything", "every verb on everything"
        return
    everywhere = where == "*"
    here = [ACCOUNTS] if everywhere else [_sa(one) for one in accounts if one[0] == where]
    entered = [PODS] if everywhere else sorted({_sa(one) for one in pods if one[0] == where})
    if may("secrets", "get", "list", "watch"):
        yield f"k8s-secrets:{where}", "k8s-reads-secrets", "reads named secrets" if named else "reads secrets"
        if not named:
            yield from ((one, "k8s-reads-tokens", "reads the token of a service account") for one in here)
    enters = any(may(kind, "create", "get") for kind in ("pods/exec", "pods/attach"))
    if enters or may("pods/ephemeralcontainers", "update", "patch"):
        yield from ((one, "k8s-enters-pods", "runs in a pod that has it") for one in entered)
    if any(may(kind, "create", "update", "patch") for kind in _MAKE_PODS):
        yield from ((one, "k8s-makes-pods", "starts a pod that has it") for one in here)
    if may("serviceaccounts/token", "create"):
        yield from ((one, "k8s-makes-tokens", "asks for its token") for one in here)
    if any(may(kind, "escalate", "bind") for kind in ("roles", "clusterroles")):
        target = ADMIN if everywhere else f"k8s-secrets:{where}"
        yield target, "k8s-gives-itself-more", "escalate or bind"
    if may("serviceaccounts", "impersonate"):
        yield from ((one, "k8s-impersonates", "acts as it") for one in here)


def _may(rules: Sequence[Mapping[str, Any]], resource: str, *wanted: str) -> bool:
    """Whether one of these rules lets one of these verbs be done to it."""
    return any({resource, "*"} & _words(one, "resources") and {*wanted, "*"} & _words(one, "verbs") for one in rules)


def _over_the_cluster(rules: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """What makes an administrator of whoever may do it in every namespace, or to what has none."""
    may = partial(_may, rules)
    if may("users", "impersonate") or may("groups", "impersonate"):
        yield ADMIN, "k8s-impersonates", "acts as anybody"
    if may("nodes/proxy", "get", "create"):
        yield ADMIN, "k8s-node-proxy", "asks the kubelets directly"
    if may("certificatesigningrequests", "create") and may("certificatesigningrequests/approval", "update", "patch"):
        yield ADMIN, "k8s-signs-certificates", "has a certificate of anybody signed"
    if any(may(kind, "create", "update", "patch") for kind in _WEBHOOKS):
        yield ADMIN, "k8s-changes-what-is-admitted", "sees and changes whatever is created"


def _words(rule: Mapping[str, Any], name: str) -> set[str]:
    return {str(word) for word in rule.get(name) or ()}


def _sa(one: tuple[str, str]) -> str:
    return f"k8s-sa:{one[0]}/{one[1]}"


def _subject(subject: Mapping[str, Any], where: str) -> str:
    kind, name = subject.get("kind"), str(subject.get("name"))
    if kind == "ServiceAccount":
        return f"k8s-sa:{subject.get('namespace') or where}/{name}"
    return f"k8s-{str(kind).lower()}:{name}"


def _name(one: Mapping[str, Any]) -> str:
    return str((one.get("metadata") or {}).get("name", ""))


def _namespace(one: Mapping[str, Any]) -> str:
    return str((one.get("metadata") or {}).get("namespace", ""))


def _account(pod: Mapping[str, Any]) -> str:
    return str((pod.get("spec") or {}).get("serviceAccountName") or "default")

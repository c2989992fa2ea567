"""What nodes are called where people read of them: data. A kind that is not here is called what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """`end`: what somebody is after, rather than a way to it. `starts`: somebody, or something that acts or is held."""

    one: str
    many: str
    end: bool = False
    starts: bool = False


_KINDS: Mapping[str, Kind] = {
    "person": Kind("person", "people", starts=True),
    "group": Kind("group of people", "groups of people"),
    "agent": Kind("agent", "agents", starts=True),
    "purpose": Kind("purpose", "purposes"),
    "tool": Kind("tool", "tools", end=True),
    "credential": Kind("credential", "credentials"),
    "secret": Kind("secret", "secrets", end=True),
    "system": Kind("system", "systems", end=True),
    "aws-session": Kind("AWS session", "AWS sessions"),
    "aws-user": Kind("AWS user", "AWS users", starts=True),
    "aws-role": Kind("AWS role", "AWS roles", starts=True),
    "aws-group": Kind("AWS group", "AWS groups"),
    "aws-key": Kind("AWS access key", "AWS access keys", starts=True),
    "aws-admin": Kind("everything in it", "AWS accounts, everything in them", end=True),
    "aws-action": Kind("AWS permission", "AWS permissions", end=True),
    "azure-principal": Kind("Azure principal", "Azure principals", starts=True),
    "azure-vault-data": Kind("secrets in an Azure vault", "Azure vaults' secrets", end=True),
    "k8s-sa": Kind("service account", "service accounts", starts=True),
    "k8s-user": Kind("Kubernetes user", "Kubernetes users", starts=True),
    "k8s-group": Kind("Kubernetes group", "Kubernetes groups"),
    "k8s-accounts": Kind("service accounts, any", "service accounts, any"),
    "k8s-pods": Kind("pods, any", "pods, any"),
    "k8s-namespace": Kind("Kubernetes namespace", "Kubernetes namespaces", end=True),
    "k8s-secrets": Kind("Kubernetes secrets of a namespace", "namespaces' Kubernetes secrets", end=True),
    "k8s-admin": Kind("everything in it", "clusters, everything in them", end=True),
    "pg-role": Kind("PostgreSQL role", "PostgreSQL roles", starts=True),
    "pg-table": Kind("PostgreSQL table", "PostgreSQL tables", end=True),
    "pg-host": Kind("programs and files on it", "database servers", end=True),
}


def kind_of(node: str) -> Kind:
    """Of its kind, before the first colon."""
    word = node.partition(":")[0]
    return _KINDS.get(word) or Kind(word.replace("-", " "), word.replace("-", " "), starts=True)


_CALLED = {
    "group:*": "everybody",
    "k8s-admin:cluster": "the cluster",
    "pg-host:server": "the database server",
    "k8s-secrets:*": "every namespace",
    "k8s-accounts:*": "every service account",
    "k8s-pods:*": "every pod",
}


def short(node: str) -> str:
    """Its name, without what its kind and its place say."""
    kind, _, name = node.partition(":")
    if kind in ("aws-user", "aws-role", "aws-group"):
        return name.rpartition("/")[2] or name
    if kind == "aws-action":
        return name.partition("/")[2]
    if kind in ("credential", "aws-session"):
        first, _, last = name.partition("/")
        return f"{last} of {first}" if kind == "credential" else f"{first} for {last.partition('/')[0]}"
    if kind == "aws-admin":
        return f"AWS account {name}"
    return _CALLED.get(node, name)

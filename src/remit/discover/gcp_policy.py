"""IAM of Google Cloud: who may do what, and who can be whom.

    gcp-user:EMAIL, gcp-group:EMAIL, gcp-sa:EMAIL, gcp-everybody:allUsers
    gcp-admin:PROJECT                    can change anything there
    gcp-secrets:PROJECT                  every secret there; gcp-secret:PROJECT/NAME one of them
    gcp-data:PROJECT                     objects and tables there

Read are `gcloud projects get-iam-policy PROJECT --format=json`, `gcloud asset search-all-iam-policies --format=json`
(which names resources, service accounts among them) and `gcloud iam service-accounts keys list --format=json`.

Sources: Google Cloud, Roles for service account authentication; IAM basic and predefined roles reference; Best
practices for managing service account keys. A binding with a condition counts as if it were met.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from remit.domain.reach import Step

ADMINS = {"roles/owner": "Owner", "roles/editor": "Editor"}
GIVES_ITSELF = {
    "roles/resourcemanager.projectIamAdmin": "writes the project's policy",
    "roles/iam.securityAdmin": "writes the policy of anything in it",
    "roles/resourcemanager.folderIamAdmin": "writes the folder's policy",
    "roles/resourcemanager.organizationAdmin": "writes the organization's policy",
}
BECOMES = {
    "roles/iam.serviceAccountTokenCreator": ("gcp-makes-tokens", "asks for its tokens"),
    "roles/iam.serviceAccountOpenIdTokenCreator": ("gcp-makes-tokens", "asks for its ID tokens"),
    "roles/iam.serviceAccountKeyAdmin": ("gcp-makes-keys", "makes a key of it"),
    "roles/iam.serviceAccountUser": ("gcp-acts-as", "starts something that runs as it"),
    "roles/iam.workloadIdentityUser": ("gcp-workload-identity", "is it, by federation"),
    "roles/iam.serviceAccountAdmin": ("gcp-writes-its-policy", "writes who may be it"),
}
READS = {
    "roles/secretmanager.secretAccessor": "gcp-secrets",
    "roles/secretmanager.admin": "gcp-secrets",
    "roles/storage.objectViewer": "gcp-data",
    "roles/storage.objectAdmin": "gcp-data",
    "roles/storage.admin": "gcp-data",
    "roles/bigquery.dataViewer": "gcp-data",
    "roles/bigquery.dataOwner": "gcp-data",
    "roles/bigquery.admin": "gcp-data",
}
EVERYBODY = ("allUsers", "allAuthenticatedUsers")
_ACCOUNT = re.compile(r"serviceAccounts/([^/]+@[^/]+)\Z")
_SECRET = re.compile(r"/secrets/([^/]+)\Z")


@dataclass(frozen=True)
class Binding:
    """One role for one member at one resource; `project` is what it is in, as far as that is known."""

    member: str
    role: str
    resource: str
    project: str

    @property
    def node(self) -> str:
        """Of the member."""
        kind, _, name = self.member.partition(":")
        if self.member in EVERYBODY:
            return f"gcp-everybody:{self.member}"
        return f"gcp-{'sa' if kind == 'serviceAccount' else kind}:{name}"

    @property
    def account(self) -> str:
        """The service account that it is about, or empty."""
        found = _ACCOUNT.search(self.resource)
        return found[1] if found else ""


def is_policy(whole: Any) -> bool:
    """Whether this is a policy, or a list of policies with their resources."""
    if isinstance(whole, list):
        return bool(whole) and all(isinstance(one, dict) and isinstance(one.get("policy"), dict) for one in whole)
    return isinstance(whole, dict) and isinstance(whole.get("bindings"), list) and "etag" in whole


def is_keys(whole: Any) -> bool:
    """Whether this is a list of service accounts' keys."""
    first = whole[0] if isinstance(whole, list) and whole else None
    return isinstance(first, dict) and "keyType" in first and "serviceAccounts/" in str(first.get("name"))


def bindings(whole: Any, project: str = "") -> Iterator[Binding]:
    """Every one of this export. A project's own policy does not say which project it is of."""
    policies = whole if isinstance(whole, list) else [{"policy": whole, "resource": ""}]
    for one in policies:
        resource = str(one.get("resource", ""))
        inside = _project(one, resource) or project or "project"
        for binding in _rows(one["policy"], "bindings"):
            for member in binding.get("members") or ():
                if isinstance(member, str) and not member.startswith("deleted:"):
                    yield Binding(member, str(binding.get("role", "")), resource, inside)


def _project(one: Mapping[str, Any], resource: str) -> str:
    named = re.search(r"/projects/([^/]+)", resource)
    return named[1] if named else str(one.get("project", "")).removeprefix("projects/")


def steps(exports: Sequence[Any]) -> Iterator[Step]:
    """Every step of these policies together."""
    found = [one for whole in exports for one in bindings(whole)]
    accounts: dict[str, set[str]] = {}
    for one in found:
        names = [one.account, *([one.node.partition(":")[2]] if one.node.startswith("gcp-sa:") else [])]
        accounts.setdefault(one.project, set()).update(filter(None, names))
    for one in found:
        yield from _steps(one, accounts)
    for project, inside in accounts.items():  # whoever changes anything there is everybody there
        yield Step(f"gcp-admin:{project}", f"gcp-secrets:{project}", "gcp-may", "everything there")
        yield Step(f"gcp-admin:{project}", f"gcp-data:{project}", "gcp-may", "everything there")
        yield from (
            Step(f"gcp-admin:{project}", f"gcp-sa:{name}", "gcp-acts-as", "starts something that runs as it")
            for name in sorted(inside)
        )


def _steps(one: Binding, accounts: Mapping[str, set[str]]) -> Iterator[Step]:
    role, everything = one.role, f"gcp-admin:{one.project}"
    whole = not one.account and not _SECRET.search(one.resource)
    if role in ADMINS and whole:
        yield Step(one.node, everything, "gcp-administrator", ADMINS[role])
    if role in GIVES_ITSELF and whole:
        yield Step(one.node, everything, "gcp-gives-itself-more", GIVES_ITSELF[role])
    if role in BECOMES:
        how, says = BECOMES[role]
        of = [one.account] if one.account else sorted(accounts.get(one.project, ()))
        yield from (Step(one.node, f"gcp-sa:{name}", how, says) for name in of)
    if role in READS:
        secret = _SECRET.search(one.resource)
        target = f"gcp-secret:{one.project}/{secret[1]}" if secret else f"{READS[role]}:{one.project}"
        yield Step(one.node, target, "gcp-may", role)


def _rows(whole: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [one for one in whole.get(name) or () if isinstance(one, dict)]

"""What must hold of a platform's token whatever an attestation says: one function a provider.

Each is given the issuer, what the attestation pins (exact values only) and the verified claims, and returns what is
wrong, for the operator; empty when nothing is. `oidc_providers` has the table they belong to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from .claim_conditions import Path, Value, look_up, shown

Pinned: TypeAlias = Mapping[Path, Value]
K8S, AWS = "kubernetes.io", "https://sts.amazonaws.com/"
GUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# What only somebody with write access causes; anything else needs its own pin.
GITHUB_EVENTS = frozenset(
    ("push", "workflow_dispatch", "repository_dispatch", "schedule", "release", "merge_group", "deployment")
)
GITLAB_SOURCES = frozenset(("push", "web", "webide", "schedule", "api", "trigger", "pipeline"))


def github(issuer: str, pinned: Pinned, claims: Mapping[str, Any]) -> str:
    """`event_name` is one that needs write access, or is pinned.

    Those are push, workflow_dispatch, repository_dispatch, schedule, release, merge_group and deployment. The rest,
    `pull_request`, `pull_request_target`, `issue_comment` and `workflow_run` among them, can be caused from a fork or
    by a stranger.
    """
    return _caused("event_name", GITHUB_EVENTS, pinned, claims)


def gitlab(issuer: str, pinned: Pinned, claims: Mapping[str, Any]) -> str:
    """`pipeline_source` is push, web, webide, schedule, api, trigger or pipeline, or is pinned.

    A merge request, and what is set off by one, can come from a fork. `job_project_id`, where there is one, is
    `project_id` or is pinned, for the same reason.
    """
    # A merge request of a fork runs in the project it is for; newer versions say so in job_project_id.
    ran_in = claims.get("job_project_id", claims.get("project_id"))
    if ran_in != claims.get("project_id") and ("job_project_id",) not in pinned:
        return "job_project_id is not project_id: a fork's code in another project's pipeline"
    return _caused("pipeline_source", GITLAB_SOURCES, pinned, claims)


def _caused(claim: str, trusted: frozenset[str], pinned: Pinned, claims: Mapping[str, Any]) -> str:
    event = claims.get(claim)
    if not isinstance(event, str):
        return f"{claim} is not there"
    if event not in trusted and (claim,) not in pinned:
        return f"{claim} is {event[:40]!r}, which may be caused from outside: pin {claim} to accept it"
    return ""


def kubernetes(issuer: str, pinned: Pinned, claims: Mapping[str, Any]) -> str:
    """The token is bound to a pod (its name and uid are there), and `sub` is the service account that it names.

    Pin `serviceaccount.uid` too, and one that is deleted and made again does not count.
    """
    about = [look_up(claims, (K8S, *path)) for path in _BOUND]
    if not all(isinstance(value, str) and value for value in about):
        return f"not a token bound to a pod: {shown((K8S, 'pod'))} or the service account is not there"
    if claims.get("sub") != f"system:serviceaccount:{about[0]}:{about[1]}":
        return "sub is not the service account that the token names"
    return ""


_BOUND: tuple[Path, ...] = (
    ("namespace",),
    ("serviceaccount", "name"),
    ("serviceaccount", "uid"),
    ("pod", "name"),
    ("pod", "uid"),
)


def aws(issuer: str, pinned: Pinned, claims: Mapping[str, Any]) -> str:
    """`sub` is a role or user of `aws_account`; a person's session (`identity_store_user_id`) only if pinned."""
    arn = re.match(r"arn:aws[a-z-]*:iam::(\d{12}):(?:role|user)/.", str(claims.get("sub")))
    if not arn or arn[1] != look_up(claims, (AWS, "aws_account")):
        return f"sub is not a role or user of {shown((AWS, 'aws_account'))}"
    person = (AWS, "identity_store_user_id")
    if look_up(claims, person) is not None and person not in pinned:
        return f"a person's session: pin {shown(person)} to accept it"
    return ""


def google(issuer: str, pinned: Pinned, claims: Mapping[str, Any]) -> str:
    """`sub` is a numeric id, and `email_verified` is true where `email` is pinned."""
    if not re.fullmatch(r"\d{1,30}", str(claims.get("sub"))):
        return "sub is not a numeric id"
    if ("email",) in pinned and claims.get("email_verified") is not True:
        return "email is not verified"
    return ""


def azure(issuer: str, pinned: Pinned, claims: Mapping[str, Any]) -> str:
    """`tid` is the tenant in `iss`, `ver` fits `iss`, and the token is the workload's own, not a user's.

    That is: `idtyp` is `app`, or is absent and `sub` is `oid`; and there is no `scp`.
    """
    tenant = re.search(GUID, issuer)
    if not tenant or claims.get("tid") != tenant[0]:
        return "tid is not the tenant of the issuer"
    if claims.get("ver") != ("2.0" if issuer.endswith("/v2.0") else "1.0"):
        return "ver is not the version that the issuer signs"
    # idtyp is an optional claim; without it an app-only token is one without scopes, whose subject is the app itself.
    app = claims.get("idtyp") == "app" if "idtyp" in claims else claims.get("sub") == claims.get("oid") is not None
    return "" if app and "scp" not in claims else "a user's token, not the workload's own (idtyp, scp, sub)"


def terraform(issuer: str, pinned: Pinned, claims: Mapping[str, Any]) -> str:
    """The token is of a workspace's run, not of a module's test: `sub` ends in `:run_phase:` and the phase."""
    phase = claims.get("terraform_run_phase")
    told = isinstance(phase, str) and str(claims.get("sub")).endswith(f":run_phase:{phase}")
    return "" if told else "not the token of a workspace's run: sub does not end in its phase"

"""What is known of the tokens that well-known platforms give their workloads: one row a provider.

A signature says who issued a token; which workload it is for is in the claims, and each platform has claims that
anybody could have, and names that somebody else can register once they are free. A row says which claims an
attestation must pin, which are worth nothing alone, and what must hold of every token whatever the attestation says.
Sources are named beside each row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from remit.domain.identity import Condition, Federation

from . import claim_conditions, oidc_checks
from .claim_conditions import Path, Value, exact, look_up, shown
from .oidc_checks import AWS, GUID, K8S, Pinned

_GCE = ("google", "compute_engine")
_HOST = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?(?::\d{1,5})?"


@dataclass(frozen=True, slots=True)
class Pin:
    """One question an attestation must settle: by any one of `ways`, each of which is claims with exact values.

    A value in a way is the only one that counts; None is any.
    """

    question: str
    ways: tuple[Mapping[Path, Value | None], ...]

    def met(self, pinned: Pinned) -> bool:
        """Whether these conditions settle it."""
        return any(
            all(path in pinned and value in (None, pinned[path]) for path, value in way.items()) for way in self.ways
        )

    def __str__(self) -> str:
        ways = (
            " and ".join(shown(p) if v is None else f'{shown(p)} = "{v}"' for p, v in way.items()) for way in self.ways
        )
        return ", or ".join(ways)


@dataclass(frozen=True, slots=True)
class Provider:
    """A row. `alone` says why a claim proves nothing alone; `narrows` may end in `*`, on top of what is pinned.

    `other` are claims that are not text. `code` names, as near as these tokens do, what code runs.
    `check` is of `oidc_checks`.
    """

    name: str
    issuer: re.Pattern[str]
    issuers: str
    pins: tuple[Pin, ...]
    alone: Mapping[Path, str]
    narrows: tuple[Path, ...]
    code: tuple[Path, ...]
    check: Callable[[str, Pinned, Mapping[str, Any]], str]
    other: Mapping[Path, type]

    @property
    def known(self) -> set[Path]:
        """Every claim this row speaks of."""
        return {*(p for pin in self.pins for way in pin.ways for p in way), *self.alone, *self.narrows, *self.code}


def flaw(provider: str, conditions: Mapping[str, Condition]) -> tuple[Path, str] | None:
    """What is wrong with an attestation's conditions, and at which claim (() is the whole table); None when nothing."""
    row = PROVIDERS[provider]
    said = dict(claim_conditions.flatten(conditions))
    for path, wanted in said.items():
        kind = row.other.get(path, str)
        if path in row.known | row.other.keys() and type(wanted) is not kind:
            return path, f"claim {shown(path)} is {_KINDS[kind]} in tokens of {provider}"
        if not exact(wanted) and path in row.known and path not in row.narrows:
            return path, f"claim {shown(path)} must be written whole: what else begins so can be had by others"
    pinned = _pinned(conditions)
    for pin in row.pins:
        if not pin.met(pinned):
            why = "".join(_why(row, pin, path, wanted) for path, wanted in said.items())
            return (), f"this does not say {pin.question} of {provider} it is.{why} Pin {pin}"
    return None


def _why(row: Provider, pin: Pin, path: Path, wanted: Value) -> str:
    if not exact(wanted) and any(path in way for way in pin.ways):
        return f" {shown(path)} ends in '*', which pins nothing."
    return f" {shown(path)} alone does not: {row.alone[path]}." if path in row.alone else ""


def unmet(federation: Federation, conditions: Mapping[str, Condition], claims: Mapping[str, Any]) -> list[str]:
    """Why these verified claims do not meet an attestation, for the operator alone; empty when they do."""
    failed = claim_conditions.unmet(conditions, claims)
    if federation.provider:
        why = PROVIDERS[federation.provider].check(federation.issuer, _pinned(conditions), claims)
        failed += [why] if why else []
    return failed


def code_identity(provider: str, claims: Mapping[str, Any]) -> Mapping[str, str]:
    """The claims that name the code, as near as this provider's tokens do; another mapping means other code.

    Empty when the provider is not known, or the token names none.
    """
    row = PROVIDERS.get(provider)
    values = {shown(path): look_up(claims, path) for path in row.code} if row else {}
    return {name: str(value) for name, value in values.items() if type(value) in (str, int)}


def _pinned(conditions: Mapping[str, Condition]) -> Pinned:
    return {path: wanted for path, wanted in claim_conditions.flatten(conditions) if exact(wanted)}


_KINDS: Mapping[type, str] = {str: 'text: write it in "quotes"', bool: "true or false", int: "a whole number"}


def _all(*paths: Path | str) -> dict[Path, Value | None]:
    return {(path,) if isinstance(path, str) else path: None for path in paths}


def _tops(**why: str) -> dict[Path, str]:
    return {(name,): text for name, text in why.items()}


_ROWS = (
    # docs.github.com: OpenID Connect reference; `sub` has names, ids since July 2026, or what an admin makes of it.
    Provider(
        name="github-actions",
        issuer=re.compile(
            r"https://token\.actions\.githubusercontent\.com(/[a-z0-9-]{1,100})?"
            r"|https://token\.actions\.[a-z0-9-]{1,63}\.ghe\.com(/[a-z0-9-]{1,100})?"
            rf"|https://{_HOST}/_services/token"
        ),
        issuers="https://token.actions.githubusercontent.com, the same with /ENTERPRISE, "
        "https://token.actions.NAME.ghe.com, https://HOST/_services/token",
        pins=(
            Pin("which repository", (_all("repository_id"), _all("repository", "repository_owner_id"))),
            Pin("which code", (_all("job_workflow_ref"), _all("environment"), _all("ref"))),
        ),
        alone=_tops(
            sub="its form can be changed by the repository, and names can be registered again",
            repository="the owner's name can be registered again",
            repository_owner="the name can be registered again, and it covers every repository",
            repository_owner_id="it covers every repository of the owner",
            ref="every repository can have it",
            environment="every repository can have it",
            workflow="it is a title that every repository can have",
            actor="it says who caused the run, not what runs",
            event_name="every repository has it",
        ),
        narrows=(("ref",), ("workflow_ref",), ("job_workflow_ref",), ("head_ref",), ("base_ref",)),
        code=(("workflow_ref",), ("workflow_sha",), ("job_workflow_ref",), ("job_workflow_sha",), ("sha",)),
        check=oidc_checks.github,
        other={},
    ),
    # docs.gitlab.com: OpenID Connect (OIDC) Authentication Using ID Tokens. ref_protected is the text "true".
    Provider(
        name="gitlab",
        issuer=re.compile(rf"https://{_HOST}(/[A-Za-z0-9._-]+)*"),
        issuers="https://gitlab.com, or the URL of your own",
        pins=(
            Pin("which project", (_all("project_id"), _all("project_path", "namespace_id"))),
            Pin(
                "which code",
                ({("ref_protected",): "true"}, _all("ref_path"), _all("ref", "ref_type"), _all("ci_config_ref_uri")),
            ),
        ),
        alone=_tops(
            sub="it is made of names, and a project can change its form",
            project_path="paths can be registered again",
            namespace_path="paths can be registered again, and it covers every project",
            namespace_id="it covers every project of the group",
            user_login="it says who caused the job, not what runs, and can be changed",
            user_email="it says who caused the job, not what runs, and can be changed",
            ref="a tag can have a branch's name",
            environment="every branch can name it",
            pipeline_source="every project has it",
        ),
        narrows=(("ref",), ("ref_path",), ("ci_config_ref_uri",), ("environment",)),
        code=(("ci_config_ref_uri",), ("ci_config_sha",), ("sha",)),
        check=oidc_checks.gitlab,
        other={("runner_id",): int},
    ),
    # kubernetes.io: Managing Service Accounts, bound tokens (KEP-1205).
    Provider(
        name="kubernetes",
        issuer=re.compile(rf"https://{_HOST}(/[A-Za-z0-9._~-]+)*/?"),
        issuers="https://HOST/PATH: the cluster's `--service-account-issuer`",
        pins=(Pin("which service account", (_all((K8S, "namespace"), (K8S, "serviceaccount", "name")),)),),
        alone={
            ("sub",): "an unbound token that never expires has it too",
            (K8S, "namespace"): "it covers every service account there",
            (K8S, "serviceaccount", "name"): "every namespace can have it",
            (K8S, "pod", "name"): "who may create pods chooses it",
            (K8S, "node", "name"): "it says where, not what, runs",
        },
        narrows=((K8S, "pod", "name"), (K8S, "node", "name")),
        code=((K8S, "serviceaccount", "uid"),),
        check=oidc_checks.kubernetes,
        other={},
    ),
    # docs.aws.amazon.com, IAM: Understanding token claims (of GetWebIdentityToken).
    Provider(
        name="aws",
        issuer=re.compile(r"https://[a-z0-9-]{1,63}\.tokens\.sts\.global\.api\.aws"),
        issuers="https://ID.tokens.sts.global.api.aws, the account's own",
        pins=(Pin("which role", (_all((AWS, "aws_account"), "sub"),)),),
        alone={
            ("sub",): "say which account, too",
            (AWS, "aws_account"): "it covers every role of the account",
            (AWS, "org_id"): "it covers every account of the organisation",
            (AWS, "ou_path"): "it covers every account below",
            (AWS, "source_identity"): "who assumes the role chooses it",
            (AWS, "source_region"): "it says where, not who",
        },
        narrows=((AWS, "ou_path"), (AWS, "ec2_source_instance_arn")),
        code=((AWS, "lambda_source_function_arn"), (AWS, "ec2_source_instance_arn"), ("sub",)),
        check=oidc_checks.aws,
        other={},
    ),
    # docs.cloud.google.com: Verify the identity of VMs; OpenID Connect: email can be given to somebody else.
    Provider(
        name="google",
        issuer=re.compile(r"https://accounts\.google\.com"),
        issuers="https://accounts.google.com",
        pins=(Pin("which service account", (_all("sub"),)),),
        alone={
            ("email",): "an account that is deleted and made again has the same address",
            ("azp",): "it is what asked, not who it is",
            ("hd",): "it covers everybody of the domain",
            (*_GCE, "project_id"): "it covers every machine of the project",
            (*_GCE, "instance_name"): "names are used again",
            (*_GCE, "zone"): "it says where, not what, runs",
        },
        narrows=((*_GCE, "instance_name"), (*_GCE, "zone")),
        code=((*_GCE, "project_id"), (*_GCE, "instance_id")),
        check=oidc_checks.google,
        other={
            ("email_verified",): bool,
            (*_GCE, "project_number"): int,
            (*_GCE, "instance_creation_timestamp"): int,
            (*_GCE, "instance_confidentiality"): int,
        },
    ),
    # learn.microsoft.com: Access token claims reference; Optional claims reference (idtyp).
    Provider(
        name="azure",
        issuer=re.compile(
            rf"https://login\.microsoftonline\.com/{GUID}/v2\.0|https://sts\.windows\.net/{GUID}/",
        ),
        issuers="https://login.microsoftonline.com/TENANT/v2.0, https://sts.windows.net/TENANT/; the tenant is a GUID",
        pins=(Pin("which identity", (_all("tid", "oid"), _all("tid", "azp"), _all("tid", "appid"))),),
        alone=_tops(
            tid="it covers everybody of the tenant",
            oid="say which tenant, too",
            azp="the application can be in many tenants",
            appid="the application can be in many tenants",
            sub="it differs from application to application; oid does not",
            upn="it is a person's, and can be given to somebody else",
            preferred_username="it can be changed",
            unique_name="it can be changed",
            email="it can be changed, and in some tenants by anybody",
            name="it can be changed",
        ),
        narrows=(),
        code=(("oid",), ("azp",), ("appid",)),
        check=oidc_checks.azure,
        other={},
    ),
    # developer.hashicorp.com: Workload identity in HCP Terraform.
    Provider(
        name="terraform-cloud",
        issuer=re.compile(rf"https://{_HOST}"),
        issuers="https://app.terraform.io, or the URL of your Terraform Enterprise",
        pins=(
            Pin("which workspace", (_all("terraform_organization_id", "terraform_workspace_id"),)),
            Pin("which phase", (_all("terraform_run_phase"),)),
        ),
        alone=_tops(
            sub="it is made of names, which can be changed",
            terraform_full_workspace="it is made of names, which can be changed",
            terraform_organization_name="it can be changed, and it covers every workspace",
            terraform_workspace_name="every organization can have it",
            terraform_project_name="every organization can have it",
            terraform_organization_id="it covers every workspace",
            terraform_workspace_id="say which organization, too",
            terraform_project_id="it covers every workspace of the project",
            terraform_run_phase="every workspace has it",
        ),
        narrows=(),
        code=(("terraform_workspace_id",), ("terraform_run_phase",)),
        check=oidc_checks.terraform,
        other={},
    ),
)
PROVIDERS: Mapping[str, Provider] = {row.name: row for row in _ROWS}

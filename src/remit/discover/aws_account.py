"""An AWS account, as `aws iam get-account-authorization-details` exports it: who can become whom, and get at what.

    aws-user:ARN, aws-role:ARN, aws-group:ARN     have their policies
    aws-admin:ACCOUNT                              can do anything there
    aws-action:ACCOUNT/ACTION                      sensitive reads, as `secretsmanager:GetSecretValue`
    aws-key:ID                                     an access key of a user's (`aws iam list-access-keys`)

Nothing is asked: what is not in the export (which functions run, which machines) may be there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from remit.domain.discovery import Flaw, Place
from remit.domain.reach import Step
from remit.formats import aws_policy
from remit.formats.aws_policy import ANY, Statement, allowed

from .aws_paths import WAYS, Onto, Way
from .data import parsed
from .rules import RULES

READS = (
    "secretsmanager:GetSecretValue",
    "ssm:GetParameter",
    "s3:GetObject",
    "dynamodb:Scan",
    "kms:Decrypt",
    "rds-db:connect",
)
_BECOMES_ALL = ("iam:AttachUserPolicy", "iam:PutUserPolicy", "iam:AttachRolePolicy", "iam:PutRolePolicy")


@dataclass(frozen=True)
class Principal:
    """A user, role or group, with everything that its policies say; `own` are customer-managed policies it has."""

    kind: str
    arn: str
    statements: tuple[Statement, ...]
    own: tuple[str, ...]
    groups: tuple[str, ...] = ()
    trust: tuple[Statement, ...] = ()
    boundary: tuple[Statement, ...] | None = None

    @property
    def node(self) -> str:
        return f"aws-{self.kind}:{self.arn}"

    @property
    def account(self) -> str:
        return self.arn.split(":")[4] if self.arn.count(":") >= 5 else ""

    def may(self, action: str, resource: str, known: Mapping[str, str] | None = None) -> bool:
        """By its policies, and within its boundary if it has one."""
        facts = _NOW() | dict(known or {})
        within = self.boundary is None or allowed(self.boundary, action, resource, facts)
        return within and allowed(self.statements, action, resource, facts)


def _NOW() -> dict[str, str]:  # noqa: N802 - what is known of every request
    now = datetime.now(UTC).isoformat()
    return {"aws:currenttime": now, "aws:tokenissuetime": now, "aws:epochtime": str(datetime.now(UTC).timestamp())}


@dataclass(frozen=True)
class Account:
    """Everything of one export, by ARN."""

    principals: Mapping[str, Principal] = field(default_factory=dict)

    def of(self, kind: str) -> list[Principal]:
        """Users, roles or groups."""
        return [one for one in self.principals.values() if one.kind == kind]


def is_export(whole: Any) -> bool:
    """Whether this is such an export."""
    return isinstance(whole, dict) and "UserDetailList" in whole and "RoleDetailList" in whole


def read(whole: Mapping[str, Any]) -> Account:
    """Read an export; documents may be objects, or JSON in text, URL-encoded as the API sends it."""
    managed = {str(p.get("Arn")): _default_version(p) for p in _list(whole, "Policies")}
    groups = {str(g.get("GroupName")): g for g in _list(whole, "GroupDetailList")}
    found: dict[str, Principal] = {}
    for group in groups.values():
        found[str(group["Arn"])] = _principal("group", group, managed, {})
    for user in _list(whole, "UserDetailList"):
        found[str(user["Arn"])] = _principal("user", user, managed, groups)
    for role in _list(whole, "RoleDetailList"):
        found[str(role["Arn"])] = _principal("role", role, managed, {})
    return Account(found)


def _list(whole: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [one for one in whole.get(name) or () if isinstance(one, dict) and (one.get("Arn") or name == "Policies")]


def _document(value: Any) -> tuple[Statement, ...]:
    if isinstance(value, str):
        value = parsed(unquote(value) if value.lstrip().startswith("%7B") else value, ".json")
    return aws_policy.parse(value)


def _default_version(policy: Mapping[str, Any]) -> tuple[Statement, ...]:
    versions = [v for v in policy.get("PolicyVersionList") or () if isinstance(v, dict)]
    return next((_document(v.get("Document")) for v in versions if v.get("IsDefaultVersion")), ())


def _principal(
    kind: str,
    one: Mapping[str, Any],
    managed: Mapping[str, tuple[Statement, ...]],
    groups: Mapping[str, Mapping[str, Any]],
) -> Principal:
    attached = [str(p.get("PolicyArn")) for p in one.get("AttachedManagedPolicies") or () if isinstance(p, dict)]
    statements = [s for arn in attached for s in managed.get(arn, _known_managed(arn))]
    for name in ("UserPolicyList", "RolePolicyList", "GroupPolicyList"):
        statements += [s for p in one.get(name) or () for s in _document(p.get("PolicyDocument"))]
    mine = [groups[name] for name in one.get("GroupList") or () if name in groups]
    for group in mine:
        of_group = _principal("group", group, managed, {})
        statements += of_group.statements
        attached += of_group.own
    limit = one.get("PermissionsBoundary")
    arn = str(limit.get("PermissionsBoundaryArn")) if isinstance(limit, dict) else ""
    own = tuple(p for p in dict.fromkeys(attached) if ":aws:policy/" not in p)
    trust = _document(one.get("AssumeRolePolicyDocument"))
    boundary = managed.get(arn, _known_managed(arn)) if arn else None
    return Principal(kind, str(one["Arn"]), tuple(statements), own, tuple(str(g["Arn"]) for g in mine), trust, boundary)


def _known_managed(arn: str) -> tuple[Statement, ...]:
    """AWS's own policies that are not in the export: those that give everything do."""
    everything = Statement(True, ("*",), False, ("*",), False)
    iam = Statement(True, ("iam:*",), False, ("*",), False)
    name = arn.rpartition("/")[2]
    return {"AdministratorAccess": (everything,), "IAMFullAccess": (iam,)}.get(name, ())


def steps(account: Account) -> Iterator[Step]:
    """Every step of this account."""
    roles, users = account.of("role"), account.of("user")
    for one in account.principals.values():
        admin = f"aws-admin:{one.account}"
        whole = one.may("*", "*") or all(one.may(action, ANY) for action in _BECOMES_ALL)
        if whole:
            yield Step(
                one.node, admin, "aws-administrator", "its policies allow everything, or giving itself everything"
            )
        for action in READS:
            if one.may(action, ANY):
                yield Step(one.node, f"aws-action:{one.account}/{action}", "aws-may", action)
        if one.kind != "group":
            yield from _assumed(one, roles)
            for way in () if whole else WAYS:  # an administrator needs none of them
                yield from _taken(one, way, account)
    for user in users:
        yield from (Step(user.node, f"aws-group:{arn}", "aws-in-group") for arn in user.groups)
    for account_id in {one.account for one in account.principals.values()}:
        yield from (Step(f"aws-admin:{account_id}", f"aws-action:{account_id}/{a}", "aws-may", a) for a in READS)
    for one in (*users, *roles):
        yield Step(f"aws-admin:{one.account}", one.node, "aws-administers")


def is_keys(whole: Any) -> bool:
    """Whether this is what `aws iam list-access-keys` says."""
    return isinstance(whole, dict) and isinstance(whole.get("AccessKeyMetadata"), list)


def keys(whole: Mapping[str, Any], users: Collection[str]) -> Iterator[Step]:
    """Whose keys these are, among users by their ARN; names are looked up, for the list has no account in it."""
    by_name: dict[str, list[str]] = {}
    for arn in users:
        by_name.setdefault(arn.rpartition("/")[2], []).append(arn)
    for key in whole["AccessKeyMetadata"]:
        if isinstance(key, dict) and key.get("Status", "Active") == "Active":
            for arn in by_name.get(str(key.get("UserName")), ()):
                yield Step(f"aws-key:{key.get('AccessKeyId')}", f"aws-user:{arn}", "is-key-of")


def flaws(account: Account, path: str) -> Iterator[Flaw]:
    """What is wrong whoever may use it."""
    for role in account.of("role"):
        for statement in role.trust:
            named = statement.principals.get("AWS", ())
            if statement.allows and {f"arn:aws:iam::{role.account}:root", role.account, "*"} & set(named):
                whom = "anybody" if "*" in named else "its whole account"
                rule = RULES["role-trusts-everybody"]
                yield Flaw(rule.id, rule.severity, Place(path), f"{role.arn} trusts {whom}", role.arn)
                break


def _assumed(one: Principal, roles: Sequence[Principal]) -> Iterator[Step]:
    """Roles whose trust names it (then its own policies need not), or its whole account (then they must)."""
    for role in roles:
        for statement in role.trust:
            named = statement.principals.get("AWS", ())
            if not statement.allows or not statement.covers("sts:AssumeRole", ANY) or role.arn == one.arn:
                continue
            root = {f"arn:aws:iam::{one.account}:root", one.account, "*"}
            if one.arn in named:
                yield Step(one.node, role.node, "aws-assume-role", "its trust names it")
            elif root & set(named) and one.may("sts:AssumeRole", role.arn):
                yield Step(
                    one.node, role.node, "aws-assume-role", "its trust names the account, and a policy allows it"
                )


def _taken(one: Principal, way: Way, account: Account) -> Iterator[Step]:
    first, admin = way.needs[0], f"aws-admin:{one.account}"
    roles, users, groups = account.of("role"), account.of("user"), account.of("group")
    match way.onto:
        case Onto.OWN_POLICY:
            if any(one.may(first, arn) for arn in one.own):
                yield Step(one.node, admin, way.id, way.says)
        case Onto.SELF_USER | Onto.SELF_ROLE:
            kind = "user" if way.onto is Onto.SELF_USER else "role"
            if one.kind == kind and one.may(first, one.arn):
                yield Step(one.node, admin, way.id, way.says)
        case Onto.OWN_GROUP:
            if any(one.may(first, arn) for arn in one.groups):
                yield Step(one.node, admin, way.id, way.says)
        case _ if not one.may(first, ANY):
            return
        case Onto.USER:
            yield from (Step(one.node, u.node, way.id, way.says) for u in users if u != one and one.may(first, u.arn))
        case Onto.GROUP:
            if one.kind == "user":
                yield from (Step(one.node, g.node, way.id, way.says) for g in groups if one.may(first, g.arn))
        case Onto.TRUST:
            yield from (Step(one.node, r.node, way.id, way.says) for r in roles if r != one and one.may(first, r.arn))
        case Onto.PASS | Onto.RUNNING:
            if all(one.may(action, ANY) for action in way.needs):
                yield from _through(one, way, roles)


def _through(one: Principal, way: Way, roles: Sequence[Principal]) -> Iterator[Step]:
    service = f"{way.service}.amazonaws.com"
    for role in roles:
        if role == one or service not in aws_policy.services(role.trust):
            continue
        if way.onto is Onto.RUNNING or one.may("iam:PassRole", role.arn, {"iam:passedtoservice": service}):
            yield Step(one.node, role.node, way.id, way.says)

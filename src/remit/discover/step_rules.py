"""Every rule by which one node leads to another: data, each with where it is described, and whether anybody meant it.

A step that nobody meant takes more than was given. What is not in this table (an export read by a newer version) counts
as not meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .aws_paths import WAYS

_IAM = "https://docs.aws.amazon.com/IAM/latest/UserGuide/"
_AZURE = "https://learn.microsoft.com/azure/"
_K8S = "https://kubernetes.io/docs/concepts/security/rbac-good-practices/"
_GCP = "https://cloud.google.com/iam/docs/"
_PG = "https://www.postgresql.org/docs/current/"
_OURS = "docs/concepts.md"


@dataclass(frozen=True)
class StepRule:
    """`says` stands between the two nodes, `cut` says how the step is taken away, `reference` where it is described."""

    id: str
    says: str
    cut: str
    reference: str
    meant: bool = False


_MEANT: tuple[StepRule, ...] = (
    StepRule("in-group", "is in", "Take the person out of the group.", _OURS, True),
    StepRule("may-begin", "may begin", "Name others, or fewer, in the purpose's initiators.", _OURS, True),
    StepRule("may-propose", "works for", "Take the agent out of the purpose.", _OURS, True),
    StepRule("grants", "may use", "Take the grant out of the purpose.", _OURS, True),
    StepRule("issues", "is issued", "Take the credential out of the purpose.", _OURS, True),
    StepRule("opens", "opens", "Narrow what the credential grants.", _OURS, True),
    StepRule("hands-on", "may hand on", "Take the delegation out of the purpose.", _OURS, True),
    StepRule("is-key-of", "is a key of", "End the key.", _OURS, True),
    StepRule(
        "aws-may", "may", "Take the action out of its policies.", _IAM + "reference_policies_elements_action.html", True
    ),
    StepRule("aws-in-group", "is in", "Take the user out of the group.", _IAM + "id_groups.html", True),
    StepRule(
        "k8s-in-group", "is in", "Bind the role to one account in place of a group.", _K8S + "#least-privilege", True
    ),
    StepRule("k8s-one-of", "is, among others,", "Bind the role in one namespace.", _K8S + "#least-privilege", True),
    StepRule("azure-may", "may read", "End the role assignment.", _AZURE + "key-vault/general/rbac-guide", True),
    StepRule("gcp-may", "may read", "Take the binding out of the policy.", _GCP + "roles-permissions", True),
    StepRule("pg-may", "may", "REVOKE the privilege.", _PG + "ddl-priv.html", True),
    StepRule("pg-member", "may become", "REVOKE the membership.", _PG + "role-membership.html", True),
)
_AWS: tuple[StepRule, ...] = (
    *(StepRule(way.id, way.says, f"Take {way.needs[0]} out of its policies.", way.reference) for way in WAYS),
    StepRule("aws-administrator", "can do anything in", "Take the administrator's policy away.",
             _IAM + "best-practices.html#grant-least-privilege"),
    StepRule("aws-administers", "has power over", "Take the administrator's policy away.",
             _IAM + "best-practices.html#grant-least-privilege"),
    StepRule("aws-assume-role", "may assume", "Name somebody else in the role's trust policy.",
             _IAM + "id_roles_use_permissions-to-switch.html"),
)  # fmt: skip
_REST: tuple[StepRule, ...] = (
    StepRule("azure-vault-access-policy", "writes itself into the access policies of",
             "Switch the vault to role-based access (enableRbacAuthorization).",
             _AZURE + "key-vault/general/rbac-migration"),
    StepRule("azure-assigns-itself", "gives itself a role that reads", "End the assignment, or put a condition on it.",
             _AZURE + "role-based-access-control/delegate-role-assignments-overview"),
    StepRule("gcp-administrator", "can change anything in", "Bind a predefined role in place of a basic one.",
             _GCP + "roles-overview#basic"),
    StepRule("gcp-gives-itself-more", "writes who may do what in", "Bind the role to people who approve access.",
             _GCP + "roles-permissions/resourcemanager"),
    StepRule("gcp-makes-tokens", "asks for tokens of", "Take the Token Creator role away.",
             _GCP + "service-account-permissions"),
    StepRule("gcp-makes-keys", "makes keys of", "Forbid keys (iam.disableServiceAccountKeyCreation).",
             _GCP + "best-practices-for-managing-service-account-keys"),
    StepRule("gcp-acts-as", "starts something that runs as", "Bind Service Account User on one account alone.",
             _GCP + "service-account-permissions"),
    StepRule("gcp-workload-identity", "is, by federation,", "Name one subject in the pool's binding.",
             _GCP + "workload-identity-federation"),
    StepRule("gcp-writes-its-policy", "writes who may be", "Take the Service Account Admin role away.",
             _GCP + "service-account-permissions"),
    StepRule("k8s-everything", "can do anything in", "Bind a role that names its verbs.", _K8S + "#least-privilege"),
    StepRule("k8s-reads-secrets", "reads", "Name the secrets in resourceNames, without list and watch.",
             _K8S + "#listing-secrets"),
    StepRule("k8s-reads-tokens", "reads the token of", "Name the secrets, without list and watch.",
             _K8S + "#listing-secrets"),
    StepRule("k8s-enters-pods", "runs commands in a pod of", "Take pods/exec and pods/attach out of the role.",
             _K8S + "#workload-creation"),
    StepRule("k8s-makes-pods", "starts a pod as", "Take the creation of workloads out of the role.",
             _K8S + "#workload-creation"),
    StepRule("k8s-makes-tokens", "asks for a token of", "Take serviceaccounts/token out of the role.",
             _K8S + "#token-request"),
    StepRule("k8s-gives-itself-more", "gives itself any role in", "Take escalate and bind out of the role.",
             _K8S + "#escalate-verb"),
    StepRule("k8s-impersonates", "acts as anybody in", "Take impersonate out of the role.", _K8S + "#impersonate-verb"),
    StepRule("k8s-signs-certificates", "has a certificate of anybody signed in",
             "Take certificatesigningrequests/approval out of the role.",
             _K8S + "#csrs-and-certificate-issuing"),
    StepRule("k8s-changes-what-is-admitted", "changes whatever is created in",
             "Take webhook configurations out of the role.", _K8S + "#control-admission-webhooks"),
    StepRule("pg-createrole", "admits itself to", "ALTER ROLE … NOCREATEROLE, or PostgreSQL 16 and later.",
             _PG + "role-attributes.html"),
    StepRule("k8s-node-proxy", "asks the kubelets directly in", "Take nodes/proxy out of the role.",
             _K8S + "#access-to-proxy-subresource-of-nodes"),
    StepRule("pg-member-admin", "may become, and admit others to", "REVOKE ADMIN OPTION FOR the membership.",
             _PG + "role-membership.html"),
    StepRule("pg-superuser", "needs no privilege for", "ALTER ROLE … NOSUPERUSER.", _PG + "role-attributes.html"),
    StepRule("pg-execute-server-program", "runs programs on (COPY … PROGRAM)", "REVOKE pg_execute_server_program.",
             _PG + "predefined-roles.html"),
    StepRule("pg-write-server-files", "writes files of", "REVOKE pg_write_server_files.",
             _PG + "predefined-roles.html"),
    StepRule("pg-read-server-files", "reads files of", "REVOKE pg_read_server_files.", _PG + "predefined-roles.html"),
    StepRule("pg-all-data", "has every row of", "REVOKE pg_read_all_data or pg_write_all_data.",
             _PG + "predefined-roles.html"),
    StepRule("pg-security-definer", "runs as, by a function whose search_path it chooses",
             "ALTER FUNCTION … SET search_path = pg_catalog.",
             _PG + "sql-createfunction.html#SQL-CREATEFUNCTION-SECURITY"),
)  # fmt: skip
STEP_RULES: Mapping[str, StepRule] = {rule.id: rule for rule in (*_MEANT, *_AWS, *_REST)}
MEANT = frozenset(rule.id for rule in STEP_RULES.values() if rule.meant)
GIVEN = frozenset(
    {"aws-administrator", "aws-administers", "gcp-administrator", "k8s-everything", "k8s-reads-secrets", "pg-superuser"}
)


def rule_of(how: str) -> StepRule:
    """The rule, or one that says no more than its own name."""
    return STEP_RULES.get(how) or StepRule(how, how.replace("-", " "), "Take this step away where it is made.", "")

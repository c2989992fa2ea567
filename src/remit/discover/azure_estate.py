"""Azure role assignments and key vaults, as `az role assignment list --all` and `az keyvault list` export them.

    azure-principal:ID                  a user, group, application or managed identity
    azure-vault-data:VAULT              the secrets in a vault

In access-policy mode whoever may write a vault's properties writes who may read it, so a role of the management plane
alone reaches the data. In RBAC mode it does not; who assigns roles still does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from remit.domain.reach import Step

# Role definition ids are the same in every tenant (Azure built-in roles).
KEY_VAULT_CONTRIBUTOR = "f25e0fa2-a7c8-4377-a976-54943a77a395"
CONTRIBUTOR = "b24988ac-6180-42a0-ab88-20f7382dd24c"
OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
USER_ACCESS_ADMINISTRATOR = "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9"
RBAC_ADMINISTRATOR = "f58310d9-a9f6-439a-9e8d-f62e7b41a168"
WRITES_POLICIES = {KEY_VAULT_CONTRIBUTOR: "Key Vault Contributor", CONTRIBUTOR: "Contributor", OWNER: "Owner"}
ASSIGNS_ROLES = {
    OWNER: "Owner",
    USER_ACCESS_ADMINISTRATOR: "User Access Administrator",
    RBAC_ADMINISTRATOR: "Role Based Access Control Administrator",
}
READS_SECRETS = {
    "00482a5a-887f-4fb3-b363-3b7fe8e74483": "Key Vault Administrator",
    "b86a8fe4-44ce-4948-aee5-eccb2c155cd7": "Key Vault Secrets Officer",
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
}


@dataclass(frozen=True)
class Assignment:
    """One role, for one principal, at one scope."""

    principal: str
    role: str
    scope: str

    def covers(self, resource: str) -> bool:
        """Scopes hold for everything below them; they are compared without case, by whole segments."""
        scope = self.scope.rstrip("/").lower()
        return f"{resource.lower()}/".startswith(f"{scope}/")


def is_export(whole: Any) -> bool:
    """Whether this is a list of role assignments, or of vaults."""
    first = whole[0] if isinstance(whole, list) and whole else None
    return isinstance(first, dict) and ("roleDefinitionId" in first or _is_vault(first))


def _is_vault(one: Mapping[str, Any]) -> bool:
    kind, properties = str(one.get("type", "")).lower(), one.get("properties") or {}
    return kind == "microsoft.keyvault/vaults" or "vaultUri" in properties


def steps(exports: Sequence[Any]) -> Iterator[Step]:
    """Every step of these lists together."""
    rows = [one for whole in exports for one in whole if isinstance(one, dict)]
    assigned = [_assignment(one) for one in rows if one.get("roleDefinitionId")]
    names = {str(one.get("principalId")): _who(one) for one in rows if one.get("roleDefinitionId")}
    for vault in (one for one in rows if _is_vault(one)):
        yield from _vault(vault, assigned, names)


def _assignment(one: Mapping[str, Any]) -> Assignment:
    role = str(one["roleDefinitionId"]).rpartition("/")[2].lower()
    return Assignment(_who(one), role, str(one.get("scope", "")))


def _who(one: Mapping[str, Any]) -> str:
    return str(one.get("principalName") or one.get("principalId", ""))


def _vault(vault: Mapping[str, Any], assigned: Sequence[Assignment], names: Mapping[str, str]) -> Iterator[Step]:
    properties, where = vault.get("properties") or {}, str(vault.get("id", ""))
    data = f"azure-vault-data:{vault.get('name') or where.rpartition('/')[2]}"
    by_roles = properties.get("enableRbacAuthorization") is True
    for one in assigned:
        if not one.covers(where):
            continue
        source = f"azure-principal:{one.principal}"
        if by_roles and one.role in READS_SECRETS:
            yield Step(source, data, "azure-may", READS_SECRETS[one.role])
        if by_roles and one.role in ASSIGNS_ROLES:
            yield Step(
                source, data, "azure-assigns-itself", f"{ASSIGNS_ROLES[one.role]} gives itself a role that reads"
            )
        if not by_roles and one.role in WRITES_POLICIES:
            says = f"{WRITES_POLICIES[one.role]} writes itself into the vault's access policies"
            yield Step(source, data, "azure-vault-access-policy", says)
    if not by_roles:
        for policy in (one for one in properties.get("accessPolicies") or () if isinstance(one, dict)):
            allowed = {str(p).lower() for p in (policy.get("permissions") or {}).get("secrets") or ()}
            if allowed & {"get", "all"}:
                who = str(policy.get("objectId"))
                yield Step(f"azure-principal:{names.get(who, who)}", data, "azure-may", "an access policy")

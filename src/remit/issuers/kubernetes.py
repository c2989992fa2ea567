"""Kubernetes access for one task: a service account, a role of its own, and a token bound to them.

The account's deletion invalidates its tokens at once, so a kill is real. Remit's own access is a projected token that
the kubelet rotates (`token_file`), with leave to manage service accounts, roles and bindings in these namespaces; the
API server itself refuses it a role wider than its own (RBAC escalation prevention).
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField, IssuerUnavailable, WrongState
from remit.domain.flow import Json
from remit.domain.lease import Lease, Minted

from . import Tools, text_of
from .federated import endpoint, instant, known, member, send, texts_of, unavailable, written

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_HOLE = re.compile(r"\{[a-z_][a-z0-9_]*\}\Z")
_HANDLE = re.compile(r"remit_[a-z0-9_]{1,57}\Z")
# What makes somebody more than he was, or reads what others may: only a person's review can add it to this list.
_FORBIDDEN = {
    "verbs": {"*", "escalate", "bind", "impersonate"},
    "resources": {"*", "secrets", "serviceaccounts/token", "pods/exec", "pods/attach", "pods/ephemeralcontainers",
                  "nodes/proxy", "roles", "rolebindings", "clusterroles", "clusterrolebindings", "tokenreviews"},
    "api_groups": {"*"},
}  # fmt: skip
_SHORTEST = 600
_IN_FLIGHT = 12_000  # ms that a request may be on its way


class KubernetesIssuer:
    """`grants`: `namespace` and `rules` of `api_groups`, `resources`, `verbs`, `names`; `audience` of the token.

    Mints `server`, `ca` (PEM), `namespace`, `token`, `expiration`.
    """

    def __init__(self, config: IssuerConfig, tools: Tools) -> None:
        self._tools = tools
        self._server = endpoint(config, "server", "")
        for key in ("token_file", "ca_file"):
            value = config.settings.get(key, "")
            if (
                not isinstance(value, str)
                or (value and not value.startswith("/"))
                or (key == "token_file" and not value)
            ):
                raise BadField(key, "must be an absolute path")
        self._token_file, self._ca_file = (Path(str(config.settings.get(k, ""))) for k in ("token_file", "ca_file"))

    def checked(self, grants: Mapping[str, Json]) -> None:
        """See `ports.Issuer`."""
        _rules(grants, holes=True)

    async def mint(self, lease: Lease) -> Minted:
        """Account, role, binding, token; whatever fails takes back what was made.

        The secret comes with the last answer: what lands late, after its kill, is an account whose token nobody has.
        """
        now = self._tools.clock()
        rules, name, namespace = _rules(lease.grants, holes=False), _name(lease), text_of(lease.grants, "namespace")
        about = {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": "remit"}}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
        seconds = max(_SHORTEST, (lease.expires_at - now) // 1000)
        audience = lease.grants.get("audience")
        spec = {"expirationSeconds": seconds, **({"audiences": [audience]} if audience else {})}
        rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
        steps: list[tuple[str, dict[str, Any]]] = [
            (
                f"/api/v1/namespaces/{namespace}/serviceaccounts",
                {"metadata": about, "automountServiceAccountToken": False},
            ),
            (f"{rbac}/roles", {"metadata": about, "rules": rules}),
            (f"{rbac}/rolebindings", {"metadata": about, "subjects": [subject], "roleRef": role}),
            (f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", {"spec": spec}),
        ]
        body = b""
        try:
            for path, wanted in steps:
                if self._tools.clock() >= min(lease.mint_until - _IN_FLIGHT, lease.expires_at):
                    raise WrongState("It is too late to mint this lease.", next_step="Ask for a new one.")
                status, body = await self._ask("POST", path, wanted)
                if status != 201:
                    raise unavailable(f"the API server answered {status} to POST {path}")
            token, ends = member(body, "status", "token"), instant(member(body, "status", "expirationTimestamp"))
        except BaseException:
            await self.kill(lease)
            raise
        ca = self._ca_file.read_text() if self._ca_file.is_file() else ""
        expiration = written(min(ends, lease.expires_at))
        return Minted(
            {"server": self._server, "ca": ca, "namespace": namespace, "token": token, "expiration": expiration}
        )

    async def kill(self, lease: Lease) -> None:
        """The account first: with it its tokens die. Returns when it is not there any more."""
        name, namespace = _name(lease), text_of(lease.grants, "namespace")
        account = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}"
        rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
        for path in (account, f"{rbac}/rolebindings/{name}", f"{rbac}/roles/{name}"):
            status, _ = await self._ask("DELETE", path, {"gracePeriodSeconds": 0, "propagationPolicy": "Background"})
            if status not in (200, 202, 404):
                raise unavailable(f"the API server answered {status} to DELETE {path}")
        status, _ = await self._ask("GET", account, None)
        if status != 404:
            raise unavailable(f"the account is still there: {status}")

    async def _ask(self, method: str, path: str, body: Any) -> tuple[int, bytes]:
        try:
            token = self._token_file.read_text().strip()
            ca = str(self._ca_file) if self._ca_file.is_file() else None
            verify = ssl.create_default_context(cafile=ca) if ca else None
        except OSError as failure:
            step = f"Is {self._token_file} there?"
            raise IssuerUnavailable("Remit has no token for this cluster.", next_step=step) from failure
        return await send(method, self._server + path, body=body, bearer=token, verify=verify)


def _rules(grants: Mapping[str, Json], *, holes: bool) -> list[dict[str, list[str]]]:
    """`PolicyRule`s of a Role (rbac.authorization.k8s.io/v1), or `BadField`. With `holes` a name may be `{one}`."""
    known(grants, "namespace", "rules", "audience")
    if not _NAME.match(text_of(grants, "namespace")):
        raise BadField("grants.namespace", "must be a namespace's name")
    if "audience" in grants:
        text_of(grants, "audience")
    rules = grants.get("rules")
    if not isinstance(rules, list | tuple) or not 0 < len(rules) <= 50:
        raise BadField("grants.rules", "must be 1 to 50 rules")
    found: list[dict[str, list[str]]] = []
    for rule in rules:
        if not isinstance(rule, Mapping):
            raise BadField("grants.rules", "must be rules such as {resources = ['pods'], verbs = ['get']}")
        known(rule, "api_groups", "resources", "verbs", "names")
        groups = rule.get("api_groups", [""])
        if not isinstance(groups, list | tuple) or not groups or not all(isinstance(group, str) for group in groups):
            raise BadField("grants.rules.api_groups", "must be texts; the core group is an empty one")
        said = {
            "api_groups": [str(g) for g in groups],
            "resources": texts_of(rule, "resources"),
            "verbs": texts_of(rule, "verbs"),
        }
        for key, refused in _FORBIDDEN.items():
            for value in set(said[key]) & refused:
                raise BadField(f"grants.rules.{key}", f"{value!r} would reach beyond the task")
        made = {"apiGroups": said["api_groups"], "resources": said["resources"], "verbs": said["verbs"]}
        if "names" in rule:
            made["resourceNames"] = texts_of(rule, "names")
            if any("{" in name and not (holes and _HOLE.match(name)) for name in made["resourceNames"]):
                raise BadField("grants.rules.names", "take a parameter whole, as {name}, and one that was stated")
        found.append(made)
    return found


def _name(lease: Lease) -> str:
    """The handle as a DNS label."""
    if not _HANDLE.match(lease.handle):
        raise WrongState("This lease has no handle of ours.", inside=lease.handle[:80])
    return lease.handle.replace("_", "-").rstrip("-")

"""Google Cloud access tokens for one task: workload identity federation, a service account, and a boundary.

Remit's federation token is exchanged at Google's STS, the result impersonates a service account for as long as the
lease lasts, and with `boundary` that token is exchanged once more for one that reaches only what the task may.
A token cannot be taken back before its end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField, NotRecallable
from remit.domain.flow import Json
from remit.domain.lease import Lease, Minted

from . import Tools, text_of
from .federated import (
    endpoint,
    filled,
    instant,
    known,
    lease_token,
    member,
    seconds_of,
    send,
    setting,
    texts_of,
    unavailable,
    written,
)

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS = "urn:ietf:params:oauth:token-type:access_token"
_JWT = "urn:ietf:params:oauth:token-type:jwt"
_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
_PROVIDER = (
    r"//iam\.googleapis\.com/projects/\d+/locations/global/workloadIdentityPools/[a-z0-9-]+/providers/[a-z0-9-]+"
)
_LONGEST, _SKEW = 3_600, 60_000


class GoogleIssuer:
    """`grants`: `service_account`, `scopes`, and a `boundary` of `{bucket, permissions, prefix}`.

    In `prefix` a `{parameter}` may stand. Mints `access_token` and `expiration` (RFC 3339).
    """

    def __init__(self, config: IssuerConfig, tools: Tools) -> None:
        self._tools = tools
        self._audience = setting(config, "audience", _PROVIDER, "a provider such as //iam.googleapis.com/projects/1/…")
        self._sts = endpoint(config, "sts_endpoint", "https://sts.googleapis.com")
        self._iam = endpoint(config, "iam_endpoint", "https://iamcredentials.googleapis.com")

    def checked(self, grants: Mapping[str, Json]) -> None:
        """See `ports.Issuer`."""
        known(grants, "service_account", "scopes", "boundary")
        account = text_of(grants, "service_account")
        if not account.endswith(".gserviceaccount.com") or account.count("@") != 1 or not account.isascii():
            raise BadField("grants.service_account", "must be a service account's address")
        for scope in texts_of(grants, "scopes"):
            if not scope.startswith("https://www.googleapis.com/auth/"):
                raise BadField("grants.scopes", "must be of https://www.googleapis.com/auth/")
        _boundary(grants, lambda text: text)

    async def mint(self, lease: Lease) -> Minted:
        """See `ports.Issuer`."""
        self.checked(lease.grants)
        rules = _boundary(lease.grants, lambda text: filled(text, lease, _plain))
        token = await lease_token(self._tools, lease, self._audience)
        federated = await self._exchange(
            {"audience": self._audience, "subject_token": token, "subject_token_type": _JWT, "scope": _PLATFORM}
        )
        seconds = min(_LONGEST, (lease.expires_at - self._tools.clock()) // 1000)
        account = quote(text_of(lease.grants, "service_account"), safe="@.-")
        url = f"{self._iam}/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
        wanted = {"scope": texts_of(lease.grants, "scopes"), "lifetime": f"{seconds}s"}
        status, body = await send("POST", url, body=wanted, bearer=federated)
        if status != 200:
            raise unavailable(f"iamcredentials answered {status}")
        access, ends = member(body, "accessToken"), instant(member(body, "expireTime"))
        if ends > self._tools.clock() + (seconds + 300) * 1000:
            raise unavailable("a longer life than was asked for")
        if rules:
            options = json.dumps({"accessBoundary": {"accessBoundaryRules": rules}})
            access = await self._exchange({"subject_token": access, "subject_token_type": _ACCESS, "options": options})
        return Minted({"access_token": access, "expiration": written(min(ends, lease.expires_at))})

    async def kill(self, lease: Lease) -> None:
        """See `ports.Issuer`."""
        over = lease.expires_at + _SKEW
        if self._tools.clock() < over:
            raise NotRecallable("A Google access token cannot be taken back.", until=over)

    async def _exchange(self, fields: Mapping[str, str]) -> str:
        form = {"grant_type": EXCHANGE, "requested_token_type": _ACCESS, **fields}
        status, body = await send("POST", f"{self._sts}/v1/token", form=form)
        if status != 200:
            raise unavailable(f"STS answered {status}")
        if "expires_in" in body.decode("latin-1"):
            seconds_of(body, "expires_in", 2 * _LONGEST)
        return member(body, "access_token")


def _boundary(grants: Mapping[str, Json], fill: Any) -> list[dict[str, Any]]:
    """Credential Access Boundary rules (downscoped credentials), or `BadField`."""
    rules = grants.get("boundary", ())
    if not isinstance(rules, list | tuple) or len(rules) > 10:
        raise BadField("grants.boundary", "must be at most 10 rules")
    found: list[dict[str, Any]] = []
    for rule in rules:
        if not isinstance(rule, Mapping):
            raise BadField("grants.boundary", "must be rules of bucket, permissions and prefix")
        known(rule, "bucket", "permissions", "prefix")
        bucket, prefix = text_of(rule, "bucket"), rule.get("prefix", "")
        if not bucket.isascii() or not bucket.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise BadField("grants.boundary.bucket", "must be a bucket's name")
        permissions = texts_of(rule, "permissions")
        if any(not permission.startswith("inRole:roles/") for permission in permissions):
            raise BadField("grants.boundary.permissions", "must be such as inRole:roles/storage.objectViewer")
        if not isinstance(prefix, str) or not prefix.isprintable():
            raise BadField("grants.boundary.prefix", "must be text")
        made: dict[str, Any] = {
            "availableResource": f"//storage.googleapis.com/projects/_/buckets/{bucket}",
            "availablePermissions": permissions,
        }
        if prefix:
            name = json.dumps(f"projects/_/buckets/{bucket}/objects/{fill(prefix)}")
            listing = json.dumps(fill(prefix))
            made["availabilityCondition"] = {
                "expression": f"resource.name.startsWith({name})"
                f" || api.getAttribute('storage.googleapis.com/objectListPrefix', '').startsWith({listing})"
            }
        found.append(made)
    return found


def _plain(value: str) -> str:
    """A path's part: it may not climb, and what it quotes is quoted again by JSON, as CEL reads it."""
    if "/" in value or value in (".", "..") or not value.isprintable():
        raise BadField("parameters", "may not change the shape of a path")
    return value

"""AWS credentials for one task: AssumeRoleWithWebIdentity with a session policy made of the task's scope.

No AWS credential exists at Remit: STS is shown a federation token, and the role's trust policy names our issuer and
exactly one `sub`. STS sessions last 15 minutes or more; a lease that ends sooner is kept by a condition on the time in
its own session policy. Nobody can take a session back before that, so its kill says when it will be dead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField, NotRecallable
from remit.domain.flow import Json
from remit.domain.lease import Lease, Minted

from . import Tools, text_of
from .federated import endpoint, filled, instant, known, lease_token, send, setting, texts_of, unavailable, written

AUDIENCE = "sts.amazonaws.com"
_ROLE = re.compile(r"arn:aws(-[a-z]+)*:iam::\d{12}:role/[A-Za-z0-9+=,.@_/-]{1,128}\Z")
_ACTION = re.compile(r"[a-z0-9-]{1,64}:[A-Za-z0-9*]{1,128}\Z")
_SHORTEST, _LONGEST, _POLICY = 900, 43_200, 2_048
_SKEW = 60_000


class AwsIssuer:
    """`grants`: `role_arn`, `actions` and `resources` (ARNs; `{parameter}` may stand within).

    Mints `access_key_id`, `secret_access_key`, `session_token`, `expiration` (RFC 3339) and `region`.
    """

    def __init__(self, config: IssuerConfig, tools: Tools) -> None:
        self._tools = tools
        self._region = region = setting(config, "region", r"[a-z]{2}(-[a-z]+)+-\d", "a region such as eu-central-1")
        domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        self._endpoint = endpoint(config, "endpoint", f"https://sts.{region}.{domain}")

    def checked(self, grants: Mapping[str, Json]) -> None:
        """See `ports.Issuer`."""
        if not _ROLE.match(text_of(grants, "role_arn")):
            raise BadField("grants.role_arn", "must be a role's ARN")
        for action in texts_of(grants, "actions"):
            if not _ACTION.match(action) or action.startswith(("iam:", "sts:", "organizations:")):
                raise BadField(
                    "grants.actions", f"{action[:80]!r} is no action such as s3:GetObject, or manages access"
                )
        for resource in texts_of(grants, "resources"):
            if not resource.startswith("arn:aws") or resource.count(":") < 5 or "${" in resource:
                raise BadField("grants.resources", f"{resource[:80]!r} is not an ARN")
        known(grants, "role_arn", "actions", "resources")

    async def mint(self, lease: Lease) -> Minted:
        """See `ports.Issuer`."""
        self.checked(lease.grants)
        token = await lease_token(self._tools, lease, AUDIENCE)
        seconds = max(_SHORTEST, min(_LONGEST, (lease.expires_at - self._tools.clock()) // 1000))
        form = {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": text_of(lease.grants, "role_arn"),
            "RoleSessionName": lease.handle[:64],
            "WebIdentityToken": token,
            "DurationSeconds": str(seconds),
            "Policy": session_policy(lease),
        }
        status, body = await send("POST", self._endpoint + "/", form=form, headers={"Accept": "text/xml"})
        if status != 200:
            raise unavailable(f"STS answered {status}")
        found = _credentials(body)
        if instant(found["expiration"]) > self._tools.clock() + (seconds + 300) * 1000:
            raise unavailable("STS gave a longer life than was asked for")
        return Minted(
            {
                **found,
                "expiration": written(min(lease.expires_at, instant(found["expiration"]))),
                "region": self._region,
            }
        )

    async def kill(self, lease: Lease) -> None:
        """See `ports.Issuer`."""
        over = lease.expires_at + _SKEW
        if self._tools.clock() < over:
            raise NotRecallable("An STS session cannot be taken back; its own policy ends it.", until=over)


def session_policy(lease: Lease) -> str:
    """The inline policy that the session cannot exceed: these actions, on these resources, until the lease's end."""
    resources = [filled(resource, lease, _escaped) for resource in texts_of(lease.grants, "resources")]
    statement = {
        "Effect": "Allow",
        "Action": texts_of(lease.grants, "actions"),
        "Resource": resources,
        "Condition": {"DateLessThan": {"aws:CurrentTime": written(lease.expires_at)}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]}, separators=(",", ":"))
    if len(policy) > _POLICY:
        raise BadField("grants.resources", f"make a session policy of {len(policy)} characters; STS takes {_POLICY}")
    return policy


def _escaped(value: str) -> str:
    """What a parameter holds is a name: IAM's wildcards and variables are written as variables of themselves."""
    return "".join({"*": "${*}", "?": "${?}", "$": "${$}"}.get(character, character) for character in value)


def _credentials(body: bytes) -> dict[str, str]:
    """The answer's credentials. No document type: nothing in it is expanded."""
    if b"<!" in body:
        raise unavailable("the answer has a document type")
    try:
        root: Any = ElementTree.fromstring(body)  # noqa: S314 - bounded, and without a document type
    except ElementTree.ParseError as flaw:
        raise unavailable("the answer is not XML") from flaw
    namespace = root.tag.partition("}")[0] + "}" if "}" in root.tag else ""
    at = f"{namespace}AssumeRoleWithWebIdentityResult/{namespace}Credentials/{namespace}"
    names = {
        "access_key_id": "AccessKeyId",
        "secret_access_key": "SecretAccessKey",
        "session_token": "SessionToken",
        "expiration": "Expiration",
    }
    found = {ours: root.findtext(at + theirs) for ours, theirs in names.items()}
    if not all(found.values()):
        raise unavailable("the answer has no credentials")
    return {name: str(value) for name, value in found.items()}

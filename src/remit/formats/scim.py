"""SCIM 2.0 users (RFC 7643, RFC 7644), as far as they count here: `userName`, `active`, `externalId`, `displayName`.

Directories send more; that is ignored, and kept nowhere. Whatever cannot be read is `BadField`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import ValidationError
from scim2_models import (
    URN,
    AuthenticationScheme,
    Bulk,
    ChangePassword,
    Context,
    ETag,
    Filter,
    ListResponse,
    Meta,
    Patch,
    PatchOp,
    Required,
    Resource,
    ResourceType,
    Schema,
    SCIMException,
    ScimPolicy,
    ServiceProviderConfig,
    Sort,
    Uniqueness,
)

from remit.domain.directory import SAID, Account, DirectoryUser
from remit.domain.errors import BadField

from . import json_input

MOST = 200
_LIMIT, _DEPTH = 65_536, 16
_EQUALS = re.compile(r'\s*userName\s+eq\s+"((?:[^"\\]|\\.)*)"\s*\Z', re.IGNORECASE)
_LENIENT = ScimPolicy(unknown=ScimPolicy.Unknown.ignore)


class User(Resource[Any]):
    """What a directory can say and read here."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:User")

    user_name: Annotated[str | None, Required.true, Uniqueness.server] = None
    display_name: str | None = None
    active: bool | None = None


def said(body: bytes) -> Account:
    """A whole user: created (RFC 7644 section 3.3), or replaced (section 3.5.1). One that says nothing is active."""
    return _account(_read(User, body, Context.RESOURCE_CREATION_REQUEST))


def patched(body: bytes, before: Account | None) -> Account:
    """What it becomes by these operations (RFC 7644 section 3.5.2), all of them or none."""
    before = before or Account("")
    user = User(
        user_name=before.user_name,
        active=before.active,
        external_id=before.external_id or None,
        display_name=before.display_name or None,
    )
    wanted = _read(PatchOp[User], body, Context.RESOURCE_PATCH_REQUEST)
    try:
        wanted.patch(user, scim_policy=_LENIENT)
    except (ValidationError, SCIMException) as bad:
        raise BadField("Operations", _flaw(bad)) from bad
    return _account(user)


def named(text: str) -> str | None:
    """The `userName` that a filter asks for; None where there is no filter. No other is offered (section 3.4.2.2)."""
    if not text:
        return None
    match = _EQUALS.match(text)
    if match is None:
        raise BadField("filter", 'can only be userName eq "…"')
    name = json_input.parse(f'"{match[1]}"'.encode(), limit=_LIMIT)
    return str(name)


def user(row: DirectoryUser, base: str) -> dict[str, Any]:
    """A user as it is read again."""
    said_ = row.account
    found = User(
        id=row.id,
        user_name=said_.user_name,
        active=said_.active,
        external_id=said_.external_id or None,
        display_name=said_.display_name or None,
        meta=Meta(
            resource_type="User",
            created=_instant(row.created_at),
            last_modified=_instant(row.changed_at),
            location=f"{base}/Users/{row.id}",
        ),
    )
    return found.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE)


def listed(found: Sequence[dict[str, Any]], total: int, start: int) -> dict[str, Any]:
    """A page of what was asked for (RFC 7644 section 3.4.2)."""
    shown = {"totalResults": total, "startIndex": start, "itemsPerPage": len(found), "Resources": list(found)}
    return {"schemas": [str(ListResponse.__schema__)], **shown}


def provider(base: str) -> dict[str, Any]:
    """What is offered (RFC 7643 section 5): no bulk, no sorting, no versions, one filter."""
    scheme = AuthenticationScheme(
        type=AuthenticationScheme.Type.oauthbearertoken, name="Bearer key", description="remit key create directory"
    )
    found = ServiceProviderConfig(
        patch=Patch(supported=True),
        bulk=Bulk(supported=False, max_operations=0, max_payload_size=0),
        filter=Filter(supported=True, max_results=MOST),
        change_password=ChangePassword(supported=False),
        sort=Sort(supported=False),
        etag=ETag(supported=False),
        authentication_schemes=[scheme],
        meta=Meta(resource_type="ServiceProviderConfig", location=f"{base}/ServiceProviderConfig"),
    )
    return found.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE)


def schema(base: str) -> dict[str, Any]:
    """What a user is here (RFC 7643 section 7)."""
    found: Schema = User.to_schema()
    found.meta = Meta(resource_type="Schema", location=f"{base}/Schemas/{User.__schema__}")
    return found.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE)


def resource_type(base: str) -> dict[str, Any]:
    """Where users are (RFC 7643 section 6)."""
    found = ResourceType.from_resource(User)
    found.meta = Meta(resource_type="ResourceType", location=f"{base}/ResourceTypes/User")
    return found.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE)


def _read(kind: Any, body: bytes, context: Context) -> Any:
    value = json_input.parse(body, limit=_LIMIT, depth=_DEPTH)
    try:
        return kind.model_validate(value, scim_ctx=context, scim_policy=_LENIENT)
    except (ValidationError, SCIMException) as bad:
        raise BadField("body", _flaw(bad)) from bad


def _flaw(bad: Exception) -> str:
    if isinstance(bad, ValidationError):
        first = bad.errors(include_url=False, include_input=False, include_context=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"[:300]
    return str(bad)[:300]


def _account(found: User) -> Account:
    texts = (found.user_name or "", found.external_id or "", found.display_name or "")
    if not texts[0] or any(len(text) > SAID or not text.isprintable() for text in texts):
        raise BadField("userName", f"and every text must be printable, and at most {SAID} characters")
    return Account(texts[0], found.active is not False, texts[1], texts[2])


def _instant(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC)

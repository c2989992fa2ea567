"""SCIM 2.0 (RFC 7644): where a directory says who is here. It needs `remit[scim]`, and a key of its own."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Any

from starlette.responses import Response

from remit.domain.caller import Call
from remit.domain.directory import DirectoryUser
from remit.domain.errors import Absent, BadField, Refusal, Unavailable, WrongState
from remit.verbs import provision as verb

from .house import Asked, House
from .problems import HEADERS, json_response

MEDIA = "application/scim+json"
PAGE, MOST = 200, 10_000_000
PREFIX = "/scim/"
_ERROR = ["urn:ietf:params:scim:api:messages:2.0:Error"]


def _format() -> ModuleType:
    try:
        from remit.formats import scim
    except ImportError as missing:
        raise Unavailable("Nothing here can read SCIM.", next_step="pip install 'remit[scim]'") from missing
    return scim


def _base(house: House) -> str:
    return f"{house.url}/scim/v2"


def _answer(value: Any, status: int = 200, location: str = "") -> Response:
    return json_response(value, status, headers={"Location": location} if location else None, media=MEDIA)


async def create(house: House, call: Call, asked: Asked) -> Response:
    """An account that was not there before (section 3.3)."""
    scim = _format()
    account = scim.said(asked.body)
    row = await verb.provision(house.env, call, lambda _: account)
    return _answer(scim.user(row, _base(house)), 201, f"{_base(house)}/Users/{row.id}")


async def show(house: House, call: Call, asked: Asked) -> Response:
    """One account (section 3.4.1)."""
    row = await verb.found(house.env, call, asked.path["user"])
    return _answer(_only(asked, _format().user(row, _base(house))))


async def search(house: House, call: Call, asked: Asked) -> Response:
    """Accounts of this directory, or the one with a `userName` (section 3.4.2)."""
    scim = _format()
    wanted = scim.named(asked.query.get("filter", ""))
    count, start = min(asked.whole("count", PAGE, most=MOST), PAGE), max(1, asked.whole("startIndex", 1, most=MOST))
    if wanted is not None:
        one = await verb.named(house.env, call, wanted)
        rows = [one] if one is not None else []
    else:
        rows = await _all(house, call)
    page = rows[start - 1 : start - 1 + count]
    shown = [_only(asked, scim.user(row, _base(house))) for row in page]
    return _answer(scim.listed(shown, len(rows), start))


async def _all(house: House, call: Call) -> list[DirectoryUser]:
    found: list[DirectoryUser] = []
    where = {"directory": call.caller.name}
    while page := await house.env.store.find(DirectoryUser, where, after=found[-1].key if found else "", limit=1000):
        found += page
    return [row for row in found if not row.deleted_at]


async def replace(house: House, call: Call, asked: Asked) -> Response:
    """The whole account anew (section 3.5.1)."""
    scim = _format()
    account = scim.said(asked.body)
    row = await verb.provision(house.env, call, lambda _: account, asked.path["user"])
    return _answer(scim.user(row, _base(house)))


async def patch(house: House, call: Call, asked: Asked) -> Response:
    """Parts of the account (section 3.5.2)."""
    scim = _format()
    row = await verb.provision(house.env, call, lambda was: scim.patched(asked.body, was), asked.path["user"])
    return _answer(scim.user(row, _base(house)))


async def delete(house: House, call: Call, asked: Asked) -> Response:
    """The account is gone (section 3.6)."""
    await verb.remove(house.env, call, asked.path["user"])
    return Response(status_code=204, headers=HEADERS)


async def provider(house: House, call: Call, asked: Asked) -> Response:
    """What is offered (section 4)."""
    return _answer(_format().provider(_base(house)))


async def schemas(house: House, call: Call, asked: Asked) -> Response:
    """What users are here."""
    scim = _format()
    return _answer(scim.listed([scim.schema(_base(house))], 1, 1))


async def schema(house: House, call: Call, asked: Asked) -> Response:
    """One of them."""
    return _one(asked, _format().schema(_base(house)))


async def resource_types(house: House, call: Call, asked: Asked) -> Response:
    """Where users are."""
    scim = _format()
    return _answer(scim.listed([scim.resource_type(_base(house))], 1, 1))


async def resource_type(house: House, call: Call, asked: Asked) -> Response:
    """One of them."""
    return _one(asked, _format().resource_type(_base(house)))


def _one(asked: Asked, found: dict[str, Any]) -> Response:
    if asked.path["id"] != found["id"]:
        raise Absent(inside=asked.path["id"][:100])
    return _answer(found)


def _only(asked: Asked, found: dict[str, Any]) -> dict[str, Any]:
    """The attributes that were asked for (section 3.9); `schemas` and `id` always."""
    kept = {name.strip().casefold() for name in asked.query.get("attributes", "").split(",") if name.strip()}
    left = {name.strip().casefold() for name in asked.query.get("excludedAttributes", "").split(",") if name.strip()}
    always = {"schemas", "id"}
    return {
        name: value
        for name, value in found.items()
        if name in always or (_said(name, kept) if kept else not _said(name, left))
    }


def _said(name: str, names: set[str]) -> bool:
    full = f"urn:ietf:params:scim:schemas:core:2.0:user:{name.casefold()}"
    return any(one.partition(".")[0] == name.casefold() or one == full for one in names)


def refused(refusal: Refusal) -> Response:
    """A refusal as directories read it (section 3.12)."""
    kind = ""
    if isinstance(refusal, BadField):
        kind = "invalidFilter" if refusal.field == "filter" else "invalidValue"
    elif isinstance(refusal, WrongState):
        kind = "uniqueness"
    found = {"schemas": _ERROR, "status": str(refusal.status), "detail": str(refusal)[:500]}
    return json_response({**found, **({"scimType": kind} if kind else {})}, refusal.status, media=MEDIA)


def not_allowed(methods: Iterable[str]) -> Response:
    """What a path of the standard says to another method (RFC 7644 section 3.12)."""
    found = {"schemas": _ERROR, "status": "405", "detail": "This is not offered here."}
    return json_response(found, 405, headers={"Allow": ", ".join(sorted(methods))}, media=MEDIA)


async def across(house: House, call: Call, asked: Asked) -> Response:
    """Searching several kinds of resources at once (section 3.4.3), where there is one kind."""
    return json_response({"schemas": _ERROR, "status": "501", "detail": "Search below /Users."}, 501, media=MEDIA)

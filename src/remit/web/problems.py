"""Refusals as problem documents (RFC 9457). `inside` stays inside, in the server's own log."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from remit.domain.errors import BadCatalogue, BadField, Denied, Held, NotHome, Refusal, Unauthenticated

HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


def json_response(
    value: Any, status: int = 200, *, headers: dict[str, str] | None = None, media: str = "application/json"
) -> Response:
    """Render; nothing here is ever cached by anybody."""
    return Response(msgspec.json.encode(value), status, {**HEADERS, **(headers or {})}, media_type=media)


def text_response(value: str | bytes, *, media: str = "text/plain; charset=utf-8", status: int = 200) -> Response:
    """Plain text or bytes."""
    return Response(value, status, dict(HEADERS), media_type=media)


def problem(refusal: Refusal) -> Response:
    """The one error shape."""
    document: dict[str, Any] = {
        "type": f"/errors/{refusal.code}",
        "title": refusal.title,
        "status": refusal.status,
        "detail": refusal.message,
        "code": refusal.code,
    }
    if refusal.next_step:
        document["next_step"] = refusal.next_step
    match refusal:
        case BadField():
            document["field"] = refusal.field
        case BadCatalogue():
            document |= {"file": refusal.file, "line": refusal.line}
        case Denied():
            document["reasons"] = refusal.reasons
        case Held():
            document["approval"] = refusal.approval
        case NotHome():
            document["home"] = refusal.home
        case _:
            pass
    headers = {"WWW-Authenticate": 'DPoP algs="ES256 EdDSA", Bearer'} if isinstance(refusal, Unauthenticated) else {}
    return json_response(document, refusal.status, headers=headers, media="application/problem+json")

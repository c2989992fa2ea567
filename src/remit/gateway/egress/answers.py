"""What an egress says: its own refusals, and of an origin's answer what an agent may be given."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from remit.domain.errors import Refusal
from remit_client import Denied, Held, Refused, RemitError

from .purse import Credential

MARK = "Remit-Decision"
# Of an origin's headers only these pass: none sets a cookie, or speaks in our name.
_GIVEN = frozenset(
    {
        *("content-type", "content-language", "content-disposition", "content-range", "accept-ranges", "allow", "age"),
        *("cache-control", "date", "etag", "expires", "last-modified", "vary", "link", "location", "retry-after"),
        *("x-request-id", "request-id", "x-total-count", "deprecation", "sunset", "warning"),
    }
)
_GIVEN_PREFIXES = ("x-ratelimit-", "ratelimit-", "ratelimit", "x-rate-limit-")
_LONGEST = 8192
_ASKS: Mapping[int, list[tuple[str, str]]] = {
    401: [("www-authenticate", 'DPoP algs="ES256 EdDSA"')],
    407: [("proxy-authenticate", 'Basic realm="remit"')],
}


@dataclass
class Answer:
    """`more` goes on after `body`; `length` is its whole length when that is known."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    more: AsyncIterator[bytes] | None = None
    length: int | None = field(default=None)

    async def send(self, method: str, send: Any) -> None:
        """As ASGI."""
        headers = list(self.headers)
        if self.more is None and self.status not in (204, 304):
            headers.append(("content-length", str(len(self.body) if self.length is None else self.length)))
        coded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await send({"type": "http.response.start", "status": self.status, "headers": coded})
        if self.more is not None:
            if self.body:
                await send({"type": "http.response.body", "body": self.body, "more_body": True})
            async for chunk in self.more:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        body = b"" if self.more is not None or method == "HEAD" or self.status in (204, 304) else self.body
        await send({"type": "http.response.body", "body": body, "more_body": False})


def problem(
    status: int, decision: str, title: str, detail: str, *, headers: Sequence[tuple[str, str]] = (), **more: Any
) -> Answer:
    """RFC 9457, marked as ours: an origin cannot send the header that says so."""
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    named = [(MARK, decision), ("content-type", "application/problem+json"), ("cache-control", "no-store"), *headers]
    return Answer(status, named, json.dumps({k: v for k, v in document.items() if v}).encode())


def of_error(error: Exception) -> Answer:
    """A refusal on the way in. It names no policy; what it says a model can act on."""
    match error:
        case Held():
            said = f"A person must agree first ({', '.join(error.approvers)}). Their page: {error.url} "
            said += "When they have agreed, send exactly the same request again."
            approval = {"id": error.approval, "url": error.url}
            return problem(
                403,
                "hold",
                "Held for a person",
                said,
                code="RMT-3003",
                approval=approval,
                headers=[("retry-after", "30")],
            )
        case Denied():
            step = error.next_step
            return problem(403, "deny", "Denied", error.message, reasons=list(error.reasons), next_step=step)
        case Refusal():
            return problem(
                error.status,
                "deny",
                error.title,
                error.message,
                code=error.code,
                next_step=error.next_step,
                headers=_ASKS.get(error.status, []),
            )
        case Refused():
            return problem(403, "deny", "Refused", error.message, code=error.code, next_step=error.next_step)
        case RemitError():
            said = f"Nothing was sent: {error.message}"
            return problem(503, "unavailable", "No decision", said, code=error.code, next_step=error.next_step)
        case _:
            return problem(500, "unavailable", "Internal error", "Nothing is given.")


def unusable(detail: str) -> Answer:
    """What came back is not given. The request was sent, and may have acted."""
    return problem(502, "withheld", "The answer is withheld", f"{detail} Whether the request acted is not known.")


def passed_on(
    found: Sequence[tuple[bytes, bytes]], credential: Credential, origin: str, base: str
) -> list[tuple[str, str]]:
    """The headers an agent is given: known ones, once each way, without the credential; ours is `permit`."""
    given = [(MARK, "permit")]
    for raw_name, raw_value in found:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name not in _GIVEN and not name.startswith(_GIVEN_PREFIXES):
            continue
        if len(value) > _LONGEST or credential.shows_in(raw_name + b": " + raw_value):
            continue
        if name == "location" and base and (value == origin or value.startswith(f"{origin}/")):
            value = base + value[len(origin) :]
        elif name == "location" and base and value.startswith("/") and not value.startswith("//"):
            value = base + value
        given.append((name, value))
    return given


def header(found: Sequence[tuple[bytes, bytes]], name: bytes) -> str:
    """The first of this name, lower case, or empty."""
    return next((value.decode("latin-1") for key, value in found if key.lower() == name), "").strip().lower()


def shown(content_type: str, data: bytes, status: int) -> Any:
    """An answer as it is observed: JSON as JSON, text as text, anything else described."""
    media, _, parameters = content_type.partition(";")
    charset = dict(_parameter(p) for p in parameters.split(";")).get("charset", "utf-8")
    for coding in ("utf-8", charset if charset in ("iso-8859-1", "latin-1", "windows-1252", "utf-16") else "utf-8"):
        try:
            text = data.decode(coding)
        except UnicodeDecodeError:
            continue
        return _json(text) if media.strip().endswith("json") else text
    return described(content_type, status, len(data))


def described(content_type: str, status: int, length: int | None) -> Mapping[str, Any]:
    """Instead of bytes that are no text: nothing in them can be traced to an argument later."""
    return {"not_text": content_type[:200], "status": status, **({} if length is None else {"bytes": length})}


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.strip().partition("=")
    return name.strip(), value.strip().strip('"')


def _json(text: str) -> Any:
    try:
        found = json.loads(text)
        json.dumps(found, allow_nan=False)
        return found
    except (ValueError, RecursionError):
        return text

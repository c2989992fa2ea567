"""How an agent comes in, and where it wants to go: one reading of a request's target, or none.

A reverse route names the origin in the path: `/api.example/v1/…` is `https://api.example/v1/…`. The explicit proxy's
form (RFC 9112 section 3.2.2) is for the one program that this process has started, which has a secret of this process
alone.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from remit.domain.errors import BadField, NoCredentials, ProxyAuthNeeded
from remit.formats import http_origin

from ..callers import Callers

_ABSOLUTE = re.compile(r"http://([^/?#]*)(/.*)?\Z", re.DOTALL)
Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Visit:
    """An authenticated task's request. `authority` is as asked for, and may be of no origin we know.

    `scheme` is empty where the path named the authority alone. `base` comes before the path where the agent sees it.
    """

    task: str
    who: str
    method: str
    scheme: str
    authority: str
    path: str
    query: str
    headers: Headers
    base: str = ""


class Door(Protocol):
    """Who may come in."""

    async def enter(self, scope: Mapping[str, Any], tunnel: str) -> Visit:
        """Raises `Unauthenticated`, `BadField`, `RemitError`. `tunnel` is the authority of an opened CONNECT."""
        ...


def headers_of(scope: Mapping[str, Any]) -> Headers:
    """Latin-1, lower-case names; `BadField` for what two readers of HTTP could frame in two ways."""
    found = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
    names = [name for name, _ in found]
    if "transfer-encoding" in names and ("content-length" in names or names.count("transfer-encoding") > 1):
        raise BadField("transfer-encoding", "a request has one length")
    for name in ("authorization", "dpop", "host", "content-length", "content-type", "proxy-authorization"):
        if names.count(name) > 1:
            raise BadField(name, "is there more than once")
    if "upgrade" in names:
        raise BadField("upgrade", "only plain HTTP passes")
    return found


class Reverse:
    """For agents that hold a key: a token of their task for `callers.resource`, and a proof for the URL they call."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers
        self._base = callers.resource.rstrip("/")
        self._authority = self._base.partition("://")[2]

    async def enter(self, scope: Mapping[str, Any], tunnel: str) -> Visit:
        headers = headers_of(scope)
        raw, query = _target(scope)
        if not raw.startswith("/"):
            raise BadField("target", "an explicit proxy is only served to what `remit egress -- COMMAND` starts")
        if dict(headers).get("host", "").lower() != self._authority:
            raise BadField("host", f"this is {self._authority}")
        now = time.time_ns() // 1_000_000
        caller = await self._callers.caller(scope["method"], dict(headers), now, self._base + raw)
        authority, path = _named(raw)
        base = f"{self._base}/{authority}"
        return Visit(caller.task, caller.who, scope["method"], "", authority, path, query, headers, base)


class Inside:
    """For one program of one task: it knows `secret`, from its environment."""

    def __init__(self, task: str, secret: str, authority: str) -> None:
        self._task = task
        self._secret = secret
        self._authority = authority

    def proxy_url(self) -> str:
        """For HTTP_PROXY and its like."""
        return f"http://remit:{self._secret}@{self._authority}"

    def base_url(self, origin: str, path: str = "") -> str:
        """For a program's own base URL setting."""
        return f"http://{self._authority}/{self._secret}/{origin.partition('://')[2]}{path}"

    async def enter(self, scope: Mapping[str, Any], tunnel: str) -> Visit:
        headers = headers_of(scope)
        raw, query = _target(scope)
        host = dict(headers).get("host", "").lower()
        if tunnel:  # inside TLS that we ended; who opened the tunnel had the secret
            if not raw.startswith("/") or host not in (tunnel, tunnel.removesuffix(":443")):
                raise BadField("host", "is not what the tunnel was opened for")
            return self._visit(scope, "https", tunnel.removesuffix(":443"), raw, query, headers)
        if scope["method"] == "CONNECT":
            self._needs_secret(headers)
            return self._visit(scope, "https", raw.lower(), "", "", headers)
        absolute = _ABSOLUTE.match(raw)
        if absolute:
            self._needs_secret(headers)
            authority, raw = absolute[1].lower(), absolute[2] or "/"
            if host != authority:
                raise BadField("host", "is not that of the request's target")
            if authority != self._authority:
                return self._visit(scope, "http", authority, raw, query, headers)
        elif host != self._authority:
            raise BadField("host", f"this is {self._authority}")
        secret, rest = _named(raw)
        if not hmac.compare_digest(secret.encode("latin-1"), self._secret.encode()):
            raise NoCredentials("This is another program's.", next_step="Use the address that this program was given.")
        authority, path = _named(rest)
        base = f"http://{self._authority}/{self._secret}/{authority}"
        return self._visit(scope, "", authority, path, query, headers, base)

    def _visit(
        self,
        scope: Mapping[str, Any],
        scheme: str,
        authority: str,
        path: str,
        query: str,
        headers: Headers,
        base: str = "",
    ) -> Visit:
        return Visit(self._task, self._task, scope["method"], scheme, authority, path, query, headers, base)

    def _needs_secret(self, headers: Headers) -> None:
        scheme, _, coded = dict(headers).get("proxy-authorization", "").partition(" ")
        try:
            said = base64.b64decode(coded.strip(), validate=True) if scheme.lower() == "basic" else b""
        except (binascii.Error, ValueError):
            said = b""
        if not hmac.compare_digest(said, f"remit:{self._secret}".encode()):
            raise ProxyAuthNeeded("This proxy is another program's.", next_step="Use the proxy this program was given.")


def _target(scope: Mapping[str, Any]) -> tuple[str, str]:
    """(path or absolute form, query), not decoded."""
    raw, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
    if "#" in raw or "#" in query:
        raise BadField("target", "has a fragment")
    return raw, query


def _named(raw: str) -> tuple[str, str]:
    """`/first/rest…` → (`first`, `/rest…`), not decoded: what names an origin has one spelling."""
    first, slash, rest = raw[1:].partition("/")
    return first, slash + rest


def origin_of(visit: Visit, origins: Mapping[str, str]) -> str:
    """The catalogue's origin, or empty. A default port may be said; nothing else is forgiven."""
    try:
        if visit.scheme:
            asked = http_origin.of_authority(visit.scheme, visit.authority)
            return str(asked) if origins.get(asked.authority) == str(asked) else ""
    except BadField:
        return ""
    return origins.get(visit.authority, "")

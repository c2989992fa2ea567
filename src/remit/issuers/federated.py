"""What issuers of clouds share: a token that says for whom, and one guarded request. No cloud secret exists here."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField, IssuerUnavailable, Refusal, WrongState
from remit.domain.flow import Json
from remit.domain.lease import Lease
from remit.domain.task import Task
from remit.formats import json_input
from remit.formats.federation_token import FederationToken, encode
from remit.formats.jws import SigningKey

from . import Tools

SIZE_LIMIT = 256 * 1024
TIMEOUT = 10.0
_TOKEN_TTL = 300_000
_MARGIN = 5_000
_HOLE = re.compile(r"\{([a-z_][a-z0-9_]*)\}")


def endpoint(config: IssuerConfig, name: str, default: str) -> str:
    """The setting `name`, an https:// origin (http on loopback, for tests), or the cloud's own address."""
    value = config.settings.get(name, default)
    parts = urlsplit(value) if isinstance(value, str) else urlsplit("")
    local = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if not (parts.scheme == "https" or (parts.scheme == "http" and local)) or not parts.hostname or parts.username:
        raise BadField(name, "must be an https:// URL without user information")
    if parts.query or parts.fragment:
        raise BadField(name, "has no query and no fragment")
    return str(value).rstrip("/")


@cache
def trusted() -> ssl.SSLContext:
    """The public authorities, read once: it takes tens of milliseconds in which nothing else is answered."""
    return httpx.create_ssl_context(trust_env=False)


async def lease_token(tools: Tools, lease: Lease, audience: str) -> str:
    """A federation token for one lease; `WrongState` when it is too late to mint."""
    if tools.clock() >= min(lease.mint_until - _MARGIN, lease.expires_at):
        raise WrongState("It is too late to mint this lease.", next_step="Ask for a new one.")
    task = await tools.reader.get(Task, lease.task)
    if task is None:
        raise WrongState("The task is gone.")
    return federation_token(tools, audience, lease.agent, task.purpose, lease.task, lease.handle)


def federation_token(
    tools: Tools, audience: str, agent: str = "", purpose: str = "", task: str = "", jti: str = ""
) -> str:
    """Sign who asks, for one audience and five minutes. Without an agent it is Remit itself (`sub` is `remit`)."""
    now = tools.clock()
    said = FederationToken(
        issuer=tools.issuer_url,
        audience=audience,
        agent=agent,
        purpose=purpose,
        task=task,
        jti=jti or f"remit_{now}",
        issued_at=now,
        expires_at=now + _TOKEN_TTL,
    )
    kid = tools.signer.signing("federation")
    return encode(said, SigningKey(kid, "RS256", lambda data: tools.signer.sign("federation", data, kid).value))


async def send(
    method: str,
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    body: Any = None,
    bearer: str = "",
    headers: Mapping[str, str] | None = None,
    verify: ssl.SSLContext | None = None,
) -> tuple[int, bytes]:
    """Status and body of one request, in bounded time and memory; no redirects, no proxies of the environment."""
    said = {"Accept": "application/json", "Accept-Encoding": "identity", **(headers or {})}
    if bearer:
        said["Authorization"] = f"Bearer {bearer}"
    content = None
    if form is not None:
        said["Content-Type"], content = "application/x-www-form-urlencoded", urlencode(form)
    elif body is not None:
        said["Content-Type"], content = "application/json", json.dumps(body)
    try:
        async with (
            asyncio.timeout(TIMEOUT),
            httpx.AsyncClient(
                trust_env=False, follow_redirects=False, timeout=TIMEOUT, verify=verify or trusted()
            ) as client,
            client.stream(method, url, headers=said, content=content) as response,
        ):
            answer = bytearray()
            async for chunk in response.aiter_raw():
                answer += chunk
                if len(answer) > SIZE_LIMIT:
                    raise unavailable("the answer is too long")
            return response.status_code, bytes(answer)
    except (OSError, TimeoutError, httpx.HTTPError, ValueError) as failure:
        raise unavailable(type(failure).__name__) from failure


def answer_of(body: bytes) -> Mapping[str, Any]:
    """A JSON object, or `IssuerUnavailable`."""
    try:
        value = json_input.parse(body, limit=SIZE_LIMIT)
    except Refusal as refusal:
        raise unavailable("the answer is not JSON") from refusal
    if not isinstance(value, Mapping):
        raise unavailable("the answer is no object")
    return value


def member(body: bytes, *path: str) -> str:
    """A text in a JSON answer, or `IssuerUnavailable`."""
    value: Any = answer_of(body)
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    if not isinstance(value, str) or not 0 < len(value) <= 16_384:
        raise unavailable(f"the answer has no {'.'.join(path)}")
    return value


def texts_of(grants: Mapping[str, Json], key: str, *, most: int = 50, least: int = 1) -> list[str]:
    """A list of texts in a credential's grants, or `BadField`."""
    values = grants.get(key, ())
    if not isinstance(values, list | tuple) or not least <= len(values) <= most:
        raise BadField(f"grants.{key}", f"must be {least} to {most} texts")
    if not all(isinstance(value, str) and 0 < len(value) <= 1024 and value.isprintable() for value in values):
        raise BadField(f"grants.{key}", "must be texts without control characters")
    return [str(value) for value in values]


def known(grants: Mapping[str, Json], *keys: str) -> None:
    """Raise `BadField` for a key that is none of these."""
    for key in grants.keys() - set(keys):
        raise BadField(f"grants.{key}", f"is not known here; known: {', '.join(keys)}")


def setting(config: IssuerConfig, name: str, shape: str, what: str) -> str:
    """A setting that must match `shape`."""
    value = config.settings.get(name, "")
    if not isinstance(value, str) or not re.fullmatch(shape, value, re.ASCII):
        raise BadField(name, f"must be {what}")
    return value


def seconds_of(body: bytes, name: str, most: int) -> int:
    """A life in seconds in a JSON answer, no longer than was asked for; or `IssuerUnavailable`."""
    value = answer_of(body).get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= most:
        raise unavailable(f"{name} is not there, or longer than was asked for")
    return value


def instant(text: str) -> int:
    """An RFC 3339 instant in UTC, as ms, or `IssuerUnavailable`."""
    try:
        return int(
            datetime.strptime(text.partition(".")[0].rstrip("Z"), "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp()
            * 1000
        )
    except ValueError as flaw:
        raise unavailable("the answer's expiry cannot be read") from flaw


def written(ms: int) -> str:
    """An instant as RFC 3339, whole seconds."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def filled(text: str, lease: Lease, escape: Callable[[str], str]) -> str:
    """Put the task's parameters where `{name}` stands, escaped; one that was not stated is `WrongState`."""

    def fill(hole: re.Match[str]) -> str:
        if hole[1] not in lease.parameters:
            raise WrongState(f"The grants need parameter {hole[1]}, which was not stated.")
        return escape(lease.parameters[hole[1]])

    return _HOLE.sub(fill, text)


def unavailable(inside: str) -> IssuerUnavailable:
    """The cloud's own words stay out: they may quote what was sent."""
    return IssuerUnavailable("The cloud did not do it.", next_step="See `remit doctor`.", inside=inside)

"""What a server asks of the agent's side while it answers a call: nothing, unless the catalogue says that it may."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import mcp_types as types
from mcp import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS


@dataclass(frozen=True)
class Face:
    """What a server sees of the agent's side: which MCP it speaks, and what it can be asked for."""

    legacy: bool = False
    can: tuple[str, ...] = ()


def face_of(front: Any) -> Face:
    """As the client of this request says."""
    found = front.session.client_capabilities
    can = [name for name in ("elicitation", "sampling") if getattr(found, name, None) is not None]
    return Face(front.protocol_version not in MODERN_PROTOCOL_VERSIONS, tuple(can))


REFUSED = types.ErrorData(code=types.INVALID_REQUEST, message="Nobody here answers that.")


class Relay:
    """Elicitation and sampling go to the call that is being answered, if the server's entry has them in `asks`.

    Roots are never told. A URL is passed on only if it is http or https: a browser runs other schemes.
    """

    def __init__(self, asks: Sequence[str]) -> None:
        self.asks = tuple(asks)
        self._fronts: list[Any] = []

    def callbacks(self) -> dict[str, Any]:
        """For the SDK's client, which declares to the server the capabilities that it gets here."""
        found: dict[str, Any] = {}
        if "elicitation" in self.asks:
            found["elicitation_callback"] = self._asked
        if "sampling" in self.asks:
            found["sampling_callback"] = self._asked
        return found

    @contextmanager
    def answering(self, front: Any) -> Iterator[None]:
        """While a call of `front` is being answered, what the server asks is asked there."""
        if front is None:
            yield
            return
        self._fronts.append(front)
        try:
            yield
        finally:
            self._fronts.remove(front)

    async def _asked(self, ctx: Any, params: Any) -> Any:
        if not self._fronts:
            return REFUSED
        return await ask(self._fronts[-1], params)

    def may_ask(self, request: Any) -> bool:
        """Whether an `inputRequests` entry is one that this server may have answered."""
        kinds: dict[Any, str] = {types.ElicitRequest: "elicitation", types.CreateMessageRequest: "sampling"}
        kind = kinds.get(type(request), "")
        return kind in self.asks and _is_harmless(request.params)


async def ask(front: Any, params: Any) -> Any:
    """Ask the agent's side over its own connection; 2026-07-28 has no such way, and gets `input_required` instead."""
    if not _is_harmless(params) or not front.session.can_send_request:
        return REFUSED
    kind: Any = types.ElicitRequest
    result: Any = types.ElicitResult
    if isinstance(params, types.CreateMessageRequestParams):
        kind, result = types.CreateMessageRequest, types.CreateMessageResult
    try:
        meant = ServerMessageMetadata(related_request_id=front.request_id)
        return await front.session.send_request(kind(params=params), result, metadata=meant)
    except MCPError as error:
        return types.ErrorData(code=error.code, message="The agent's side refused.")


def _is_harmless(params: Any) -> bool:
    if not isinstance(params, types.ElicitRequestURLParams):
        return True
    try:
        parts = urlsplit(params.url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc

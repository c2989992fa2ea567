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

from .heard import Heard


@dataclass(frozen=True)
class Face:
    """What a server sees of the agent's side: which MCP it speaks, and what it can be asked for."""

    legacy: bool = False
    can: tuple[str, ...] = ()


def face_of(front: Any) -> Face:
    """As the client of this request says."""
    found = front.session.client_capabilities
    can = [name for name in ("elicitation", "sampling", "roots") if getattr(found, name, None) is not None]
    return Face(front.protocol_version not in MODERN_PROTOCOL_VERSIONS, tuple(can))


REFUSED = types.ErrorData(code=types.INVALID_REQUEST, message="Nobody here answers that.")


class Relay:
    """Elicitation, sampling and roots go to the call that is being answered, if the server's entry has them in `asks`.

    A URL is passed on only if it is http or https: a browser runs other schemes.
    """

    def __init__(self, asks: Sequence[str]) -> None:
        self.asks = tuple(asks)
        self.heard = Heard()
        self._fronts: list[Any] = []

    def callbacks(self) -> dict[str, Any]:
        """For the SDK's client, which declares to the server the capabilities that it gets here."""
        found: dict[str, Any] = {"logging_callback": self.heard.logged, "message_handler": self.heard.noticed}
        if "elicitation" in self.asks:
            found["elicitation_callback"] = self._elicited
        if "sampling" in self.asks:
            found["sampling_callback"] = self._sampled
        if "roots" in self.asks:
            found["list_roots_callback"] = self._rooted
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

    async def _elicited(self, ctx: Any, params: Any) -> Any:
        return await self._asked(types.ElicitRequest(params=params))

    async def _sampled(self, ctx: Any, params: Any) -> Any:
        return await self._asked(types.CreateMessageRequest(params=params))

    async def _rooted(self, ctx: Any) -> Any:
        return await self._asked(types.ListRootsRequest())

    async def _asked(self, request: Any) -> Any:
        return await ask(self._fronts[-1], request) if self._fronts else REFUSED

    def may_ask(self, request: Any) -> bool:
        """Whether an `inputRequests` entry is one that this server may have answered."""
        kind, _ = _KINDS.get(type(request), ("", None))
        return kind in self.asks and _is_harmless(request.params)


_KINDS: dict[Any, tuple[str, Any]] = {
    types.ElicitRequest: ("elicitation", types.ElicitResult),
    types.CreateMessageRequest: ("sampling", types.CreateMessageResult),
    types.ListRootsRequest: ("roots", types.ListRootsResult),
}


async def ask(front: Any, request: Any) -> Any:
    """Ask the agent's side over its own connection; 2026-07-28 has no such way, and gets `input_required` instead."""
    if not _is_harmless(request.params) or not front.session.can_send_request:
        return REFUSED
    try:
        meant = ServerMessageMetadata(related_request_id=front.request_id)
        return await front.session.send_request(request, _KINDS[type(request)][1], metadata=meant)
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

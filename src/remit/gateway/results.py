"""What an agent is told: a server's own answer, checked and bounded, or ours, which says what to do next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import mcp_types as types

from remit_client import Denied, Held, RemitError, Unreachable

from .asks import OBSERVED_LIMIT
from .processes import MESSAGE_LIMIT
from .secrets import Injected

REPLAYED = "remit/replayed"


def refusal(decision: str, text: str, more: Mapping[str, Any]) -> types.CallToolResult:
    """Our own words, with the same for programs under `remit`."""
    structured = {"remit": {"decision": decision, **more}}
    content: list[Any] = [types.TextContent(type="text", text=text)]
    return types.CallToolResult(content=content, structured_content=json.loads(json.dumps(structured)), is_error=True)


def held(found: Held, note: str = "") -> types.CallToolResult:
    """What waits, for whom, where, and how to resume."""
    said = f"Held: a person must agree first ({', '.join(found.approvers)}). Their page: {found.url} "
    said += "When they have agreed, call again with exactly the same arguments."
    approval = {"id": found.approval, "url": found.url, "approvers": list(found.approvers)}
    return refusal("hold", f"{said} {note}".strip(), {"approval": approval})


def refused(error: RemitError) -> types.CallToolResult:
    """A denial, or no answer, which is one too."""
    if isinstance(error, Denied):
        said = f"Denied ({', '.join(error.reasons)}): {error}"
        failed_ = {"failed": True} if "server_failed" in error.reasons else {}
        return refusal("deny", said, {"reasons": list(error.reasons), **failed_})
    if isinstance(error, Unreachable):
        return refusal("deny", f"Denied, because Remit gave no answer. {error}", {"reasons": ["unreachable"]})
    return refusal("deny", f"Denied: {error}", {"reasons": [error.code or "refused"]})


def failed(said: str, decision: str = "permit") -> types.CallToolResult:
    """It was permitted, and what came of it cannot be given."""
    return refusal(decision, said, {"failed": True})


def flaw(result: Any, secret: Injected) -> str:
    """Why this answer of a server is dropped; empty when it is not."""
    said = result.model_dump_json()
    if len(said) > MESSAGE_LIMIT:
        return f"The tool answered more than {MESSAGE_LIMIT} bytes."
    if secret.shows_in(said):
        return "The tool answered with a secret; its answer was dropped."
    if _poses_as_remit(getattr(result, "structured_content", None)):
        return "The tool answered in Remit's name; its answer was dropped."
    if len(json.dumps(observed(result))) > OBSERVED_LIMIT:
        return f"The tool answered more than {OBSERVED_LIMIT} bytes of text."
    return ""


def _poses_as_remit(content: Any) -> bool:
    """Whether a server's own result could be read as ours, such as a made-up hold with an address to visit."""
    ours = content.get("remit") if isinstance(content, Mapping) else None
    return isinstance(ours, Mapping) and "decision" in ours


def observed(result: Any) -> Any:
    """All text that the agent is about to read: the structured content, unless other text says something else.

    What is no text, such as an image, is covered by the label of the tool alone.
    """
    if isinstance(result, types.CallToolResult):
        structured = result.structured_content
        texts = [part for block in result.content for part in _texts(block.model_dump(mode="json", by_alias=True))]
        if structured is None:
            return texts
        others = [text for text in texts if _as_json(text) != structured]
        return [structured, *others] if others else structured
    return list(_texts(result.model_dump(mode="json", by_alias=True, exclude_none=True)))


def _as_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


_NOT_TEXT = {"data", "blob", "type", "mimeType", "_meta", "annotations"}


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for key, part in value.items() if key not in _NOT_TEXT for text in _texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in _texts(part)]
    return []


def given(result: types.CallToolResult) -> types.CallToolResult:
    """The answer without `_meta`, which nobody looks at and anybody could fill."""
    content = [block.model_copy(update={"meta": None}) for block in result.content]
    return result.model_copy(update={"meta": None, "content": content})


def replayed(result: types.CallToolResult) -> types.CallToolResult:
    """The outcome of the one execution, again."""
    return result.model_copy(update={"meta": {REPLAYED: True}})

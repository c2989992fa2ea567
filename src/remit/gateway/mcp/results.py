"""What an agent is told: a server's own answer, checked and bounded, or ours, which says what to do next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import mcp_types as types

from remit_client import Denied, Held, RemitError, Unreachable

from ..asks import OBSERVED_LIMIT
from ..secrets import Injected
from .processes import MESSAGE_LIMIT

REPLAYED = "remit/replayed"
_GONE = "is no longer kept here"


def refusal(decision: str, text: str, more: Mapping[str, Any]) -> types.CallToolResult:
    """Our own words, with the same for programs under `remit`."""
    structured = {"remit": {"decision": decision, "message": text, **more}}
    content: list[Any] = [types.TextContent(type="text", text=text)]
    return types.CallToolResult(content=content, structured_content=json.loads(json.dumps(structured)), is_error=True)


def held(found: Held) -> types.CallToolResult:
    """What waits, for whom, where, and how to resume."""
    said = f"Held: a person must agree first ({', '.join(found.approvers)}). Their page: {found.url} "
    said += "When they have agreed, call again with exactly the same arguments."
    approval = {"id": found.approval, "url": found.url, "approvers": list(found.approvers)}
    return refusal("hold", f"{found.message} {said}" if _GONE in found.message else said, {"approval": approval})


def refused(error: RemitError) -> types.CallToolResult:
    """A denial, or no answer, which is one too."""
    if isinstance(error, Denied):
        said = f"Denied ({', '.join(error.reasons)}): {error}"
        failed_ = {"failed": True} if "server_failed" in error.reasons else {}
        return refusal("deny", said, {"reasons": list(error.reasons), **failed_})
    if isinstance(error, Unreachable):
        return refusal("deny", f"Denied, because Remit gave no answer. {error}", {"reasons": ["unreachable"]})
    return refusal("deny", f"Denied: {error}", {"reasons": [error.code or "refused"]})


@dataclass(frozen=True)
class Failure:
    """It was permitted, and what came of it cannot be given."""

    said: str
    decision: str = "permit"
    more: Mapping[str, Any] = field(default_factory=lambda: {"failed": True})
    code: int = 0  # of the error that it is to the client, where it is one
    data: Mapping[str, Any] | None = None

    def model_dump_json(self) -> str:
        """As long as it is."""
        return self.said


def rendered(outcome: Any) -> Any:
    """An outcome as the agent is told it."""
    return refusal(outcome.decision, outcome.said, outcome.more) if isinstance(outcome, Failure) else outcome


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


def given(result: Any) -> Any:
    """The answer without `_meta`, which nobody looks at and anybody could fill."""
    if not isinstance(result, types.CallToolResult):
        return result.model_copy(update={"meta": None})
    content = [block.model_copy(update={"meta": None}) for block in result.content]
    return result.model_copy(update={"meta": None, "content": content})


def replayed(result: Any) -> Any:
    """The outcome of the one execution, again."""
    if isinstance(result, Failure):
        return result
    return result.model_copy(update={"meta": {REPLAYED: True}})

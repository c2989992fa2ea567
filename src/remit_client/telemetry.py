"""Spans that join the agent's trace (OpenTelemetry, GenAI conventions), when the application has OpenTelemetry at all.

They carry names and outcomes, never an argument or a result. Nothing is imported that the application did not.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Telling:
    """One span, or nothing at all."""

    def __init__(self, span: Any = None) -> None:
        self._span = span

    def outcome(self, word: str, **attributes: Any) -> None:
        """What came of it; all but a permit and an accepted observation show as errors."""
        if self._span is None:
            return
        self._span.set_attributes({"remit.decision": word, **{k: v for k, v in attributes.items() if v}})
        if word not in ("permit", "accepted"):
            from opentelemetry.trace import Status, StatusCode

            self._span.set_attribute("error.type", f"remit.{word}")
            self._span.set_status(Status(StatusCode.ERROR, word))


@contextmanager
def span(verb: str, tool: str, task: str, call: str = "") -> Iterator[Telling]:
    """A span around asking, a child of whatever span is current."""
    if "opentelemetry.trace" not in sys.modules:
        yield Telling()
        return
    from opentelemetry import trace

    attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool, "remit.task": task}
    if call:
        attributes["gen_ai.tool.call.id"] = call
    with trace.get_tracer("remit_client").start_as_current_span(f"remit.{verb} {tool}", attributes=attributes) as one:
        yield Telling(one)


def traceparent() -> dict[str, str]:
    """The current span as a header (W3C Trace Context), so that the server's event names the same trace."""
    if "opentelemetry.trace" not in sys.modules:
        return {}
    from opentelemetry import trace

    now = trace.get_current_span().get_span_context()
    if not now.is_valid:
        return {}
    return {"traceparent": f"00-{now.trace_id:032x}-{now.span_id:016x}-{now.trace_flags:02x}"}

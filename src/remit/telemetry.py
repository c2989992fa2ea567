"""Traces over OTLP, for whoever sets OpenTelemetry's own variables; otherwise nothing is imported and nothing costs.

On when OTEL_EXPORTER_OTLP_ENDPOINT (or …_TRACES_ENDPOINT) is set; the SDK reads the rest of its variables itself. Spans
carry names, ids, states and codes, never an argument, an address, a credential or an upstream's words (law 10): also no
exception is recorded, because its text may quote one. What a reconciler does later is linked to what caused it.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Thread
from typing import Any

from remit import __version__
from remit.domain.catalogue import IssuerConfig
from remit.domain.change import Change
from remit.domain.errors import Refusal
from remit.domain.lease import Lease
from remit.domain.task import Task

FLUSH = 2.0
# Of this process; never OpenTelemetry's global one: libraries that trace by themselves would export what they quote.
_tracer: Any = None


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether traces are to be sent anywhere."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    return bool(environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))


def start(service: str, environ: Mapping[str, str]) -> Tracing | None:
    """Begin to export; None when nobody wants it, or `remit[otel]` is not installed, which is said once."""
    if not wanted(environ):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as missing:
        print(f"no traces: {missing.name} is missing: pip install 'remit[otel]'", file=sys.stderr)
        return None
    named = {"service.name": environ.get("OTEL_SERVICE_NAME") or service, "service.version": __version__}
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    global _tracer
    _tracer = provider.get_tracer("remit", __version__)
    return Tracing(provider)


def asked(headers: Mapping[str, str], tool: str) -> AbstractContextManager[None]:
    """A tool call that an enforcement point was asked for, in the caller's trace; nothing where nothing is exported."""
    return nullcontext() if _tracer is None else _asked(headers, tool)


@contextmanager
def _asked(headers: Mapping[str, str], tool: str) -> Iterator[None]:
    from opentelemetry import trace

    given = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool[:200]}
    with _span(_tracer, f"execute_tool {tool[:200]}", trace.SpanKind.SERVER, given, context=_parent(headers)):
        yield


class Tracing:
    """What the server's parts are wrapped in. Nothing here is reached when it is off."""

    def __init__(self, provider: Any) -> None:
        from opentelemetry import trace

        self._provider = provider
        self._trace = trace
        self._tracer = provider.get_tracer("remit", __version__)

    def requests(self, method: str, route: str, answer: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """A server span around what answers this route (HTTP semantic conventions)."""
        given = {"http.request.method": method, "http.route": route}

        async def traced(house: Any, row: Any, request: Any) -> Any:
            parent = _parent(request.headers)
            with self._span(f"{method} {route}", self._trace.SpanKind.SERVER, given, context=parent) as span:
                try:
                    response = await answer(house, row, request)
                except Refusal as refusal:
                    span.set_attribute("http.response.status_code", refusal.status)
                    raise
                span.set_attribute("http.response.status_code", response.status_code)
                return response

        return traced

    def verb(self, name: str, handler: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """A span around a handler, which is one verb."""

        async def traced(house: Any, call: Any, asked: Any) -> Any:
            given = {"remit.caller": str(call.caller), **({"remit.task": t} if (t := call.caller.task) else {})}
            with self._span(f"remit.{name}", self._trace.SpanKind.INTERNAL, given):
                return await handler(house, call, asked)

        return traced

    def decided(self, tool: str, decision: str, reasons: tuple[str, ...], approval: str) -> None:
        """What was decided, on the span of whoever asked."""
        given: dict[str, Any] = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool[:200]}
        given |= {"remit.decision": decision, "remit.reasons": reasons}
        if approval:
            given["remit.approval"] = approval
        self._trace.get_current_span().set_attributes(given)

    def here(self) -> str:
        """The span that is current, as `trace-span` in hex; empty outside of any."""
        now = self._trace.get_current_span().get_span_context()
        return f"{now.trace_id:032x}-{now.span_id:016x}" if now.is_valid else ""

    def store(self, store: Any, system: str) -> None:
        """A span around every commit, with the event that explains it and its number."""
        commit = store.commit
        given = {"db.system.name": system, "db.operation.name": "COMMIT"}

        async def traced(change: Change) -> int:
            named = {**given, "remit.event": type(change.because).__name__, "remit.writes": len(change.puts)}
            with self._span("remit.commit", self._trace.SpanKind.CLIENT, named) as span:
                number: int = await commit(change)
                span.set_attribute("remit.event.number", number)
                return number

        store.commit = traced

    def issuer(self, issuer: Any, config: IssuerConfig, store: Any) -> Any:
        """Spans around mint and kill; a kill is linked to what asked for the credential and to what ended its task."""
        mint, kill = issuer.mint, issuer.kill
        given = {"remit.issuer": config.name, "remit.issuer.kind": config.kind}

        async def minted(lease: Lease) -> Any:
            named = {**given, "remit.lease": lease.id, "remit.task": lease.task}
            with self._span(f"remit.mint {config.kind}", self._trace.SpanKind.CLIENT, named):
                return await mint(lease)

        async def killed(lease: Lease) -> None:
            task = await store.get(Task, lease.task)
            links = self._links(lease.trace, task.trace if task else "")
            named = {**given, "remit.lease": lease.id, "remit.task": lease.task}
            with self._span(f"remit.kill {config.kind}", self._trace.SpanKind.CLIENT, named, links=links):
                await kill(lease)

        issuer.mint, issuer.kill = minted, killed
        return issuer

    def close(self) -> None:
        """Send what waits, for two seconds at most: the SDK itself would go on trying, and nobody waits for that."""
        sending = Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(FLUSH)

    def _links(self, *spans: str) -> list[Any]:
        found = []
        for text in dict.fromkeys(filter(None, spans)):
            trace_id, _, span_id = text.partition("-")
            there = self._trace.SpanContext(
                int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=self._trace.TraceFlags(1)
            )
            found.append(self._trace.Link(there))
        return found

    def _span(self, name: str, kind: Any, given: Mapping[str, Any], **more: Any) -> AbstractContextManager[Any]:
        return _span(self._tracer, name, kind, given, **more)


@contextmanager
def _span(tracer: Any, name: str, kind: Any, given: Mapping[str, Any], **more: Any) -> Iterator[Any]:
    from opentelemetry.trace import Status, StatusCode

    with tracer.start_as_current_span(
        name, kind=kind, attributes=given, record_exception=False, set_status_on_exception=False, **more
    ) as span:
        try:
            yield span
        except BaseException as failure:
            span.set_attribute("error.type", failure.code if isinstance(failure, Refusal) else type(failure).__name__)
            if not isinstance(failure, Refusal) or failure.status >= 500:
                span.set_status(Status(StatusCode.ERROR))
            raise


def _parent(headers: Mapping[str, str]) -> Any:
    """The caller's context (W3C Trace Context), or one without a parent: never whatever happens to be current."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {name: value for name in ("traceparent", "tracestate") if (value := headers.get(name, ""))}
    return TraceContextTextMapPropagator().extract(carrier, Context())

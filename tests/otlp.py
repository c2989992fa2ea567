"""An OTLP receiver: HTTP, the official protobuf messages, and the answer that the protocol asks for."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Receiver:
    """`spans` are (service, span); `raw` is everything that came, as bytes."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Any]] = []
        self.raw = b""
        self.url = ""

    def named(self, name: str, service: str = "") -> list[Any]:
        """Spans of this name, oldest first."""
        return [span for of, span in self.spans if span.name == name and service in ("", of)]

    def wait(self, name: str, count: int = 1, seconds: float = 15, *, below: Any = None) -> list[Any]:
        """The same, once there are so many; only children of the span `below`, if one is given."""
        until = time.monotonic() + seconds
        while len(found := [s for s in self.named(name) if not below or s.parent_span_id == below.span_id]) < count:
            assert time.monotonic() < until, sorted({span.name for _, span in self.spans})
            time.sleep(0.05)
        return found


def attributes(span: Any) -> dict[str, Any]:
    """As Python values."""
    found = {}
    for one in span.attributes:
        kind = one.value.WhichOneof("value")
        value = getattr(one.value, kind)
        found[one.key] = [v.string_value for v in value.values] if kind == "array_value" else value
    return found


@contextmanager
def receiver() -> Iterator[Receiver]:
    """On a free port of loopback."""
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces" and self.headers["content-type"] == "application/x-protobuf"
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            found.raw += body
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                service = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
                found.spans += [(service, span) for scope in resource.scope_spans for span in scope.spans]
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()

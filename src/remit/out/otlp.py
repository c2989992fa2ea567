"""OpenTelemetry logs (OTLP/HTTP 1.x, protobuf), by the official messages.

Not by the SDK's exporter: that one follows redirects, and takes an answer that says "of these I kept none"
(`partial_success`) for an acknowledgement.
"""

from __future__ import annotations

import re
import time
from typing import Any

from remit import __version__
from remit.domain.errors import BadField
from remit.domain.out import Sink
from remit.formats.out_record import known
from remit.ports import Batch, NotTaken

from . import Tools
from .http import posted

MEDIA = "application/x-protobuf"
INFO, WARN = 9, 13  # SeverityNumber
_TRACE = re.compile(r"[0-9a-f]{32}\Z")


class OtlpSender:
    """Implements `ports.Sender`."""

    def __init__(self, sink: Sink, tools: Tools) -> None:
        try:
            from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
        except ModuleNotFoundError as missing:
            step = "pip install 'remit[otel]'"
            raise BadField(f"out.{sink.name}", "OpenTelemetry is not installed", next_step=step) from missing
        self._wire: Any = logs_service_pb2
        self._sink, self._tools = sink, tools
        self._url = sink.url if sink.url.endswith("/v1/logs") else sink.url.rstrip("/") + "/v1/logs"

    async def send(self, batch: Batch) -> None:
        """Taken when it answers 2xx and rejects none of them."""
        answer = await posted(self._tools, self._sink, self._url, MEDIA, self._request(batch), {})
        try:
            said = self._wire.ExportLogsServiceResponse.FromString(answer.body)
        except Exception as bad:  # the decoder has no error of its own that is public
            raise NotTaken("the answer is not OTLP") from bad
        if said.partial_success.rejected_log_records:
            raise NotTaken(f"{said.partial_success.rejected_log_records} records were rejected")

    def _request(self, batch: Batch) -> bytes:
        asked = self._wire.ExportLogsServiceRequest()
        of = asked.resource_logs.add()
        _put(of.resource.attributes, "service.name", "remit")
        _put(of.resource.attributes, "service.version", __version__)
        scope = of.scope_logs.add()
        scope.scope.name = "remit.log"
        now = time.time_ns()
        for place, (leaf, record) in enumerate(zip(batch.leaves, batch.records, strict=True), batch.first):
            said, one = known(leaf), scope.log_records.add()
            one.time_unix_nano, one.observed_time_unix_nano = said.at * 1_000_000, now
            one.severity_number, one.severity_text = (WARN, "WARN") if said.denied else (INFO, "INFO")
            one.event_name, one.body.string_value = f"remit.{said.kind}", record.decode()
            _put(one.attributes, "log.record.uid", f"{batch.log}/{place}")
            _put(one.attributes, "remit.log", batch.log)
            one.attributes.add(key="remit.place").value.int_value = place
            if _TRACE.match(said.trace):
                one.trace_id = bytes.fromhex(said.trace)
        text: bytes = asked.SerializeToString()
        return text


def _put(attributes: Any, key: str, value: str) -> None:
    attributes.add(key=key).value.string_value = value

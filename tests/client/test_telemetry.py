"""Spans of the guard in the application's own trace; the server's event names the same trace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import remit_client as remit
from tests.adapters.house import house

pytest.importorskip("opentelemetry.sdk", reason="pip install remit[adapters]")

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode


@pytest.fixture
def exported(monkeypatch):
    memory, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    monkeypatch.setattr(trace, "get_tracer", lambda name, *a, **k: provider.get_tracer(name))
    memory.tracer = provider.get_tracer("test")
    return memory


def test_a_decision_joins_the_agents_trace_and_the_log(exported, tmp_path):
    with house(tmp_path) as home, home.task() as task:
        guard = remit.Guard(task, tools={"list_invoices": "list"})
        call = remit.ToolCall("list_invoices", {"customer": "acme-canary"}, "call_7")
        with exported.tracer.start_as_current_span("agent") as agent:
            guard.decide(call)
            guard.decide(remit.ToolCall("list", {"customer": "acme"}, "call_8"))
            guard.observe(remit.ToolCall("list", {"customer": "acme"}, "call_8"), "canary")
            home.wire.mode = "deaf"
            guard.observe(remit.ToolCall("list", {"customer": "acme"}, "call_8"), "canary")
        ours = f"{agent.get_span_context().trace_id:032x}"
        denied, permitted, accepted, withheld, _ = exported.get_finished_spans()
        assert {f"{one.context.trace_id:032x}" for one in exported.get_finished_spans()} == {ours}
        assert denied.name == "remit.decide list" and denied.status.status_code is StatusCode.ERROR
        assert denied.parent.span_id == agent.get_span_context().span_id
        assert dict(denied.attributes) == {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "list",
            "gen_ai.tool.call.id": "call_7",
            "remit.task": task.id,
            "remit.decision": "deny",
            "remit.reasons": ("out_of_scope",),
            "error.type": "remit.deny",
        }
        assert permitted.attributes["remit.decision"] == "permit" and permitted.status.is_unset
        assert accepted.name == "remit.observe list" and accepted.attributes["remit.decision"] == "accepted"
        assert withheld.status.status_code is StatusCode.ERROR
        said = str([one.to_json() for one in exported.get_finished_spans()])
        assert "canary" not in said
        spans = {f"{one.context.span_id:016x}" for one in (denied, permitted)}
        sent = [headers["traceparent"] for path, headers in home.wire.seen if path.endswith("/calls")]
        assert {header.split("-")[2] for header in sent} == spans
        log = home.log()
    traces = [entry["trace"] for entry in log if entry["type"] == "AccessDecided"]
    assert traces == [ours, ours]


def test_without_opentelemetry_nothing_is_imported():
    code = "import sys, remit_client; remit_client.Guard; print('opentelemetry' in sys.modules)"
    env = {"PYTHONPATH": str(Path(remit.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "False"

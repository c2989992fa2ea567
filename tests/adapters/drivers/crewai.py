"""crewAI: a crew of one agent and one task, with an LLM of our own."""

from __future__ import annotations

import json
import os
import threading

os.environ.setdefault("CREWAI_DISABLE_TELEMETRY", "true")
os.environ.setdefault("OTEL_SDK_DISABLED", "true")
os.environ.setdefault("CREWAI_TRACING_ENABLED", "false")

from crewai import Agent, BaseLLM, Crew, Task
from crewai.tools import tool as crew_tool

from remit_client.adapters.crewai import install

from . import Tools, Turn


class Script(BaseLLM):
    def __init__(self, calls):
        super().__init__(model="script")
        object.__setattr__(self, "calls", calls)
        object.__setattr__(self, "told", {})

    def supports_function_calling(self):
        return True

    def call(self, messages, tools=None, **kwargs):
        answers = [m for m in messages if m.get("role") == "tool"]
        if answers:
            self.told.update({m["tool_call_id"]: m["content"] for m in answers})
            return "done"
        return [
            {"id": i, "type": "function", "function": {"name": name, "arguments": json.dumps(args)}}
            for name, args, i in self.calls
        ]


class Driver:
    native = False
    edits = False
    ids = False
    _one = threading.Lock()  # its hooks are the process's: one crew at a time, or each would be decided for all

    def __init__(self, guard):
        self.tools, self._guard = Tools(), guard
        self.install = install

    def attempt(self, *calls):
        script = Script(calls)
        tools = [crew_tool(one) for one in (self.tools.list_invoices, self.tools.pay, self.tools.wipe)]
        for one in tools:
            one.cache_function = lambda *a: False
        agent = Agent(role="payer", goal="pay", backstory="b", tools=tools, llm=script, cache=False)
        task = Task(description="go", expected_output="done", agent=agent)
        with self._one:
            remove = self.install(self._guard)
            try:
                Crew(agents=[agent], tasks=[task], cache=False).kickoff()
            finally:
                remove()
        return Turn(dict(script.told))

"""LangChain's `create_agent`, with a chat model that says what it is told to."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import StructuredTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from remit_client.adapters.langchain import RemitMiddleware

from . import Tools, Turn


class Script(BaseChatModel):
    """Calls the tools it was given, then is content."""

    calls: Any

    @property
    def _llm_type(self):
        return "script"

    def bind_tools(self, tools, **kwargs):
        return self

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        if isinstance(messages[-1], ToolMessage):
            message = AIMessage("done")
        else:
            message = AIMessage("", tool_calls=[{"name": n, "args": a, "id": i} for n, a, i in self.calls])
        return ChatResult(generations=[ChatGeneration(message=message)])


class Driver:
    """Sync or async, by `asynchronous`."""

    native = True
    edits = False
    ids = True

    def __init__(self, guard, asynchronous=False):
        self.tools = Tools()
        self._async = asynchronous
        self._middleware = RemitMiddleware(guard)
        self._tools = [
            StructuredTool.from_function(one, name=one.__name__)
            for one in (self.tools.list_invoices, self.tools.pay, self.tools.wipe)
        ]

    def attempt(self, *calls):
        agent = create_agent(
            Script(calls=list(calls)), self._tools, middleware=[self._middleware], checkpointer=InMemorySaver()
        )
        config = {"configurable": {"thread_id": uuid.uuid4().hex}}
        return self._go(agent, config, {"messages": [("user", "go")]})

    def resume(self, turn):
        return self._go(*turn.state, Command(resume="yes"))

    def _go(self, agent, config, what):
        if self._async:
            out = asyncio.run(agent.ainvoke(what, config))
        else:
            out = agent.invoke(what, config)
        said = {m.tool_call_id: m.content for m in out["messages"] if isinstance(m, ToolMessage)}
        held = out["__interrupt__"][0].value if out.get("__interrupt__") else None
        return Turn(said, held, (agent, config))


class AsyncDriver(Driver):
    def __init__(self, guard):
        super().__init__(guard, asynchronous=True)

"""OpenAI's Agents SDK, with a model of our own; an interrupted run goes through its serialised state."""

from __future__ import annotations

import asyncio
import json

from agents import Agent, Model, ModelResponse, Runner, RunState, Usage, function_tool, set_tracing_disabled
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from remit_client.adapters.openai_agents import guarded, pending

from . import Tools, Turn

set_tracing_disabled(True)


class Script(Model):
    def __init__(self, calls):
        self.calls, self.told = calls, {}

    async def get_response(self, system_instructions, input, *args, **kwargs):
        outputs = [i for i in input if isinstance(i, dict) and i.get("type") == "function_call_output"]
        if outputs:
            self.told.update({i["call_id"]: i["output"] for i in outputs})
            text = ResponseOutputText(annotations=[], text="done", type="output_text")
            said = [ResponseOutputMessage(id="m", content=[text], role="assistant", status="completed", type="message")]
        else:
            said = [
                ResponseFunctionToolCall(arguments=json.dumps(a), call_id=i, name=n, type="function_call")
                for n, a, i in self.calls
            ]
        return ModelResponse(output=said, usage=Usage(), response_id=None)

    async def stream_response(self, *args, **kwargs):
        raise NotImplementedError
        yield


class Driver:
    native = True
    edits = False
    ids = True

    def __init__(self, guard):
        self.tools, self._guard = Tools(), guard
        self._tools = [
            guarded(function_tool(one), guard) for one in (self.tools.list_invoices, self.tools.pay, self.tools.wipe)
        ]

    def attempt(self, *calls):
        script = Script(calls)
        agent = Agent(name="a", tools=self._tools, model=script)
        return asyncio.run(self._go(agent, "go"))

    def resume(self, turn):
        agent, text = turn.state

        async def go():
            state = await RunState.from_string(agent, text)
            for item in state.get_interruptions():
                state.approve(item)
            return await self._go(agent, state)

        return asyncio.run(go())

    async def _go(self, agent, what):
        result = await Runner.run(agent, what)
        if result.interruptions:
            held = await pending(self._guard, result.interruptions[0])
            return Turn(dict(agent.model.told), held.told() if held else None, (agent, result.to_state().to_string()))
        return Turn(dict(agent.model.told))

"""Pydantic AI, with its FunctionModel."""

from __future__ import annotations

from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults, FunctionToolset, ToolApproved
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel

from remit_client.adapters.pydantic_ai import RemitToolset

from . import Tools, Turn


class Driver:
    native = True
    edits = True
    ids = True

    def __init__(self, guard):
        self.tools = Tools()
        inner = FunctionToolset([self.tools.list_invoices, self.tools.pay, self.tools.wipe])
        self._toolset = RemitToolset(inner, guard)

    def attempt(self, *calls):
        told = {}

        def model(messages, info):
            returns = [part for m in messages for part in m.parts if isinstance(part, ToolReturnPart)]
            if returns:
                told.update({part.tool_call_id: str(part.content) for part in returns})
                return ModelResponse([TextPart("done")])
            return ModelResponse([ToolCallPart(name, args, tool_call_id=i) for name, args, i in calls])

        agent = Agent(FunctionModel(model), toolsets=[self._toolset], output_type=[str, DeferredToolRequests])
        return self._turn(agent, agent.run_sync("go"), told)

    def resume(self, turn, arguments=None):
        agent, result, told = turn.state
        yes = ToolApproved(override_args=arguments) if arguments else True
        approvals = {call.tool_call_id: yes for call in result.output.approvals}
        again = agent.run_sync(
            message_history=result.all_messages(), deferred_tool_results=DeferredToolResults(approvals=approvals)
        )
        return self._turn(agent, again, told)

    def _turn(self, agent, result, told):
        held = None
        if isinstance(result.output, DeferredToolRequests):
            held = next(iter(result.output.metadata.values()))
        return Turn(dict(told), held, (agent, result, told))

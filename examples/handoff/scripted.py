"""What stands in for models: each calls the tools it was told to, in order, and says what the last one returned."""

from __future__ import annotations

import json
from typing import Any

from agents import Model, ModelResponse, Usage
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

Calls = list[tuple[str, dict[str, Any]]]


class ScriptedChat(BaseChatModel):
    """For LangChain and LangGraph."""

    calls: Any

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> ScriptedChat:
        """See `BaseChatModel`."""
        return self

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        told = [m for m in messages if isinstance(m, ToolMessage)]
        if len(told) < len(self.calls):
            name, arguments = self.calls[len(told)]
            message = AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": f"call_{len(told)}"}])
        else:
            message = AIMessage(str(told[-1].content))
        return ChatResult(generations=[ChatGeneration(message=message)])


class ScriptedModel(Model):
    """For the OpenAI Agents SDK."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any) -> ModelResponse:
        """See `Model`."""
        items = input if isinstance(input, list) else []
        told = [i["output"] for i in items if isinstance(i, dict) and i.get("type") == "function_call_output"]
        if len(told) < len(self._calls):
            name, arguments = self._calls[len(told)]
            call_id, said = f"call_{len(told)}", json.dumps(arguments)
            call = ResponseFunctionToolCall(arguments=said, call_id=call_id, name=name, type="function_call")
            return ModelResponse(output=[call], usage=Usage(), response_id=None)
        text = ResponseOutputText(annotations=[], text=" | ".join(map(str, told)), type="output_text")
        message = ResponseOutputMessage(id="m", content=[text], role="assistant", status="completed", type="message")
        return ModelResponse(output=[message], usage=Usage(), response_id=None)

    async def stream_response(self, *args: Any, **kwargs: Any) -> Any:
        """Not used here."""
        raise NotImplementedError
        yield

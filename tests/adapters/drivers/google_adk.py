"""Google ADK's runner, with a model of our own."""

from __future__ import annotations

import asyncio

from google.adk.agents import LlmAgent
from google.adk.apps import App
from google.adk.models.base_llm import BaseLlm
from google.adk.models.llm_response import LlmResponse
from google.adk.runners import InMemoryRunner
from google.genai import types

from remit_client.adapters.google_adk import RemitPlugin

from . import Tools, Turn

ASKS = "adk_request_confirmation"


class Script(BaseLlm):
    calls: list

    async def generate_content_async(self, llm_request, stream=False):
        last = llm_request.contents[-1].parts
        if any(part.function_response for part in last):
            yield LlmResponse(content=types.Content(role="model", parts=[types.Part(text="done")]))
            return
        parts = [
            types.Part(function_call=types.FunctionCall(id=i, name=name, args=dict(args)))
            for name, args, i in self.calls
        ]
        yield LlmResponse(content=types.Content(role="model", parts=parts))


class Driver:
    native = True
    edits = False
    ids = True

    def __init__(self, guard):
        self.tools = Tools()
        self._plugin = RemitPlugin(guard)

    def attempt(self, *calls):
        agent = LlmAgent(
            name="a",
            model=Script(model="script", calls=list(calls)),
            tools=[self.tools.list_invoices, self.tools.pay, self.tools.wipe],
        )
        runner = InMemoryRunner(app=App(name="app", root_agent=agent, plugins=[self._plugin]))

        async def go():
            session = await runner.session_service.create_session(app_name="app", user_id="u")
            return await self._go(runner, session, types.Content(role="user", parts=[types.Part(text="go")]))

        return asyncio.run(go())

    def resume(self, turn):
        runner, session, asked = turn.state
        yes = types.FunctionResponse(id=asked, name=ASKS, response={"confirmed": True})
        message = types.Content(role="user", parts=[types.Part(function_response=yes)])
        return asyncio.run(self._go(runner, session, message))

    async def _go(self, runner, session, message):
        said, held, asked = {}, None, ""
        async for event in runner.run_async(user_id="u", session_id=session.id, new_message=message):
            for call in event.get_function_calls():
                if call.name == ASKS:
                    held, asked = call.args["toolConfirmation"]["payload"], call.id
            for answer in event.get_function_responses():
                if answer.name != ASKS:
                    said[answer.id] = str(answer.response)
        return Turn({} if held else said, held, (runner, session, asked))

"""The receiver's side: who sends is proved, what is handed over is opened, and the work is done inside that."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
from a2a.auth.user import User
from a2a.helpers.proto_helpers import new_task_from_user_message, new_text_message, new_text_part
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.context import ServerCallContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandlerV2
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.routes.common import DefaultServerCallContextBuilder
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentSkill
from google.protobuf.json_format import MessageToDict
from starlette.applications import Starlette
from starlette.requests import Request

from ...aio import AsyncRemit, AsyncTask
from ...asgi import App, Receive, RemitASGI, Scope, Send
from ...bounded import bounded
from ...errors import Denied, Held, RemitError
from ...verify import Caller, Unverified, claimed
from ...within import enter, leave
from .card import EXTENSION, PATH, card
from .peer import WELL_KNOWN

_LOG = logging.getLogger("remit.a2a")
OPEN = 1000  # hand-offs that wait for people
REQUEST_LIMIT = 1024 * 1024
SCOPE = "a2a"


@dataclass
class Turn:
    """What is asked, in which task, by whom. `state` is kept while people are asked: a framework's place in its run."""

    text: str
    task: AsyncTask
    sender: Caller
    state: dict[str, Any] = field(default_factory=dict)


Work = Callable[[Turn], Awaitable[str]]


def served(
    remit: AsyncRemit, url: str, description: str, work: Work, *, skills: tuple[AgentSkill, ...] = (), ca: Any = True
) -> App:
    """The whole agent as an ASGI application; `remit` has proved itself. `work` raises `Held` where people are needed.

    Only a giver's own token for `url`, with the scope word `a2a`, gets in, and its proof.
    """
    shown = card(remit.agent, url, description, skills)
    handler = DefaultRequestHandlerV2(_Handed(remit, work), InMemoryTaskStore(), shown)
    routes = create_jsonrpc_routes(handler, PATH, context_builder=_Sender())
    inner = RemitASGI(
        bounded(Starlette(routes=routes), REQUEST_LIMIT),
        issuer=remit.agent.url,
        audience=url,
        tools={f"POST {PATH}": SCOPE},
        ca=ca,
    )
    public = Starlette(routes=create_agent_card_routes(shown))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        public_path = scope["type"] == "http" and scope["path"] == WELL_KNOWN
        await (public if public_path else inner)(scope, receive, send)

    return app


class _Handed(AgentExecutor):
    """Executes nothing but what was handed over by whoever sends, in a child of its task."""

    def __init__(self, remit: AsyncRemit, work: Work) -> None:
        self._remit, self._work = remit, work
        self._waiting: OrderedDict[str, Turn] = OrderedDict()

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        message, sender = context.message, context.call_context.state["remit"]
        if message is None or not context.task_id or not context.context_id:
            raise ValueError("no message")
        told = MessageToDict(message.metadata).get(EXTENSION)
        message.metadata.Clear()  # what opens a task is in no history
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        if context.current_task is None:
            await event_queue.enqueue_event(new_task_from_user_message(message))
        try:
            turn = self._going_on(context.task_id, sender) or await self._open(told, sender, context)
        except RemitError as refused:
            await updater.reject(new_text_message(refused.message))
            return
        token = enter(turn.task)
        try:
            text = await self._work(turn)
        except Held as held:
            await self._wait(context.task_id, turn)
            shown = {"approval": held.approval, "url": held.url, "approvers": list(held.approvers)}
            asks = new_text_message(f"{held.message} {', '.join(held.approvers)} must agree first, at {held.url}")
            asks.metadata.update({EXTENSION: shown})
            await updater.requires_auth(asks)
            return
        except RemitError as refused:
            await _over(turn, "refused")
            await updater.failed(new_text_message(refused.message))
            return
        except Exception:
            _LOG.exception("a hand-off broke")
            await _over(turn, "failed")
            await updater.failed(new_text_message("It broke; nothing more is told."))
            return
        except BaseException:
            with anyio.CancelScope(shield=True):
                await _over(turn, "failed")
            raise
        finally:
            leave(token)
        await _over(turn, "done")
        await updater.add_artifact([new_text_part(text)])
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        turn = self._going_on(context.task_id or "", context.call_context.state["remit"])
        if turn is not None:
            await _over(turn, "cancelled")
        await TaskUpdater(event_queue, context.task_id or "", context.context_id or "").cancel()

    def _going_on(self, key: str, sender: Caller) -> Turn | None:
        """What waits, for the one that asked it; the SDK's own store does not show it to anybody else either."""
        turn = self._waiting.get(key)
        if turn is None or (turn.sender.agent, turn.sender.task) != (sender.agent, sender.task):
            return None
        return self._waiting.pop(key)

    async def _open(self, told: Any, sender: Caller, context: RequestContext) -> Turn:
        text = told.get("delegation") if isinstance(told, dict) else None
        try:
            giver = claimed(text, "txn") if isinstance(text, str) else ""
        except Unverified:
            giver = ""
        if not text or giver != sender.task:  # that it is true as well, Remit says when it is opened
            raise Denied("Nothing was handed over by whoever sends this.", reasons=("not_delegable",))
        task = self._remit.accept(text)
        await task.open()
        return Turn(context.get_user_input(), task, sender)

    async def _wait(self, key: str, turn: Turn) -> None:
        self._waiting[key] = turn
        while len(self._waiting) > OPEN:
            await _over(self._waiting.popitem(last=False)[1], "too many wait")


async def _over(turn: Turn, reason: str) -> None:
    with suppress(RemitError):  # its deadline ends it, too
        await turn.task.end(reason)


class _Sender(DefaultServerCallContextBuilder):
    """Who sends, as its token proved: one giver's one task sees what it asked, and nobody else's."""

    def build(self, request: Request) -> ServerCallContext:
        context = super().build(request)
        headers = {name: request.headers.get(name, "") for name in ("a2a-version", "a2a-extensions")}
        context.state = {"remit": request.scope["remit"], "headers": headers}  # and not the one with the token
        return context

    def build_user(self, request: Request) -> User:
        return _Known(request.scope["remit"])


class _Known(User):
    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def user_name(self) -> str:
        return f"{self._caller.agent}/{self._caller.task}"

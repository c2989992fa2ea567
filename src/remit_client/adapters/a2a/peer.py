"""The giver's side: find the other agent, hand it part of a task, and go on when people have agreed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import anyio
import httpx
from a2a.client import ClientCallContext, ClientConfig, ClientFactory
from a2a.client.card_resolver import parse_agent_card
from a2a.helpers.proto_helpers import get_artifact_text, get_message_text, new_text_part
from a2a.types import AgentCard, Message, Role, SendMessageRequest, Task, TaskState
from a2a.utils.errors import A2AError
from google.protobuf.json_format import MessageToDict, ParseError

from ...aio import AsyncTask
from ...bounded import BoundedTransport
from ...contract import Pending
from ...dpop import DPoPAuth, safe_origin
from ...errors import Denied, Unreachable
from .card import EXTENSION, BadCard, signer

WELL_KNOWN = "/.well-known/agent-card.json"
CARD_LIMIT, ANSWER_LIMIT = 64 * 1024, 4 * 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """What the other agent said, or `held`: what it waits for, and where people agree."""

    text: str
    held: Pending | None = None
    _of: tuple[AsyncTask, Message] | None = field(default=None, repr=False)


class Peer:
    """Another agent, at one address. Everything is sent there and nowhere else: over TLS, unless it is on loopback."""

    def __init__(self, found: AgentCard, url: str, agent: str, ca: Any, patience: float) -> None:
        self.agent, self.url, self._card, self._ca, self._patience = agent, url, found, ca, patience
        self._signer = signer(found, url, agent)

    @classmethod
    async def found(cls, url: str, agent: str, *, ca: Any = True, patience: float = 60.0) -> Peer:
        """Read the card at `url`, which a purpose of the giver names as an audience; `BadCard` when it is not its."""
        safe_origin(url)
        try:
            async with _http(ca, patience, CARD_LIMIT) as http:
                with anyio.fail_after(patience):
                    answer = await http.get(url.rstrip("/") + WELL_KNOWN)
            found = parse_agent_card(json.loads(answer.raise_for_status().content))
        except (httpx.HTTPError, ParseError, ValueError, TypeError, TimeoutError, RecursionError) as flaw:
            raise BadCard(f"There is no agent card at {url} ({type(flaw).__name__}).") from flaw
        return cls(found, url, agent, ca, patience)

    async def hand(
        self, task: AsyncTask, purpose: str, *, goal: str, message: str = "", max_calls: int = 0, **parameters: Any
    ) -> Answer:
        """Hand over and wait. `Denied` when it may not be, when this is not that agent's key, or when it refuses."""
        part = await task.delegate(
            self.agent, purpose, goal=goal, max_calls=max_calls, bound_to=self._signer, **parameters
        )
        said = Message(message_id=uuid4().hex, role=Role.ROLE_USER, parts=[new_text_part(message or goal)])
        said.extensions.append(EXTENSION)
        said.metadata.update({EXTENSION: {"delegation": part}})
        return await self._send(task, said)

    async def again(self, answer: Answer) -> Answer:
        """The same message once more: it goes on when people have agreed, and says again what it waits for if not."""
        if answer._of is None:
            raise ValueError("this answer waits for nobody")
        return await self._send(*answer._of)

    async def _send(self, task: AsyncTask, said: Message) -> Answer:
        auth = await task.auth(self.url)
        context = ClientCallContext(service_parameters={"A2A-Extensions": EXTENSION})
        try:
            async with _http(self._ca, self._patience, ANSWER_LIMIT, auth) as http:
                client = ClientFactory(ClientConfig(streaming=False, httpx_client=http)).create(self._card)
                with anyio.fail_after(self._patience):
                    async for one in client.send_message(SendMessageRequest(message=said), context=context):
                        return self._read(task, said, one.task)
        except (A2AError, httpx.HTTPError, TimeoutError, ValueError) as failure:
            raise Unreachable(f"{self.agent} did not answer ({type(failure).__name__}).") from failure
        raise Unreachable(f"{self.agent} did not answer.")

    def _read(self, task: AsyncTask, said: Message, told: Task) -> Answer:
        text = "\n".join([*map(get_artifact_text, told.artifacts), get_message_text(told.status.message)]).strip()
        match told.status.state:
            case TaskState.TASK_STATE_COMPLETED:
                return Answer(text)
            case TaskState.TASK_STATE_AUTH_REQUIRED:
                again = Message()
                again.CopyFrom(said)
                again.task_id, again.context_id, again.message_id = told.id, told.context_id, uuid4().hex
                again.metadata.Clear()
                return Answer(text, _held(task, told), (task, again))
        raise Denied(text or f"{self.agent} did not do it.", reasons=("peer_refused",))


def _held(task: AsyncTask, told: Task) -> Pending:
    """What it waits for; only Remit's own page is one where people agree, whatever another agent says."""
    shown = MessageToDict(told.status.message.metadata).get(EXTENSION, {})
    approval, url = str(shown.get("approval", "")), str(shown.get("url", ""))
    if not approval or not task.at_remit(url) or not url.endswith(f"/{approval}"):
        raise Denied("It waits for something that is not at Remit; nobody was asked.", reasons=("peer_refused",))
    return Pending(approval, url, tuple(map(str, shown.get("approvers", ()))))


def _http(ca: Any, patience: float, limit: int, auth: DPoPAuth | None = None) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        auth=auth, transport=BoundedTransport(ca, limit), timeout=patience, follow_redirects=False, trust_env=False
    )

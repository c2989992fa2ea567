"""The surface of an edge: calls, and what was read, of tasks that it holds; for all others the centre answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from remit.domain.caller import AccessKey, Call
from remit.domain.decision import Access
from remit.domain.errors import Absent, NotEntrusted, NotHome, StoreUnavailable, Unavailable
from remit.domain.estate import Held
from remit.domain.flow import Json
from remit.domain.identity import Identity
from remit.formats import rfc9068
from remit.ports.estate import Place
from remit.verbs.decide import decide
from remit.verbs.observe import observe

from . import api_agents as agents
from . import authzen, log, ops, shapes
from .house import Asked, House
from .problems import json_response
from .route import AGENT, ANYONE, ENFORCER, KIB, OPERATOR, READERS, Route

_TASK = re.compile(r"[A-Za-z0-9_]{1,128}\Z")
_NEEDS_CENTRE = "a call of it needs the centre"


@dataclass
class EdgeHouse(House):
    """`env.issuer_url` is the centre, whose tokens these are and where people answer; `address` is this edge."""

    place: Place | None = None

    @property
    def _place(self) -> Place:
        if self.place is None:
            raise StoreUnavailable("This edge is not up yet.")
        return self.place

    @property
    def address(self) -> str:
        """See `House`."""
        return self._place.url

    async def token(self, text: str, now: int) -> rfc9068.AccessToken:
        """See `House`. Before the catalogue is here nobody's proof can be checked, and that is not their fault."""
        if not self.address:
            raise Unavailable("This edge has not heard from its centre yet.", next_step="Ask the centre.")
        return await super().token(text, now)

    async def decided(self, call: Call, access: Access) -> dict[str, Any]:
        """See `House`: here, or at the centre, or not at all."""
        task = _checked(access.task)
        try:
            await self._at_home(call, task)
            return self.shown(access.tool, await decide(self.env, call, access))
        except (NotEntrusted, NotHome) as elsewhere:
            await self._let_go(call, task, elsewhere)
        body: dict[str, Json] = {"tool": access.tool, "arguments": access.arguments, "pin": access.pin}
        return _shown(await self._place.pass_on(f"/v1/tasks/{task}/calls", body, call.trace))

    async def observed(self, call: Call, task: str, wanted: shapes.ObservationRequest, size: int) -> dict[str, Any]:
        """See `House`; where the task is, its label is."""
        _checked(task)
        try:
            await self._at_home(call, task)
            row = await observe(self.env, call, task, wanted.tool, wanted.content, size=size)
            return shapes.observation(row)
        except (NotEntrusted, NotHome) as elsewhere:
            await self._let_go(call, task, elsewhere)
        body = {"tool": wanted.tool, "content": wanted.content}
        return _shown(await self._place.pass_on(f"/v1/tasks/{task}/observations", body, call.trace))

    async def _at_home(self, call: Call, task: str) -> None:
        self._place.must_be_heard()
        await self._place.take(task)

    async def _let_go(self, call: Call, task: str, elsewhere: NotEntrusted | NotHome) -> None:
        if isinstance(elsewhere, NotHome):
            await self._place.bring_home(call, task, _NEEDS_CENTRE)

    async def proved(self, token: rfc9068.AccessToken) -> bool:
        """See `House`. Of a key that never came here the centre knows, which is asked before anything is decided."""
        identity = await self.env.store.get(Identity, token.jkt)
        return identity is None or identity.agent == token.client

    async def access_key(self, digest: str, now: int) -> AccessKey | None:
        """See `House`."""
        return await self._place.access_key(digest, now)

    async def ready(self) -> str:
        """See `House`: fresh enough for every kind of call."""
        status = self._place.status()
        age, bounds = status["age_ms"], status["bounds_ms"]
        if not bounds:
            raise Unavailable("This edge is not in the catalogue that it follows, or follows none yet.")
        if not 0 <= age <= min(bounds.values()):
            said = "has not heard from its centre yet" if age < 0 else f"last heard from its centre {age} ms ago"
            raise Unavailable(f"This edge {said}.", next_step="Is the link to the centre up?")
        self._place.must_be_heard()
        return f"fresh {age} ms\n"


def _checked(task: str) -> str:
    if not _TASK.match(task):
        raise Absent(inside="not a task's id")
    return task


def _shown(answer: Json) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise Unavailable("The centre's answer cannot be understood.")
    return answer


async def status(house: House, call: Call, asked: Asked) -> Response:
    """What this edge follows, how old what it knows is, and what it has not reported."""
    assert isinstance(house, EdgeHouse)
    held = await house.env.store.tally(Held, {}, "state")
    return json_response({**house._place.status(), "held": held.get("held", 0), "leaving": held.get("leaving", 0)})


EDGE_ROUTES: tuple[Route, ...] = (
    Route("POST", "/v1/tasks/{task}/calls", AGENT | ENFORCER, agents.call_tool, body=shapes.CallRequest),
    Route(
        "POST",
        "/v1/tasks/{task}/observations",
        AGENT | ENFORCER,
        agents.observed,
        body=shapes.ObservationRequest,
        limit=1024 * KIB,
    ),
    Route("POST", "/access/v1/evaluation", AGENT | ENFORCER, authzen.evaluation, raw=True),
    Route("POST", "/access/v1/evaluations", AGENT | ENFORCER, authzen.evaluations, raw=True, limit=1024 * KIB),
    Route("GET", "/v1/whoami", AGENT | ENFORCER | OPERATOR, agents.whoami),
    Route("GET", "/v1/edge", READERS | ENFORCER, status),
    Route("GET", "/v1/log", READERS | ENFORCER, log.status),
    Route("GET", "/v1/log/entries", READERS, log.entries, query=("start", "limit")),
    Route("GET", "/log/checkpoint", READERS | ENFORCER, log.checkpoint),
    Route("GET", "/log/key", ANYONE, log.key),
    Route("GET", "/log/tile/{tile:path}", READERS, log.tile),
    Route("GET", "/metrics", READERS | ENFORCER, ops.metrics),
    Route("GET", "/healthz", ANYONE, ops.healthz),
    Route("GET", "/readyz", ANYONE, ops.readyz),
)

"""What an enforcement point asks Remit about one task: with the agent's token (hook), or a key of its own (gateway).

No answer is a no: everything here raises a `RemitError` instead of letting something pass.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

from remit_client import AsyncTask, Denied, Held, NotAuthenticated, Unreachable
from remit_client.errors import of_problem
from remit_client.telemetry import traceparent
from remit_client.wire import member, texts

from .lean_http import BadAnswer, LeanHttp, NobodyThere
from .seen import Seen

OBSERVED_LIMIT = 1024 * 1024 - 4096
_LONG_POLL = 20


class Asks(Protocol):
    """One task's questions."""

    async def tools(self) -> dict[str, str]:
        """The tools its scope names: catalogue name → reviewed pin."""
        ...

    async def decide(self, tool: str, arguments: Mapping[str, Any], pin: str) -> bool:
        """Return, when it is permitted, whether an approval was used up for it; raises `Held` and `Denied`."""
        ...

    async def wait_for(self, approval: str, seconds: float) -> bool:
        """Whether the approval is answered by then; raises `Denied` when it has expired."""
        ...

    async def approval(self, approval: str) -> dict[str, Any]:
        """One approval as it is now."""
        ...

    async def observe(self, tool: str, content: Any) -> None:
        """Report what the task is about to read. Unless this returns, it must not."""
        ...

    def offered(self, server: str, tools: Sequence[str]) -> None:
        """A server has these tools, whoever registered them. Returns at once."""
        ...


class AgentAsks:
    """With the agent's own token: whatever runs beside the agent can do no better."""

    def __init__(self, task: AsyncTask) -> None:
        self._task = task

    async def tools(self) -> dict[str, str]:
        return _tools(await self._task.get(f"/v1/tasks/{self._task.id}/tools"))

    async def decide(self, tool: str, arguments: Mapping[str, Any], pin: str) -> bool:
        return bool((await self._task.call(tool, arguments, wait=0, pin=pin)).approval)

    async def wait_for(self, approval: str, seconds: float) -> bool:
        return await self._task.wait_for(approval, seconds)

    def offered(self, server: str, tools: Sequence[str]) -> None:
        """Only an enforcement point's word of a server is taken."""

    async def approval(self, approval: str) -> dict[str, Any]:
        return dict(await self._task.get(f"/v1/approvals/{quote(approval, safe='')}"))

    async def observe(self, tool: str, content: Any) -> None:
        await self._task.observe(tool, content)


class Desk:
    """Remit, asked with the enforcement point's own key; an `edge` beside it is asked to decide, if there is one."""

    def __init__(self, url: str, key: str, edge: str = "") -> None:
        self.url = url.rstrip("/")
        headers = {"Accept": "application/json", "Authorization": f"Bearer {key}"}
        self._prefix = urlsplit(self.url).path
        self.seen = Seen(lambda body: self.ask("POST", "/v1/shadows", body))
        self._http = LeanHttp(self.url, headers)
        self._edge = LeanHttp(edge.rstrip("/"), headers) if edge else None

    async def decided(self, path: str, body: Any) -> Any:
        """POST to the edge; to Remit itself where there is none, or it is not there, or it says that it cannot decide.

        What an edge may have decided is not decided again: an answer that was lost on the way is no answer.
        """
        if self._edge is not None:
            content = json.dumps(body, allow_nan=False).encode()
            try:
                return await _answered(self._edge, "POST", path, content, "application/json", 5.0)
            except Unreachable as failure:
                if not failure.code and not isinstance(failure.__cause__, NobodyThere):
                    raise
        return await self.ask("POST", path, body)

    async def ask(
        self, method: str, path: str, body: Any = None, *, form: Mapping[str, str] | None = None, patience: float = 5.0
    ) -> Any:
        """One question; anything but success raises."""
        content, media = b"", ""
        if form is not None:
            content, media = urlencode(form).encode(), "application/x-www-form-urlencoded"
        elif body is not None:
            content, media = json.dumps(body, allow_nan=False).encode(), "application/json"
        return await _answered(self._http, method, self._prefix + path, content, media, patience)

    async def close(self) -> None:
        """Close the connections."""
        self.seen.close()
        for http in (self._http, self._edge):
            if http is not None:
                await http.close()


async def _answered(http: LeanHttp, method: str, target: str, content: bytes, media: str, patience: float) -> Any:
    try:
        status, answer = await http.request(method, target, content, media, patience, traceparent())
        found = json.loads(answer) if answer else None
    except (OSError, TimeoutError, BadAnswer, ValueError, RecursionError) as failure:
        said = f"Remit did not answer the enforcement point ({type(failure).__name__})."
        raise Unreachable(said, next_step="Is it running, and is REMIT_URL right?") from failure
    if 200 <= status < 300:
        return found
    error = of_problem(status, found if isinstance(found, Mapping) else {})
    if isinstance(error, NotAuthenticated):
        said = f"The enforcement point's key: {error.message}"
        raise NotAuthenticated(said, next_step="remit key create enforcer NAME") from error
    raise error


class EnforcerAsks:
    """With the enforcement point's own key, about a task whose agent has proved that it is its own.

    One at a time what changes the task's row: at once they would only lose to each other, and ask again.
    """

    def __init__(self, desk: Desk, task: str) -> None:
        self._desk = desk
        self._turn = asyncio.Lock()
        self._path = f"/v1/tasks/{quote(task, safe='')}"

    async def tools(self) -> dict[str, str]:
        return _tools(await self._desk.ask("GET", f"{self._path}/tools"))

    async def decide(self, tool: str, arguments: Mapping[str, Any], pin: str) -> bool:
        body = {"tool": tool, "arguments": dict(arguments), **({"pin": pin} if pin else {})}
        async with self._turn:
            answer = await self._desk.decided(f"{self._path}/calls", body)
        decision, reasons = member(answer, "decision", str), member(answer, "why", list)
        why = [member(reason, "sentence", str) for reason in reasons]
        if decision == "permit":
            return any(member(reason, "code", str) == "approved" for reason in reasons)
        if decision == "hold":
            held = member(answer, "approval", dict)
            named = {"approval": member(held, "id", str), "url": member(held, "url", str)}
            raise Held(" ".join(why), **named, approvers=texts(held, "approvers"))
        raise Denied(" ".join(why) or "Denied.", reasons=[member(reason, "code", str) for reason in reasons])

    async def wait_for(self, approval: str, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            step = max(1, min(_LONG_POLL, int(left)))
            path = f"/v1/approvals/{quote(approval, safe='')}?wait={step}"
            state = member(await self._desk.ask("GET", path, patience=step + 5), "state", str)
            if state == "expired":
                raise Denied("Nobody answered in time.", reasons=("approval_expired",))
            if state != "pending":
                return True
        return False

    def offered(self, server: str, tools: Sequence[str]) -> None:
        """Told in the background, the same no more than once in ten minutes; that it is not heard stops nothing."""
        self._desk.seen.saw(server, tools=tools)

    async def approval(self, approval: str) -> dict[str, Any]:
        return dict(await self._desk.ask("GET", f"/v1/approvals/{quote(approval, safe='')}"))

    async def observe(self, tool: str, content: Any) -> None:
        async with self._turn:
            await self._desk.decided(f"{self._path}/observations", {"tool": tool, "content": content})


def _tools(answer: Any) -> dict[str, str]:
    return {member(item, "name", str): member(item, "pin", str) for item in member(answer, "items", list)}

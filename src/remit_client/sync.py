"""The synchronous client."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Token
from copy import copy
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx

from .answers import Permit, Secret
from .dpop import DPoPAuth
from .errors import RemitError
from .protocol import Agent, Work
from .transactions import transaction
from .wire import CONNECT, NOBODY, Answer, Reading, Send, Talk, unreachable
from .within import enter, leave

T = TypeVar("T")


class Remit:
    """One agent process. Everything not given comes from REMIT_URL, REMIT_AGENT_DIR, REMIT_JOIN_TOKEN."""

    def __init__(
        self,
        url: str | None = None,
        *,
        agent_dir: str | Path | None = None,
        join_token: str | None = None,
        oidc_token: str | None = None,
        http: httpx.Client | None = None,
    ) -> None:
        self.agent = Agent.configured(url, agent_dir, join_token, oidc_token)
        # A retry here is of the connection only: what may have been received is never sent again.
        transport = None if http else httpx.HTTPTransport(retries=1, trust_env=False)
        self._http = http or httpx.Client(transport=transport, trust_env=False)

    def prove(self) -> str:
        """Bind this process's key now; returns the agent's name."""
        self.run(self.agent.prove())
        return self.agent.name

    def task(
        self,
        purpose: str,
        *,
        goal: str,
        on_behalf_of: str = "",
        duration_s: float = 0,
        max_calls: int = 0,
        **parameters: Any,
    ) -> Task:
        """A task to enter with `with`; `on_behalf_of` is the subject token of the person who asked."""
        return self.propose(purpose, goal, parameters, on_behalf_of, duration_s, max_calls)

    def propose(
        self,
        purpose: str,
        goal: str,
        parameters: Mapping[str, Any],
        on_behalf_of: str = "",
        duration_s: float = 0,
        max_calls: int = 0,
    ) -> Task:
        """The same as `task`, with the parameters as a mapping."""
        return Task(self, Work(self.agent, purpose, goal, parameters), on_behalf_of, duration_s, max_calls)

    def accept(self, delegation: str) -> Task:
        """What another agent handed to this one by its `delegate`, to enter with `with`."""
        return Task(self, Work(self.agent, "", "", handed=delegation), "", 0, 0)

    def adopt(self, purpose: str, task_id: str) -> Task:
        """An open task of this agent; leaving its block does not end it."""
        return Task(self, Work(self.agent, purpose, "", {}, task_id), "", 0, 0)

    def transaction(self, subject: str, *, domain: str, scope: str, details: Mapping[str, Any] | None = None) -> str:
        """A transaction token for this workload's next hop, sent in the `Txn-Token` header. `subject` is the access
        token that was sent to it, which is then the first hop, or the transaction token that was; scope only narrows.
        """
        return self.run(transaction(self.agent, subject, domain, scope, details))

    def whoami(self) -> dict[str, Any]:
        """Who this agent is to Remit: name, key, how and when it was proved, until when; and its open tasks."""
        return self.run(self.agent.whoami())

    def again(self) -> Remit:
        """The same agent over connections of its own, as a forked process needs them."""
        twin = copy(self)
        twin._http = httpx.Client(transport=httpx.HTTPTransport(retries=1, trust_env=False), trust_env=False)
        return twin

    def run(self, talk: Talk[T]) -> T:
        """Drive one conversation; no answer means no."""
        try:
            send = next(talk)
            while True:
                try:
                    answer = self._ask(send)
                except (httpx.ConnectError, httpx.ConnectTimeout) as failure:
                    if not send.or_else:
                        talk.close()
                        raise unreachable(self.agent.url, failure) from failure
                    answer = NOBODY
                except (httpx.HTTPError, httpx.InvalidURL, ValueError) as failure:
                    talk.close()
                    raise unreachable(self.agent.url, failure) from failure
                send = talk.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result

    def _ask(self, send: Send) -> Answer:
        reading = Reading(send.patience)
        with self._http.stream(
            send.method,
            send.url,
            headers=dict(send.headers),
            content=send.body,
            timeout=httpx.Timeout(send.patience, connect=CONNECT),
            follow_redirects=False,
        ) as response:
            for chunk in response.iter_bytes():
                reading.add(chunk)
        return reading.answer(response.status_code)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class Task:
    """An open task. Leaving the block ends it, and with it every credential it holds."""

    def __init__(self, remit: Remit, work: Work, on_behalf_of: str, duration_s: float, max_calls: int) -> None:
        self._remit = remit
        self._work = work
        self._proposal = (on_behalf_of, duration_s, max_calls)
        self._ours_to_end = not work.id
        self._around: Token[Any] | None = None

    @property
    def id(self) -> str:
        """The task's id; empty before the block is entered."""
        return self._work.id

    def __enter__(self) -> Task:
        self.open()
        self._around = enter(self)
        return self

    def open(self) -> None:
        """Propose it, unless it is open already; `with` does this, and ends it too."""
        if self._ours_to_end and not self._work.id:
            self._remit.run(self._work.open(*self._proposal))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        leave(self._around)
        if not self._ours_to_end:
            return
        reason = "done" if kind is None else f"failed: {kind.__name__}"
        try:
            self.end(reason)
        except RemitError:
            if kind is None:
                raise  # otherwise the block's own exception matters more; the deadline ends the task

    def over(self, remit: Remit) -> Task:
        """The same task over another's connections."""
        twin = copy(self)
        twin._remit = remit
        return twin

    def call(
        self,
        tool: str,
        arguments: Mapping[str, Any] | None = None,
        /,
        *,
        wait: float = 300,
        pin: str = "",
        **named: Any,
    ) -> Permit:
        """Return when permitted; wait up to `wait` seconds for a person; raise `Denied` or `Held`.

        Arguments go by name, or as a mapping where a name would clash with `wait` or `pin`.
        """
        return self._remit.run(self._work.call(tool, {**(arguments or {}), **named}, wait=wait, pin=pin))

    def observe(self, tool: str, content: Any) -> None:
        """Report what a tool returned, as JSON of at most 1 MiB; raises when Remit does not accept it."""
        self._remit.run(self._work.observe(tool, content))

    def delegate(
        self,
        agent: str,
        purpose: str,
        /,
        *,
        goal: str,
        duration_s: float = 0,
        max_calls: int = 0,
        bound_to: str = "",
        **parameters: Any,
    ) -> str:
        """Hand part of this task to another agent; send it the text, which is good once, for that agent alone.

        Its calls, `max_calls` or as many as may be handed on, are taken from this task. `bound_to` is the thumbprint of
        the key that you believe to be that agent's: `Denied` if it is not, and no other key of it can open this.
        """
        part = {"agent": agent, "purpose": purpose, "goal": goal, "parameters": parameters, "max_calls": max_calls}
        part["jkt"] = bound_to
        return self._remit.run(self._work.delegate({**part, "duration_ms": int(duration_s * 1000)}))

    def hook_key(self) -> str:
        """A bearer key with which a coding agent's hooks may ask about this task, and nothing else."""
        return self._remit.run(self._work.hook_key())

    def wait_for(self, approval: str, seconds: float) -> bool:
        """Wait until a held call's approval is answered; False when nobody did in time."""
        return self._remit.run(self._work.wait_for(approval, seconds))

    def get(self, path: str) -> Any:
        """Read something of Remit's API as this task, such as `/v1/purposes/NAME`."""
        return self._remit.run(self._work.get(path))

    def credential(self, name: str) -> Secret:
        """A credential that exists for this task alone, as named parts."""
        return self._remit.run(self._work.credential(name))

    def access_token(self) -> str:
        """This task's own token, for Remit and nobody else; useless without this process's key."""
        return self._remit.run(self._work.token())

    def token(self, audience: str) -> str:
        """A key-bound access token for another resource server."""
        return self._remit.run(self._work.token_for(audience))

    def auth(self, audience: str, origin: str = "") -> DPoPAuth:
        """httpx authentication for that resource server, and for no other origin."""
        auth = DPoPAuth(self._remit.agent.key, lambda: self.token(audience), origin or audience)
        self.token(audience)
        return auth

    def end(self, reason: str = "done", *, settled: bool = True) -> dict[str, Any]:
        """End it now; with `settled`, wait until every credential is dead."""
        ended: dict[str, Any] = self._remit.run(self._work.end(reason, settled=settled))
        self._ours_to_end = False
        return ended


_default: Remit | None = None


def task(purpose: str, *, goal: str, **rest: Any) -> Task:
    """`Remit().task(…)` with one client for this process, configured by the environment."""
    global _default
    _default = _default or Remit()
    return _default.task(purpose, goal=goal, **rest)

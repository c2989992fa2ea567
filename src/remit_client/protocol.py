"""The conversation with Remit, without I/O: generators that yield requests and are sent answers.

`sync` and `aio` each drive these with an httpx client; nothing is written twice. Nothing is sent again by itself but
what was never received: a proof is good once, and a call that may have been decided is not decided twice unasked.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from . import attestation
from .answers import Permit, Secret
from .dpop import safe_origin
from .errors import Denied, Held, NotAuthenticated, Refused, Unreachable
from .keys import AgentKey, remember, remembered
from .telemetry import traceparent
from .wire import Send, Talk, accepted, checked, member, texts

DEFAULT_URL = "http://127.0.0.1:7450"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name
_WAIT_STEP = 20
_EARLY = 60  # a token is renewed this many seconds, or a fifth of its life, before its end


@dataclass
class Agent:
    """Who this process is to Remit: the server, the key, and the name the server confirmed. `edge`, if there is one, is
    beside it and is asked about calls and told what was read; everything else goes to the server.
    """

    url: str
    key: AgentKey
    directory: Path | None = None
    join_token: str = field(default="", repr=False)
    oidc_token: str = field(default="", repr=False)
    name: str = ""
    edge: str = ""
    _proved: bool = False

    @classmethod
    def configured(
        cls, url: str | None, directory: str | Path | None, join_token: str | None, oidc_token: str | None
    ) -> Agent:
        """Arguments over REMIT_URL, REMIT_AGENT_DIR, REMIT_JOIN_TOKEN; the key lives in ~/.remit/agent by default.
        REMIT_EDGE is the edge beside this process.
        """
        at = (url or os.environ.get("REMIT_URL") or DEFAULT_URL).rstrip("/")
        safe_origin(at)
        where = Path(directory or os.environ.get("REMIT_AGENT_DIR") or Path.home() / ".remit" / "agent")
        join = os.environ.get("REMIT_JOIN_TOKEN", "") if join_token is None else join_token
        agent = cls(at, AgentKey.load_or_create(where), where, join, oidc_token or "")
        agent.name = remembered(where, agent.key.jkt)
        agent.edge = os.environ.get("REMIT_EDGE", "").rstrip("/")
        if agent.edge:
            safe_origin(agent.edge)
        return agent

    def post(self, path: str, body: Any, token: str, *, query: str = "", patience: float = 5.0) -> Talk[Any]:
        """POST JSON with a bound token."""
        headers = {"Content-Type": "application/json", **self.bound("POST", path, token)}
        content = json.dumps(body, allow_nan=False).encode()
        return (yield from checked(Send("POST", self.url + path + query, headers, content, patience)))

    def decided(self, path: str, body: Any, token: str) -> Talk[Any]:
        """POST to the edge, if there is one; to the server when the edge is not there, or says that it cannot decide.

        What an edge may have decided is not decided again unasked: an answer that was lost on the way is no answer.
        """
        if not self.edge:
            return (yield from self.post(path, body, token))
        content = json.dumps(body, allow_nan=False).encode()
        headers = {"Content-Type": "application/json", **self.bound("POST", path, token, self.edge)}
        answer = yield Send("POST", self.edge + path, headers, content, or_else=True)
        if answer.status in (0, 503):
            return (yield from self.post(path, body, token))
        return accepted(answer)

    def get(self, path: str, token: str, *, query: str = "", patience: float = 5.0) -> Talk[Any]:
        """GET JSON with a bound token."""
        return (yield from checked(Send("GET", self.url + path + query, self.bound("GET", path, token), b"", patience)))

    def bound(self, method: str, path: str, token: str, origin: str = "") -> dict[str, str]:
        """Authorization and its proof, for the server or for another `origin`."""
        proof = self.key.proof(method, (origin or self.url) + path, token)
        return {"Authorization": f"DPoP {token}", "DPoP": proof, **traceparent()}

    def prove(self) -> Talk[None]:
        """Bind the key with whatever evidence there is; does nothing when it is bound already."""
        if not self.name or (self.oidc_token and not self._proved):
            yield from self._attest()

    def _attest(self) -> Talk[None]:
        if attestation.configured() and not self.oidc_token:
            return (yield from attestation.prove(self))
        evidence = {"oidc_token": self.oidc_token} if self.oidc_token else {"join_token": self.join_token}
        if not any(evidence.values()):
            raise NotAuthenticated(
                "This agent has not proved who it is.",
                next_step="Set REMIT_JOIN_TOKEN to what `remit agent invite NAME` prints.",
            )
        yield from self.prove_by(evidence)

    def prove_by(self, evidence: Mapping[str, Any]) -> Talk[None]:
        """Bind the key with this evidence, as `POST /v1/attest` takes it."""
        url = f"{self.url}/v1/attest"
        headers = {"Content-Type": "application/json", "DPoP": self.key.proof("POST", url)}
        answer = yield from checked(Send("POST", url, headers, json.dumps(evidence).encode()))
        self.proved_as(member(answer, "agent", str))

    def proved_as(self, name: str) -> None:
        """The server has bound this key to the agent `name`."""
        self.name, self.join_token, self._proved = name, "", True
        if self.directory is not None:
            remember(self.directory, self.key.jkt, name)

    def ask_token(self, fields: Mapping[str, str]) -> Talk[Any]:
        """POST /oauth/token as this agent."""
        url = f"{self.url}/oauth/token"
        headers = {"Content-Type": "application/x-www-form-urlencoded", "DPoP": self.key.proof("POST", url)}
        return (yield from checked(Send("POST", url, headers, urlencode(fields).encode())))

    def credentials(self, details: Mapping[str, Any] | None, subject_token: str = "") -> Talk[Any]:
        """The client-credentials grant; `details` is an authorization_details object (RFC 9396).

        A key that proves nothing any more (expired, or another server's) is proved again, if there is evidence.
        """
        yield from self.prove()
        try:
            return (yield from self._granted(details, subject_token))
        except NotAuthenticated:
            if not (self.join_token or self.oidc_token or attestation.configured()):
                raise
            yield from self._attest()
            return (yield from self._granted(details, subject_token))

    def own(self, path: str, query: str = "") -> Talk[Any]:
        """GET as this agent, outside any task."""
        token = member((yield from self.credentials(None)), "access_token", str)
        return (yield from self.get(path, token, query=query))

    def whoami(self) -> Talk[dict[str, Any]]:
        """What the server knows of this key, and the tasks that are open for it."""
        found = yield from self.own("/v1/whoami")
        tasks = yield from self.own("/v1/tasks", "?state=open&limit=100")
        return {**found, "tasks": member(tasks, "items", list)}

    def accept(self, delegation: str) -> Talk[Any]:
        """Open what another agent handed over (RFC 8693); this agent proves itself as the actor."""
        yield from self.prove()
        fields = {"grant_type": EXCHANGE, "subject_token": delegation, "subject_token_type": JWT}
        return (yield from self.ask_token({**self.client(), **fields}))

    def client(self) -> dict[str, str]:
        """What says at the token endpoint who asks (RFC 7523)."""
        return {"client_assertion_type": ASSERTION, "client_assertion": self.key.assertion(self.name, self.url)}

    def _granted(self, details: Mapping[str, Any] | None, subject_token: str) -> Talk[Any]:
        fields = {"grant_type": "client_credentials", **self.client()}
        if details is not None:
            fields["authorization_details"] = json.dumps([details], allow_nan=False)
        if subject_token:
            fields |= {"subject_token": subject_token, "subject_token_type": ACCESS_TOKEN}
        return (yield from self.ask_token(fields))


def _said(reason: Any) -> str:
    """A reason's sentence; one that would tell which policy spoke says only that one did."""
    sentence = member(reason, "sentence", str)
    inside = [str(reason.get(name) or "") for name in ("policy", "control")]
    return "The rules here do not allow it." if any(word and word in sentence for word in inside) else sentence


@dataclass(frozen=True, slots=True)
class _Token:
    """An access token, and the monotonic second after which another is asked for."""

    text: str = field(default="", repr=False)
    until: float = 0.0

    @classmethod
    def of(cls, answer: Any) -> _Token:
        lasts = member(answer, "expires_in", int)
        return cls(member(answer, "access_token", str), time.monotonic() + lasts - min(_EARLY, lasts / 5))

    @property
    def fresh(self) -> bool:
        return time.monotonic() < self.until


@dataclass
class Work:
    """One open task: its tokens, kept fresh, and everything that can be asked within it."""

    agent: Agent
    purpose: str
    goal: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    _token: _Token = field(default_factory=_Token, repr=False)
    _elsewhere: dict[str, _Token] = field(default_factory=dict, repr=False)
    handed: str = field(default="", repr=False)

    def open(self, subject_token: str = "", duration_s: float = 0, max_calls: int = 0) -> Talk[None]:
        """Propose, or open what was handed over."""
        if self.handed:
            return self._keep((yield from self.agent.accept(self.handed)))
        details: dict[str, Any] = {"type": self.purpose, "goal": self.goal, "parameters": dict(self.parameters)}
        if duration_s:
            details["duration_ms"] = int(duration_s * 1000)
        if max_calls:
            details["max_calls"] = max_calls
        try:
            self._keep((yield from self.agent.credentials(details, subject_token)))
        except Refused as refused:
            if "no purpose of this agent" in refused.message:
                said = f"{self.purpose!r} is no purpose of this agent."
                raise Denied(said, reasons=("absent",), code=refused.code) from refused
            raise

    def token(self) -> Talk[str]:
        """The task's own token, renewed before it expires."""
        if not self._token.fresh:
            self._keep((yield from self.agent.credentials({"type": self.purpose, "task": self.id})))
        return self._token.text

    def _keep(self, answer: Any) -> None:
        details = member(answer, "authorization_details", list)
        self.id = member(details[0] if details else None, "task", str)
        self.purpose = member(details[0], "type", str)
        self._token = _Token.of(answer)

    def call(self, tool: str, arguments: Mapping[str, Any], *, wait: float, pin: str = "") -> Talk[Permit]:
        """Decide; wait for the person up to `wait` seconds; raise `Denied` or `Held`."""
        deadline = time.monotonic() + wait
        path, approval = f"/v1/tasks/{self.id}/calls", ""
        body = {"tool": tool, "arguments": dict(arguments), **({"pin": pin} if pin else {})}
        while True:
            answer = yield from self.agent.decided(path, body, (yield from self.token()))
            decision, reasons = member(answer, "decision", str), member(answer, "why", list)
            why = tuple(_said(reason) for reason in reasons)
            if decision == "permit":
                return Permit(why, approval)
            if decision == "deny":
                codes = [member(reason, "code", str) for reason in reasons]
                raise Denied(" ".join(why) or "Denied.", reasons=codes)
            if decision != "hold":
                raise Unreachable("Remit's answer is no permit, no hold and no denial, so the answer is no.")
            held = member(answer, "approval", dict)
            approval, url = member(held, "id", str), member(held, "url", str)
            if not (yield from self.wait_for(approval, deadline - time.monotonic())):
                raise Held(" ".join(why), approval=approval, url=url, approvers=texts(held, "approvers"))

    def observe(self, tool: str, content: Any) -> Talk[None]:
        """Report what a tool returned: Remit keeps what reading it means, and never the content."""
        path = f"/v1/tasks/{self.id}/observations"
        yield from self.agent.decided(path, {"tool": tool, "content": content}, (yield from self.token()))

    def delegate(self, part: Mapping[str, Any]) -> Talk[str]:
        """Hand part of this task to another agent: the text that it opens it with, once."""
        path = f"/v1/tasks/{self.id}/delegations"
        return member((yield from self.agent.post(path, part, (yield from self.token()))), "delegation_token", str)

    def hook_key(self) -> Talk[str]:
        """A bearer key with which a coding agent's hooks may ask about this task, and nothing else."""
        answer = yield from self.agent.post(f"/v1/tasks/{self.id}/hook-keys", {}, (yield from self.token()))
        return member(answer, "hook_key", str)

    def wait_for(self, approval: str, seconds: float) -> Talk[bool]:
        """Wait until the approval is no longer pending; False when the time is over."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            step = max(1, min(_WAIT_STEP, int(left)))
            path, token = f"/v1/approvals/{quote(approval, safe='')}", (yield from self.token())
            found = yield from self.agent.get(path, token, query=f"?wait={step}", patience=step + 5)
            state = member(found, "state", str)
            if state == "expired":
                raise Denied("Nobody answered in time.", reasons=("approval_expired",))
            if state != "pending":
                return True
        return False

    def get(self, path: str) -> Talk[Any]:
        """Read with the task's token."""
        return (yield from self.agent.get(path, (yield from self.token())))

    def credential(self, name: str) -> Talk[Secret]:
        """A credential for this task alone."""
        path = f"/v1/tasks/{self.id}/credentials"
        answer = yield from self.agent.post(path, {"credential": name}, (yield from self.token()), patience=35)
        parts = member(answer, "parts", dict)
        secret = Secret({str(part): member(parts, part, str) for part in parts})
        secret.kind, secret.expires_at = member(answer, "kind", str), member(answer, "expires_at", int)
        secret.lasts = (secret.expires_at - member(answer, "minted_at", int)) / 1000
        return secret

    def token_for(self, audience: str) -> Talk[str]:
        """A token for another resource server (RFC 8693), renewed before it expires."""
        if not (held := self._elsewhere.get(audience, _Token())).fresh:
            fields = {
                "grant_type": EXCHANGE,
                "subject_token": (yield from self.token()),
                "subject_token_type": ACCESS_TOKEN,
                "audience": audience,
            }
            held = self._elsewhere[audience] = _Token.of((yield from self.agent.ask_token(fields)))
        return held.text

    def end(self, reason: str, *, settled: bool) -> Talk[Any]:
        """Close the task; its credentials die. One that is over already is only looked at."""
        try:
            token = yield from self.token()
        except Refused:
            found = yield from self.agent.own(f"/v1/tasks/{self.id}")
            if member(found, "state", str) == "open" and time.time() * 1000 < member(found, "deadline", int):
                raise
            return found
        path, query = f"/v1/tasks/{self.id}/end", "?wait=settled" if settled else ""
        return (yield from self.agent.post(path, {"reason": reason}, token, query=query, patience=15))

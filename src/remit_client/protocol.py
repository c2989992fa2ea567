"""The conversation with Remit, without I/O: generators that yield requests and are sent answers.

`sync` and `aio` each drive these with an httpx client; nothing is written twice.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

from .errors import Denied, Held, NotAuthenticated, Refused, RemitError, Unreachable
from .keys import AgentKey

T = TypeVar("T")
DEFAULT_URL = "http://127.0.0.1:7450"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name
_WAIT_STEP = 20


@dataclass(frozen=True)
class Send:
    """One request to make. `patience` is how many seconds its answer may take."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""
    patience: float = 5.0


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: Any


Talk = Generator[Send, Answer, T]


@dataclass(frozen=True)
class Permit:
    """The call may happen, once, now. `why` are sentences; `approval` is set when a person agreed."""

    why: tuple[str, ...]
    approval: str = ""


class Secret(dict[str, str]):
    """A credential's named parts; use as `connect(**secret)`. Its repr shows names only."""

    def __repr__(self) -> str:
        return f"<credential: {', '.join(self)}>"

    __str__ = __repr__


@dataclass
class Agent:
    """Who this process is to Remit: the server, the key, and the name the server confirmed."""

    url: str
    key: AgentKey
    directory: Path | None
    join_token: str = ""
    oidc_token: str = ""
    name: str = ""
    _token: str = ""
    _until: float = 0.0

    @classmethod
    def configured(
        cls, url: str | None, directory: str | Path | None, join_token: str | None, oidc_token: str | None
    ) -> Agent:
        """Arguments over REMIT_URL, REMIT_AGENT_DIR, REMIT_JOIN_TOKEN; the key lives in ~/.remit/agent by default."""
        where = Path(directory or os.environ.get("REMIT_AGENT_DIR") or Path.home() / ".remit" / "agent")
        agent = cls(
            (url or os.environ.get("REMIT_URL") or DEFAULT_URL).rstrip("/"),
            AgentKey.load_or_create(where),
            where,
            os.environ.get("REMIT_JOIN_TOKEN", "") if join_token is None else join_token,
            oidc_token or "",
        )
        known = where / "agent.json"
        if known.is_file():
            agent.name = str(json.loads(known.read_text()).get("agent", ""))
        return agent

    def post(self, path: str, body: Any, token: str, *, patience: float = 5.0) -> Talk[Any]:
        """POST JSON with a bound token."""
        headers = {"Content-Type": "application/json", **self.bound("POST", path, token)}
        return (yield from checked(Send("POST", self.url + path, headers, json.dumps(body).encode(), patience)))

    def get(self, path: str, token: str, *, query: str = "", patience: float = 5.0) -> Talk[Any]:
        """GET JSON with a bound token."""
        return (yield from checked(Send("GET", self.url + path + query, self.bound("GET", path, token), b"", patience)))

    def bound(self, method: str, path: str, token: str) -> dict[str, str]:
        """Authorization and its proof."""
        return {"Authorization": f"DPoP {token}", "DPoP": self.key.proof(method, self.url + path, token)}

    def prove(self) -> Talk[None]:
        """Bind the key with whatever evidence there is; does nothing when it is bound already."""
        if self.name and not self.oidc_token:
            return
        evidence = {"oidc_token": self.oidc_token} if self.oidc_token else {"join_token": self.join_token}
        if not any(evidence.values()):
            raise NotAuthenticated(
                "This agent has not proved who it is.",
                next_step="Set REMIT_JOIN_TOKEN to what `remit agent invite NAME` prints.",
            )
        headers = {
            "Content-Type": "application/json",
            "DPoP": self.key.proof("POST", f"{self.url}/v1/attest"),
        }
        answer = yield from checked(Send("POST", f"{self.url}/v1/attest", headers, json.dumps(evidence).encode()))
        self.name, self.join_token = answer["agent"], ""
        if self.directory is not None:
            (self.directory / "agent.json").write_text(json.dumps({"agent": self.name, "jkt": self.key.jkt}))

    def ask_token(self, fields: Mapping[str, str]) -> Talk[Any]:
        """POST /oauth/token as this agent."""
        path = "/oauth/token"
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "DPoP": self.key.proof("POST", self.url + path),
        }
        return (yield from checked(Send("POST", self.url + path, headers, urlencode(fields).encode())))

    def credentials(self, details: Mapping[str, Any] | None, subject_token: str = "") -> Talk[Any]:
        """The client-credentials grant; `details` is an authorization_details object (RFC 9396)."""
        yield from self.prove()
        fields = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION,
            "client_assertion": self.key.assertion(self.name, self.url),
        }
        if details is not None:
            fields["authorization_details"] = json.dumps([details])
        if subject_token:
            fields |= {"subject_token": subject_token, "subject_token_type": ACCESS_TOKEN}
        return (yield from self.ask_token(fields))


@dataclass
class Work:
    """One open task: its token, kept fresh, and everything that can be asked within it."""

    agent: Agent
    purpose: str
    goal: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    _token: str = ""
    _until: float = 0.0

    def open(self, subject_token: str = "", duration_s: float = 0, max_calls: int = 0) -> Talk[None]:
        """Propose."""
        details: dict[str, Any] = {
            "type": self.purpose,
            "goal": self.goal,
            "parameters": dict(self.parameters),
        }
        if duration_s:
            details["duration_ms"] = int(duration_s * 1000)
        if max_calls:
            details["max_calls"] = max_calls
        try:
            self._keep((yield from self.agent.credentials(details, subject_token)))
        except Refused as refused:
            if refused.field == "" and "no purpose of this agent" in refused.message:
                raise Denied(refused.message, reasons=("absent",), code=refused.code) from refused
            raise

    def token(self) -> Talk[str]:
        """The task's own token, renewed a minute before it expires."""
        if time.monotonic() > self._until:
            self._keep((yield from self.agent.credentials({"type": self.purpose, "task": self.id})))
        return self._token

    def _keep(self, answer: Mapping[str, Any]) -> None:
        self._token = answer["access_token"]
        self._until = time.monotonic() + max(1.0, answer["expires_in"] - 60)
        self.id = answer["authorization_details"][0]["task"]

    def call(self, tool: str, arguments: Mapping[str, Any], *, wait: float, pin: str = "") -> Talk[Permit]:
        """Decide; wait for the person up to `wait` seconds; raise `Denied` or `Held`."""
        deadline = time.monotonic() + wait
        path = f"/v1/tasks/{self.id}/calls"
        body = {"tool": tool, "arguments": dict(arguments), **({"pin": pin} if pin else {})}
        while True:
            answer = yield from self.agent.post(path, body, (yield from self.token()))
            why = tuple(reason["sentence"] for reason in answer["why"])
            if answer["decision"] == "permit":
                return Permit(why)
            if answer["decision"] != "hold":
                raise Denied(" ".join(why) or "Denied.", reasons=[reason["code"] for reason in answer["why"]])
            held = answer["approval"]
            if not (yield from self.wait_for(held["id"], deadline - time.monotonic())):
                raise Held(" ".join(why), approval=held["id"], url=held["url"], approvers=held["approvers"])

    def wait_for(self, approval: str, seconds: float) -> Talk[bool]:
        """Wait until the approval is no longer pending; False when the time is over."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            step = max(1, min(_WAIT_STEP, int(left)))
            path, token = f"/v1/approvals/{approval}", (yield from self.token())
            found = yield from self.agent.get(path, token, query=f"?wait={step}", patience=step + 5)
            if found["state"] == "expired":
                raise Denied("Nobody answered in time.", reasons=("approval_expired",))
            if found["state"] != "pending":
                return True
        return False

    def get(self, path: str) -> Talk[Any]:
        """Read with the task's token."""
        return (yield from self.agent.get(path, (yield from self.token())))

    def credential(self, name: str) -> Talk[Secret]:
        """A credential for this task alone."""
        path = f"/v1/tasks/{self.id}/credentials"
        answer = yield from self.agent.post(path, {"credential": name}, (yield from self.token()), patience=35)
        return Secret(answer["parts"])

    def exchange(self, audience: str) -> Talk[Any]:
        """A token for another resource server (RFC 8693)."""
        fields = {
            "grant_type": EXCHANGE,
            "subject_token": (yield from self.token()),
            "subject_token_type": ACCESS_TOKEN,
            "audience": audience,
        }
        return (yield from self.agent.ask_token(fields))

    def end(self, reason: str, *, settled: bool) -> Talk[Any]:
        """Close the task; its credentials die."""
        path, query = f"/v1/tasks/{self.id}/end", "?wait=settled" if settled else ""
        token = yield from self.token()
        headers = {"Content-Type": "application/json", **self.agent.bound("POST", path, token)}
        body = json.dumps({"reason": reason}).encode()
        return (yield from checked(Send("POST", self.agent.url + path + query, headers, body, 15)))


def checked(send: Send) -> Talk[Any]:
    """Send, and turn anything but success into an exception."""
    answer = yield send
    if 200 <= answer.status < 300:
        return answer.body
    from .errors import of_problem

    body = answer.body if isinstance(answer.body, Mapping) else {}
    raise of_problem(answer.status, body)


def unreachable(url: str, failure: Exception) -> RemitError:
    """No answer means no."""
    return Unreachable(
        f"Remit at {url} did not answer ({type(failure).__name__}), so the answer is no.",
        next_step="Is it running, and is REMIT_URL right?",
    )

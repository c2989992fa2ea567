"""AgentDojo replayed without a model, through the HTTP surface of a real server: `injection.*`, one line a profile.

Every benign task's true calls are attempted in order, and what they returned is reported; a hold is answered by a person and
tried again. Then, at the end of every benign task, a result with each attacker's goal in it is reported, and the attacker's
calls are attempted. Nothing of the truth but the prompt is in the proposal. `REMIT_AGENTDOJO` names the data (AgentDojo's
tasks as JSON: suites, tools, user_tasks, injection_tasks); it is looked for beside the repository.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

from measure import ONLY, emit  # noqa: E402
from tests.server import process  # noqa: E402
from variants import calls_replaced, everything_replaced, renamed  # noqa: E402

from remit_client import AgentKey  # noqa: E402

DATA = Path(os.environ.get("REMIT_AGENTDOJO") or HERE.parents[2] / "shared" / "bench" / "agentdojo-dev.json")
PEOPLE = '[people.dana]\ngroups = ["staff"]\n[people.frank]\ngroups = ["approvers"]\n[people.olga]\n'
PROFILES = ("guarded", "balanced", "watch")
ALL = '@id("all") permit (principal, action, resource);\n'
NONE = (
    '@id("propose") permit (principal, action == Remit::Action::"propose", resource);\n'
    '@id("none") forbid (principal, action in Remit::Action::"call", resource);\n'
)


@dataclass
class Tally:
    """What is counted over every suite."""

    tasks: int = 0
    useful: int = 0
    unattended: int = 0
    holds: int = 0
    pairs: int = 0
    inert: int = 0
    failures: list[str] = field(default_factory=list)


def catalogue(suite: Mapping[str, Any], described: Mapping[str, Any], profile: str, policy: str) -> dict[str, str]:
    """One agent, one purpose, the suite's tools."""
    about = described["purpose"]
    files = {
        "remit.toml": PEOPLE,
        "agents/assistant.toml": 'owner = "olga"\n[[attestations]]\nmethod = "join_token"\n',
        "purposes/help.toml": f'owner = "olga"\ntitle = "{about["title"]}"\nagents = ["assistant"]\ninitiators = ["staff"]\n'
        f'max_duration = "1h"\nmax_calls = 500\nmax_sensitivity = "confidential"\nenvironments = ["{about["environment"]}"]\n'
        f'profile = "{profile}"\n' + "".join(f'[[grants]]\ntool = "{tool["name"]}"\n' for tool in suite["tools"]),
    }
    if policy:
        files["policies/default.cedar"] = policy
    for tool in suite["tools"]:
        files[f"tools/{tool['name']}.toml"] = tool_file(tool, described)
    return files


def tool_file(tool: Mapping[str, Any], described: Mapping[str, Any]) -> str:
    """The operator's entry, with the tool's own schema."""
    entry = described["tools"][tool["name"]]
    lines = [f'effect = "{entry["effect"]}"', f'environment = "{described["purpose"]["environment"]}"']
    lines += [f"egress = {json.dumps(entry.get('egress', False))}"]
    lines += [
        f'output_trust = "{entry.get("trust", "untrusted")}"',
        f'output_format = "{described["defaults"]["output_format"]}"',
    ]
    lines += [f"{name} = {json.dumps(entry[name])}" for name in ("matters", "words") if name in entry]
    lines += [f"schema = {json.dumps(json.dumps(tool['schema']))}"]
    fields = described["fields"][entry["fields"]] if "fields" in entry else {}
    return "\n".join([*lines, "[output_fields]", *(f'{name} = "{trust}"' for name, trust in fields.items())]) + "\n"


class Bench:
    """A server with one suite's catalogue, its agent, the person who asks and the one who answers."""

    def __init__(self, server: Any, files: Mapping[str, str]) -> None:
        operator = server.http("operator")
        answer = operator.post("/v1/catalogue", json={"files": dict(files)})
        assert answer.status_code == 200, answer.text
        self.url, self.key, self.http = server.url, AgentKey.generate(), httpx.Client(base_url=server.url, timeout=40)
        made = {
            name: operator.post("/v1/keys", json={"kind": kind, "name": name}).json()["key"]
            for kind, name in (("person", "dana"), ("person", "frank"), ("enforcer", "gate"))
        }
        self.headers = {name: {"Authorization": f"Bearer {key}"} for name, key in made.items()}
        token = operator.post("/v1/agents/assistant/join-tokens", json={}).json()["join_token"]
        proof = self.key.proof("POST", f"{self.url}/v1/attest")
        assert self.http.post("/v1/attest", json={"join_token": token}, headers={"DPoP": proof}).status_code == 201

    def task(self, goal: str) -> str:
        """Dana asks for it."""
        asked = self.http.post("/v1/subject-tokens", json={"agent": "assistant"}, headers=self.headers["dana"]).json()
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": self.key.assertion("assistant", self.url),
            "authorization_details": json.dumps([{"type": "help", "goal": goal, "parameters": {}}]),
            "subject_token": asked["subject_token"],
            "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        }
        proof = self.key.proof("POST", f"{self.url}/oauth/token")
        answer = self.http.post("/oauth/token", data=form, headers={"DPoP": proof})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["authorization_details"][0]["task"])

    def call(self, task: str, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """One decision."""
        body = {"tool": tool, "arguments": arguments}
        answer = self.http.post(f"/v1/tasks/{task}/calls", json=body, headers=self.headers["gate"])
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def approve(self, held: Mapping[str, Any]) -> None:
        """Frank agrees to exactly what was asked."""
        path = f"/v1/approvals/{held['approval']['id']}"
        digest = self.http.get(path, headers=self.headers["frank"]).json()["digest"]
        answer = self.http.post(f"{path}/answer", json={"digest": digest, "yes": True}, headers=self.headers["frank"])
        assert answer.status_code == 200, answer.text

    def observe(self, task: str, tool: str, content: Any) -> None:
        """What it returned."""
        body = {"tool": tool, "content": content}
        answer = self.http.post(f"/v1/tasks/{task}/observations", json=body, headers=self.headers["gate"])
        assert answer.status_code == 200, answer.text

    def benign(self, told: Mapping[str, Any]) -> tuple[str, int, bool]:
        """(task, holds, whether every call went through)."""
        task, holds = self.task(told["prompt"]), 0
        for call in told["calls"]:
            found = self.call(task, call["tool"], call["args"])
            if found["decision"] == "hold":
                holds += 1
                tell(call["tool"], json.dumps(call["args"])[:200], [why["policy"] for why in found["why"]])
                self.approve(found)
                found = self.call(task, call["tool"], call["args"])
            if found["decision"] != "permit":
                return task, holds, False
            self.observe(task, call["tool"], call["output"])
        return task, holds, True


def reader(suite: Mapping[str, Any], described: Mapping[str, Any]) -> str:
    """A tool whose whole output anybody could have written, or the first that has some such field."""
    names = [tool["name"] for tool in suite["tools"] if described["tools"][tool["name"]].get("trust") != "trusted"]
    return next((name for name in names if described["tools"][name]["effect"] == "read"), names[0])


def changes(suite: Mapping[str, Any]) -> frozenset[str]:
    """Tools that were seen to change the environment in any task, the benign ones and the attacks."""
    told = [*suite["user_tasks"].values(), *suite["injection_tasks"].values()]
    return frozenset(call["tool"] for task in told for call in task["calls"] if call.get("changed_env"))


def replay(
    bench: Bench, name: str, suite: Mapping[str, Any], described: Mapping[str, Any], tally: Tally, attack: bool
) -> None:
    """Every benign task, then every attack at the end of it."""
    effective, source = changes(suite), reader(suite, described)
    for number, told in suite["user_tasks"].items():
        _, holds, through = bench.benign(told)
        tally.tasks += 1
        tally.useful += through
        tally.unattended += through and not holds
        tally.holds += holds
        if holds or not through:
            tally.failures.append(f"{name} {number}: {holds} holds{'' if through else ', denied'}")
        for label, injected in suite["injection_tasks"].items() if attack else ():
            task, _, _ = bench.benign(told)
            bench.observe(task, source, injected["goal"])
            got = []
            for call in injected["calls"]:
                found = bench.call(task, call["tool"], call["args"])["decision"]
                got += [call["tool"]] if found == "permit" and call["tool"] in effective else []
            tally.pairs += 1
            tally.inert += not got
            if got:
                tally.failures.append(f"{name} {number} × {label}: {', '.join(got)} went through")


def measured(
    profile: str,
    policy: str = "",
    change: Callable[[Any, Any], tuple[Any, Any]] = lambda suite, described: (suite, described),
    *,
    attack: bool = True,
) -> Tally:
    """Every suite under one profile, each on a server of its own."""
    tally = Tally()
    for name, suite, described in suites():
        suite, described = change(suite, described)
        with tempfile.TemporaryDirectory() as folder, process(Path(folder) / "data") as server:
            bench = Bench(server, catalogue(suite, described, profile, policy))
            replay(bench, name, suite, described, tally, attack)
    return tally


def suites() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(name, the data, the operator's description)."""
    for name, suite in json.loads(DATA.read_text())["suites"].items():
        yield name, suite, tomllib.loads((HERE / f"{name}.toml").read_text())


def report(subject: str, tally: Tally, note: str = "") -> None:
    """Four lines."""
    tasks, pairs = tally.tasks, tally.pairs
    figures = {"utility": 100 * tally.useful / tasks, "unattended": 100 * tally.unattended / tasks}
    figures |= {"inert": 100 * tally.inert / pairs} if pairs else {}
    for name, value in figures.items():
        emit(
            f"injection.{name}",
            subject,
            pairs if name == "inert" else tasks,
            value=round(value, 1),
            unit="%",
            note=note,
        )
    emit("injection.holds_per_task", subject, tasks, value=round(tally.holds / tasks, 2), unit="holds", note=note)
    tell("\n".join(tally.failures))


def tell(*words: object) -> None:
    """Say it to whoever asked to see."""
    if os.environ.get("REMIT_BENCH_SHOW"):
        print(*words, file=sys.stderr)


def main() -> None:
    """The profiles, the controls, and the variants."""
    if not DATA.exists():
        emit("injection.inert", "remit", 0, note=f"absent: put AgentDojo's tasks at {DATA} or set REMIT_AGENTDOJO")
        return
    wanted = os.environ.get("REMIT_BENCH_PROFILES", "").split(",") if os.environ.get("REMIT_BENCH_PROFILES") else None
    for profile in wanted or PROFILES:
        report(profile, measured(profile))
    if wanted:
        return
    report("allow-all", measured("balanced", ALL), "control: 100 % utility, 0 % inert")
    report("deny-all", measured("balanced", NONE), "control: 0 % utility, 100 % inert")
    report("balanced, tools renamed", measured("balanced", change=renamed), "as balanced")
    report(
        "balanced, fresh values in prompts, results and calls",
        measured("balanced", change=everything_replaced),
        "as balanced",
    )
    flipped = measured("balanced", change=calls_replaced, attack=False)
    report("balanced, fresh values in calls alone", flipped, "unattended: only tasks whose calls carry no such value")


if __name__ == "__main__" and "injection".startswith(ONLY.partition(".")[0] or "injection"):
    main()

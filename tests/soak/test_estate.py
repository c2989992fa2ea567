"""Laws 4 and 5 across every issuer: leases by the thousand, while Remit and every server are killed with -9 at random.

When all are up again and every task has ended, every server is asked what is alive: nothing is, every lease is ENDED and
Remit knows of no backlog. What nobody can take back is waited for in sight; hours that no test can wait are jumped by
Remit's clock, and those servers are asked by the same one. A short lane runs always; `make soak` runs the long one.

    REMIT_SOAK_LEASES=10000 REMIT_SOAK_SEED=7 make soak
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import httpx
import pytest

from remit.issuers import KINDS
from tests.issuers.sites import SITES, Remit, Site, catalogue
from tests.server import Agent, Server, process

WINDOW, BEYOND = 40, 7_200  # seconds: past a mint window; past the life of what nobody can take back


@dataclass(frozen=True)
class Plan:
    """`pauses` are the seconds between two kills of one victim, `most` how often each is killed at most."""

    leases: int
    agents: int
    pauses: tuple[float, float]
    most: int
    seed: int


class Estate:
    """Remit, the sites, agents at work, and whoever kills them."""

    def __init__(self, folder, sites: Mapping[str, Site], plan: Plan) -> None:
        self.data, self.sites, self.plan, self.port = folder / "data", sites, plan, "0"
        self.env = {name: value for site in sites.values() for name, value in site.environ.items()}
        self.server: Server
        self.held: dict[str, list[dict[str, str]]] = {kind: [] for kind in sites}
        self.ids: set[str] = set()
        self.kills, self.refused, self.lock = Counter(), Counter(), threading.Lock()
        self.stop = threading.Event()
        self._stack = ExitStack()

    def up(self, ahead: int = 0) -> None:
        options = ("--port", self.port)
        self.server = self._stack.enter_context(process(self.data, *options, ahead=ahead, **self.env))
        self.port = self.server.url.rsplit(":", 1)[1]

    def down(self) -> None:
        """As an operator would."""
        self._stack.close()

    def crash(self) -> None:
        os.kill(self.server.child.pid, signal.SIGKILL)
        self._stack.close()

    def furnish(self) -> None:
        with self.server.http("operator") as http:
            answer = http.post("/v1/catalogue", json={"files": catalogue(self.sites)})
            assert answer.status_code == 200, answer.text
            assert http.put("/v1/secrets/stripe", json={"value": "canary"}).status_code == 204
            keys = http.get("/.well-known/federation-jwks.json").json()["keys"]
            for kind, site in self.sites.items():
                published = lambda name, kind=kind: http.get(f"/issuers/{kind}/{name}").content  # noqa: E731
                site.trust(
                    Remit(self.server.url, keys, published, lambda path, body: http.post(path, json=body).json())
                )

    def issue(self, agent: Agent, task: str, token: str, kind: str) -> httpx.Response:
        answer = agent.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": kind})
        with self.lock:
            if answer.status_code == 201:
                self.ids.add(answer.json()["id"])
                self.held[kind].append(answer.json()["parts"])
            else:
                self.refused[kind] += 1
        return answer

    def work(self, agent: Agent, choose: random.Random) -> None:
        """One agent's life: tasks with some credentials each, most of them ended, whoever is down meanwhile."""
        kinds = list(self.sites)
        with httpx.Client(timeout=40) as agent.http:
            while not self.stop.is_set():
                try:
                    task, token = agent.task()
                    for kind in choose.choices(kinds, k=choose.randint(1, 8)):
                        self.issue(agent, task, token, kind)
                    if choose.random() < 0.8:
                        agent.send("POST", f"/v1/tasks/{task}/end", token, {"reason": "done"})
                except (httpx.HTTPError, AssertionError, KeyError, ValueError):
                    time.sleep(0.05)

    def hunt(self, victim: str, choose: random.Random) -> None:
        """Kill one victim again and again; it is up when this returns."""
        crash, start = (
            (self.crash, self.up) if victim == "remit" else (self.sites[victim].crash, self.sites[victim].start)
        )
        low, high = (self.plan.pauses[0] / 2, self.plan.pauses[1] / 2) if victim == "remit" else self.plan.pauses
        for _ in range(self.plan.most):
            if self.stop.wait(choose.uniform(low, high)):
                return
            crash()
            time.sleep(choose.choice((0.0, 0.3, choose.uniform(0.3, 4.0) if high > 5 else 0.5)))
            start()
            self.kills[victim] += 1

    def storm(self, told: Callable[[str], None]) -> None:
        victims = ["remit", *(kind for kind, site in self.sites.items() if site.crash)]
        choose = random.Random(self.plan.seed)
        agents = [self.server.agent() for _ in range(self.plan.agents)]
        with ThreadPoolExecutor(len(agents) + len(victims)) as pool:
            jobs = [pool.submit(self.work, agent, random.Random(choose.random())) for agent in agents]
            hunts = [pool.submit(self.hunt, victim, random.Random(choose.random())) for victim in victims]
            try:
                said = 0.0
                while len(self.ids) < self.plan.leases or not all(self.kills[victim] for victim in victims):
                    assert not any(job.done() and job.exception() for job in (*jobs, *hunts))
                    if time.monotonic() - said > 10:
                        told(f"{len(self.ids)} leases issued, kills {dict(self.kills)}")
                        said = time.monotonic()
                    time.sleep(0.05)
            finally:
                self.stop.set()
            for job in (*jobs, *hunts):
                job.result()

    def waiting(self, http: httpx.Client) -> Counter:
        """Leases that are not ENDED, by issuer."""
        found: Counter = Counter()
        for state in ("reserved", "live", "ending"):
            after = ""
            while True:
                page = http.get("/v1/leases", params={"state": state, "limit": 500, "after": after}).json()
                found.update(lease["issuer"] for lease in page["items"])
                after = page["next"]
                if not after:
                    break
        return found

    def alive(self, now: float) -> Counter:
        """What the servers themselves say; for a token that is only read, whoever asks Remit."""
        with self.server.http("operator") as http:
            asked = {one["access_token"] for one in self.held["jwt"]}
            active = sum(http.post("/oauth/introspect", data={"token": one}).json()["active"] for one in asked)
        told = {kind: site.alive(self.held[kind], now) for kind, site in self.sites.items()}
        return +Counter({**told, "jwt": active})

    def end_all(self) -> None:
        with self.server.http("operator") as http:
            while tasks := http.get("/v1/tasks", params={"state": "open", "limit": 500}).json()["items"]:
                for task in tasks:
                    http.post(f"/v1/tasks/{task['id']}/end", json={"reason": "over"})

    def drained(self, told: Callable[[str], None], seconds: float, *, wholly: bool) -> Counter:
        """Wait until only what dies by itself is left; `wholly`: nothing at all."""
        until = time.monotonic() + seconds
        with self.server.http("operator") as http:
            while True:
                left = self.waiting(http)
                lines = [line for line in http.get("/metrics").text.splitlines() if 'state="dies by itself"' in line]
                by_itself = sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("remit_leases{"))
                if left.total() == (0 if wholly else by_itself):
                    return left
                told(f"{left.total()} leases left, {by_itself:.0f} of them die by themselves")
                assert time.monotonic() < until, (left, self.data.with_suffix(".log").read_text()[-3000:])
                time.sleep(0.5)


def soak(tmp_path, plan: Plan, told: Callable[[str], None], ahead: int = 0) -> None:
    """`ahead`: mint windows are jumped over instead of waited for."""
    began = time.monotonic()
    with ExitStack() as stack:
        sites = opened(stack)
        estate = Estate(tmp_path, sites, plan)
        estate.up()
        stack.callback(estate.down)
        estate.furnish()
        agent = estate.server.agent()
        task, token = agent.task()
        for kind in ("ssh", "x509"):  # the first kill makes the list that their servers look at
            assert estate.issue(agent, task, token, kind).status_code == 201
        agent.send("POST", f"/v1/tasks/{task}/end", token, {"reason": "done"})
        estate.drained(told, 30, wholly=False)
        task, token = agent.task()
        for kind in sites:  # each works, and the servers see it: what counts none at the end could count one
            answer = estate.issue(agent, task, token, kind)
            assert answer.status_code == 201, (kind, answer.text)
        assert all(estate.alive(time.time())[kind] for kind in sites if kind != "static")
        estate.storm(told)
        told(f"{len(estate.ids)} leases issued, kills {dict(estate.kills)}, {time.monotonic() - began:.0f} s")
        if ahead:
            estate.down()
            estate.up(ahead)
        estate.end_all()
        left = estate.drained(told, 300, wholly=False)
        until = time.monotonic() + 10  # OpenBao ends what hung from a token that a crash lost a moment after the token
        while True:
            alive = estate.alive(time.time())
            over = {kind: count for kind, count in alive.items() if count > left[kind]}
            if not over or time.monotonic() > until:
                break
            time.sleep(0.5)
        assert not over, f"alive on the servers, and no lease says so: {over}"
        assert not any(left[kind] for kind, site in sites.items() if site.recallable and kind != "github"), left
        estate.down()
        estate.up(BEYOND)
        estate.end_all()
        estate.drained(told, 120, wholly=True)
        assert not estate.alive(time.time() + BEYOND)
        with estate.server.http("operator") as http:
            assert "remit_lease_backlog 0.0" in http.get("/metrics").text
            ended, after = set(), None
            while after != "":
                page = http.get("/v1/leases", params={"state": "ended", "limit": 500, "after": after or ""}).json()
                ended |= {lease["id"] for lease in page["items"]}
                after = page["next"]
        assert estate.ids <= ended
        counts = {kind: len(held) for kind, held in estate.held.items()}
        told(f"0 alive, 0 leases left of {len(ended)}; {time.monotonic() - began:.0f} s; delivered by issuer {counts};"
             f" refused while something was down {dict(estate.refused)}; kills {dict(estate.kills)}")  # fmt: skip


def opened(stack: ExitStack) -> dict[str, Site]:
    """All at once: each takes its time to start."""
    assert set(SITES) == set(KINDS)
    lock, found, missing = threading.Lock(), {}, []

    def open_one(kind: str) -> None:
        manager = SITES[kind]()
        try:
            site = manager.__enter__()
        except BaseException as failure:
            missing.append(failure)
            return
        with lock:
            stack.push(manager.__exit__)
            found[kind] = site

    threads = [threading.Thread(target=open_one, args=(kind,)) for kind in SITES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if missing:
        raise missing[0]
    return {kind: found[kind] for kind in SITES}


@pytest.mark.soak
def test_every_issuer_and_remit_killed_once_nothing_is_left(tmp_path):
    soak(
        tmp_path,
        Plan(leases=100, agents=4, pauses=(0.2, 2.5), most=1, seed=random.randrange(10**6)),
        print,
        WINDOW,
    )


@pytest.mark.soak
def test_ten_thousand_leases_while_everything_is_killed_nothing_is_left(tmp_path, capfd):
    def told(text: str) -> None:
        with capfd.disabled():
            print(f"soak: {text}", flush=True)

    seed = int(os.environ.get("REMIT_SOAK_SEED", random.randrange(10**6)))
    told(f"seed {seed}")
    leases = int(os.environ.get("REMIT_SOAK_LEASES", "10000"))
    soak(tmp_path, Plan(leases, agents=8, pauses=(8.0, 25.0), most=10**6, seed=seed), told)

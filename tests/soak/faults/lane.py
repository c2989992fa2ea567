"""The lane itself, in namespaces of its own: make the hosts, let everybody work, break things, heal, and look.

`outside` is all that a test needs. It runs `__main__` as the first process of its namespaces: when that ends, however it
ends, the kernel ends every other process in there and takes networks and mounts away.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import httpx
import psycopg

from . import catalogue, gather, hosts
from .checker import RECOVERY, Violation, check
from .evidence import Evidence, Sighting
from .history import Op, now, read
from .nemesis import Hosts, Nemesis, schedule
from .parties import CENTRE, PORT, Database, Party, broker, called, edge, enrol, replica, wait_for

REPLICAS = ("r1", "r2", "r3")
DISK, EDGE_DISK = "200m", "24m"
CALM = 0.1
BROKEN = 3  # the exit status when a law was broken; 1 is an error of the lane itself
JUMP = 700  # seconds: past the longest wait that a clock which ran ahead may have written down
SHOP = (
    "CREATE TABLE public.invoices (id int, customer text)",
    "CREATE ROLE boss LOGIN CREATEROLE PASSWORD 'boss-password'",
    "GRANT CONNECT ON DATABASE postgres TO boss WITH GRANT OPTION",
    "GRANT USAGE ON SCHEMA public TO boss WITH GRANT OPTION",
    "GRANT ALL ON public.invoices TO boss WITH GRANT OPTION",
)


def outside(seconds: float, seed: int, bug: str = "", keep: str = "", edges: int = 4) -> int:
    """Run the lane in namespaces of its own; what it says goes to standard output. Its exit status: `BROKEN`, or 0."""
    command = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-m"]
    command += ["tests.soak.faults", "--seconds", str(seconds), "--seed", str(seed), "--bug", bug, "--keep", keep]
    command += ["--edges", str(edges)]
    child = subprocess.Popen(command, cwd=Path(__file__).parents[3])
    try:
        return child.wait()
    finally:
        child.kill()
        child.wait()


def tell(text: str) -> None:
    """A line, at once."""
    print(f"faults: {text}", flush=True)


class Lane:
    """Everybody, from the first process to the last look."""

    def __init__(self, folder: Path, seconds: float, seed: int, bug: str, edges: int) -> None:
        self.folder, self.seconds, self.seed = folder, seconds, seed
        self.began, self.sightings, self.notes = time.monotonic(), list[Sighting](), list[str]()
        self.edge_names = tuple(f"e{number + 1}" for number in range(edges))
        self.switch = hosts.Switch([*REPLICAS, *self.edge_names, "db", "shop", "nats", "agents"])
        at = self.switch.address
        self.tls = folder / "tls"
        named = {CENTRE: list(REPLICAS), **{called(name): [name] for name in self.edge_names}}
        self.switch.names(folder / "hosts", named)
        self.ca = str(hosts.certificates(self.tls, {n: " ".join(at[h] for h in found) for n, found in named.items()}))
        self.db = Database("db", at["db"], folder, DISK)
        self.shop = Database("shop", at["shop"], folder, DISK)
        env = {
            "REMIT_ROOT_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode(),
            "SHOP_DSN": self.shop.dsn("boss", "boss-password"),
            "REMIT_NATS": (nats := f"nats://{at['nats']}:4222"),
        }
        self.replicas = [replica(name, at[name], folder, self.db.dsn(), env, self.tls, bug) for name in REPLICAS]
        self.disks = {"db": self.db.disk, "shop": self.shop.disk}
        self.disks |= {name: hosts.small_disk(folder / name, EDGE_DISK) for name in self.edge_names}
        self.over = dict.fromkeys(self.edge_names[::2], nats)  # e1 and e3; the others have a stream
        beside = [edge(name, at[name], folder, self.tls, bug, self.over.get(name, "")) for name in self.edge_names]
        self.nats = broker("nats", at["nats"], folder)
        everybody = (*self.replicas, *beside, self.db, self.shop, self.nats)
        self.parties: dict[str, Party] = {one.name: one for one in everybody}
        self.edges = {name: f"https://{called(name)}:{PORT}" for name in self.edge_names}
        self.agents = [catalogue.STEADY, *(f"bot{number}" for number in range(4))]
        self.history = folder / "history.jsonl"
        self.workload: subprocess.Popen[bytes] | None = None
        self.quiet, self.key = threading.Event(), ""

    # --- before ---

    def up(self) -> None:
        """Everybody runs, the catalogue is in force, every agent is invited."""
        self.db.make()
        self.shop.make(*SHOP)
        self.nats.start()
        for one in self.replicas:
            one.start()
            wait_for(lambda name=one.name: self.ready(name), 150, f"{one.name} does not start")
        self.key = (self.folder / "r1" / "operator.key").read_text().strip()
        with self.http("r1") as http:
            answer = http.post("/v1/catalogue", json={"files": catalogue.files(self.agents, 0, self.edges)})
            assert answer.status_code == 200, answer.text
            frank = http.post("/v1/keys", json={"kind": "person", "name": "frank"}).json()["key"]
            tokens = {
                name: http.post(f"/v1/agents/{name}/join-tokens", json={}).json()["join_token"] for name in self.agents
            }
            for name in self.edge_names:
                enrol(
                    name, self.folder, http.post("/v1/keys", json={"kind": "edge", "name": name}).json()["key"], self.ca
                )
                self.parties[name].start()
        for name in self.edge_names:
            wait_for(lambda name=name: self.ready(name), 150, f"{name} does not start")
        plan = {
            "seed": self.seed,
            "url": f"https://{CENTRE}:{PORT}",
            "doors": {name: self.switch.address[name] for name in (*REPLICAS, *self.edge_names)},
            "replicas": REPLICAS,
            "edges": self.edges,
            "agents": tokens,
            "at_once": 2,
            "pause": (0.05, 0.6),
            "keys": {"operator": self.key, "frank": frank},
            "ca": self.ca,
            "folder": str(self.folder / "agents"),
            "history": str(self.history),
        }
        (self.folder / "plan.json").write_text(json.dumps(plan))
        self.history.touch()
        command = [sys.executable, "-m", "tests.soak.faults.workload", str(self.folder / "plan.json")]
        with (self.folder / "workload.log").open("ab") as log:
            self.workload = subprocess.Popen(["ip", "netns", "exec", "agents", *command], stdout=log, stderr=log)
        wait_for(lambda: self.history.stat().st_size > 0, 60, "nobody works")

    def ready(self, name: str) -> bool:
        """Whether this replica answers and has its database."""
        try:
            with self.http(name) as http:
                return http.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    def http(self, name: str, key: str = "") -> httpx.Client:
        """As an operator, at one replica or edge."""
        headers = {"Authorization": f"Bearer {key or self.key}"} if key or self.key else {}
        url = f"https://{self.switch.address[name]}:{PORT}"
        return httpx.Client(base_url=url, headers=headers, verify=gather.trusting(self.ca), timeout=20, trust_env=False)

    def edge_key(self, name: str) -> str:
        """An edge's own operator's."""
        return (self.folder / name / "data" / "operator.key").read_text().strip()

    # --- while it storms ---

    def storm(self) -> None:
        """The schedule, from its first fault to its last; whatever dies by itself is started again."""
        links = [(one, other) for one in REPLICAS for other in ("db", "shop", "nats", *self.edge_names)]
        links += [("nats", one) for one in self.edge_names]
        links += [("agents", one) for one in (*REPLICAS, *self.edge_names)]
        faults = schedule(self.seed, self.seconds, Hosts(REPLICAS, self.edge_names, ("db", "shop"), ("nats",), links))
        nemesis = Nemesis(self.switch, self.parties, self.disks, REPLICAS, faults)
        (self.folder / "faults.txt").write_text("".join(f"{fault}\n" for fault in faults))
        began, said, now_, done = time.monotonic(), 0.0, dict[str, None](), Counter[str]()
        while (at := time.monotonic() - began) < self.seconds:
            for _, fault, begins in nemesis.due(at):
                thing = f"{fault.what} {fault.whom}"
                now_ = {**now_, thing: None} if begins else {k: v for k, v in now_.items() if k != thing}
                done[fault.what] += begins
            self.tend()
            if at - said > 10:
                tell(f"{at:4.0f} of {self.seconds:.0f} s; {self._told()}; now {', '.join(now_) or 'calm'}")
                said = at
            time.sleep(CALM)
        nemesis.due(float("inf"))
        tell(f"{sum(done.values())} faults: {', '.join(f'{count} {what}' for what, count in done.most_common())}")

    def tend(self) -> None:
        """What died by itself comes back; that a user of ours ends is an error of this lane."""
        for party in self.parties.values():
            party.tend()
        assert self.workload is None or self.workload.poll() is None, (self.folder / "workload.log").read_text()[-3000:]

    def _told(self) -> str:
        ops = Counter((op.kind, op.said) for op in read(self.history))
        calls = sum(count for (kind, _), count in ops.items() if kind == "call")
        return (
            f"{calls} calls, {ops['call', 'permit']} permits, {ops['call', 'unknown']} not answered;"
            f" {ops['open', 'ok']} tasks, {ops['end', 'ok']} ends, {ops['freeze', 'ok']} freezes, {ops['credential', 'ok']} credentials"
        )

    def watch(self) -> None:
        """Law 5 at every instant: a role that outlives the end of its lease is an orphan, whatever happens later."""
        while not self.quiet.wait(1.5):
            with suppress(psycopg.Error, OSError):
                before = gather.roles(self.shop)
                over = gather.over(self.db, before)
                for role in gather.roles(self.shop) & over.keys():
                    self.sightings.append(Sighting(role, over[role]))

    # --- after ---

    def heal(self) -> dict[str, float | None]:
        """All is mended; how long until each door permits again. Then everybody goes home."""
        for party in self.parties.values():
            party.resume()
            party.start()
        healed, recovered = now(), dict[str, float | None].fromkeys((*REPLICAS, *self.edge_names))
        until = time.monotonic() + RECOVERY
        while time.monotonic() < until and not all(recovered.values()):
            self.tend()
            for op in read(self.history):
                if op.kind == "call" and op.said == "permit" and op.sent > healed and recovered[op.door] is None:
                    recovered[op.door] = (op.answered - healed) / 1e9
            time.sleep(0.5)
        for name in self.over:
            recovered[f"{name} over NATS"] = self._hears(name, healed, until)
        shown = ", ".join(f"{door} {'never' if s is None else f'{s:.1f} s'}" for door, s in recovered.items())
        tell(f"healed; permits again after: {shown}")
        return recovered

    def _hears(self, name: str, since: int, until: float) -> float | None:
        """Seconds from `since` until frames come to this edge over the broker again."""
        while time.monotonic() < until:
            with suppress(httpx.HTTPError), self.http(name, self.edge_key(name)) as http:
                if http.get("/v1/edge").json().get("frames_by") == "nats":
                    return (now() - since) / 1e9
            time.sleep(0.5)
        return None

    def go_home(self) -> None:
        """Everybody stops; every task is ended, and what that takes is waited for."""
        assert self.workload is not None
        self.workload.send_signal(signal.SIGTERM)
        self.workload.wait(90)
        self.workload = None
        with self.http("r1") as http:
            while tasks := http.get("/v1/tasks", params={"state": "open", "limit": 500}).json()["items"]:
                for task in tasks:
                    http.post(f"/v1/tasks/{task['id']}/end", json={"reason": "over"})
        for ahead in (0, JUMP):
            if ahead:
                tell(f"something waits for a time that a clock {JUMP} s ahead wrote down: jumped there")
                for one in self.replicas:
                    one.skew(ahead)
            try:
                took = wait_for(lambda: not gather.waiting(self.db), 75, "not settled")
            except TimeoutError:
                continue
            tell(f"every task settled after {took:.1f} s")
            break
        self.quiet.set()

    def evidence(self, recovered: dict[str, float | None]) -> Evidence:
        """What is known now that all is quiet."""
        with self.http("r2") as http:
            log, head, key = gather.log(http)
        edge_logs = {}
        for name in self.edge_names:
            with self.http(name, self.edge_key(name)) as http:
                edge_logs[name] = gather.log(http)[0]
        ops: list[Op] = [op for op in read(self.history) if op.kind != "seen"]
        heads = gather.heads((op for op in read(self.history) if op.kind == "seen"), key)
        rows = gather.rows(self.db)
        replayed, unplaced = asyncio.run(gather.replayed(self.db.dsn()))
        return Evidence(
            ops=ops,
            log=log,
            replicas=REPLICAS,
            edges=dict.fromkeys(self.edge_names, catalogue.BOUNDS),
            edge_logs=edge_logs,
            heads=heads,
            head=head,
            unplaced=unplaced,
            tasks=rows["tasks"],
            leases=list(rows["leases"].values()),
            roles=frozenset(gather.roles(self.shop)),
            sightings=self.sightings,
            replayed=replayed,
            recovered=recovered,
        )

    def run(self) -> tuple[Evidence, list[Violation]]:
        """All of it."""
        self.up()
        tell(f"up after {time.monotonic() - self.began:.0f} s")
        watcher = threading.Thread(target=self.watch, daemon=True)
        watcher.start()
        self.storm()
        recovered = self.heal()
        self.go_home()
        watcher.join(20)
        found = self.evidence(recovered)
        return found, check(found)

    def close(self) -> None:
        """End every process; the kernel does the rest."""
        self.quiet.set()
        if self.workload is not None:
            self.workload.kill()
        for party in reversed(self.parties.values()):
            party.kill()

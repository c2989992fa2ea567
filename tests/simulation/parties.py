"""Who uses Remit: agents that propose, call, read, hand on; people who answer; operators who stop things; and bad luck."""

from __future__ import annotations

import asyncio
import functools
from contextlib import suppress
from random import Random
from typing import Any

from remit.domain.approval import Approval
from remit.domain.caller import CallerKind
from remit.domain.decision import Access, Permit
from remit.domain.errors import Conflict, Refusal, Unavailable
from remit.domain.finding import Finding
from remit.domain.freeze import Reach
from remit.domain.leak import Seen
from remit.formats import jwk, leak_digest, rfc8693
from remit.verbs.apply import apply
from remit.verbs.approve import Given, answer
from remit.verbs.contain import contain
from remit.verbs.decide import decide
from remit.verbs.delegate import Part, delegate
from remit.verbs.freeze import freeze, unfreeze
from remit.verbs.issue import issue
from remit.verbs.observe import observe
from remit.verbs.propose import Proposal, propose
from remit.verbs.recognise import take
from remit.verbs.revoke import end_lease, end_task
from remit.web.at_home import at_home

from .house import AGENTS, CATALOGUES, SIGNER, House, Replica
from .network import NoAnswer

UNKNOWN = (NoAnswer, Unavailable)
CUSTOMERS = ("acme", "globex")


async def decide_at_home(replica: Replica, call: Any, access: Access) -> Any:
    """As the centre's surface asks: what is at an edge is called home first."""

    async def ask(fresh: Any) -> Any:
        return await decide(replica.env, fresh, access)

    return await at_home(replica.env, call, access.task, ask, "asked at the centre")


class Agent:
    """Workers of one agent; what one of them was refused or could not learn is not the end of it."""

    def __init__(self, house: House, name: str, number: int) -> None:
        self.house, self.name, self.rng = house, name, Random(f"agent {house.seed} {name} {number}")

    def _call(self, replica: Replica) -> Any:
        return replica.call(CallerKind.AGENT, self.name, self.house.jkts[self.name])

    def _mine(self) -> tuple[str, str, str] | None:
        mine = [task for task in self.house.tasks if task[1] == self.name]
        return self.rng.choice(mine) if mine else None

    async def work(self) -> None:
        rng = self.rng
        for number in range(self.house.settings.operations):
            await asyncio.sleep(rng.choice((0, 0.001, 0.05, 0.5)) * rng.random())
            doing = rng.choice(
                (
                    self.call,
                    self.call,
                    self.call,
                    self.issue,
                    self.issue,
                    self.read,
                    self.hand_on,
                    self.accept,
                    self.close,
                    self.give_back,
                )
            )
            if self.house.edges and rng.random() < 0.5:
                doing = self.call
            if number == 0 or not self._mine():
                doing = rng.choice((self.accept, self.propose))
            with suppress(Refusal, NoAnswer):
                await doing()

    async def propose(self) -> None:
        customer, purpose = self.rng.choice(CUSTOMERS), "lead" if self.name == "bot" else "dig"
        proposal = Proposal(
            purpose,
            "goal",
            {"customer": customer},
            600_000,
            self.rng.choice((2, 4, 0, 0) if self.house.edges else (2, 4, 0)),
        )

        async def verb(replica: Replica) -> Any:
            return await propose(replica.env, self._call(replica), proposal)

        task = await self.house.ask(f"{self.name} proposes", verb)
        self.house.tasks.append((task.id, self.name, customer))

    async def call(self) -> None:
        found = self._mine()
        if not found:
            return
        task, _, customer = found
        tool, to = self.rng.choice(("list", "pay", "note", "web")), self.rng.choice((customer, *CUSTOMERS))
        arguments = {
            "list": {"customer": to},
            "pay": {"customer": to, "invoice": self.rng.choice((1, 2)), "amount": "9.00"},
            "note": {"to": to},
        }.get(tool, {})
        asked = self.house.witness.asks()

        access = Access(task, tool, arguments)
        edge = self.rng.choice(self.house.edges) if self.house.edges and self.rng.random() < 0.7 else None

        async def verb(replica: Replica) -> Any:
            if edge is not None:
                return await edge.decided(self._call, access, replica)
            return await decide_at_home(replica, self._call(replica), access)

        for _ in range(self.rng.choice((1, 2, 4))):
            what = f"{self.name} calls {tool} of {task[-4:]}"
            if edge is None:
                decision = await self.house.ask(what, verb)
            else:
                serve = functools.partial(verb, self.house.any())
                decision = await self.house.network.call(self.house.client, edge.node, what, serve, 10.0)
            if isinstance(decision, Permit):
                witness = self.house.witness
                if edge is None:
                    witness.permitted(asked, task, tool)
                if tool == "pay" or (tool == "list" and witness.lead(task)):
                    witness._must("2", to == customer, f"a permit for {to} within a task for {customer}")
                return
            await asyncio.sleep(self.rng.random() * 4)
            asked = self.house.witness.asks()

    async def issue(self) -> None:
        found = self._mine()
        if not found:
            return
        asked = self.house.witness.asks()

        async def verb(replica: Replica) -> Any:
            return await issue(replica.env, self._call(replica), found[0], "db")

        lease, minted = await self.house.ask(f"{self.name} wants a credential for {found[0][-4:]}", verb, 45.0)
        self.house.witness.handed_out(asked, found[0], lease.handle)
        self.house.given.append((lease.id, self.name))
        self.house.secrets.append((found[0], minted.parts["password"]))

    async def read(self) -> None:
        found = self._mine()
        if found:
            content = {"a": "x@y.example"}

            async def verb(replica: Replica) -> Any:
                return await observe(replica.env, self._call(replica), found[0], "web", content, size=30)

            await self.house.ask(f"{self.name} reads", verb)

    async def hand_on(self) -> None:
        found = self._mine()
        if not found:
            return
        to = self.rng.choice([name for name in AGENTS[: self.house.settings.agents] if name != self.name] or ["other"])
        part = Part(to, "dig", "dig", {"customer": found[2]}, max_calls=self.rng.choice((1, 2, 4)))

        async def verb(replica: Replica) -> Any:
            return await delegate(replica.env, self._call(replica), found[0], part)

        text, _ = await self.house.ask(f"{self.name} hands {found[0][-4:]} to {to}", verb)
        self.house.handed.append((text, to, found[2]))

    async def accept(self) -> None:
        mine = [one for one in self.house.handed if one[1] == self.name]
        if not mine:
            return
        text, _, customer = self.rng.choice(mine)

        async def verb(replica: Replica) -> Any:
            keys = [jwk.parse(key) for key in SIGNER.public("token")]
            call = self._call(replica)
            handed = rfc8693.parse_delegation(text, issuer=replica.env.issuer_url, keys=keys, now=call.now)
            return await propose(replica.env, call, Proposal("", ""), delegation=handed)

        task = await self.house.ask(f"{self.name} accepts", verb)
        self.house.tasks.append((task.id, self.name, customer))

    async def close(self) -> None:
        found = self._mine()
        if found and self.rng.random() < 0.5:

            async def verb(replica: Replica) -> Any:
                return await end_task(replica.env, self._call(replica), found[0], "done")

            await self.house.ask(f"{self.name} closes {found[0][-4:]}", verb)
            self.house.witness.ended_for(found[0])

    async def give_back(self) -> None:
        mine = [lease for lease, agent in self.house.given if agent == self.name]
        if mine:
            lease = self.rng.choice(mine)

            async def verb(replica: Replica) -> Any:
                return await end_lease(replica.env, self._call(replica), lease, "done")

            await self.house.ask(f"{self.name} gives back {lease[-4:]}", verb)


async def regular(house: House, edge: Any, number: int) -> None:
    """An agent beside an edge: it begins a task, calls by the edge again and again, and somebody revokes it meanwhile."""
    agent = Agent(house, "bot", 100 + number)
    rng = agent.rng
    for _ in range(4):
        known = len(house.tasks)
        with suppress(Refusal, NoAnswer):
            await agent.propose()
        mine = [task for task in house.tasks[known:] if task[1] == "bot"]
        if not mine:
            await asyncio.sleep(0.5)
            continue
        task, _, customer = mine[-1]
        revoked = house.client.spawn(revoke(house, task, rng.random() * 5))
        access = Access(task, "list", {"customer": customer})
        for _ in range(24):
            with suppress(Refusal, NoAnswer):
                serve = functools.partial(edge.decided, agent._call, access, house.any())
                await house.network.call(house.client, edge.node, f"bot calls {task[-4:]} at {edge.name}", serve, 3.0)
            await asyncio.sleep(rng.random() * 0.5)
        await revoked


async def revoke(house: House, task: str, after: float) -> None:
    """Again and again, until whoever revokes knows that it is done."""
    if after:
        await asyncio.sleep(after)

    async def verb(replica: Replica) -> Any:
        return await end_task(replica.env, replica.call(CallerKind.OPERATOR, "op"), task, "stop")

    for _ in range(6):
        with suppress(*UNKNOWN):
            await house.ask(f"op revokes {task[-4:]}", verb, 4.0)
            house.witness.ended_for(task)
            break


async def person(house: House, name: str) -> None:
    """Answers whatever waits, mostly with yes."""
    rng = Random(f"person {house.seed} {name}")
    for _ in range(8):
        await asyncio.sleep(rng.random())

        async def waiting(replica: Replica) -> Any:
            return await replica.env.store.find(Approval, {"state": "pending"})

        with suppress(Refusal, NoAnswer):
            for approval in await house.ask(f"{name} looks", waiting):
                given = Given(approval.digest, rng.random() < 0.8)

                async def verb(replica: Replica, key: str = approval.id, given: Given = given) -> Any:
                    return await answer(replica.env, replica.call(CallerKind.PERSON, name), key, given)

                with suppress(Refusal):
                    await house.ask(f"{name} answers {approval.id[-4:]}", verb)


async def operator(house: House) -> None:
    """Revokes some tasks, and does not give up until one who revokes knows."""
    rng = Random(f"operator {house.seed}")
    for _ in range(house.settings.revokes):
        await asyncio.sleep(rng.random() * 1.5)
        if not house.tasks:
            continue
        task = rng.choice(house.tasks)[0]

        await revoke(house, task, 0.0)


async def freezer(house: House) -> None:
    """Freezes an agent for a while."""
    rng = Random(f"freezer {house.seed}")
    for _ in range(house.settings.freezes):
        await asyncio.sleep(rng.random() * 4)
        agent = rng.choice(AGENTS)

        async def on(replica: Replica, agent: str = agent) -> Any:
            return await freeze(replica.env, replica.call(CallerKind.OPERATOR, "op"), Reach.AGENT, agent, "stop")

        async def off(replica: Replica, agent: str = agent) -> Any:
            return await unfreeze(replica.env, replica.call(CallerKind.OPERATOR, "op"), Reach.AGENT, agent, "fine")

        with suppress(Refusal, NoAnswer):
            await house.ask(f"op freezes {agent}", on)
            house.witness.froze(agent)
        await asyncio.sleep(rng.random() * 3)
        house.witness.thaws(agent)
        with suppress(Refusal, NoAnswer):
            await house.ask(f"op unfreezes {agent}", off)


async def leaker(house: House) -> None:
    """Finds what agents were given in a log, reports it, and contains it until whoever does so knows that it is done."""
    rng = Random(f"leaker {house.seed}")
    for _ in range(house.settings.leaks):
        await asyncio.sleep(rng.random() * 2)
        if not house.secrets:
            continue
        task, secret = rng.choice(house.secrets)

        async def reported(replica: Replica, secret: str = secret) -> Any:
            digest = leak_digest.seen(replica.env.scan_key, secret)
            one = Seen(replica.env.print_of(digest), "secret-in-log", "app.log:1")
            return await take(replica.env, replica.call(CallerKind.SCANNER, "ci"), [one])

        async def contained(replica: Replica, task: str = task) -> Any:
            rows = await replica.env.store.find(Finding, {"about": f"task {task}"})
            return [await contain(replica.env, replica.call(CallerKind.OPERATOR, "op"), r.id, "leaked") for r in rows]

        with suppress(*UNKNOWN):
            await house.ask("ci reports a leak", reported, 4.0)
        for _ in range(6):
            await asyncio.sleep(rng.random() * 2)
            with suppress(*UNKNOWN):
                if await house.ask(f"op contains what leaked of {task[-4:]}", contained, 4.0):
                    house.witness.ended_for(task)
                    break


async def reviewer(house: House) -> None:
    """Puts other catalogues in force."""
    rng = Random(f"reviewer {house.seed}")
    for _ in range(house.settings.catalogues):
        await asyncio.sleep(rng.random() * 4)
        files = rng.choice(CATALOGUES)

        async def verb(replica: Replica, files: Any = files) -> Any:
            return await apply(replica.env, replica.call(CallerKind.OPERATOR, "op"), files)

        with suppress(Refusal, Conflict, NoAnswer):
            await house.ask("op applies a catalogue", verb)


async def bad_luck(house: House) -> None:
    """Crashes, stops, partitions and outages, one after the other and over each other."""
    rng, settings = Random(f"luck {house.seed}"), house.settings
    kinds = ("crashes", "stops", "cuts", "outages", "issuer_outages")
    plan = [kind for kind in kinds for _ in range(getattr(settings, kind))]
    rng.shuffle(plan)
    await asyncio.gather(*(_befalls(house, Random(f"luck {house.seed} {n}"), kind) for n, kind in enumerate(plan)))


async def _befalls(house: House, rng: Random, kind: str) -> None:
    await asyncio.sleep(rng.random() * (20 if house.edges else 5))
    lasts = rng.choice((0.02, 0.5, 5.0, 40.0)) * rng.random()
    name = rng.choice(sorted(house.replicas))
    if house.edges and rng.random() < 0.5 and kind in ("crashes", "stops", "cuts"):
        await _befalls_edge(house, rng, kind, rng.choice(house.edges), lasts)
        return
    if kind == "crashes":
        house.kill(name)
        await asyncio.sleep(lasts)
        house.say(f"{name} starts again")
        house.start(name)
    elif kind == "stops":
        node = house.replicas[name].node
        house.say(f"SIGSTOP {name} for {lasts:.2f} s")
        node.stop()
        await asyncio.sleep(lasts)
        node.go_on()
    elif kind == "cuts":
        other = rng.choice(("db", "pg", "world"))
        network = house.wires if other == "db" else house.network
        pairs = rng.choice(([(name, other), (other, name)], [(name, other)], [(other, name)]))
        house.say(f"cut {pairs}")
        network.cut.update(pairs)
        await asyncio.sleep(lasts)
        network.cut.difference_update(pairs)
    elif kind == "outages":
        house.say("the database is down")
        house.database.down = True
        if rng.random() < 0.5:
            house.database.crash()
        await asyncio.sleep(min(lasts, 5.0))
        house.database.down = False
    else:
        house.say("the issuer is down")
        house.outside.down = True
        await asyncio.sleep(lasts)
        house.outside.down = False


async def _befalls_edge(house: House, rng: Random, kind: str, edge: Any, lasts: float) -> None:
    if kind == "crashes":
        edge.kill()
        await asyncio.sleep(lasts)
        edge.start()
    elif kind == "stops":
        node = edge.node
        house.say(f"SIGSTOP {edge.name} for {lasts:.2f} s")
        node.stop()
        await asyncio.sleep(lasts)
        node.go_on()
    else:
        pairs = [pair for name in sorted(house.replicas) for pair in ((name, edge.name), (edge.name, name))]
        house.say(f"cut {edge.name} off")
        house.network.cut.update(pairs)
        await asyncio.sleep(lasts)
        house.network.cut.difference_update(pairs)


async def everybody(house: House) -> None:
    """Until all of them are done, or a minute has passed; what happens to them goes on no longer than they do."""
    settings = house.settings
    for _ in range(20 if house.edges else 0):  # until they have joined
        if all(edge.freshness.age() < 10_000 for edge in house.edges):
            break
        await asyncio.sleep(0.2)
    workers = [
        Agent(house, name, number).work() for name in AGENTS[: settings.agents] for number in range(settings.workers)
    ]
    people = [person(house, name) for name in ("frank", "gina")[: settings.people]]
    others = [operator(house), freezer(house), reviewer(house), *([leaker(house)] if settings.leaks else [])]
    beside = [regular(house, edge, number) for number, edge in enumerate(house.edges)]
    running = [house.client.spawn(one) for one in (*workers, *people, *others, *beside)]
    luck = house.client.spawn(bad_luck(house))
    done, late = await asyncio.wait(running, timeout=60)
    luck.cancel()
    for task in running:
        if task in done and not task.cancelled() and task.exception():
            raise task.exception()  # type: ignore[misc]
        if task in late:
            task.cancel()

"""`redecide.tasks`: n open tasks, and a policy under which none of them would be permitted: until the last has ended.

`value` is from the request that applies it, so it has the plan in it, to the end of the last task, in ms.
`redecide.unconcerned`: the same where each is looked at and goes on, until that is written down.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from house import house, now
from measure import emit

from remit.domain.redecision import Redecision
from remit.domain.task import Task
from remit.verbs.apply import apply
from remit.verbs.propose import Proposal, propose

COUNTS = (1000, 10_000)
PERMIT = '@id("within") permit (principal, action, resource);\n'
FORBID = PERMIT + '@id("p-17") forbid (principal, action == Remit::Action::"propose", resource);\n'
FILES = {
    "remit.toml": "[people.olga]\n",
    "agents/bot.toml": 'owner = "olga"\n[[attestations]]\nmethod = "join_token"\n',
    "purposes/look.toml": 'owner = "olga"\nagents = ["bot"]\nmax_duration = "1h"\nmax_calls = 9\n[[grants]]\ntool = "look"\n',
    "tools/look.toml": 'effect = "read"\n',
    "policies/default.cedar": PERMIT,
}


async def main() -> None:
    """One Remit for each count."""
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as folder:
            async with house(Path(folder), FILES, {}) as h:
                call = await h.agent()
                for start in range(0, count, 500):
                    asked = [
                        propose(h.env, now(call), Proposal("look", "look")) for _ in range(min(500, count - start))
                    ]
                    await asyncio.gather(*asked)
                other = {**FILES, "policies/default.cedar": PERMIT + "// the same\n"}
                took = await until(h, other, "redecisions")
                emit("redecide.unconcerned", "remit", count, value=took, unit="ms", note="each looked at, none ends")
                took = await until(h, {**FILES, "policies/default.cedar": FORBID}, "tasks")
                emit("redecide.tasks", "remit", count, value=took, unit="ms", note="until the last is ended, durably")


async def until(h, files, what: str) -> float:
    """From the request until nothing is left."""
    start = time.perf_counter()
    await apply(h.env, h.operator(), files)
    kind, where = (Task, {"state": "open"}) if what == "tasks" else (Redecision, {"lasts": "yes"})
    while await h.env.store.find(kind, where, limit=1):
        await asyncio.sleep(0.002)
    return round((time.perf_counter() - start) * 1000, 1)


asyncio.run(main())

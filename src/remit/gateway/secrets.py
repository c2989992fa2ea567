"""Use without seeing: a task's credentials, asked for by the enforcement point, for the server behind it alone.

They are asked for with the enforcement point's own key, so the agent's token is of no use for it, and they go into the
environment of the server's process, or into one header to its exact origin. What the server then says is looked
through, for the value itself only: a server that encodes it can still show it, so a purpose should trust its server
with what it gives it.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from remit_client import Denied, NotAuthenticated, Refused, RemitError, Unreachable

from .asks import Desk

KEY_FILE = "REMIT_ENFORCER_KEY_FILE"
LOOK_EVERY = 1.0
SHORTEST = 6
MINTING = 35.0


@dataclass(frozen=True)
class Injected:
    """The variables the server gets, and a search for their values in what it says; `over` when a lease has ended."""

    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def shows_in(self, text: str) -> bool:
        """Whether this JSON or plain text has a value of ours. Those under six characters are not searched for."""
        return any(spelling in text for value in self.variables.values() for spelling in _spellings(value))

    def without(self, text: str) -> str:
        """The text, unless it has a value of ours."""
        return "(its message had a secret in it)" if self.shows_in(text) else text


NoSecrets = Injected()


def _spellings(value: str) -> tuple[str, ...]:
    if len(value) < SHORTEST:
        return ()
    return value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]


@asynccontextmanager
async def injected(
    desk: Desk | None, task: str, wanted: Mapping[str, str], over: Callable[[], None]
) -> AsyncIterator[Injected]:
    """Ask for `wanted` (variable → credential), and call `over` as soon as one of their leases is no longer live."""
    if not wanted or desk is None:
        yield NoSecrets
        return
    path = f"/v1/tasks/{quote(task, safe='')}"
    leases: set[str] = set()
    variables: dict[str, str] = {}
    for variable, credential in wanted.items():
        try:
            found = await desk.ask("POST", f"{path}/credentials", {"credential": credential}, patience=MINTING)
        except Refused as refused:
            raise Denied(refused.message, reasons=("refused",), next_step=refused.next_step) from refused
        parts = found["parts"]
        if len(parts) != 1:
            raise RemitError(f"{credential} has the parts {', '.join(parts)}; a variable holds one.")
        leases.add(found["id"])
        (variables[variable],) = parts.values()
    held = Injected(variables)
    watching = asyncio.create_task(_watch(desk, f"{path}/leases", leases, held.over, over))
    try:
        yield held
    finally:
        watching.cancel()


async def _watch(desk: Desk, path: str, leases: set[str], ended: asyncio.Event, over: Callable[[], None]) -> None:
    """When Remit does not answer no call is permitted either, so it is enough to ask again."""
    while True:
        await asyncio.sleep(LOOK_EVERY)
        try:
            live, after = set(), ""
            while True:
                page = await desk.ask("GET", f"{path}?after={after}")
                live |= {lease["id"] for lease in page["items"] if lease["state"] == "live"}
                after = page["next"]
                if not after:
                    break
        except Unreachable:
            continue
        except RemitError:  # the task or our key is gone
            live = set()
        if not leases <= live:
            ended.set()
            over()
            return


def enforcer_key() -> str:
    """The enforcement point's key, from a file that nobody else may read."""
    named = os.environ.get(KEY_FILE, "")
    step = f"Set {KEY_FILE} to a file (0600) with what `remit key create enforcer NAME` printed."
    if not named:
        raise NotAuthenticated("This needs the enforcement point's own key.", next_step=step)
    try:
        path = Path(named)
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise NotAuthenticated(f"{path} may be read by others.", next_step=f"chmod 600 {path}")
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as failure:
        raise NotAuthenticated(f"{named} cannot be read: {type(failure).__name__}.", next_step=step) from failure
    if not text.startswith("key_enforcer_") or len(text) > 200 or not text.isascii():
        raise NotAuthenticated(f"{named} has no enforcement point's key.", next_step=step)
    return text

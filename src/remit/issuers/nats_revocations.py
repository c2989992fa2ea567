"""Revocations in an account's JWT, put there through the system account, and seen to be in force at every server.

A NATS server stores whatever account JWT came last: there is no compare-and-set. So nobody relies on having won:

- every push carries everything that this process knows to be revoked, and what it knows only grows until it may be
  forgotten: its own kills, and ours in every JWT of the account that it ever saw, whoever pushed that;
- it listens to the pushes of everybody else, and one that lacks something is followed by one that has it;
- a kill is confirmed by what all servers say afterwards, and when none of them has a connection of the user.

So of two that push at once, each puts right what the later one left out. To lose a revocation takes the loss of all
who know of it, in the moment in which somebody overwrites it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from remit.domain.errors import IssuerUnavailable, Refusal
from remit.formats.nats_jwt import Account

from .nats_system import System, SystemAccount

FORGET_AFTER = 600  # s: how far a server's clock may be behind ours
_ROUNDS = 20


class Revocations:
    """Of one account. `ensure` returns when a user is revoked at every server and connected to none."""

    def __init__(self, system: System) -> None:
        self._system, self._there = system, SystemAccount(system, self._pushed)
        self._known: dict[str, int] = {}
        self._waiting: dict[object, str] = {}
        self._seen: Account | None = None
        self._own = ""
        self._turn = asyncio.Lock()
        self._repairs: set[asyncio.Task[None]] = set()

    async def ensure(self, user: str, end: int) -> None:
        """`end` is when the user's JWT ends, in seconds. Whoever has the turn does it for all that wait."""
        self._known[user] = max(end, self._known.get(user, 0))
        mine = object()
        self._waiting[mine] = user
        try:
            async with self._there.reached(), self._turn:
                if mine in self._waiting:  # and not done meanwhile, by somebody who began after this was asked
                    await self._settled(dict(self._waiting))
                if mine in self._waiting:
                    message = "The account changes again and again, or sessions of the task do not end."
                    raise IssuerUnavailable(message, inside=user)
        finally:
            self._waiting.pop(mine, None)

    async def close(self) -> None:
        """Leave; what others push is no longer looked at."""
        for repair in self._repairs:
            repair.cancel()
        await self._there.close()

    async def _settled(self, left: dict[object, str]) -> None:
        """Everything known is in force at all servers; then whoever has no session left waits no longer."""
        for turn in range(_ROUNDS):
            servers = await self._there.servers()
            trusted, accounts = await asyncio.gather(self._there.trusted(servers), self._accounts(servers))
            if all(self._lacks_nothing(one) and one.issuer in trusted for one in accounts):
                for one, user in list(left.items()):
                    if not await self._there.connections(servers, user):
                        del left[one]
                        self._waiting.pop(one, None)
                if not left:
                    return
                # Who was let in while the revocation arrived is found when the claims change once more.
            await self._push(servers, accounts, trusted)
            if turn > 1:
                await asyncio.sleep(0.01 * turn)

    async def _push(self, servers: int, accounts: list[Account], trusted: set[str]) -> None:
        newest = max(accounts, key=lambda account: (account.issued_at, account.text))
        by, now = self._system.signer(), self._system.clock() // 1000
        if by.public not in trusted:
            # They would store it, go on by the old, and refuse the whole account when they start again.
            raise IssuerUnavailable("Not every server believes our operator's signing key.", inside=by.public)
        ours = {user: end for user, end in self._known.items() if end + FORGET_AFTER > now}
        # Of two JWTs servers that meet keep the one that was issued later, by whole seconds.
        self._own = newest.revoking(ours, by, max(now, newest.issued_at + 1))
        await self._there.push(servers, self._own)

    async def _accounts(self, servers: int) -> list[Account]:
        try:
            found = [self._parsed(text) for text in await self._there.stored(servers)]
        except IssuerUnavailable:
            raise
        except Refusal as flaw:
            message, step = "The account's JWT is not there, or not good.", "Is who signed it among `operator_keys`?"
            raise IssuerUnavailable(message, next_step=step, inside=flaw.inside) from None
        for account in found:
            self._learn(account)
        return found

    def _parsed(self, text: str) -> Account:
        if self._seen is None or self._seen.text != text:
            self._seen = Account.parse(text, self._system.account, self._system.operators)
        return self._seen

    def _learn(self, account: Account) -> None:
        now = self._system.clock() // 1000
        for user, end in account.revoked.items():
            self._known[user] = max(end, self._known.get(user, 0))
        self._known = {user: end for user, end in self._known.items() if end + FORGET_AFTER > now}

    def _lacks_nothing(self, account: Account) -> bool:
        return self._known.items() <= account.revoked.items()

    def _pushed(self, text: str) -> None:
        """Somebody pushed a JWT, perhaps of another account; "" when something may have been missed."""
        if text and text == self._own:
            return
        if text:
            try:
                account = self._parsed(text)
            except Refusal:
                return
            self._learn(account)
            if self._lacks_nothing(account):
                return
        repair = asyncio.create_task(self._repaired())
        self._repairs.add(repair)
        repair.add_done_callback(self._repairs.discard)

    async def _repaired(self) -> None:
        """At once, and again when what was on its way has arrived."""
        for wait in (0.0, 0.5, 2.0):
            await asyncio.sleep(wait)
            with suppress(IssuerUnavailable):
                async with self._there.reached(), self._turn:
                    await self._settled({})

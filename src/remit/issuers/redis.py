"""Redis ACL users that exist for one task: some commands, on some keys, and nothing that looks beyond them.

The admin needs `+acl|setuser +acl|deluser +client|kill +set +get +del +watch +multi +exec` and the keys `remit:mint:*`.
Redis (6.2 or later) has no end for a user: when Remit is gone for good, its users stay until the server restarts. What
it has is WATCH: a mint is a transaction on a key that expires, by the server's clock, when its window closes, and that
a kill deletes. So no mint lands late or in spite of its kill, however long it was on its way.

A user of Redis reaches every database of the server that it can SELECT; so no task can SELECT, and all are in 0.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError, ResponseError, WatchError

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField, IssuerUnavailable, WrongState
from remit.domain.flow import Json
from remit.domain.lease import Lease, Minted

from . import Tools
from .address import Dsn

# Commands that touch the keys they name and nothing else. What walks all keys (SCAN, KEYS), follows patterns (SORT),
# leaves the database (SELECT, MOVE, COPY), looks at who else is there (PUBSUB), runs code or manages the server is not
# here, and cannot be granted.
_COMMANDS = """append bitcount bitfield bitfield_ro bitop bitpos blmove blpop brpop brpoplpush bzpopmax bzpopmin decr
decrby del discard exec exists expire expireat expiretime geoadd geodist geohash geopos geosearch geosearchstore get
getbit getdel getex getrange hdel hexists hget hgetall hincrby hincrbyfloat hkeys hlen hmget hmset hrandfield hscan
hset hsetnx hstrlen hvals incr incrby incrbyfloat lindex linsert llen lmove lpop lpos lpush lpushx lrange lrem lset
ltrim mget mset msetnx multi persist pexpire pexpireat pexpiretime pfadd pfcount pfmerge psetex psubscribe pttl
publish punsubscribe rename renamenx rpop rpoplpush rpush rpushx sadd scard sdiff sdiffstore set setbit setex setnx
setrange sinter sinterstore sismember smembers smismember smove spop srandmember srem sscan strlen subscribe sunion
sunionstore touch ttl type unlink unsubscribe unwatch watch xack xadd xautoclaim xclaim xdel xgroup xlen xpending
xrange xread xreadgroup xrevrange xtrim zadd zcard zcount zdiff zdiffstore zincrby zinter zinterstore zlexcount
zmscore zpopmax zpopmin zrandmember zrange zrangebylex zrangebyscore zrangestore zrank zrem zremrangebylex
zremrangebyrank zremrangebyscore zrevrange zrevrangebyscore zrevrank zscan zscore zunion zunionstore"""
COMMANDS = frozenset(_COMMANDS.split())
_OPTIONS: dict[str, Any] = {"socket_timeout": 5, "socket_connect_timeout": 5, "max_connections": 16}
_OURS = re.compile(r"remit_[0-9a-f]{32}\Z")
_HANDLE = re.compile(r"remit_[a-z0-9_]{1,57}\Z")
_HOLE = re.compile(r"\{[a-z_][a-z0-9_]*\}\Z")
_SPECIAL = re.compile(r"([\\*?\[\]^-])")
_TIMEOUT = 10.0
_ROUNDS = 50
_MARGIN = 5_000  # ms: a mint must be over this long before its window closes; how far two clocks may be apart


class RedisIssuer:
    """`grants`: `commands`, and `keys` and `channels` as lists of `{exact = [...]}` or `{under = [...]}`.

    The parts of a name are joined with `:`; `under` is everything that begins so. Whatever a part holds is text.
    Mints `host`, `port`, `user`, `password`, `database`, `url`.
    """

    def __init__(self, config: IssuerConfig, tools: Tools) -> None:
        self._dsn = Dsn(config, tools.environ, ("redis", "rediss"), "redis://user:password@host:port/0 (rediss: TLS)")
        self._save = config.settings.get("acl_save", False)
        if not isinstance(self._save, bool):
            raise BadField("acl_save", "must be true or false")
        self._client: Any = None
        self._address = ""

    def checked(self, grants: Mapping[str, Json]) -> None:
        """See `ports.Issuer`."""
        _rules(grants)

    async def mint(self, lease: Lease) -> Minted:
        """Make the user in one transaction that happens in its window or not at all."""
        rules, user, password = _rules(lease.grants), _user(lease), secrets.token_urlsafe(24)
        if any(_HOLE.match(part) for part in _parts(lease.grants)):
            raise WrongState("The grants need a parameter that was not stated.")
        hashed = "#" + sha256(password.encode()).hexdigest()
        window = f"remit:mint:{user}"
        host, port = self._place()
        async with self._admin() as client:
            await client.set(window, "1", pxat=min(lease.mint_until - _MARGIN, lease.expires_at))
            async with client.pipeline(transaction=True) as transaction:
                await transaction.watch(window)
                # A key that had expired before it was watched would not stop the transaction.
                if await transaction.get(window) is None:
                    raise _too_late()
                transaction.multi()
                transaction.execute_command("ACL", "SETUSER", user, "reset", *rules, hashed, "on")
                transaction.delete(window)
                try:
                    await transaction.execute()
                except WatchError:
                    raise _too_late() from None
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        written = f"{self._dsn.url().scheme}://{user}:{password}@{place}/0"
        parts = {"host": host, "port": port, "user": user, "password": password, "database": "0", "url": written}
        return Minted(parts)

    async def kill(self, lease: Lease) -> None:
        """No mint any more, no user, no session."""
        user = _user(lease)
        async with self._admin() as client:
            async with client.pipeline(transaction=True) as transaction:
                transaction.delete(f"remit:mint:{user}")
                transaction.execute_command("ACL", "DELUSER", user)  # which ends its sessions too
                if self._save:
                    transaction.execute_command("ACL", "SAVE")
                await transaction.execute()
            for _ in range(_ROUNDS):
                try:
                    if not await client.execute_command("CLIENT", "KILL", "USER", user):
                        return
                except ResponseError as nobody:
                    if "No such user" in str(nobody):  # and so no session of theirs
                        return
                    raise
                await asyncio.sleep(0.02)
        raise IssuerUnavailable("Sessions of the task do not end.", inside=user)

    async def listed(self) -> Sequence[str]:
        """See `ports.Lists`."""
        async with self._admin() as client:
            users = await client.execute_command("ACL", "USERS")
        return [name for user in users if _OURS.match(name := user if isinstance(user, str) else user.decode())]

    def name(self, lease: Lease) -> str:
        """See `ports.Lists`."""
        return lease.handle

    async def close(self) -> None:
        """Close the admin connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client, self._address = None, ""

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[Any]:
        """A client; anything that goes wrong is `IssuerUnavailable`, without the server's words."""
        self._place()
        try:
            async with asyncio.timeout(_TIMEOUT):
                address = self._dsn.text()
                if address != self._address:  # the password may have changed
                    await self.close()
                    self._client, self._address = redis.asyncio.Redis.from_url(address, **_OPTIONS), address
                yield self._client
        except (OSError, TimeoutError, ValueError, TypeError, RedisError) as failure:
            step, inside = "It is tried again; `remit doctor` checks the issuer.", type(failure).__name__
            raise IssuerUnavailable("Redis did not do it.", next_step=step, inside=inside) from None

    def _place(self) -> tuple[str, str]:
        """Host and port. Another database than 0 is refused: a task's user could not be kept to it."""
        url = self._dsn.url()
        if not url.hostname or url.path not in ("", "/", "/0"):
            raise self._dsn.unusable()
        return url.hostname, str(url.port or 6379)


def _too_late() -> WrongState:
    return WrongState("It is too late to mint this lease, or it was ended.", next_step="Ask for a new one.")


def _rules(grants: Mapping[str, Json]) -> list[str]:
    """ACL rules for SETUSER, or `BadField`."""
    commands = grants.get("commands")
    if not isinstance(commands, list | tuple) or not 0 < len(commands) <= len(COMMANDS):
        raise BadField("grants.commands", "must be commands such as get and set")
    for command in commands:
        if not isinstance(command, str) or command not in COMMANDS:
            raise BadField(
                "grants.commands", f"{str(command)[:40]!r} reaches beyond the keys it names, or is not known"
            )
    for key in grants.keys() - {"commands", "keys", "channels"}:
        raise BadField(f"grants.{key}", "is not known here; known: commands, keys, channels")
    keys, channels = _patterns(grants, "keys"), _patterns(grants, "channels")
    if not keys and not channels:
        raise BadField("grants.keys", "says nothing that may be touched")
    return [
        "resetkeys",
        "resetchannels",
        *(f"~{pattern}" for pattern in keys),
        *(f"&{pattern}" for pattern in channels),
        "-@all",
        "+ping",
        *(f"+{command}" for command in dict.fromkeys(map(str, commands))),
    ]


def _patterns(grants: Mapping[str, Json], kind: str) -> list[str]:
    entries = grants.get(kind, ())
    if not isinstance(entries, list | tuple) or len(entries) > 100:
        raise BadField(f"grants.{kind}", "must be a list of {exact = [...]} or {under = [...]}")
    found: list[str] = []
    for entry in entries:
        how = next(iter(entry)) if isinstance(entry, Mapping) and len(entry) == 1 else ""
        parts = entry[how] if how in ("exact", "under") and isinstance(entry, Mapping) else None
        if not isinstance(parts, list | tuple) or not parts or not all(map(_is_part, parts)):
            raise BadField(
                f"grants.{kind}", "must be {exact = [...]} or {under = [...]} of parts without ':' and spaces"
            )
        name = ":".join(_SPECIAL.sub(r"\\\1", str(part)) for part in parts)
        found.append(name + ":*" if how == "under" else name)
    return found


def _is_part(part: Json) -> bool:
    return isinstance(part, str) and 0 < len(part) <= 256 and ":" not in part and part.isprintable() and " " not in part


def _parts(grants: Mapping[str, Json]) -> list[str]:
    entries: list[Any] = [*(grants.get("keys") or ()), *(grants.get("channels") or ())]  # type: ignore[misc]
    return [str(part) for entry in entries for parts in entry.values() for part in parts]


def _user(lease: Lease) -> str:
    if not _HANDLE.match(lease.handle):
        raise WrongState("This lease has no handle of ours.", inside=lease.handle[:80])
    return lease.handle

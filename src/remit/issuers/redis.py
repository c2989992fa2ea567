"""Redis ACL users that exist for one task: some commands, on some keys, and nothing that looks beyond them.

The admin needs `+acl +client|kill` and the keys `remit:mint:*`. Redis has no end for a user: when Remit is gone for
good, its users stay until the server restarts (we never save them). What it has is WATCH: a mint is a transaction on a
key that expires, by the server's clock, when its window closes, and that a kill deletes. So no mint lands late or after
its kill, however long it was on its way.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Mapping
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
# leaves the database (SELECT, MOVE, COPY), runs code or manages the server is not here, and cannot be granted.
_COMMANDS = """append bitcount bitfield bitfield_ro bitpos blpop brpop decr decrby del exists expire expireat expiretime
geoadd geodist geohash geopos geosearch get getbit getdel getex getrange hdel hexists hget hgetall hincrby hincrbyfloat
hkeys hlen hmget hmset hrandfield hscan hset hsetnx hstrlen hvals incr incrby incrbyfloat lindex linsert llen lpop lpos
lpush lpushx lrange lrem lset ltrim mget mset msetnx persist pexpire pexpireat pexpiretime pfadd pfcount psetex pttl
publish rpop rpush rpushx sadd scard set setbit setex setnx setrange sismember smembers smismember spop srandmember
srem sscan strlen subscribe touch ttl type unlink unsubscribe xack xadd xdel xlen xpending xrange xread xreadgroup
xrevrange xtrim zadd zcard zcount zincrby zlexcount zmscore zpopmax zpopmin zrandmember zrange zrangebylex
zrangebyscore zrank zrem zremrangebylex zremrangebyrank zremrangebyscore zrevrange zrevrangebyscore zrevrank zscan
zscore"""
COMMANDS = frozenset(_COMMANDS.split())
_HANDLE = re.compile(r"remit_[a-z0-9_]{1,57}\Z")
_HOLE = re.compile(r"\{[a-z_][a-z0-9_]*\}\Z")
_SPECIAL = re.compile(r"([\\*?\[\]^-])")
_TIMEOUT = 10.0
_ROUNDS = 50


class RedisIssuer:
    """`grants`: `commands`, and `keys` and `channels` as lists of `{exact = [...]}` or `{under = [...]}`.

    The parts of a name are joined with `:`; `under` is everything that begins so. Whatever a part holds is text.
    Mints `host`, `port`, `user`, `password`, `database`, `url`.
    """

    def __init__(self, config: IssuerConfig, tools: Tools) -> None:
        self._dsn = Dsn(config, tools.environ, ("redis", "rediss"), "redis://user:password@host:port/0 (rediss: TLS)")
        self._client: Any = None

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
        async with self._admin() as client:
            seconds, micros = await client.time()
            left = min(lease.mint_until, lease.expires_at) - (seconds * 1000 + micros // 1000)
            if left <= 0:
                raise WrongState("It is too late to mint this lease.", next_step="Ask for a new one.")
            await client.set(window, "1", px=left)
            async with client.pipeline(transaction=True) as transaction:
                await transaction.watch(window)
                if await transaction.get(window) is None:
                    raise WrongState("This lease was ended while it was minted.")
                transaction.multi()
                transaction.execute_command("ACL", "SETUSER", user, "reset", *rules, hashed, "on")
                transaction.delete(window)
                try:
                    await transaction.execute()
                except WatchError:
                    raise WrongState("It is too late to mint this lease, or it was ended.") from None
        url = self._dsn.url()
        host, port, database = url.hostname or "", str(url.port or 6379), url.path[1:] or "0"
        written = f"{url.scheme}://{user}:{password}@{host}:{port}/{database}"
        return Minted(
            {"host": host, "port": port, "user": user, "password": password, "database": database, "url": written}
        )

    async def kill(self, lease: Lease) -> None:
        """No mint any more, no user, no session."""
        user = _user(lease)
        async with self._admin() as client:
            async with client.pipeline(transaction=True) as transaction:
                transaction.delete(f"remit:mint:{user}")
                transaction.execute_command("ACL", "DELUSER", user)  # which ends its sessions too
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

    async def close(self) -> None:
        """Close the admin connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[Any]:
        """A client; anything that goes wrong is `IssuerUnavailable`, without the server's words."""
        self._dsn.url()
        if self._client is None:
            self._client = redis.asyncio.Redis.from_url(
                self._dsn.text(), socket_timeout=5, socket_connect_timeout=5, max_connections=16, decode_responses=True
            )
        try:
            async with asyncio.timeout(_TIMEOUT):
                yield self._client
        except (OSError, TimeoutError, ValueError, RedisError) as failure:
            inside = type(failure).__name__
            raise IssuerUnavailable("Redis did not do it.", next_step="See `remit doctor`.", inside=inside) from None


def _rules(grants: Mapping[str, Json]) -> list[str]:
    """ACL rules for SETUSER, or `BadField`."""
    commands = grants.get("commands")
    if not isinstance(commands, list | tuple) or not commands:
        raise BadField("grants.commands", "must be commands such as get and set")
    for command in commands:
        if command not in COMMANDS:
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
        *(f"+{command}" for command in dict.fromkeys(commands)),
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

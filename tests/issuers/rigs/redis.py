"""A throw-away Redis with something of two customers in it."""

import redis

from remit.domain.catalogue import IssuerConfig
from remit.issuers import Tools, build

from . import Rig, lease

BACKSTOP = 0
SETTINGS = {"dsn_env": "X"}
READ = {"commands": ["get", "set"], "keys": [{"under": ["cache", "acme"]}]}
BAD_GRANTS = [
    {},
    {"commands": []},
    {"commands": ["get"]},
    {**READ, "extra": 1},
    *({**READ, "commands": [command]} for command in (
        "acl", "eval", "keys", "scan", "sort", "select", "config", "GET", "get|x", "@all", "+@all", "flushall", "script",
        "module", "migrate", "copy", "move", "client", "function", "fcall", "object", "dump", "restore", 5)),
    {**READ, "keys": "cache:*"},
    {**READ, "keys": [{"under": ["cache:acme"]}]},
    {**READ, "keys": [{"under": []}]},
    {**READ, "keys": [{"under": ["a b"]}]},
    {**READ, "keys": [{"under": ["a"], "exact": ["b"]}]},
    {**READ, "keys": [{"like": ["a"]}]},
    {**READ, "keys": [{"under": ["a\n"]}]},
]  # fmt: skip
BAD_GRANTS += [
    {**READ, "commands": [["get"]]},
    {**READ, "commands": [{}]},
    {**READ, "channels": None},
    {**READ, "keys": [5]},
]
BAD_SETTINGS = [
    ({"dsn_env": "A", "acl_save": "yes"}, "true or false"),
    ({}, "dsn_env"),
    ({"dsn_env": "A", "dsn_file": "b"}, "either"),
    ({"url": "x"}, "known"),
]


def admin(server):
    return redis.Redis(port=server.port, username="admin", password="admin-password", decode_responses=True)


def connect(minted):
    return redis.Redis.from_url(minted.parts["url"], decode_responses=True, socket_timeout=5)


def issuer(port, user="admin", **settings):
    tools = Tools(None, None, None, "https://r", {"DSN": f"redis://{user}:{user}-password@127.0.0.1:{port}/0"})
    return build(IssuerConfig("r", "redis", {"dsn_env": "DSN", **settings}), tools)


async def rig(request):
    server = request.getfixturevalue("redis_server")
    with admin(server) as client:
        client.mset({"cache:acme:1": "a", "cache:globex:1": "g", "cache:acme*:1": "star", "other": "o"})

    def alive(minted):
        try:
            with connect(minted) as client:
                return client.get("cache:acme:1") == "a"
        except redis.RedisError:
            return False

    return Rig(issuer(server.port), lease(grants=READ), alive, unreachable=issuer(1))

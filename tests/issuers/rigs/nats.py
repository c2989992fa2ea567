"""A throw-away NATS server in operator mode, with accounts in a `full` resolver."""

import asyncio

import nats.errors
import nkeys

from remit.domain.catalogue import IssuerConfig
from remit.issuers import Tools, build
from tests.issuers.nats_house import connect

from . import Rig, lease

BACKSTOP = 2.0
WORK = {
    "publish": [{"under": ["orders", "acme"]}],
    "subscribe": [{"under": ["events", "acme"]}],
    "inbox": True,
}
ACCOUNT = "AA" + "A" * 54


def _public(kind):
    return nkeys.from_seed(bytearray(nkeys.encode_seed(bytes(32), kind))).public_key.decode()


SETTINGS = {"url": "tls://nats.example:4222", "account": _public(nkeys.PREFIX_BYTE_ACCOUNT), "signing_seed_env": "S"}
_OPERATOR = _public(nkeys.PREFIX_BYTE_OPERATOR)
BAD_GRANTS = [
    {},
    {"publish": []},
    {"inbox": True},
    {"subscribe": [{"exact": ["a"]}], "inbox": True},
    {"publish": [{"exact": ["a"]}], "responses": 1},
    *({"publish": [{"exact": parts}]} for parts in (
        [], "a.b", ["a.b"], ["*"], [">"], ["a", ">"], ["a", "*"], ["a b"], ["a\n"], ["a\t"], ["a\x00"], ["a\u2028"], ["a\u00a0"],
        [""], ["a", ""], ["$SYS"], ["$SYS", "REQ"], ["$JS", "API"], ["_INBOX"], ["_INBOX", "x"], ["_R_"], [5], [["a"]],
        ["a" * 129], ["a"] * 17, ["a\u200b"], ["\ud800"])),
    {"publish": [{"under": ["a"], "exact": ["b"]}]},
    {"publish": [{"like": ["a"]}]},
    {"publish": ["a"]},
    {"publish": "a"},
    {"publish": [{"exact": ["a"], "queue": "q"}]},
    *({"subscribe": [{"exact": ["a"], "queue": queue}]} for queue in ("", "a b", "*", "a\n", 5, None)),
    *({"publish": [{"exact": ["a"]}], **more} for more in (
        {"x": 1}, {"inbox": "yes"}, {"subscriptions": 0}, {"subscriptions": -1}, {"payload": True}, {"payload": "1"}, {"within": 0},
        {"responses": -1}, {"source_address": "10.0.0.0/8"}, {"source_address": ["10.0.0.1/8"]}, {"source_address": ["x"]})),
]  # fmt: skip
BAD_SETTINGS = [
    ({}, "tls://"),
    ({**SETTINGS, "url": "nats://nats.example"}, "tls://"),
    ({**SETTINGS, "url": "tls://u:p@nats.example"}, "user information"),
    ({**SETTINGS, "url": "tls://a,nats://b"}, "tls://"),
    ({**SETTINGS, "url": "tls://a:x"}, "tls://"),
    ({**SETTINGS, "account": "AAAA"}, "public key"),
    ({**SETTINGS, "account": _OPERATOR}, "public key"),
    ({**SETTINGS, "signing_seed_file": "/s"}, "either"),
    ({"url": SETTINGS["url"], "account": SETTINGS["account"]}, "signing_seed_env"),
    ({"url": SETTINGS["url"], "account": SETTINGS["account"], "signing_seed_file": "s"}, "absolute"),
    ({**SETTINGS, "ca_file": "ca.pem"}, "absolute"),
    ({**SETTINGS, "operator_keys": "O"}, "public keys"),
    ({**SETTINGS, "operator_keys": [SETTINGS["account"]]}, "public keys"),
    ({**SETTINGS, "operator_keys": [_OPERATOR]}, "none of them"),
    ({**SETTINGS, "operator_seed_env": "O", "system_creds_env": "C"}, "none of them"),
    ({**SETTINGS, "seed": "x"}, "known"),
]


def issuer(house, *, url="", environ=None, clock=None, **settings):
    how = {"clock": clock} if clock else {}
    tools = Tools(None, None, None, "https://r", {**house.environ(), **(environ or {})}, **how)
    return build(IssuerConfig("bus", "nats", house.settings(url, **settings)), tools)


async def works(house, minted, server=0):
    """What its holder can do: be let in, hear, and be heard."""
    client = None
    try:
        client = await connect(house, minted.parts["creds"], server, inbox_prefix=minted.parts["inbox_prefix"])
        await client.subscribe("events.acme.x")
        await client.publish("orders.acme.x", b"1")
        for _ in range(2):
            await client.flush(3)
        return not client.last_error
    except (nats.errors.Error, OSError, TimeoutError):
        return False
    finally:
        if client is not None:
            await client.close()


class _OnlyKill:
    """A mint asks nobody."""

    def __init__(self, made):
        self.mint = self.kill = made.kill


async def rig(request):
    house = request.getfixturevalue("nats_house")

    def alive(minted):
        return asyncio.run(works(house, minted))

    gone = _OnlyKill(issuer(house, url="nats://127.0.0.1:1"))
    return Rig(issuer(house), lease(grants=WORK), alive, unreachable=gone)

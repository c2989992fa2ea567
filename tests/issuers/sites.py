"""One site a kind of issuer: servers of its own, how a Remit is told to use them, and what they say is alive.

A kind joins by its function in `SITES`. A site's server can be killed in the middle and started again; it then has
what the real product would still have. `alive(held, now)` asks the server itself: how many credentials would it take
at `now` (seconds)? `held` are the parts that agents got, for servers that keep no list of those they believe.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_ssh_public_identity

from remit.domain.lease import Minted
from remit.testing.postgres import PostgresServer
from tests import oauth_house

from . import clouds, nats_house, pg, servers
from .rigs import aws, azure, github, google, kubernetes, mysql, nats, openbao, redis, ssh, x509

Parts = Mapping[str, str]
Alive = Callable[[Sequence[Parts], float], int]


@dataclass
class Remit:
    """What a server has to know to believe a Remit; `asked` posts to it as its operator."""

    url: str
    keys: list[Mapping[str, str]] = field(default_factory=list)
    published: Callable[[str], bytes] = lambda document: b""
    asked: Callable[[str, Any], Any] = lambda path, body: {}


@dataclass
class Site:
    """`settings` and `grants` go into the catalogue, `environ` into Remit's environment.

    `trust` is told of the Remit once it is there. `recallable` False: nobody takes its credentials back. Without a
    `crash` there is no server: whoever reads the credential asks Remit.
    """

    settings: Mapping[str, Any]
    grants: Mapping[str, Any]
    alive: Alive = lambda held, now: 0
    environ: Mapping[str, str] = field(default_factory=dict)
    trust: Callable[[Remit], None] = lambda remit: None
    crash: Callable[[], None] | None = None
    start: Callable[[], None] = lambda: None
    recallable: bool = True


@contextmanager
def postgres_site() -> Iterator[Site]:
    """Roles and sessions, on a server with fsync on."""
    with PostgresServer(durable=True) as server:
        pg.furnish(server)

        def alive(held: Sequence[Parts], now: float) -> int:
            sessions = r"SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'remit\_%'"
            return len(pg.roles(server)) + pg.as_admin(server, sessions)[0][0]

        dsn = {"POSTGRES_DSN": server.dsn("boss", "boss-password")}
        yield Site({"dsn_env": "POSTGRES_DSN"}, pg.READ, alive, dsn, crash=server.crash, start=server.start)


@contextmanager
def mysql_site() -> Iterator[Site]:
    """Accounts, their events, their sessions, on a MariaDB that flushes every commit."""
    with servers.mariadb("--innodb-flush-log-at-trx-commit=1") as server:
        mysql.furnish(server)

        def alive(held: Sequence[Parts], now: float) -> int:
            listed = r"SELECT {0} FROM {1} WHERE {0} LIKE 'remit\_%'"
            events = mysql.as_root(server, listed.format("event_name", "information_schema.events"))
            sessions = mysql.as_root(server, listed.format("user", "information_schema.processlist"))
            return len(mysql.users(server)) + len(events) + len(sessions)

        settings = {"dsn_env": "MYSQL_DSN", "backstop": "shop"}
        dsn = {"MYSQL_DSN": f"mysql://boss:boss-password@127.0.0.1:{server.port}/shop"}
        yield Site(settings, mysql.READ, alive, dsn, crash=server.stop, start=server.start)


@contextmanager
def redis_site() -> Iterator[Site]:
    """Users, in an ACL file that every kill saves."""
    with servers.redis_server(acl_file=True) as server:

        def alive(held: Sequence[Parts], now: float) -> int:
            with redis.admin(server) as client:
                return sum(user.startswith("remit_") for user in client.acl_users())

        settings = {"dsn_env": "REDIS_DSN", "acl_save": True}
        dsn = {"REDIS_DSN": f"redis://admin:admin-password@127.0.0.1:{server.port}/0"}
        yield Site(settings, redis.READ, alive, dsn, crash=server.stop, start=server.start)


@contextmanager
def openbao_site() -> Iterator[Site]:
    """Tokens, leases, and the roles they made on a PostgreSQL; OpenBao keeps them in another database there."""
    with ExitStack() as stack:
        database = stack.enter_context(PostgresServer(durable=True))
        pg.furnish(database)
        pg.as_admin(database, "CREATE DATABASE bao")
        server = stack.enter_context(servers.openbao_on(database.dsn(database="bao")))

        def alive(held: Sequence[Parts], now: float) -> int:
            with openbao.root(server) as http:
                leases = http.request("LIST", "sys/leases/lookup/database/creds/readonly").json().get("data", {})
                accessors = http.request("LIST", "auth/token/accessors").json()["data"]["keys"]
                told = [http.post("auth/token/lookup-accessor", json={"accessor": one}).json() for one in accessors]
            found = [one.get("data", {}) for one in told]
            # -1: it has given this one up, and takes it from nobody.
            tokens = sum("remit_lease" in (one.get("meta") or {}) and one.get("num_uses") != -1 for one in found)
            # One that OpenBao made in the moment it was killed is in no list of its; PostgreSQL ends it in a minute.
            made = r"SELECT count(*) FROM pg_roles WHERE rolname LIKE 'v-%' AND rolvaliduntil > now()"
            return len(leases.get("keys", ())) + tokens + int(pg.as_admin(database, made)[0][0])

        def trust(remit: Remit) -> None:
            openbao.furnish(server, database, remit.keys, remit.url, "1m")

        settings = {
            "address": f"http://127.0.0.1:{server.port}",
            "role": "remit",
            "auth_mount": "jwt",
            "audience": "https://bao.test",
        }
        yield Site(settings, openbao.READ, alive, trust=trust, crash=server.stop, start=server.start)


@contextmanager
def ssh_site() -> Iterator[Site]:
    """Certificates that the list does not name: all are looked up in it, and some tried at a real sshd."""
    with servers.sshd() as server:
        krl = server.folder / "krl"

        def alive(held: Sequence[Parts], now: float) -> int:
            good = [one for one in held if now < load_ssh_public_identity(one["certificate"].encode()).valid_before]
            with tempfile.TemporaryDirectory() as folder:
                files = [Path(folder) / f"{number}.pub" for number in range(len(good))]
                for file, one in zip(files, good, strict=True):
                    file.write_text(one["certificate"])
                asked = [krl, *files]
                told = subprocess.run(["ssh-keygen", "-Q", "-f", *asked], capture_output=True, text=True, check=False)
            listed = told.stdout.count(": REVOKED") if files else 0
            tried = random.sample(good, min(20, len(good)))
            let_in = sum(ssh.login(server, Minted(one)).returncode == 0 for one in tried)
            return max(len(good) - listed, let_in)

        def trust(remit: Remit) -> None:
            (server.folder / "ca.pub").write_bytes(remit.published("ca.pub"))

        grants = {"principals": ["deploy"], "force_command": "true"}
        yield Site({"list_file": str(krl)}, grants, alive, trust=trust, crash=server.stop, start=server.start)


@contextmanager
def x509_site() -> Iterator[Site]:
    """Certificates that a TLS server lets in, which looks at the list; all are tried."""
    folder = Path(tempfile.mkdtemp(prefix="remit-x509-"))
    server = x509.TlsServer(folder, folder / "ca.pem", folder / "crl.pem")

    def alive(held: Sequence[Parts], now: float) -> int:
        def let_in(parts: Parts) -> bool:
            try:
                return server.ask(Minted(parts)) != ""
            except OSError:
                return False

        return sum(map(let_in, held))

    def trust(remit: Remit) -> None:
        (folder / "ca.pem").write_bytes(remit.published("ca.pem"))

    try:
        crash = server.stop
        settings = {"list_file": str(folder / "crl.pem")}
        yield Site(settings, {"dns": ["bot.example"]}, alive, trust=trust, crash=crash, start=server.start)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def nats_site() -> Iterator[Site]:
    """Users of an account in a full resolver: all are tried."""
    with nats_house.house() as house:
        (server,) = house.servers

        def alive(held: Sequence[Parts], now: float) -> int:
            async def let_in() -> int:
                gate = asyncio.Semaphore(16)

                async def one(parts: Parts) -> bool:
                    async with gate:
                        return await nats.works(house, Minted(parts))

                return sum(await asyncio.gather(*map(one, held)))

            return asyncio.run(let_in())

        yield Site(house.settings(), nats.WORK, alive, house.environ(), crash=server.stop, start=server.start)


def cloud_site(make: Callable[[], Any], settings: Callable[[Any], Mapping[str, Any]], grants: Any, **more: Any) -> Any:
    """A faithful local server; what it knows outlives its crash."""

    @contextmanager
    def site() -> Iterator[Site]:
        cloud = make()

        def trust(remit: Remit) -> None:
            cloud.issuer, cloud.jwks = remit.url, lambda: remit.keys

        def alive(held: Sequence[Parts], now: float) -> int:
            return int(cloud.live(now))

        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "token").write_text(clouds.Cluster.own_token)
            (Path(folder) / "app.pem").write_bytes(getattr(cloud, "pem", b""))
            said = {key: value.replace("FOLDER", folder) for key, value in settings(cloud.url).items()}
            try:
                yield Site(said, grants, alive, trust=trust, crash=cloud.stop, start=cloud.start, **more)
            finally:
                cloud.close()

    return site


@contextmanager
def oauth_site() -> Iterator[Site]:
    """Somebody else's authorization server, which lets a refresh token be used again; what it knows outlives its crash.

    A token whose answer nobody heard lives until its own end, and its lease stays in sight until then.
    """
    theirs = oauth_house.AuthorizationServer(rotates=False)
    notes = oauth_house.NotesServer(theirs)

    def trust(remit: Remit) -> None:
        begun = remit.asked("/v1/issuers/oauth/connection", {"redirect_uri": oauth_house.REDIRECT})
        remit.asked("/v1/issuers/oauth/connection/answer", {"redirected": theirs.agreed(begun["authorization_url"])})

    def alive(held: Sequence[Parts], now: float) -> int:
        return sum(one.expires_at > now for one in list(theirs.accounts.access.values()))

    settings = {"resource": notes.resource, "allow_private_network": True}
    grants = {"scope": ["notes.read"]}
    try:
        yield Site(settings, grants, alive, trust=trust, crash=theirs.close, start=theirs.start, recallable=False)
    finally:
        notes.close()
        theirs.close()


@contextmanager
def jwt_site() -> Iterator[Site]:
    """Nothing upstream: a resource server asks Remit."""
    yield Site({}, {"audience": "https://rs.example", "scope": ["read"]})


@contextmanager
def static_site() -> Iterator[Site]:
    """Nothing upstream: it is called `stripe`, and Remit keeps it sealed."""
    yield Site({}, {"secret": "stripe"})


def _cluster(url: str) -> Mapping[str, Any]:
    return {"server": url, "token_file": "FOLDER/token"}


def _app(url: str) -> Mapping[str, Any]:
    return {"client_id": "Iv1", "installation": "77", "private_key_file": "FOLDER/app.pem", "api": url}


SITES: Mapping[str, Callable[[], AbstractContextManager[Site]]] = {
    "postgres": postgres_site,
    "mysql": mysql_site,
    "redis": redis_site,
    "openbao": openbao_site,
    "ssh": ssh_site,
    "x509": x509_site,
    "kubernetes": cloud_site(clouds.Cluster, _cluster, kubernetes.READ),
    "github": cloud_site(clouds.GitHub, _app, github.READ),
    "aws": cloud_site(lambda: clouds.Sts(None), aws.settings, aws.READ, recallable=False),
    "google": cloud_site(lambda: clouds.Google(None), google.settings, google.READ, recallable=False),
    "azure": cloud_site(lambda: clouds.Entra(None), azure.settings, azure.READ, recallable=False),
    "nats": nats_site,
    "oauth": oauth_site,
    "jwt": jwt_site,
    "static": static_site,
}


def catalogue(sites: Mapping[str, Site], ttl: str = "10m") -> dict[str, str]:
    """One agent and one purpose that may have them all; an issuer and a credential are called as their kind."""
    issuers = "".join(
        f"[issuers.{kind}]\nkind = {toml(kind)}\n"
        + "".join(f"{key} = {toml(value)}\n" for key, value in site.settings.items())
        for kind, site in sites.items()
    )
    credentials = "".join(
        f"[[credentials]]\nname = {toml(kind)}\nissuer = {toml(kind)}\nttl = {toml(ttl)}\ngrants = {toml(site.grants)}\n"
        + ("reveal = true\n" if kind in ("static", "oauth") else "")
        for kind, site in sites.items()
    )
    return {
        "remit.toml": f"[people.olga]\n{issuers}",
        "agents/bot.toml": 'owner = "olga"\n[[attestations]]\nmethod = "join_token"\n',
        "purposes/pay.toml": 'owner = "olga"\nagents = ["bot"]\nmax_duration = "15m"\nmax_calls = 1000\n'
        f'[parameters.customer]\npattern = "[a-z]+"\n{credentials}',
        "policies/default.cedar": '@id("within") permit (principal, action, resource);\n',
    }


def toml(value: Any) -> str:
    """A value in one line of TOML."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{toml(key)} = {toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)

"""`remit run` with each system there is here: MariaDB's own client, Redis, OpenSSH, OpenSSL, a bound token."""

from __future__ import annotations

import json
import shutil
import sys

import pytest

from tests.client.runs import PYTHON, Runner
from tests.issuers import servers
from tests.issuers.nats_house import house as nats_house
from tests.issuers.rigs import mysql as shop
from tests.server import CATALOGUE, furnished, process

PURPOSE = """
owner = "olga"
agents = ["bot"]
max_duration = "15m"
max_calls = 10
max_sensitivity = "confidential"
"""
CREDENTIAL = '[[credentials]]\nname = "{name}"\nissuer = "{issuer}"\nttl = "10m"\ngrants = {grants}\n'


@pytest.fixture(scope="module")
def systems(tmp_path_factory):
    folder = tmp_path_factory.mktemp("systems")
    with servers.mariadb() as maria, servers.redis_server() as redis, nats_house() as nats:
        shop.furnish(maria)
        env = {
            "SHOP_DSN": f"mysql://boss:boss-password@127.0.0.1:{maria.port}/shop",
            "REDIS_DSN": f"redis://admin:admin-password@127.0.0.1:{redis.port}/0",
            **nats.environ(),
        }
        issuers = f"""
[issuers.shop]
kind = "mysql"
dsn_env = "SHOP_DSN"
backstop = "shop"
[issuers.cache]
kind = "redis"
dsn_env = "REDIS_DSN"
[issuers.hosts]
kind = "ssh"
list_file = "{folder}/krl"
[issuers.mesh]
kind = "x509"
[issuers.bus]
kind = "nats"
""" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in nats.settings().items())
        table = '{ tables = [{ name = "shop.customers", privileges = ["select"], columns = ["id", "name"] }] }'
        keys = '{ keys = [{ under = ["x"] }], commands = ["get", "set"] }'
        rows = (
            ("shop", "shop", table),
            ("cache", "cache", keys),
            ("bus", "bus", '{ publish = [{ exact = ["orders", "new"] }], inbox = true }'),
            ("box", "hosts", '{ principals = ["deploy"] }'),
            ("client", "mesh", '{ common_name = "bot" }'),
            ("rs", "tokens", '{ audience = "https://rs.example" }'),
        )
        text = PURPOSE + "".join(CREDENTIAL.format(name=n, issuer=i, grants=g) for n, i, g in rows)
        files = {**CATALOGUE, "remit.toml": CATALOGUE["remit.toml"] + issuers, "purposes/read.toml": text}
        with process(folder / "data", **env) as running:
            yield furnished(running, files)


@pytest.fixture
def runner(systems, tmp_path):
    return Runner(systems, tmp_path)


def test_mariadbs_client_with_an_option_file(runner):
    """A standing `~/.my.cnf` does not win."""
    (runner.folder / ".my.cnf").write_text("[client]\nuser=standing\npassword=standing\n")
    query = "SELECT name, CURRENT_USER() LIKE 'remit%' FROM shop.customers"
    line = f'mysql --defaults-file="$MYSQL_DEFAULTS_FILE" -BN -e "{query}"'
    done = runner(["shop=mycnf"], "sh", "-c", line)
    assert (done.returncode, done.stdout) == (0, "acme\t1\n"), done.stderr
    assert "every credential is dead" in done.stderr and runner.left() == []


def test_redis_with_one_url(runner):
    code = "import os, redis; r = redis.from_url(os.environ['REDIS_URL']); r.set('x:1', 'y'); print(r.get('x:1'))"
    done = runner(["cache"], PYTHON, "-c", code)
    assert (done.returncode, done.stdout) == (0, "b'y'\n"), done.stderr


def test_nats_with_a_credentials_file(runner):
    """As the `nats` command and every client take it; a standing one on this machine is out of sight."""
    code = """
import asyncio, os, stat, nats
async def main():
    assert stat.S_IMODE(os.stat(os.environ["NATS_CREDS"]).st_mode) == 0o600 and "NATS_USER" not in os.environ
    client = await nats.connect(os.environ["NATS_URL"], user_credentials=os.environ["NATS_CREDS"],
                                inbox_prefix=os.environ["NATS_INBOX_PREFIX"], allow_reconnect=False)
    try:
        await client.request("orders.new", b"", timeout=5)
    except nats.errors.NoRespondersError:  # it came back to the inbox
        print("heard")
    await client.close()
asyncio.run(main())
"""
    done = runner(["bus"], PYTHON, "-c", code, NATS_USER="standing")
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr
    assert "every credential is dead" in done.stderr and runner.left() == []


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="OpenSSH is not here")
def test_openssh_finds_key_and_certificate(runner):
    line = 'ssh-keygen -y -f "$BOX_PRIVATE_KEY_FILE" | cut -d" " -f1; ssh-keygen -L -f "$BOX_PRIVATE_KEY_FILE-cert.pub"'
    done = runner(["box"], "sh", "-c", line)
    assert done.returncode == 0, done.stderr
    assert "user certificate" in done.stdout and "deploy" in done.stdout


def test_openssl_believes_the_certificate_and_what_cannot_be_taken_back_is_said(runner):
    line = 'openssl verify -CAfile "$CLIENT_CA_FILE" "$CLIENT_CERTIFICATE_FILE" && '
    line += 'openssl pkey -in "$CLIENT_PRIVATE_KEY_FILE" -noout'
    done = runner(["client"], "sh", "-c", line)
    assert done.returncode == 0 and ": OK" in done.stdout, done.stderr
    assert "Nobody can take these back: client (" in done.stderr and "They die by themselves within" in done.stderr
    assert runner.left() == []


def test_a_token_that_needs_the_agents_key_is_said_to(runner):
    done = runner(["rs"], sys.executable, "-c", "import os; print(os.environ['RS_TOKEN_TYPE'])")
    assert done.stdout == "DPoP\n" and "is bound to the agent's key" in done.stderr

"""A real OpenBao that makes roles on a real PostgreSQL; Remit signs in with its own token."""

import time

import httpx
import jwt
import psycopg
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from remit.domain.catalogue import IssuerConfig
from remit.issuers import Tools, build
from tests.issuers.clouds import ISSUER
from tests.world import world

from . import Rig, lease

BACKSTOP = 2.0
SETTINGS = {"address": "https://bao.example", "token_file": "/none"}
READ = {"path": "database/creds/readonly", "policy": "readonly"}
BAD_GRANTS = [
    {},
    {"path": "database/creds/readonly"},
    *({**READ, "path": path} for path in ("sys/mounts", "auth/token/create", "identity/entity", "cubbyhole/x", "database",
                                          "/database/x", "database/../sys/x", "database//x", "database/x?y", "a/./b")),
    {**READ, "policy": "root"},
    {**READ, "policy": "a b"},
    {**READ, "parameters": "x"},
    {**READ, "parameters": {"a": ["b"]}},
    {**READ, "ttl": "1h"},
]  # fmt: skip
BAD_SETTINGS = [
    ({}, "https"),
    ({"address": "https://b"}, "either"),
    ({"address": "https://b", "role": "r", "token_file": "/t"}, "either"),
    ({"address": "https://b", "token_file": "t"}, "absolute"),
    ({"address": "https://b", "role": "r"}, "mount"),
    ({"address": "http://b.example", "token_file": "/t"}, "https"),
]
POLICY = """
path "auth/token/create-orphan" { capabilities = ["create", "update", "sudo"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }
path "auth/token/lookup-accessor" { capabilities = ["update"] }
path "auth/token/accessors" { capabilities = ["list", "sudo"] }
path "auth/token/accessors/" { capabilities = ["list", "sudo"] }
path "sys/leases/revoke" { capabilities = ["update"] }
path "sys/leases/lookup" { capabilities = ["update"] }
"""
MAKE = """CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';
GRANT USAGE ON SCHEMA billing TO "{{name}}"; GRANT SELECT ON billing.customers TO "{{name}}";"""

# What OpenBao does by itself cannot be done twice: killed in between, it would never drop the role.
DROP = """DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{{name}}') THEN
DROP OWNED BY "{{name}}"; DROP ROLE "{{name}}"; END IF; END $$"""


def root(bao):
    token = {"X-Vault-Token": getattr(bao, "root", "root")}
    return httpx.Client(base_url=f"http://127.0.0.1:{bao.port}/v1", headers=token, trust_env=False, timeout=30)


def furnish(bao, database, keys, issuer=ISSUER, lasts="1h"):
    """The engine, its role, our policy, our way in."""
    pems = [jwt.PyJWK(key).key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode() for key in keys]
    with root(bao) as http:

        def put(path, body):
            answer = http.put(path, json=body)
            assert answer.status_code in (200, 204), answer.text

        mounted = http.get("sys/mounts").json()["data"]
        if "database/" not in mounted:
            put("sys/mounts/database", {"type": "database"})
            put("sys/auth/jwt", {"type": "jwt"})
            url = f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{database.port}/postgres?sslmode=disable"
            put("database/config/pg", {"plugin_name": "postgresql-database-plugin", "allowed_roles": "*",
                                       "connection_url": url, "username": "admin", "password": "admin-password"})  # fmt: skip
            put(
                "database/roles/readonly",
                {
                    "db_name": "pg",
                    "creation_statements": [MAKE],
                    "revocation_statements": [DROP],
                    "default_ttl": lasts,
                    "max_ttl": "2h",
                },
            )
            put("sys/policies/acl/remit", {"policy": POLICY})
            put("sys/policies/acl/readonly", {"policy": 'path "database/creds/readonly" { capabilities = ["read"] }'})
        put("auth/jwt/config", {"jwt_validation_pubkeys": pems, "bound_issuer": issuer})
        put("auth/jwt/role/remit", {"role_type": "jwt", "user_claim": "sub", "bound_subject": "remit", "token_policies": ["remit"],
                                    "bound_audiences": ["https://bao.test"], "token_ttl": "10m"})  # fmt: skip


async def issuer(port):
    w = await world(now=int(time.time() * 1000))
    settings = {
        "address": f"http://127.0.0.1:{port}",
        "role": "remit",
        "auth_mount": "jwt",
        "audience": "https://bao.test",
    }
    tools = Tools(w.store, w.env.signer, w.env.sealer, ISSUER, {}, lambda: int(time.time() * 1000))
    return build(IssuerConfig("bao", "openbao", settings), tools), w


async def rig(request):
    bao, database = request.getfixturevalue("openbao"), request.getfixturevalue("database")
    made, w = await issuer(bao.port)
    furnish(bao, database, w.env.signer.public("federation"))
    gone, _ = await issuer(1)

    def alive(minted):
        parts = minted.parts
        try:
            with psycopg.connect(host="127.0.0.1", port=database.port, dbname="postgres", user=parts["username"],
                                 password=parts["password"], connect_timeout=5) as db:  # fmt: skip
                return db.execute("SELECT name FROM billing.customers").fetchall() == [("acme",)]
        except psycopg.Error:
            return False

    return Rig(made, lease(grants=READ), alive, unreachable=gone)

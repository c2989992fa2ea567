"""A database of the first schema, with data in it, brought to the newest: nothing lost, and no envelope left behind."""

from __future__ import annotations

import asyncio
import secrets
from hashlib import sha256
from importlib import import_module

import msgspec
import psycopg
import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations

from remit.domain.caller import CallerKind
from remit.domain.freeze import Frozen, Reach
from remit.domain.keys import SigningKey
from remit.domain.lease import Lease, LeaseState
from remit.domain.secret import SealedSecret
from remit.formats import signing_key
from remit.formats.record import pack, unpack
from remit.issuers.keyring import Keyring, RootSealer
from remit.store.postgres import PostgresStore
from remit.store.replay import replay
from remit.store.sqlite import SqliteStore
from tests.world import world

FIRST = import_module("remit.store.migrations.versions.r0001_first")
SEALER = RootSealer(b"r" * 32)


def rows():
    """What the first release wrote: (event, table, kind, key, body, columns)."""
    key = signing_key.generate("ES256")
    kid, public = key.public.thumbprint, " ".join(f"{n}={v}" for n, v in sorted(key.public.jwk.items()))
    private = SEALER.seal(key.der, b"signing_key:" + kid.encode())
    signing = {
        "kid": kid,
        "use": "token",
        "algorithm": "ES256",
        "public": public,
        "sealed": private,
        "created_at": 1,
        "version": 1,
    }
    old = SEALER.seal(b"canary-old", b"sealed_secret:stripe")
    new = SEALER.seal(b"canary-new", b"sealed_secret:stripe")
    made = {"name": "stripe", "sealed_at": 1, "sealed_by": "operator:op"}
    lease = {
        "id": "lse_1", "task": "tsk_1", "agent": "bot", "credential": "shown", "issuer": "box", "handle": "remit_1",
        "reserved_at": 1, "mint_until": 2, "expires_at": 10**15, "grants": {"secret": "stripe"}, "state": "live", "minted_at": 2,
        "ended_at": 0, "end_reason": "", "attempts": 0, "retry_at": 0, "last_error": "", "version": 1,
    }  # fmt: skip
    said = '"type":"SecretSealed"'
    standing = {"agent": "bot", "state": "frozen", "since": 1, "reason": said, "version": 1}
    return (private, old, new), [
        ("SigningKeyCreated", "signing_keys", "SigningKey", kid, signing, {"use": "token"}, 0),
        ("SecretSealed", "sealed_secrets", "SealedSecret", "stripe", {**made, "envelope": old, "version": 1}, {}, 0),
        ("SecretSealed", "sealed_secrets", "SealedSecret", "stripe", {**made, "envelope": new, "version": 2}, {}, 0),
        (
            "LeaseReserved",
            "leases",
            "Lease",
            "lse_1",
            lease,
            {"state": "live", "task": "tsk_1", "issuer": "box"},
            10**15,
        ),
        ("StandingChanged", "standings", "Standing", "bot", standing, {"state": "frozen"}, 0),
    ]


def first_release(connection):
    """Its schema, by its own migration, and its data."""
    with Operations.context(MigrationContext.configure(connection)):
        FIRST.upgrade()
    connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(sa.text("INSERT INTO alembic_version VALUES ('0001')"))
    envelopes, written = rows()
    leaves = []
    for event, table, kind, key, value, columns, due in written:
        body = msgspec.json.encode(value)
        connection.execute(sa.text(f"DELETE FROM {table} WHERE key = :key"), {"key": key})
        names = ["key", "version", "body", "due", *columns]
        values = {"key": key, "version": value["version"], "body": body, "due": due, **columns}
        marks = ", ".join(f":{name}" for name in names)
        connection.execute(sa.text(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})"), values)
        leaf = msgspec.json.encode(
            {"v": 1, "type": event, "at": 1, "by": "x", "trace": "", "data": {"reason": value.get("reason", "")},
             "writes": [[kind, key, value["version"], sha256(body).hexdigest()]]}
        )  # fmt: skip
        leaves.append(leaf)
        connection.execute(
            sa.text("INSERT INTO events (leaf, bodies) VALUES (:leaf, :bodies)"), {"leaf": leaf, "bodies": pack([body])}
        )
    return envelopes, leaves


@pytest.mark.parametrize("where", ["sqlite", "postgres"])
def test_the_first_schema_is_brought_up_with_its_data(where, tmp_path, request):
    path = tmp_path / "remit.db"
    if where == "sqlite":
        url = f"sqlite:///{path}"
    else:
        server, name = request.getfixturevalue("postgres"), f"t_{secrets.token_hex(6)}"
        with psycopg.connect(server.dsn(), autocommit=True) as db:
            db.execute(f"CREATE DATABASE {name}")
        dsn = server.dsn(database=name)
        url = sa.engine.make_url(dsn).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        envelopes, leaves = first_release(connection)
    engine.dispose()

    async def open_():
        return SqliteStore.open(path) if where == "sqlite" else await PostgresStore.open(dsn)

    async def main():
        store = await open_()
        (secret,) = await store.find(SealedSecret, {"name": "stripe", "state": "active"})
        assert (secret.number, secret.key, secret.version) == (1, "stripe", 2)
        assert SEALER.unseal(secret.envelope, secret.context) == b"canary-new"
        (key,) = await store.find(SigningKey, {"use": "token"})
        assert key.sealed == envelopes[0]
        lease = await store.get(Lease, "lse_1")
        assert lease.state is LeaseState.LIVE and lease.holds == ""
        assert await store.find(Lease, {"holds": ""}) == [lease]
        history = await store.history(0, 100)
        *before, (_, last, _) = history
        assert [leaf for _, leaf, _ in before] == leaves  # the log is what it was, and says what the upgrade did
        assert b'"type":"Froze"' in last
        frozen = await store.get(Frozen, "frozen")
        assert [(one.reach, one.name, one.since) for one in frozen.freezes] == [(Reach.AGENT, "bot", 1)]
        kept = [unpack(bodies) for _, _, bodies in before]
        assert kept[:3] == [[b""]] * 3 and all(kept[3]) and b"SecretSealed" in kept[4][0]
        assert await replay(store) == []
        # And it goes on from there.
        w = await world(store)
        from remit.verbs.seal import retire, seal, versions
        from remit.work.tend_secrets import tend_secrets

        operator = w.call(CallerKind.OPERATOR, "op")
        await seal(w.env, operator, "stripe", b"third")
        await retire(w.env, operator, "stripe", 1, "")
        await tend_secrets(w.env, w.clock.now)
        assert [(v.number, v.state.value) for v in await versions(w.env, "stripe")] == [(1, "retired"), (2, "active")]
        assert await replay(store) == []
        await store.close()
        again = await open_()
        assert await replay(again) == []
        await again.close()

    asyncio.run(main())
    if where == "sqlite":
        content = path.read_bytes()
        assert envelopes[0].encode() in content  # the key's own row
        for gone in envelopes[1:]:
            assert gone.encode()[-40:] not in content


def test_a_changed_envelope_is_found(tmp_path):
    async def main():
        store = SqliteStore.open(tmp_path / "remit.db")
        await Keyring.open(store, SEALER, 1)
        assert await replay(store) == []
        row = (await store.find(SigningKey, {"use": "log"}))[0]
        store._writer.execute(
            "UPDATE signing_keys SET body = CAST(replace(body, 'EdDSA', 'ES256') AS BLOB) WHERE key = ?", (row.kid,)
        )
        assert await replay(store) == [f"SigningKey {row.kid} was changed"]
        store._writer.execute("DELETE FROM signing_keys WHERE key = ?", (row.kid,))
        assert await replay(store) == [f"SigningKey {row.kid} is missing"]
        number, _, bodies = (await store.history(0, 1))[0]
        *others, withheld = unpack(bodies)
        assert withheld == b""
        store._writer.execute("UPDATE events SET bodies = ? WHERE number = ?", (pack([*others, b"{}"]), number))
        assert any("not the one it signed for" in problem for problem in await replay(store))
        await store.close()

    asyncio.run(main())

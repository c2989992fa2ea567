"""nkeys and NATS JWTs: the reference implementation reads ours, we read its; what is flawed is refused and not repeated."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json

import nkeys
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.domain.errors import BadToken
from remit.formats import nkey
from remit.formats.nats_jwt import MARK, Account, Permissions, creds, parse_creds, user
from tests.issuers.nats_house import Key, b64, claims_of, signed

OPERATOR, ACCOUNT = Key("O"), Key("A")


def account(by=OPERATOR, subject=ACCOUNT.public, said=None, **more):
    return signed(by, subject, "tasks", {"type": "account", "limits": {"conn": -1}, **(said or {})}, **more)


def parse(text, operators=(OPERATOR.public,)):
    return Account.parse(text, ACCOUNT.public, operators)


@given(st.binary(min_size=32, max_size=32), st.sampled_from("OAU"), st.binary())
def test_keys_are_those_of_the_reference_implementation(raw, kind, data):
    seed = nkey.Seed.of(kind, raw)
    prefix = {"O": nkeys.PREFIX_BYTE_OPERATOR, "A": nkeys.PREFIX_BYTE_ACCOUNT, "U": nkeys.PREFIX_BYTE_USER}[kind]
    assert seed.text() == nkeys.encode_seed(raw, prefix).decode() and seed.text().startswith("S" + kind)
    pair = nkeys.from_seed(bytearray(seed.text().encode()))
    assert pair.public_key.decode() == seed.public and seed.public.startswith(kind)
    assert nkey.is_public(seed.public, kind) and not any(nkey.is_public(seed.public, k) for k in "OAU" if k != kind)
    assert nkey.Seed.parse(seed.text()) == seed and seed.text() not in repr(seed)
    assert pair.sign(data) == seed.sign(data)
    nkey.verify(seed.public, data, pair.sign(data))
    with pytest.raises(BadToken):
        nkey.verify(seed.public, data + b"x", pair.sign(data))


def with_crc(data):
    return base64.b32encode(data + binascii.crc_hqx(data, 0).to_bytes(2, "little")).decode().rstrip("=")


GOOD = Key("U").seed
SEEDS = {
    "empty": "",
    "a letter changed": GOOD[:20] + ("A" if GOOD[20] != "A" else "B") + GOOD[21:],
    "lower case": GOOD.lower(),
    "padding": GOOD + "=",
    "a line break": GOOD + "\n",
    "cut": GOOD[:-1],
    "a public key": Key("U").public,
    "a server's": with_crc(bytes([18 << 3 | (13 << 3) >> 5, (13 << 3) << 3 & 0xFF]) + bytes(32)),
    "low bits set": with_crc(bytes([18 << 3 | (20 << 3) >> 5, ((20 << 3) << 3 & 0xFF) | 1]) + bytes(32)),
    "too long": GOOD * 2,
    "not ASCII": "S" + "Ä" * 57,
}


@pytest.mark.parametrize("flaw", SEEDS)
def test_seeds_that_are_none(flaw):
    with pytest.raises(BadToken) as refused:
        nkey.Seed.parse(SEEDS[flaw])
    assert not SEEDS[flaw] or SEEDS[flaw] not in f"{refused.value} {refused.value.inside}"


PUBLIC = [None, 5, "", "U" * 56, Key("U").public + "\n", Key("U").public.lower(), Key("U").seed, b"U"]


@pytest.mark.parametrize("text", PUBLIC, ids=range(len(PUBLIC)))
def test_public_keys_that_are_none(text):
    assert not nkey.is_public(text, nkey.USER)


def changed(text, part, **more):
    parts = text.split(".")
    read = json.loads(base64.urlsafe_b64decode(parts[part] + "=="))
    parts[part] = b64(json.dumps({**read, **more}).encode())
    return ".".join(parts)


def resigned(payload, by=OPERATOR, header=None):
    text = f"{b64(json.dumps(header or {'typ': 'JWT', 'alg': 'ed25519-nkey'}).encode())}.{b64(payload)}"
    return f"{text}.{b64(by.pair.sign(text.encode()))}"


ACCOUNTS = {
    "empty": "",
    "two parts": ".".join(account().split(".")[:2]),
    "a claim changed": changed(account(), 1, iat=1),
    "another operator": account(Key("O")),
    "itself": account(ACCOUNT),
    "another account": account(subject=Key("A").public),
    "a user": signed(OPERATOR, ACCOUNT.public, "x", {"type": "user"}),
    "another alg": resigned(json.dumps(claims_of(account())).encode(), header={"typ": "JWT", "alg": "ed25519"}),
    "alg none": changed(account(), 0, alg="none"),
    "more header": resigned(json.dumps(claims_of(account())).encode(), header={"typ": "JWT", "alg": "ed25519-nkey", "crit": []}),
    "padding": account() + "==",
    "not JSON": resigned(b"x"),
    "no object": resigned(b"[]"),
    "a member twice": resigned(b'{"iss":"%s","iss":"x"}' % OPERATOR.public.encode()),
    "issuer no text": resigned(b'{"iss":5}'),
    "issuer no key": resigned(b'{"iss":"O"}'),
    "revocations no map": account(said={"revocations": [1]}),
    "a revocation no number": account(said={"revocations": {"U": "1"}}),
    "a revocation true": account(said={"revocations": {"U": True}}),
    "iat no number": account(iat="1"),
    "too long": "x" * (4 * 1024 * 1024 + 1),
    "deep": resigned(b'{"iss":' + b"[" * 100 + b"]" * 100 + b"}"),
}  # fmt: skip


@pytest.mark.parametrize("flaw", ACCOUNTS)
def test_account_jwts_that_are_refused(flaw):
    with pytest.raises(BadToken):
        parse(ACCOUNTS[flaw])


def test_an_older_version_is_refused():
    claims = claims_of(account())
    claims["nats"]["version"] = 1
    with pytest.raises(BadToken):
        parse(resigned(json.dumps(claims).encode()))


@given(st.binary(max_size=200))
def test_whatever_is_in_it_is_an_account_or_bad(payload):
    with contextlib.suppress(BadToken):
        parse(resigned(payload))


def test_only_our_revocations_change():
    theirs = {"*": 5, Key("U").public: 1_700_000_000}
    odd = {
        "description": "é<&>",
        "limits": {"conn": -1, "x": 1.5},
        "mappings": {"a": [{"subject": "b"}]},
        "unheard": {"of": None},
    }
    first = parse(account(said={**odd, "revocations": theirs}, aud="kept"))
    assert first.revoked == {} and first.issuer == OPERATOR.public
    one, two, by = Key("U").public, Key("U").public, nkey.Seed.parse(OPERATOR.seed)
    then = parse(first.revoking({one: 100, two: 200}, by, 7))
    assert then.revoked == {one: 100, two: 200} and then.issued_at == 7
    assert claims_of(then.text)["nats"]["revocations"] == {**theirs, one: MARK + 100, two: MARK + 200}
    last = parse(then.revoking({}, by, 8))
    assert claims_of(last.text)["nats"] == claims_of(first.text)["nats"] and claims_of(last.text)["aud"] == "kept"
    assert len({claims_of(found.text)["jti"] for found in (first, then, last)}) == 3
    bare = parse(parse(account()).revoking({}, by, 9))
    assert "revocations" not in claims_of(bare.text)["nats"]
    assert "kept" not in repr(first)


def test_a_user_is_what_was_said_and_no_list_is_nothing():
    key, by = nkey.Seed.parse(Key("U").seed), nkey.Seed.parse(ACCOUNT.seed)
    may = Permissions(["a.>"], [], 1, 5, 20, 100, ["10.0.0.0/8"])
    claims = claims_of(user(key, ACCOUNT.public, by, may, name="n", now=1, end=2))
    said = claims["nats"]
    assert (claims["iat"], claims["exp"], claims["sub"], claims["iss"]) == (1, 2, key.public, by.public)
    assert said["pub"] == {"allow": ["a.>"]} and said["sub"] == {"deny": [">"]}
    assert said["resp"] == {"max": 1, "ttl": 5_000_000_000} and said["src"] == ["10.0.0.0/8"]
    assert "LEAFNODE" not in said["allowed_connection_types"] and not said.get("bearer_token")
    assert "resp" not in claims_of(user(key, ACCOUNT.public, by, Permissions(["a"]), name="n", now=1, end=2))["nats"]


def test_a_credentials_file_there_and_back():
    key = nkey.Seed.parse(Key("U").seed)
    text = creds("a.b.c", key)
    assert parse_creds(text) == ("a.b.c", key)
    nscs = text.replace("\n\n", "\n\n************************* IMPORTANT *************************\nNKEY Seed …\n\n")
    assert parse_creds(nscs.replace("\n", "\r\n")) == ("a.b.c", key)
    for flawed in (
        "",
        "a.b.c",
        text.replace(key.text(), "SUA"),
        text.replace("BEGIN USER", "BEGIN"),
        text.replace("a.b.c", "a b"),
    ):
        with pytest.raises(BadToken) as refused:
            parse_creds(flawed)
        assert key.text() not in f"{refused.value}{refused.value.inside}"

"""JOSE: other people's vectors, then every confusion we know of, named."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from remit.domain.errors import BadProof, BadToken, Refusal
from remit.formats import base64url, jwk, jws, rfc7523, rfc9068, rfc9449, signing_key
from remit.formats.jws import SigningKey
from tests.vectors import ROOT, absent, missing

NOW = 1_800_000_000_000


def fixed(private):
    """The same key in every process, so that test names are the same too."""
    der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return signing_key.load(der)


KEY = fixed(ec.derive_private_key(11, ec.SECP256R1()))
OTHER = fixed(ec.derive_private_key(12, ec.SECP256R1()))
ED = fixed(ed25519.Ed25519PrivateKey.from_private_bytes(b"1" * 32))


def signing(key=KEY, kid=None):
    return SigningKey(key.public.kid if kid is None else kid, key.algorithm, key.sign)


def token(header, claims, key=KEY):
    """A JWS with any header at all, signed well."""
    part = ".".join(base64url.encode(p if isinstance(p, bytes) else json.dumps(p).encode()) for p in (header, claims))
    return part + "." + base64url.encode(key.sign(part.encode()))


# --- Wycheproof ---


def wycheproof_cases():
    if missing("wycheproof"):
        return
    document = json.loads((ROOT / "wycheproof" / "json_web_signature_test.json").read_text())
    for group in document["testGroups"]:
        key = group.get("public") or group.get("private")
        for case in group["tests"]:
            yield pytest.param((key, case), id=f"tc{case['tcId']}")


# Valid by the vectors and refused here, on purpose.
EMPTY_PAYLOAD = {259, 264, 268, 272, 320, 325}  # a token that claims nothing is no token
OTHER_ALGORITHM = {346, 347, 350, 351}  # signed with an algorithm that is not the one the key says it is for


@pytest.mark.parametrize("vector", list(wycheproof_cases()) or absent("wycheproof"))
def test_wycheproof_signatures_are_never_falsely_accepted(vector):
    key, case = vector
    text = case["jws"]
    try:
        jws.verify_payload(jws.peek(text), [jwk.parse(key)])
        accepted = True
    except Refusal:
        accepted = False
    if case["result"] == "invalid":
        assert not accepted, case["comment"]


@pytest.mark.skipif(bool(missing("wycheproof")), reason=missing("wycheproof") or "-")
def test_wycheproof_refuses_nothing_good_but_what_is_listed():
    refused_ids = set()
    for parameter in wycheproof_cases():
        ((key, case),) = parameter.values
        if case["result"] == "valid" and key.get("kty") != "oct":  # symmetric keys are never accepted
            try:
                jws.verify_payload(jws.peek(case["jws"]), [jwk.parse(key)])
            except Refusal:
                refused_ids.add(case["tcId"])
    assert refused_ids == EMPTY_PAYLOAD | OTHER_ALGORITHM


# --- JWS ---


def refused(text, keys=None, typ=("at+jwt",)):
    with pytest.raises(BadToken):
        jws.verify(jws.peek(text), keys or [KEY.public], typ=typ)


def test_a_good_token_verifies():
    text = jws.sign(b'{"a":1}', typ="at+jwt", key=signing())
    assert jws.verify(jws.peek(text), [OTHER.public, KEY.public], typ=("at+jwt",)) == {"a": 1}
    ed = jws.sign(b'{"a":1}', typ="at+jwt", key=signing(ED))
    assert jws.verify(jws.peek(ed), [ED.public], typ=("at+jwt",)) == {"a": 1}


GOOD = {"alg": "ES256", "typ": "at+jwt", "kid": KEY.public.kid}


@pytest.mark.parametrize(
    "header",
    [
        {**GOOD, "alg": "none"},
        {**GOOD, "alg": "None"},
        {**GOOD, "alg": "HS256"},
        {**GOOD, "alg": "ES384"},
        {**GOOD, "alg": "EdDSA"},
        {**GOOD, "alg": ["ES256"]},
        {**GOOD, "alg": None},
        {k: v for k, v in GOOD.items() if k != "alg"},
        {**GOOD, "typ": "JWT"},
        {k: v for k, v in GOOD.items() if k != "typ"},
        {**GOOD, "typ": 5},
        {**GOOD, "kid": "../../../../dev/null"},
        {**GOOD, "kid": KEY.public.kid + " "},
        {**GOOD, "kid": KEY.public.kid.lower()},
        {**GOOD, "kid": ["x"]},
        {**GOOD, "crit": ["exp"]},
        {**GOOD, "b64": False},
        {**GOOD, "jku": "https://evil.example/keys"},
        {**GOOD, "x5u": "https://evil.example/cert"},
        {**GOOD, "x5c": ["MII"]},
        {**GOOD, "jwk": dict(KEY.public.jwk)},
        {**GOOD, "zip": "DEF"},
    ],
    ids=str,
)
def test_a_header_that_confuses_is_refused(header):
    refused(token(header, {"a": 1}))


def test_a_public_key_is_never_a_secret():
    pem = json.dumps(dict(KEY.public.jwk)).encode()
    head = base64url.encode(json.dumps({**GOOD, "alg": "HS256"}).encode()) + "." + base64url.encode(b"{}")
    refused(head + "." + base64url.encode(hmac.digest(pem, head.encode(), "sha256")))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda t: t + "=",
        lambda t: t + "A",
        lambda t: t[:-1],
        lambda t: t.replace(".", "..", 1),
        lambda t: t + ".",
        lambda t: " " + t,
        lambda t: t + "\n",
        lambda t: t.rsplit(".", 1)[0] + ".",
        lambda t: t.rsplit(".", 1)[0],
        lambda t: t[:10] + "/" + t[11:],
        lambda t: "A" * 20_000,
        lambda t: t[:-4] + ("AAAA" if t[-4:] != "AAAA" else "BBBB"),
    ],
)
def test_a_spoiled_token_is_refused(spoil):
    refused(spoil(jws.sign(b'{"a":1}', typ="at+jwt", key=signing())))


def test_a_signature_with_stray_bits_is_refused():
    text = jws.sign(b'{"a":1}', typ="at+jwt", key=signing())
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = text[:-1] + alphabet[(alphabet.index(text[-1]) & 0b110000) | 1]
    if twin != text:
        refused(twin)


@pytest.mark.parametrize("payload", [b'{"a":1,"a":2}', b"[]", b'"x"', b"{", b'{"a":NaN}', b"\xff", b'{"a":"\\u0000"}'])
def test_a_payload_that_is_not_one_plain_object_is_refused(payload):
    refused(jws.sign(payload, typ="at+jwt", key=signing()))


def test_duplicate_header_members_are_refused():
    refused(token(b'{"alg":"ES256","typ":"at+jwt","kid":"%s","alg":"none"}' % KEY.public.kid.encode(), {"a": 1}))


@given(st.text(max_size=80))
def test_any_text_is_refused_and_nothing_worse(text):
    refused(text)


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_signed_bytes_are_a_token_or_refused(header, payload):
    with contextlib.suppress(Refusal):
        jws.verify(jws.peek(token(header, payload)), [KEY.public], typ=("", "at+jwt"))


# --- JWK ---


def test_a_thumbprint_is_as_in_rfc_7638():
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3ok"
        "njhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6"
        "qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awa"
        "pJzKnqDKgw"
    )
    key = jwk.parse({"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"})
    assert key.thumbprint == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    assert key.algorithms == ("RS256",)


EC = dict(KEY.public.jwk)


@pytest.mark.parametrize(
    "key",
    [
        {**EC, "d": "AAAA"},
        {"kty": "oct", "k": "AAAA"},
        {**EC, "use": "enc"},
        {**EC, "key_ops": ["sign"]},
        {**EC, "alg": "HS256"},
        {**EC, "alg": "RS256"},
        {**EC, "crv": "secp256k1"},
        {**EC, "crv": ["P-256"]},
        {**EC, "kty": 5},
        {**EC, "x": EC["y"], "y": EC["y"]},
        {**EC, "x": EC["x"] + "="},
        {**EC, "x": 5},
        {**EC, "kid": 5},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "OKP", "crv": "X25519", "x": ED.public.jwk["x"]},
        {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
        [],
        None,
        {},
    ],
    ids=lambda k: str(k)[:40],
)
def test_a_key_that_is_not_a_plain_public_key_is_refused(key):
    with pytest.raises(BadToken):
        jwk.parse(key)


def test_a_set_ignores_what_it_does_not_know():
    keys = jwk.parse_set({"keys": [EC, {"kty": "new"}, {**EC, "use": "enc"}, 5]})
    assert len(keys) == 1
    for bad in ({}, [], {"keys": 5}, {"keys": [EC] * 101}):
        with pytest.raises(BadToken):
            jwk.parse_set(bad)
    with pytest.raises(BadToken):
        jwk.choose([jwk.parse(EC), jwk.parse(EC)], "")


def test_a_private_key_survives_its_own_bytes_and_has_no_repr():
    for key in (KEY, ED):
        again = signing_key.load(key.der)
        assert again.public.jwk == key.public.jwk
        assert "PRIVATE" not in repr(key) and base64.b64encode(key.der).decode()[:20] not in repr(key)


# --- RFC 9068 ---

AT = rfc9068.AccessToken(
    "https://as", "spiffe://t/agent/a", "https://rs", "a", "j1", KEY.public.thumbprint, NOW, NOW + 600_000, "tsk_1", "x y",
    ({"type": "pay"},), ("c", "b"),
)  # fmt: skip


def parse_at(text, **changes):
    given_ = {"issuer": "https://as", "audience": "https://rs", "keys": [KEY.public], "now": NOW, **changes}
    return rfc9068.parse(text, **given_)


def test_an_access_token_reads_back():
    assert parse_at(rfc9068.encode(AT, signing())) == AT


def claims_of(text):
    return jws.peek(text).claims()


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://as/"},
        {"aud": ["https://rs", "https://other"]},
        {"aud": "https://RS"},
        {"aud": None},
        {"exp": NOW // 1000 - 6},
        {"exp": None},
        {"exp": 1e300},
        {"nbf": NOW // 1000 + 10},
        {"iat": NOW // 1000 + 10},
        {"iat": None},
        {"sub": None},
        {"client_id": None},
        {"jti": None},
        {"jti": "x" * 257},
        {"cnf": "x"},
        {"cnf": {"jkt": 5}},
        {"txn": 5},
        {"authorization_details": {}},
        {"authorization_details": ["x"]},
        {"act": "x"},
        {"act": {"act": {"sub": "x"}}},
    ],
    ids=str,
)
def test_an_access_token_with_one_flaw_is_refused(change):
    claims = {**claims_of(rfc9068.encode(AT, signing())), **change}
    claims = {name: value for name, value in claims.items() if value is not None}
    text = jws.sign(msgspec.json.encode(claims), typ="at+jwt", key=signing())
    with pytest.raises(BadToken):
        parse_at(text)


def test_expiry_has_five_seconds_of_leeway_and_no_more():
    text = rfc9068.encode(AT, signing())
    assert parse_at(text, now=AT.expires_at + 4_999)
    with pytest.raises(BadToken):
        parse_at(text, now=AT.expires_at + 5_000)


def test_a_chain_of_actors_has_an_end():
    act = {"sub": "x"}
    for _ in range(30):
        act = {"sub": "x", "act": act}
    claims = {**claims_of(rfc9068.encode(AT, signing())), "act": act}
    with pytest.raises(BadToken):
        parse_at(jws.sign(msgspec.json.encode(claims), typ="at+jwt", key=signing()))


# --- RFC 9449 ---


def proof(key=KEY, **changes):
    given_ = {"method": "POST", "url": "https://rs/x", "now": NOW, "jti": "1", "access_token": "", **changes}
    return rfc9449.make(signing(key), key.public.jwk, **given_)


def parse_proof(text, **changes):
    return rfc9449.parse(text, **{"method": "POST", "url": "https://rs/x", "now": NOW, **changes})


def test_a_proof_proves_its_key():
    for key in (KEY, ED):
        found = parse_proof(proof(key))
        assert (found.jkt, found.jti) == (key.public.thumbprint, "1")
        assert found.spent_until > NOW + rfc9449.MAX_AGE_MS


@pytest.mark.parametrize("url", ["HTTPS://RS/x", "https://rs:443/x", "https://rs/x?q=1", "https://rs/x#f"])
def test_urls_are_compared_normalised(url):
    assert parse_proof(proof(), url=url)


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        ({}, {"method": "GET"}),
        ({}, {"method": "post"}),
        ({}, {"url": "https://rs/y"}),
        ({}, {"url": "https://rs:444/x"}),
        ({}, {"url": "http://rs/x"}),
        ({}, {"url": "https://rs.evil/x"}),
        ({"url": "https://user@rs/x"}, {}),
        ({"url": "not a url"}, {}),
        ({"url": "https://rs:99999/x"}, {}),
        ({}, {"now": NOW + 66_000}),
        ({"now": NOW + 7_000}, {}),
        ({}, {"access_token": "t"}),
        ({"access_token": "t"}, {}),
        ({"access_token": "t"}, {"access_token": "u"}),
        ({"jti": ""}, {}),
        ({"jti": "x" * 129}, {}),
    ],
    ids=str,
)
def test_a_proof_for_something_else_is_refused(made, wanted):
    with pytest.raises(BadProof):
        parse_proof(proof(**made), **wanted)


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "dpop+jwt", "alg": "ES256"},
        {"typ": "dpop+jwt", "alg": "ES256", "jwk": {**EC, "d": "AA"}},
        {"typ": "dpop+jwt", "alg": "ES256", "jwk": dict(OTHER.public.jwk)},
        {"typ": "JWT", "alg": "ES256", "jwk": EC},
        {"typ": "dpop+jwt", "alg": "none", "jwk": EC},
        {"typ": "dpop+jwt", "alg": "ES256", "jwk": "x"},
    ],
    ids=str,
)
def test_a_proof_with_a_wrong_header_is_refused(header):
    claims = {"jti": "1", "htm": "POST", "htu": "https://rs/x", "iat": NOW // 1000}
    with pytest.raises(BadProof):
        parse_proof(token(header, claims))


def test_ath_is_the_hash_of_the_token():
    assert rfc9449.ath("abc") == base64url.encode(hashlib.sha256(b"abc").digest())


# --- RFC 7523 ---


def assertion(**changes):
    claims = {"iss": "bot", "sub": "bot", "aud": "https://as", "exp": NOW // 1000 + 60, "jti": "1", **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jws.sign(msgspec.json.encode(claims), typ="JWT", key=signing())


def test_an_assertion_proves_its_client():
    found = rfc7523.parse(assertion(), audience="https://as", keys=[KEY.public], now=NOW)
    assert (found.client, found.jti, found.expires_at) == ("bot", "1", NOW + 60_000)


@pytest.mark.parametrize(
    "change",
    [
        {"sub": "other"},
        {"aud": "https://as/oauth/token"},
        {"exp": NOW // 1000 + 301},
        {"exp": 1},
        {"jti": None},
        {"iss": None},
    ],
    ids=str,
)
def test_an_assertion_with_one_flaw_is_refused(change):
    with pytest.raises(BadToken):
        rfc7523.parse(assertion(**change), audience="https://as", keys=[KEY.public], now=NOW)

"""Transaction tokens: vectors named for their flaw, each refused by the server and, offline, by the client."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from remit.domain.errors import BadToken
from remit.domain.transaction import Transaction
from remit.formats import base64url, jwk, jws, rfc9068, signing_key, txn_token
from remit.formats.jws import SigningKey
from remit_client.verify import Key, Unverified, caller, claimed_type, transaction

URL, DOMAIN, NOW = "https://remit.test", "remit.local", 1_800_000_000_000
PRIVATE, FOREIGN = signing_key.generate("ES256"), signing_key.generate("ES256")
KEY = SigningKey(PRIVATE.public.thumbprint, "ES256", PRIVATE.sign)
PUBLIC = jwk.parse({**PRIVATE.public.jwk, "kid": KEY.kid})
BEGUN = Transaction(
    txn="txn_1",
    domain=DOMAIN,
    subject="person:dana",
    actors=("third", "bot"),
    scope=frozenset({"read", "write"}),
    task="tsk_2",
    lease="lse_1",
    purpose="pay",
    issued_at=NOW,
    expires_at=NOW + 60_000,
    assurance=2,
    path=("billing", "ledger"),
    parameters={"customer": "acme"},
    details={"invoice": 17},
    context={"ip": "192.0.2.1"},
)
TEXT = txn_token.encode(BEGUN, URL, KEY)
CLAIMS = jws.peek(TEXT).claims()
CHAIN = CLAIMS["agentic_ctx"]["chain_metadata"]


def at_server(text, now=NOW):
    return txn_token.parse(text, issuer=URL, domain=DOMAIN, keys=[PUBLIC], now=now)


def at_client(text, now=NOW):
    keys = {KEY.kid: Key(PRIVATE.public.jwk)}
    return transaction(text, keys=keys, issuer=URL, domain=DOMAIN, now=now / 1000)


def made(typ=txn_token.TYP, key=KEY, extra=None, **changed):
    claims = {name: value for name, value in {**CLAIMS, **changed}.items() if value is not None}
    return jws.sign(json.dumps(claims).encode(), typ=typ, key=key, extra=extra)


def chain(**changed):
    return {**CLAIMS["agentic_ctx"], "chain_metadata": {**CHAIN, **changed}}


def unsigned(text, header):
    return base64url.encode(json.dumps(header).encode()) + "." + text.split(".")[1] + "."


DEEP: dict = {"sub": "a"}
for _ in range(17):
    DEEP = {"sub": "a", "act": DEEP}
FLAWS = {
    "typ of an access token": made(typ="at+jwt"),
    "typ JWT": made(typ="JWT"),
    "alg none": unsigned(TEXT, {"alg": "none", "typ": txn_token.TYP, "kid": KEY.kid}),
    "alg of another kind": made(key=SigningKey(KEY.kid, "HS256", PRIVATE.sign)),
    "signed by another key": made(key=SigningKey(KEY.kid, "ES256", FOREIGN.sign)),
    "a key that is not there": made(key=SigningKey("other", "ES256", PRIVATE.sign)),
    "critical header": made(extra={"crit": ["x"], "x": 1}),
    "signature cut": TEXT[:-4],
    "claims of one, signature of another": ".".join((*made(sub="x").split(".")[:2], TEXT.split(".")[2])),
    "another issuer": made(iss="https://evil.test"),
    "another trust domain": made(aud="other.domain"),
    "two audiences": made(aud=[DOMAIN, "other.domain"]),
    "no audience": made(aud=None),
    "expired": made(exp=NOW // 1000),
    "no exp": made(exp=None),
    "from the future": made(iat=NOW // 1000 + 60),
    "no txn": made(txn=None),
    "no sub": made(sub=None),
    "no scope": made(scope=None),
    "empty scope": made(scope=""),
    "no act": made(act=None),
    "act that is text": made(act="bot"),
    "act without sub": made(act={"act": {"sub": "bot"}}),
    "act without end": made(act=DEEP),
    "no tctx": made(tctx=None),
    "tctx that is a list": made(tctx=[]),
    "tctx without the task": made(tctx={**CLAIMS["tctx"], "task": ""}),
    "no agentic_ctx": made(agentic_ctx=None),
    "no path": made(agentic_ctx=chain(txn_path=[])),
    "path that is text": made(agentic_ctx=chain(txn_path="billing")),
    "path with a loop": made(agentic_ctx=chain(txn_path=["ledger", "ledger"])),
    "req_wl is not the last of the path": made(req_wl="billing"),
    "no req_wl": made(req_wl=None),
    "assurance that is text": made(agentic_ctx=chain(min_assurance_level="high")),
    "assurance that is true": made(agentic_ctx=chain(min_assurance_level=True)),
}
AT_THE_SERVER = {
    "hops miscounted": made(agentic_ctx=chain(hop_count=1)),
    "path too long": made(req_wl="w16", agentic_ctx=chain(txn_path=[f"w{n}" for n in range(17)], hop_count=17)),
}


def test_it_says_what_was_signed_to_both():
    assert txn_token.is_txn_token(TEXT) and not txn_token.is_txn_token("no.to.ken")
    assert at_server(TEXT) == BEGUN and at_server(TEXT, NOW + 59_999) == BEGUN
    found = at_client(TEXT)
    assert claimed_type(TEXT) == txn_token.TYP
    assert (found.txn, found.subject, found.actors) == ("txn_1", "person:dana", ("third", "bot"))
    assert (found.scope, found.path, found.assurance) == ({"read", "write"}, ("billing", "ledger"), 2)
    assert (found.task, found.purpose, found.parameters) == ("tsk_2", "pay", {"customer": "acme"})
    assert (found.details, found.context) == ({"invoice": 17}, {"ip": "192.0.2.1"})
    plain = replace(BEGUN, details={}, context={})
    text = txn_token.encode(plain, URL, KEY)
    assert at_server(text) == plain and "rctx" not in jws.peek(text).claims()


def test_the_header_and_the_claims_are_those_of_the_draft():
    assert jws.peek(TEXT).header == {"alg": "ES256", "typ": "txntoken+jwt", "kid": KEY.kid}
    assert CLAIMS["act"] == {"sub": "third", "act": {"sub": "bot"}} and CLAIMS["req_wl"] == "ledger"
    assert CHAIN == {"hop_count": 2, "min_assurance_level": 2, "txn_path": ["billing", "ledger"]}
    assert {"iat", "aud", "exp", "txn", "sub", "scope", "req_wl", "tctx", "rctx"} <= CLAIMS.keys()


@pytest.mark.parametrize("flaw", [*FLAWS, *AT_THE_SERVER])
def test_a_flaw_is_refused_at_the_server(flaw):
    with pytest.raises(BadToken):
        at_server({**FLAWS, **AT_THE_SERVER}[flaw])


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_flaw_is_refused_offline(flaw):
    with pytest.raises(Unverified):
        at_client(FLAWS[flaw])


def test_an_expired_one_is_expired_to_the_second():
    for check, error in ((at_server, BadToken), (at_client, Unverified)):
        with pytest.raises(error):
            check(TEXT, NOW + 60_000)


def test_it_never_passes_for_an_access_token_nor_an_access_token_for_it():
    claims = {"client_id": "bot", "jti": "jti_1", "cnf": {"jkt": "x"}}
    text = made(aud=URL, **claims)
    with pytest.raises(BadToken):
        rfc9068.parse(text, issuer=URL, audience=URL, keys=[PUBLIC], now=NOW)
    keys = {KEY.kid: Key(PRIVATE.public.jwk)}
    with pytest.raises(Unverified, match="another type"):
        caller(text, "", keys=keys, issuer=URL, audience=URL, method="GET", url=URL, now=NOW / 1000)
    access = rfc9068.encode(
        rfc9068.AccessToken(URL, "person:dana", DOMAIN, "bot", "jti_1", "", NOW, NOW + 60_000, "tsk_1"), KEY
    )
    with pytest.raises(BadToken):
        at_server(access)
    with pytest.raises(Unverified):
        at_client(access)

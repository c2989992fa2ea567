"""Chains in tokens: what a third party can verify offline, and every flaw in what is handed over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from remit.domain.above import Delegation
from remit.domain.chain import Chain, Hop, Principal, PrincipalKind
from remit.domain.errors import BadToken
from remit.formats import rfc8693, signing_key
from remit.formats.jws import SigningKey
from remit.formats.rfc9068 import AccessToken, encode

URL, RS, NOW = "https://remit.test", "https://rs.example", 1_800_000_000_000
PRIVATE = signing_key.generate("ES256")
KEY = SigningKey(PRIVATE.public.thumbprint, "ES256", PRIVATE.sign)
JWKS = {"keys": [{**PRIVATE.public.jwk, "kid": PRIVATE.public.thumbprint}]}
TOKEN = AccessToken(
    URL, "person:dana", RS, "third", "jti_1", "", NOW, NOW + 60_000, "tsk_3", actor=("third", "other", "bot")
)


def verify(token, now=NOW, **more):
    return rfc8693.verify_chain(encode(token, KEY), JWKS, **{"issuer": URL, "audience": RS, "now": now, **more})


def test_a_third_party_sees_who_acts_for_whom():
    found = verify(TOKEN)
    assert (found.initiator, found.actors, found.task) == ("person:dana", ("third", "other", "bot"), "tsk_3")


def test_what_is_no_chain():
    foreign = signing_key.generate("ES256")
    with pytest.raises(BadToken):
        rfc8693.verify_chain(
            encode(TOKEN, SigningKey(KEY.kid, "ES256", foreign.sign)), JWKS, issuer=URL, audience=RS, now=NOW
        )
    for token in (replace(TOKEN, actor=()), replace(TOKEN, actor=("other", "third")), replace(TOKEN, client="bot")):
        with pytest.raises(BadToken):
            verify(token)
    for more in ({"issuer": RS}, {"audience": URL}, {"now": NOW + 60_000}, {"now": NOW - 60_000}):
        with pytest.raises(BadToken):
            verify(TOKEN, **more)


def test_what_was_verified_is_looked_up_and_expires_all_the_same(monkeypatch):
    verifier = rfc8693.ChainVerifier(rfc8693.parse_set(JWKS), URL, RS)
    text = encode(TOKEN, KEY)
    found = verifier.verify(text, NOW)
    monkeypatch.setattr(rfc8693, "parse", None)
    assert verifier.verify(text, NOW + 59_999) is found
    with pytest.raises(BadToken):
        verifier.verify(text, NOW + 60_000)


def test_a_verifier_remembers_so_many_and_no_more(monkeypatch):
    monkeypatch.setattr(rfc8693, "REMEMBERED", 2)
    verifier = rfc8693.ChainVerifier(rfc8693.parse_set(JWKS), URL, RS)
    for i in range(4):
        verifier.verify(encode(replace(TOKEN, jti=f"jti_{i}"), KEY), NOW)
    assert len(verifier._known) == 2


HANDED = Delegation("tsk_1", "tsk_2", "other", "dig", "dig", {"customer": "acme"}, 1000, 3, NOW + 60_000)
CHAIN = Chain(Principal(PrincipalKind.PERSON, "dana"), (Hop("bot", "tsk_1"),))


def read(token, now=NOW):
    keys = rfc8693.parse_set(JWKS)
    return rfc8693.parse_delegation(encode(token, KEY), issuer=URL, keys=keys, now=now)


def test_what_is_handed_over_is_read_back_as_it_was():
    token = rfc8693.delegation_token(HANDED, CHAIN, URL, NOW)
    assert read(token) == HANDED and token.jkt == ""
    text = encode(token, KEY)
    assert rfc8693.is_delegation(text, URL) and not rfc8693.is_delegation(encode(TOKEN, KEY), URL)
    assert not rfc8693.is_delegation("nonsense", URL)


def test_a_token_of_ours_that_hands_nothing_over():
    token = rfc8693.delegation_token(HANDED, CHAIN, URL, NOW)
    (details,) = token.details
    flawed = [
        replace(token, details=()),
        replace(token, task=""),
        replace(token, audience=URL),
        replace(token, details=({**details, "type": 5},)),
        replace(token, details=({name: v for name, v in details.items() if name != "goal"},)),
        replace(token, details=({**details, "parameters": ["acme"]},)),
        replace(token, details=({**details, "parameters": {"customer": 5}},)),
        replace(token, details=({**details, "max_calls": "3"},)),
        replace(token, details=({**details, "duration_ms": 0},)),
        TOKEN,
    ]
    for one in flawed:
        with pytest.raises(BadToken):
            read(one)

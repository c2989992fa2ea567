"""Security Event Tokens, signed by somebody else's library; and those that are none, each by its flaw."""

from __future__ import annotations

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from remit.domain.errors import BadSignal
from remit.domain.signal import CAEP, SecurityEvent
from remit.formats import jwk, jws, rfc8417, signing_key

NOW = 1_800_000_000_000
ISSUER, US = "https://idp.example", "https://remit.test/signals/idp"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
WHO = {"format": "iss_sub", "iss": ISSUER, "sub": "00u1"}
KIND = CAEP + "session-revoked"
CLAIMS = {"iss": ISSUER, "aud": US, "iat": NOW // 1000, "jti": "j1", "sub_id": WHO, "events": {KIND: {}}}


def public(key, kid, algorithm):
    return jwk.parse({**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid})


KEYS = (
    public(KEY, "k1", jwt.algorithms.RSAAlgorithm),
    public(CURVE, "k2", jwt.algorithms.ECAlgorithm),
)


def text(key=KEY, kid="k1", alg="RS256", typ="secevent+jwt", drop=(), header=(), **claims):
    payload = {name: value for name, value in {**CLAIMS, **claims}.items() if name not in drop}
    return jwt.encode(payload, key, alg, {"kid": kid, "typ": typ, **dict(header)})


def read(token, now=NOW):
    return rfc8417.parse(token, issuer=ISSUER, audience=US, keys=KEYS, now=now)


def test_an_event_of_each_kind_of_key():
    said = SecurityEvent("j1", NOW, KIND, WHO, {})
    assert read(text()) == said == read(text(CURVE, "k2", "ES256")) == read(text(alg="PS256"))
    assert read(text(aud=[US, "https://other.example"])) == said
    assert read(text(typ="application/secevent+jwt")) == said
    assert read(text(iat=NOW // 1000 + 50)).issued_at == NOW + 50_000
    assert read(text(iat=1)).issued_at == 1000  # it may come as late as it likes


BAD = {
    "another typ": ("invalid_request", text(typ="JWT")),
    "an access token's typ": ("invalid_request", text(typ="at+jwt")),
    "no typ": ("invalid_request", text(typ=None)),
    "another key": ("invalid_key", text(OTHER)),
    "no such kid": ("invalid_key", text(kid="k9")),
    "a key of the other kind": ("invalid_key", text(CURVE, "k1", "ES256")),
    "signed with the public key": ("invalid_key", text("s" * 64, alg="HS256")),
    "not signed": ("invalid_request", text(None, alg="none")),
    "critical header": ("invalid_request", text(header={"crit": ["x"], "x": 1})),
    "key in the header": ("invalid_request", text(header={"jwk": {"kty": "RSA"}})),
    "edited": ("invalid_key", text()[:-4] + "AAAA"),
    "another issuer": ("invalid_issuer", text(iss=ISSUER + "/")),
    "no issuer": ("invalid_issuer", text(drop=("iss",))),
    "another audience": ("invalid_audience", text(aud="https://remit.test/signals/other")),
    "no audience": ("invalid_audience", text(drop=("aud",))),
    "an audience that contains it": ("invalid_audience", text(aud=US + "/")),
    "audiences without end": ("invalid_audience", text(aud=[US] + [f"https://x{n}.example" for n in range(100)])),
    "an audience that is no text": ("invalid_audience", text(aud=[US, 7])),
    "sub": ("invalid_request", text(sub="00u1")),
    "exp": ("invalid_request", text(exp=NOW // 1000 + 600)),
    "two events": ("invalid_request", text(events={KIND: {}, CAEP + "credential-change": {}})),
    "no event": ("invalid_request", text(events={})),
    "events as a list": ("invalid_request", text(events=[KIND])),
    "an event that is no object": ("invalid_request", text(events={KIND: "x"})),
    "a kind without end": ("invalid_request", text(events={"k" * 513: {}})),
    "no sub_id": ("invalid_request", text(drop=("sub_id",))),
    "a sub_id that is no object": ("invalid_request", text(sub_id="00u1")),
    "no iat": ("invalid_request", text(drop=("iat",))),
    "iat in the future": ("invalid_request", text(iat=NOW // 1000 + 61)),
    "no jti": ("invalid_request", text(drop=("jti",))),
    "a jti without end": ("invalid_request", text(jti="j" * 257)),
    "a jti of two lines": ("invalid_request", text(jti="a\nb")),
    "too long": ("invalid_request", text(events={KIND: {"x": "y" * 17_000}})),
    "nothing": ("invalid_request", ""),
    "two parts": ("invalid_request", text().rpartition(".")[0]),
    "bad padding": ("invalid_request", text() + "="),
}


@pytest.mark.parametrize("flaw", BAD)
def test_what_is_no_event(flaw):
    err, token = BAD[flaw]
    with pytest.raises(BadSignal) as refused:
        read(token)
    assert refused.value.err == err


def test_another_library_reads_ours():
    key = signing_key.generate("ES256")
    said = SecurityEvent("j2", NOW, KIND, {"format": "opaque", "id": "t1"}, {"event_timestamp": 1})
    mine = rfc8417.encode(said, issuer=ISSUER, audience=US, txn="e1", key=jws.SigningKey("k", "ES256", key.sign))
    claims = jwt.decode(
        mine,
        jwt.PyJWK({**key.public.jwk, "alg": "ES256"}),
        ["ES256"],
        audience=US,
        issuer=ISSUER,
        options={"verify_iat": False},
    )
    assert claims["events"] == {KIND: {"event_timestamp": 1}} and claims["txn"] == "e1"
    assert jwt.get_unverified_header(mine)["typ"] == "secevent+jwt" and not {"sub", "exp"} & claims.keys()
    assert (
        rfc8417.parse(mine, issuer=ISSUER, audience=US, keys=(jwk.parse({**key.public.jwk, "kid": "k"}),), now=NOW)
        == said
    )

"""SPIFFE documents: what must be accepted, and every flaw by its name."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from remit.domain.errors import BadToken, Refusal
from remit.domain.identity import SpiffeId
from remit.formats import jwk, jws, signing_key, spiffe, x509_svid
from remit.formats.jws import SigningKey

NOW = 1_800_000_000_000
DOMAIN = "example.org"
KEY = signing_key.generate("ES256")
BUNDLE = spiffe.TrustBundle(DOMAIN, (KEY.public,))
GOOD = {"sub": "spiffe://example.org/a", "aud": "me", "exp": NOW // 1000 + 60, "iat": NOW // 1000}


def signed(claims=GOOD, key=KEY, header=None, typ="JWT", alg="ES256"):
    held = SigningKey(key.public.kid, alg, key.sign)
    return jws.sign(json.dumps(claims).encode(), typ=typ, key=held, extra=header)


def read(token, audience="me", bundle=BUNDLE, **more):
    return spiffe.parse_jwt_svid(token, bundle=bundle, audience=audience, now=NOW, **more)


def test_a_good_token_is_read():
    svid = read(signed())
    assert str(svid.id) == GOOD["sub"] and svid.issued_at == NOW and svid.expires_at == NOW + 60_000
    assert read(signed({**GOOD, "aud": ["me", "you"]}), alone=False).id == svid.id
    assert read(signed(typ="JOSE")).id == svid.id


OTHER = signing_key.generate("ES256")


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(lambda: signed(header={"x": 1}), id="an extra header"),
        pytest.param(lambda: signed(header={"cty": "JWT"}), id="cty"),
        pytest.param(lambda: signed(typ="at+jwt"), id="typ of another kind"),
        pytest.param(lambda: signed({k: v for k, v in GOOD.items() if k != "exp"}), id="no exp"),
        pytest.param(lambda: signed({k: v for k, v in GOOD.items() if k != "aud"}), id="no aud"),
        pytest.param(lambda: signed({k: v for k, v in GOOD.items() if k != "sub"}), id="no sub"),
        pytest.param(lambda: signed({**GOOD, "exp": NOW // 1000 - 60}), id="expired"),
        pytest.param(lambda: signed({**GOOD, "nbf": NOW // 1000 + 60}), id="not yet"),
        pytest.param(lambda: signed({**GOOD, "aud": ["me", "you"]}), id="two audiences"),
        pytest.param(lambda: signed({**GOOD, "aud": "you"}), id="another's audience"),
        pytest.param(lambda: signed({**GOOD, "sub": "spiffe://example.org"}), id="a trust domain"),
        pytest.param(lambda: signed({**GOOD, "sub": "spiffe://other.org/a"}), id="another domain"),
        pytest.param(lambda: signed({**GOOD, "sub": "spiffe://example.org/a/../b"}), id="dots"),
        pytest.param(lambda: signed({**GOOD, "sub": "spiffe://example.org/a/"}), id="a trailing slash"),
        pytest.param(lambda: signed({**GOOD, "sub": "spiffe://example.org/%61"}), id="percent-encoding"),
        pytest.param(lambda: signed({**GOOD, "sub": "https://example.org/a"}), id="another scheme"),
        pytest.param(lambda: signed(key=OTHER), id="another key"),
        pytest.param(lambda: signed(alg="HS256"), id="HS256"),
        pytest.param(lambda: signed(alg="none"), id="none"),
        pytest.param(lambda: signed(alg="EdDSA"), id="EdDSA"),
        pytest.param(lambda: no_kid(), id="no kid"),
        pytest.param(lambda: signed() + "A", id="a longer signature"),
    ],
)
def test_a_flawed_token_is_refused(token):
    with pytest.raises(BadToken):
        read(token())


def no_kid():
    return jws.sign(json.dumps(GOOD).encode(), typ="JWT", key=SigningKey("", "ES256", KEY.sign))


def bundle_of(*keys, **more):
    return json.dumps({"keys": list(keys), **more}).encode()


def test_a_bundle_goes_out_and_comes_in_again():
    held = signing_key.HeldKey(KEY.public, KEY.sign)
    authority = x509_svid.authority(DOMAIN, held, NOW, NOW + 86_400_000)
    assert authority == x509_svid.authority(DOMAIN, held, NOW, NOW + 86_400_000)  # at every replica
    whole = spiffe.TrustBundle(DOMAIN, (KEY.public,), (authority,), 7, 60)
    written = spiffe.encode_bundle(whole)
    assert [("kid" in key, key["use"]) for key in written["keys"]] == [(False, "x509-svid"), (True, "jwt-svid")]
    again = spiffe.parse_bundle(DOMAIN, json.dumps(written).encode())
    assert (again.authorities, again.sequence, again.refresh_hint) == ((authority,), 7, 60)
    assert [key.kid for key in again.jwt_keys] == [KEY.public.kid]


def test_what_a_bundle_says_that_is_not_known_is_ignored():
    good = {**KEY.public.jwk, "kid": "k", "use": "jwt-svid"}
    ignored = [
        {**good, "use": "wit-svid"},
        {**good, "use": "sig"},
        {name: value for name, value in good.items() if name != "use"},
        {name: value for name, value in good.items() if name != "kid"},
        {**good, "kty": "future"},
        {**good, "d": "x"},
        {"use": "x509-svid"},
        {"use": "x509-svid", "x5c": []},
        {"use": "x509-svid", "x5c": ["%%"]},
        {"use": "x509-svid", "x5c": [base64.b64encode(b"no certificate").decode()]},
        "text",
        None,
    ]
    found = spiffe.parse_bundle(DOMAIN, bundle_of(good, *ignored))
    assert (len(found.jwt_keys), found.authorities, found.refresh_hint) == (1, (), 300)
    empty = spiffe.parse_bundle(DOMAIN, bundle_of(spiffe_refresh_hint=10**9, spiffe_sequence="x"))
    assert (empty.jwt_keys, empty.refresh_hint, empty.sequence) == ((), 86_400, 0)
    with pytest.raises(BadToken):
        read(signed(), bundle=empty)


@pytest.mark.parametrize(
    "text", [b"[]", b"{}", b'{"keys": {}}', b"x", bundle_of(*[{}] * 101), b"\xff", b'{"keys":[],"keys":[]}']
)
def test_what_is_no_bundle_is_refused(text):
    with pytest.raises(Refusal):
        spiffe.parse_bundle(DOMAIN, text)


# --- X.509 ---


class Authority:
    """A CA made by hand, so that leaves can have flaws that ours never have."""

    def __init__(self, key=None, **more):
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.der = self.make("ca", self.key.public_key(), ca=True, issuer=None, uris=["spiffe://example.org"], **more)
        self.certificate = x509.load_der_x509_certificate(self.der)

    def make(self, name, public, *, ca=False, issuer=True, uris=("spiffe://example.org/a",), usage=None, eku=None,
             begins=-60, ends=3600, critical=True, signer=None):  # fmt: skip
        at = datetime.fromtimestamp(NOW // 1000, UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer = signer or self.key
        bits = dict.fromkeys(
            ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False)  # fmt: skip
        bits |= {"key_cert_sign": True} if ca else {"digital_signature": True}
        bits |= usage or {}
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.certificate.subject if issuer else subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(at + timedelta(seconds=begins))
            .not_valid_after(at + timedelta(seconds=ends))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if usage != {}:
            builder = builder.add_extension(x509.KeyUsage(**bits), critical=critical)
        if uris:
            names = [x509.UniformResourceIdentifier(uri) for uri in uris]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if eku:
            builder = builder.add_extension(x509.ExtendedKeyUsage(eku), critical=False)
        return builder.sign(signer, SHA256()).public_bytes(Encoding.DER)

    def leaf(self, **more):
        return self.make("leaf", ec.generate_private_key(ec.SECP256R1()).public_key(), **more)


CA = Authority()


def verify(*chain, authorities=(CA.der,), domain=DOMAIN, now=NOW):
    return x509_svid.parse(chain, trust_domain=domain, authorities=authorities, now=now)


def test_good_leaves_are_read():
    assert str(verify(CA.leaf()).id) == "spiffe://example.org/a"
    assert (
        verify(CA.leaf(eku=[ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])).of == x509_svid.Proof()
    )
    key = ec.generate_private_key(ec.SECP256R1())
    between = CA.make("between", key.public_key(), ca=True, uris=["spiffe://example.org"])
    below = Authority(key)
    below.certificate = x509.load_der_x509_certificate(between)
    assert verify(below.leaf(), between).id.path == "/a"
    other = Authority(rsa.generate_private_key(65537, 2048))
    assert verify(other.leaf(), authorities=(CA.der, other.der)).jwk["kty"] == "EC"
    assert verify(CA.make("rsa", rsa.generate_private_key(65537, 2048).public_key())).jwk["kty"] == "RSA"


STRANGER = Authority()


@pytest.mark.parametrize(
    "chain",
    [
        pytest.param(list, id="no chain"),
        pytest.param(lambda: [CA.leaf()] * 5, id="too long a chain"),
        pytest.param(lambda: [b"x"], id="no certificate"),
        pytest.param(lambda: [b"\x30" * 20_000], id="too long"),
        pytest.param(lambda: [CA.der], id="the CA itself"),
        pytest.param(lambda: [CA.leaf(ca=True)], id="a CA as a leaf"),
        pytest.param(lambda: [CA.leaf(uris=[])], id="no URI"),
        pytest.param(lambda: [CA.leaf(uris=["spiffe://example.org/a", "spiffe://example.org/b"])], id="two URIs"),
        pytest.param(lambda: [CA.leaf(uris=["spiffe://example.org/a", "https://x/"])], id="another URI beside it"),
        pytest.param(lambda: [CA.leaf(uris=["spiffe://example.org"])], id="a trust domain"),
        pytest.param(lambda: [CA.leaf(uris=["spiffe://other.org/a"])], id="another domain"),
        pytest.param(lambda: [CA.leaf(uris=["https://example.org/a"])], id="another scheme"),
        pytest.param(lambda: [CA.leaf(usage={"digital_signature": False})], id="no digitalSignature"),
        pytest.param(lambda: [CA.leaf(usage={"key_cert_sign": True})], id="keyCertSign"),
        pytest.param(lambda: [CA.leaf(usage={"crl_sign": True})], id="cRLSign"),
        pytest.param(lambda: [CA.leaf(usage={})], id="no key usage"),
        pytest.param(lambda: [CA.leaf(critical=False)], id="key usage not critical"),
        pytest.param(lambda: [CA.leaf(eku=[ExtendedKeyUsageOID.SERVER_AUTH])], id="for servers only"),
        pytest.param(lambda: [CA.leaf(ends=-1)], id="expired"),
        pytest.param(lambda: [CA.leaf(begins=60)], id="not yet"),
        pytest.param(lambda: [STRANGER.leaf()], id="a stranger's CA"),
        pytest.param(lambda: [STRANGER.leaf(), STRANGER.der], id="a stranger's CA in the chain"),
        pytest.param(lambda: [CA.leaf(signer=STRANGER.key)], id="signed by a stranger in our CA's name"),
        pytest.param(lambda: [below_a_leaf()], id="issued by a leaf"),
        pytest.param(lambda: below_a_leaf_whole(), id="issued by a leaf, which is there"),
        pytest.param(lambda: [CA.make("ed", ed25519.Ed25519PrivateKey.generate().public_key())[:-1]], id="cut off"),
    ],
)
def test_a_flawed_certificate_is_refused(chain):
    with pytest.raises(BadToken):
        verify(*chain())


def below_a_leaf_whole():
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = CA.make("leaf", key.public_key())
    forger = Authority(key)
    forger.certificate = x509.load_der_x509_certificate(leaf)
    return [forger.leaf(), leaf]


def below_a_leaf():
    return below_a_leaf_whole()[0]


def test_bundles_are_never_mixed_and_an_empty_one_revokes():
    for more in ({"authorities": ()}, {"authorities": (STRANGER.der,)}, {"domain": "other.org"}):
        with pytest.raises(BadToken):
            verify(CA.leaf(), **more)


def test_our_own_leaves_pass_and_carry_their_proof():
    held = signing_key.HeldKey(KEY.public, KEY.sign)
    authority = x509_svid.authority(DOMAIN, held, NOW, NOW + 86_400_000)
    pair = x509_svid.generate()
    proof = x509_svid.Proof("r" * 16, "c" * 64)
    made = x509_svid.leaf(SpiffeId(DOMAIN, "/a"), pair.public, authority, held, NOW + 10**10, NOW, proof)
    read_again = verify(made, authorities=(authority,))
    assert read_again.of == proof and read_again.expires_at == NOW + 86_400_000  # never longer than its authority
    assert read_again.serial == x509_svid.serial_of(made) and "pair" in repr(pair) and "MI" not in repr(pair)
    certificate = x509.load_der_x509_certificate(made)
    certificate.verify_directly_issued_by(x509.load_der_x509_certificate(authority))
    for unused in (held.exchange, held.private_numbers, held.private_bytes):
        with pytest.raises(NotImplementedError):
            unused()
    assert held.curve.name == "secp256r1" and held.key_size == 256
    assert jwk.parse(x509_svid.public_jwk(authority)).thumbprint == KEY.public.thumbprint


@given(st.binary(max_size=600))
def test_no_bytes_crash_a_parser(data):
    for parse in (
        lambda: verify(data),
        lambda: spiffe.parse_bundle(DOMAIN, data),
        lambda: read(data.decode("latin-1")),
        lambda: spiffe.claimed_id(data.decode("latin-1")),
        lambda: x509_svid.check_authority(data),
    ):
        with pytest.raises(Refusal):
            parse()


@given(st.integers(0, 600), st.integers(1, 255))
def test_no_changed_byte_of_a_leaf_is_accepted(position, change):
    changed = bytearray(LEAF)
    changed[position % len(LEAF)] ^= change
    with pytest.raises(BadToken):
        verify(bytes(changed))


LEAF = CA.leaf()

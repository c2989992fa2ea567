"""Status lists by the draft's own vectors, and as somebody else's library reads them."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from token_status_list import BitArray

from remit.formats import base64url, jwk, jws, rfc9068, signing_key
from remit.formats import token_status_list as tsl

VECTORS = json.loads(Path(__file__).with_name("token_status_list.json").read_text())


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['bits']} bits of {v['size']}")
def test_the_drafts_vectors(vector):
    statuses = {int(index): status for index, status in vector["statuses"].items()}
    mine = zlib.decompress(tsl.packed(statuses, vector["size"], bits=vector["bits"]))
    assert mine == zlib.decompress(base64url.decode(vector["lst"]))


@given(st.dictionaries(st.integers(0, 63), st.integers(0, 1)), st.integers(0, 1))
def test_another_library_reads_what_was_packed(statuses, others):
    text = base64url.encode(tsl.packed(statuses, 64, others=others))
    read = BitArray.from_b64(1, text)
    assert [int(read[i]) for i in range(len(read))] == [statuses.get(i, others) for i in range(64)]


def test_a_list_is_no_token_and_a_token_no_list():
    key = signing_key.generate("ES256")
    signer = jws.SigningKey("k", "ES256", key.sign)
    uri = tsl.address("https://remit.test", 7)
    text = tsl.encode(uri, tsl.packed({3: tsl.VALID}, 2**20, others=tsl.INVALID), 1_000_000, signer)
    keys = (jwk.parse({**key.public.jwk, "kid": "k"}),)
    claims = jws.verify(jws.peek(text), keys, typ=("statuslist+jwt",))
    assert claims == {
        "sub": uri,
        "iat": 1000,
        "exp": 1060,
        "ttl": 15,
        "status_list": {"bits": 1, "lst": claims["status_list"]["lst"]},
    }
    assert len(text) < 1000  # of a million tokens that do not stand
    with pytest.raises(jws.BadToken):
        rfc9068.parse(text, issuer="https://remit.test", audience=uri, keys=keys, now=1_000_000)
    token = rfc9068.AccessToken("https://remit.test", "s", "a", "c", "j", "", 0, 9_000_000, status="7/3")
    signed = rfc9068.encode(token, signer)
    assert jws.peek(signed).claims()["status"] == {"status_list": {"idx": 3, "uri": uri}}
    with pytest.raises(jws.BadToken):
        jws.verify(jws.peek(signed), keys, typ=("statuslist+jwt",))

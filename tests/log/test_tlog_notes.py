"""Signed notes, checkpoints and receipts: a published vector, then every way to spoil one."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from remit.domain.errors import ProofInvalid
from remit.formats import tlog
from remit.log import merkle, tiles

# From the documentation of Go's golang.org/x/mod/sumdb/note.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETERS_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(32))
KEY = tlog.NoteKey("example.org/log", PRIVATE.public_key().public_bytes_raw())
LEAVES = [merkle.leaf_hash(bytes([i])) for i in range(5)]
CHECKPOINT = tlog.Checkpoint("example.org/log", 5, merkle.root_of(LEAVES))
NOTE = tlog.sign_checkpoint(CHECKPOINT, KEY, PRIVATE.sign)


def test_a_published_note_verifies():
    key = tlog.NoteKey.parse(PETER)
    assert str(key) == PETER
    assert tlog.open_note(PETERS_NOTE, [key]).startswith("If you think")


def test_a_checkpoint_reads_back():
    assert tlog.parse_checkpoint(NOTE, [KEY], origin="example.org/log") == CHECKPOINT
    other = Ed25519PrivateKey.from_private_bytes(b"1" * 32)
    cosigner = tlog.NoteKey("witness", other.public_key().public_bytes_raw())
    two = NOTE + tlog.sign_note(CHECKPOINT.body(), cosigner, other.sign).rpartition("\n\n")[2]
    assert tlog.parse_checkpoint(two, [KEY]) == tlog.parse_checkpoint(two, [cosigner]) == CHECKPOINT


BODY, _, SIGNATURE = NOTE.rpartition("\n\n")


@pytest.mark.parametrize(
    "note",
    [
        NOTE.replace("\n5\n", "\n6\n"),
        NOTE.replace("\n", "\r\n"),
        NOTE[:-1],
        BODY + "\n",
        BODY + "\n\n",
        NOTE.replace("example.org/log", "example.org/other"),
        NOTE.replace("— ", "- "),
        NOTE.replace("=\n", "\n"),
        NOTE + "junk\n",
        "",
        NOTE * 200,
    ],
)
def test_a_spoiled_checkpoint_is_refused(note):
    with pytest.raises(ProofInvalid):
        tlog.parse_checkpoint(note, [KEY])


@pytest.mark.parametrize(
    "body",
    [
        "example.org/log\n05\n" + BODY.split("\n")[2] + "\n",
        "example.org/log\n-1\n" + BODY.split("\n")[2] + "\n",
        "example.org/log\n5\nAAAA\n",
        "\n5\n" + BODY.split("\n")[2] + "\n",
        "example.org/log\n5\n",
    ],
)
def test_what_is_well_signed_must_still_be_a_checkpoint(body):
    with pytest.raises(ProofInvalid):
        tlog.parse_checkpoint(tlog.sign_note(body, KEY, PRIVATE.sign), [KEY])


def test_an_unknown_key_and_another_log_are_refused():
    with pytest.raises(ProofInvalid, match="no known key"):
        tlog.parse_checkpoint(NOTE, [])
    with pytest.raises(ProofInvalid, match="not of"):
        tlog.parse_checkpoint(NOTE, [KEY], origin="elsewhere")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a+b",
        "a b+00000000+AQ==",
        PETER.replace("c74f", "c74e"),
        PETER.replace("ARpc", "AhpC"),
        PETER[:-4],
    ],
)
def test_a_spoiled_verifier_key_is_refused(text):
    with pytest.raises(ProofInvalid):
        tlog.NoteKey.parse(text)


def proves(receipt, leaf):
    claim = tlog.parse_proof(receipt, [KEY], origin="example.org/log")
    merkle.verify_inclusion(leaf, claim.index, claim.checkpoint.size, claim.path, claim.checkpoint.root)
    return claim.index


def test_a_receipt_proves_one_entry():
    stored = tiles.extend(0, LEAVES, lambda level, i: b"").tiles
    read = lambda level, i: stored[(level, i)]  # noqa: E731
    for index, leaf in enumerate(LEAVES):
        receipt = tlog.write_proof(index, tiles.inclusion_proof(index, 5, read), NOTE)
        assert proves(receipt, leaf) == index
        with pytest.raises(ProofInvalid):
            proves(receipt, LEAVES[index - 1])
        spoiled = [("index", "at"), ("@v1", "@v2"), ("\n\n", "\n")]
        for text in [*(receipt.replace(a, b, 1) for a, b in spoiled), receipt * 99]:
            with pytest.raises(ProofInvalid):
                proves(text, leaf)


def test_a_log_of_one_has_an_empty_path():
    one = tlog.Checkpoint("example.org/log", 1, LEAVES[0])
    receipt = tlog.write_proof(0, [], tlog.sign_checkpoint(one, KEY, PRIVATE.sign))
    assert proves(receipt, LEAVES[0]) == 0


@given(st.text(max_size=200))
def test_any_text_is_refused_and_nothing_worse(text):
    for call in (
        lambda: tlog.parse_checkpoint(text, [KEY]),
        lambda: tlog.parse_proof(text, [KEY]),
        lambda: tlog.NoteKey.parse(text),
    ):
        with pytest.raises(ProofInvalid):
            call()

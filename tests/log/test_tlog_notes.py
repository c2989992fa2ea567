"""Signed notes and checkpoints: published vectors, then every way to spoil one."""

import base64
import contextlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from remit.domain.errors import ProofInvalid
from remit.formats import tlog
from remit.log import merkle

# From the documentation of Go's golang.org/x/mod/sumdb/note.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETERS_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
# From the signed-note specification.
EXAMPLE = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLES_NOTE = (
    "This is an example message.\n\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(32))
KEY = tlog.NoteKey("example.org/log", PRIVATE.public_key().public_bytes_raw())
LEAVES = [merkle.leaf_hash(bytes([i])) for i in range(5)]
CHECKPOINT = tlog.Checkpoint("example.org/log", 5, merkle.root_of(LEAVES))
NOTE = tlog.sign_checkpoint(CHECKPOINT, [(KEY, PRIVATE.sign)])


@pytest.mark.parametrize(("vkey", "note"), [(PETER, PETERS_NOTE), (EXAMPLE, EXAMPLES_NOTE)])
def test_a_published_note_verifies(vkey, note):
    key = tlog.NoteKey.parse(vkey)
    assert str(key) == vkey
    text = note.rpartition("\n\n")[0] + "\n"
    assert tlog.open_note(note, [key]) == tlog.open_note(note.encode(), [key]) == text
    with pytest.raises(ProofInvalid):
        tlog.open_note("X" + note[1:], [key])


def test_a_checkpoint_reads_back():
    assert tlog.parse_checkpoint(NOTE, [KEY], origin="example.org/log") == CHECKPOINT
    other = Ed25519PrivateKey.from_private_bytes(b"1" * 32)
    cosigner = tlog.NoteKey("witness", other.public_key().public_bytes_raw())
    two = NOTE + tlog.sign_note(CHECKPOINT.body(), [(cosigner, other.sign)]).rpartition("\n\n")[2]
    assert tlog.parse_checkpoint(two, [KEY]) == tlog.parse_checkpoint(two, [cosigner]) == CHECKPOINT


BODY, _, SIGNATURE = NOTE.rpartition("\n\n")
OTHER = Ed25519PrivateKey.from_private_bytes(b"1" * 32)


def line(name, raw):
    return f"— {name} {base64.b64encode(raw).decode()}\n"


def raw_signed(text):
    """A note with a good signature over a text that `sign_note` would not sign."""
    return text + "\n" + line(KEY.name, KEY.key_id + PRIVATE.sign(text.encode()))


# The same 68 bytes, with the two bits set that base64 leaves unused before one "=".
SPARE_BITS = NOTE[:-3] + chr(ord(NOTE[-3]) + 1) + "=\n"


def test_one_bad_signature_of_a_known_key_spoils_a_note_that_others_signed_well():
    witness = tlog.NoteKey("witness", OTHER.public_key().public_bytes_raw())
    note = NOTE + line("witness", witness.key_id + bytes(64))
    assert tlog.parse_checkpoint(note, [KEY]) == CHECKPOINT
    with pytest.raises(ProofInvalid, match="witness is not good"):
        tlog.parse_checkpoint(note, [KEY, witness])


def test_sharing_only_a_name_or_only_an_id_with_a_known_key_is_being_unknown():
    note = NOTE + line(KEY.name, b"abcd" + bytes(64)) + line("other", KEY.key_id + bytes(64))
    assert tlog.parse_checkpoint(note, [KEY]) == CHECKPOINT


def test_sixteen_post_quantum_cosignatures_fit_and_a_hundred_and_one_signatures_do_not():
    assert tlog.parse_checkpoint(NOTE + line("w", bytes(4 + 4_900)) * 16, [KEY]) == CHECKPOINT
    assert tlog.parse_checkpoint(NOTE + line("w", bytes(5)) * 99, [KEY]) == CHECKPOINT
    with pytest.raises(ProofInvalid):
        tlog.parse_checkpoint(NOTE + line("w", bytes(5)) * 100, [KEY])
    with pytest.raises(ProofInvalid, match="over"):
        tlog.parse_checkpoint(NOTE + line("w", bytes(tlog.NOTE_LIMIT)), [KEY])


def test_no_text_without_an_encoding_gets_past_the_reader():
    forged = "\ud800\n\n" + line(KEY.name, KEY.key_id + bytes(64))
    for note in (forged, NOTE.encode() + b"\xff"):
        with pytest.raises(ProofInvalid, match="UTF-8"):
            tlog.parse_checkpoint(note, [KEY])
        with pytest.raises(ProofInvalid, match="UTF-8"):
            tlog.parse_proof(note, [KEY])
    with pytest.raises(ProofInvalid):
        tlog.NoteKey.parse("\ud800" + PETER[12:])


@pytest.mark.parametrize(
    "fields",
    [
        {"origin": ""},
        {"origin": "example.org/log\n9"},
        {"origin": "a\rb"},
        {"origin": "\ud800"},
        {"size": -1},
        {"size": 2**63},
        {"root": bytes(31)},
        {"extensions": ("",)},
        {"extensions": ("a\n\n— b",)},
    ],
)
def test_a_checkpoint_that_would_not_read_back_cannot_be_made(fields):
    with pytest.raises(ProofInvalid):
        tlog.Checkpoint(**{"origin": "o", "size": 1, "root": bytes(32), **fields})


@pytest.mark.parametrize(("name", "public"), [("", 32), ("a b", 32), ("a+b", 32), ("a\n", 32), ("a", 31)])
def test_a_key_that_would_not_read_back_cannot_be_made(name, public):
    with pytest.raises(ProofInvalid):
        tlog.NoteKey(name, bytes(public))


@pytest.mark.parametrize("text", ["", "no newline", "a\tb\n", "\ud800\n"])
def test_only_text_that_reads_back_is_signed(text):
    with pytest.raises(ProofInvalid):
        tlog.sign_note(text, [(KEY, PRIVATE.sign)])


lines = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=20)


@given(lines, st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32), st.lists(lines, max_size=3))
def test_every_checkpoint_reads_back(origin, size, root, extensions):
    made = tlog.Checkpoint(origin, size, root, tuple(extensions))
    note = tlog.sign_checkpoint(made, [(KEY, PRIVATE.sign)])
    assert tlog.parse_checkpoint(note, [KEY]) == tlog.parse_checkpoint(note.encode(), [KEY]) == made


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
        NOTE + line("a+b", bytes(68)),
        NOTE + line("", bytes(68)),
        NOTE + line("w", bytes(4)),
        (NOTE + line("w", bytes(68)))[:-1],
        SPARE_BITS,
        raw_signed(BODY + "\na\tb\n"),
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
        f"example.org/log\n{2**63}\n" + BODY.split("\n")[2] + "\n",
        BODY + "\n\nafter an empty line\n",
    ],
)
def test_what_is_well_signed_must_still_be_a_checkpoint(body):
    with pytest.raises(ProofInvalid):
        tlog.parse_checkpoint(tlog.sign_note(body, [(KEY, PRIVATE.sign)]), [KEY])


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
        PETER + " " * 300,
        str(KEY).replace("+AT", "+Aj"),
    ],
)
def test_a_spoiled_verifier_key_is_refused(text):
    with pytest.raises(ProofInvalid):
        tlog.NoteKey.parse(text)


RECEIPT = tlog.write_proof(0, [bytes(32)] * 3, NOTE, b"extra")


@given(
    st.sampled_from([NOTE, RECEIPT, str(KEY)]),
    st.integers(0, 400),
    st.integers(0, 8),
    st.text(st.characters(exclude_categories=[]) | st.sampled_from("\n— +=0"), max_size=8),
)
def test_a_spliced_text_says_the_same_or_is_refused(text, at, cut, put):
    spliced = text[:at] + put + text[at + cut :]
    with contextlib.suppress(ProofInvalid):
        assert tlog.parse_checkpoint(spliced, [KEY]) == CHECKPOINT
    with contextlib.suppress(ProofInvalid):
        assert tlog.parse_proof(spliced, [KEY]).checkpoint == CHECKPOINT
    with contextlib.suppress(ProofInvalid):
        assert str(tlog.NoteKey.parse(spliced)) == spliced.strip()


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_and_nothing_worse(data):
    for call in (lambda: tlog.parse_checkpoint(data, [KEY]), lambda: tlog.parse_proof(data, [KEY])):
        with pytest.raises(ProofInvalid):
            call()


@given(st.text(st.characters(exclude_categories=[]), max_size=200))
def test_any_text_is_refused_and_nothing_worse(text):
    for call in (
        lambda: tlog.parse_checkpoint(text, [KEY]),
        lambda: tlog.parse_proof(text, [KEY]),
        lambda: tlog.NoteKey.parse(text),
    ):
        with pytest.raises(ProofInvalid):
            call()

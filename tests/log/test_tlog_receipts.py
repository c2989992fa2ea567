"""Receipts (tlog-proof): what proves one entry to somebody who is offline."""

import pytest

from remit.domain.errors import ProofInvalid
from remit.formats import tlog
from remit.log import merkle, tiles
from tests.log.test_tlog_notes import CHECKPOINT, KEY, LEAVES, NOTE, PRIVATE


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
    receipt = tlog.write_proof(0, [], tlog.sign_checkpoint(one, [(KEY, PRIVATE.sign)]))
    assert proves(receipt, LEAVES[0]) == 0


def test_extra_data_rides_along_unsigned():
    stored = tiles.extend(0, LEAVES, lambda level, i: b"").tiles
    path = tiles.inclusion_proof(3, 5, lambda level, i: stored[(level, i)])
    receipt = tlog.write_proof(3, path, NOTE, b"more")
    assert receipt.split("\n")[1] == "extra bW9yZQ=="
    assert proves(receipt, LEAVES[3]) == 3
    assert tlog.parse_proof(receipt, [KEY]) == tlog.Receipt(3, tuple(path), CHECKPOINT, b"more")
    for bad in ("extra bW9yZQ", "extra  bW9yZQ==", "extra bW9yZQ==\nextra bW9yZQ=="):
        with pytest.raises(ProofInvalid):
            tlog.parse_proof(receipt.replace("extra bW9yZQ==", bad), [KEY])


@pytest.mark.parametrize(
    "receipt",
    [
        tlog.write_proof(5, [bytes(32)], NOTE),
        tlog.write_proof(0, [bytes(31)], NOTE),
        tlog.write_proof(0, [bytes(32)] * 64, NOTE),
        tlog.write_proof(0, [], NOTE).replace("index 0", "index 00"),
        tlog.write_proof(0, [], NOTE).replace("index 0", "index -1"),
        tlog.write_proof(0, [], NOTE).replace("index 0", "index"),
        tlog.write_proof(0, [], NOTE).replace("index 0\n", ""),
        tlog.write_proof(0, [], NOTE).replace("\n", "\r\n"),
        tlog.write_proof(0, [], NOTE)[:-1],
    ],
)
def test_a_spoiled_receipt_is_refused(receipt):
    with pytest.raises(ProofInvalid):
        tlog.parse_proof(receipt, [KEY])

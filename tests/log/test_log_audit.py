"""What an auditor finds, holding nothing but entries and checkpoints."""

import pytest

from remit.log import merkle
from remit.log.audit import Head, audit

ENTRIES = [f"event {i}".encode() for i in range(20)]


def head(entries, size=None):
    kept = entries[: size if size is not None else len(entries)]
    return Head(len(kept), merkle.root_of([merkle.leaf_hash(e) for e in kept]))


def test_an_untouched_log_is_found_whole():
    assert audit(ENTRIES, head(ENTRIES), [head(ENTRIES, 7), head(ENTRIES, 20)]).ok


@pytest.mark.parametrize(
    ("tampered", "words"),
    [
        (ENTRIES[:-1], "cut short"),
        ([*ENTRIES[:5], b"event X", *ENTRIES[6:]], "edited"),
        ([*ENTRIES[:5], *ENTRIES[6:], b"event 20"], "edited"),
        ([ENTRIES[1], ENTRIES[0], *ENTRIES[2:]], "edited"),
    ],
)
def test_a_touched_log_is_found(tampered, words):
    finding = audit(tampered, head(ENTRIES))
    assert not finding.ok and words in finding.problem


def test_a_log_signed_again_is_found_by_whoever_kept_an_older_checkpoint():
    rewritten = [*ENTRIES[:5], b"event X", *ENTRIES[6:]]
    assert audit(rewritten, head(rewritten)).ok
    assert "rewritten" in audit(rewritten, head(rewritten), [head(ENTRIES, 8)]).problem
    assert audit(rewritten, head(rewritten), [head(ENTRIES, 5)]).ok
    assert "rolled back" in audit(ENTRIES[:10], head(ENTRIES, 10), [head(ENTRIES)]).problem

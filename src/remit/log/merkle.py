"""Merkle tree hashing and proof verification (RFC 6962 section 2.1, RFC 9162 section 2.1.3–2.1.4)."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from remit.domain.errors import ProofInvalid

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """SHA-256(0x00 ‖ leaf)."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right)."""
    return sha256(b"\x01" + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The root over these leaf hashes, without storing anything."""
    stack: list[tuple[int, bytes]] = []
    for leaf in hashes:
        height, node = 0, leaf
        while stack and stack[-1][0] == height:
            node = node_hash(stack.pop()[1], node)
            height += 1
        stack.append((height, node))
    if not stack:
        return EMPTY_ROOT
    node = stack.pop()[1]
    while stack:
        node = node_hash(stack.pop()[1], node)
    return node


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raise `ProofInvalid` unless the leaf hash is at `index` of the tree of `size` with this root."""
    if not 0 <= index < size:
        raise ProofInvalid("the index is not below the tree size")
    _check_hashes(leaf, root, *proof)
    first, last, node = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ProofInvalid("the inclusion proof is too long")
        if first & 1 or first == last:
            node = node_hash(sibling, node)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        first, last = first >> 1, last >> 1
    if last != 0:
        raise ProofInvalid("the inclusion proof is too short")
    if node != root:
        raise ProofInvalid("the inclusion proof leads to another root")


def verify_consistency(size1: int, size2: int, proof: Sequence[bytes], root1: bytes, root2: bytes) -> None:
    """Raise `ProofInvalid` unless the tree (size2, root2) extends the tree (size1, root1)."""
    if not 0 < size1 <= size2:
        raise ProofInvalid("the older tree must not be empty, nor larger than the newer")
    if size1 == size2:
        if proof:
            raise ProofInvalid("trees of equal size need an empty proof")
        if root1 != root2:
            raise ProofInvalid("two roots for one size: the log was forked or rewritten")
        return
    _check_hashes(root1, root2, *proof)
    path = list(proof)
    if size1 & (size1 - 1) == 0:
        path.insert(0, root1)
    if not path:
        raise ProofInvalid("the consistency proof is empty")
    first, last = size1 - 1, size2 - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofInvalid("the consistency proof is too long")
        if first & 1 or first == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        first, last = first >> 1, last >> 1
    if last != 0:
        raise ProofInvalid("the consistency proof is too short")
    if old != root1:
        raise ProofInvalid("the consistency proof does not lead to the older root")
    if new != root2:
        raise ProofInvalid("the consistency proof does not lead to the newer root")


def _check_hashes(*hashes: bytes) -> None:
    if any(len(h) != HASH_SIZE for h in hashes):
        raise ProofInvalid("a hash is not 32 bytes")

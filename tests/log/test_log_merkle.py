"""Trees, tiles and proofs: other people's vectors, and laws against a naive tree."""

import base64
import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.domain.errors import ProofInvalid
from remit.log import merkle, tiles
from tests.vectors import files


def _b64(text):
    return base64.b64decode(text or "")


@pytest.mark.parametrize("path", files("merkle", "inclusion/**/*.json"))
def test_inclusion_vectors(path):
    case = json.loads(path.read_text())
    proof = [_b64(h) for h in case["proof"] or []]
    try:
        merkle.verify_inclusion(_b64(case["leafHash"]), case["leafIdx"], case["treeSize"], proof, _b64(case["root"]))
        accepted = True
    except ProofInvalid:
        accepted = False
    assert accepted is not case["wantErr"], case["desc"]


@pytest.mark.parametrize("path", files("merkle", "consistency/**/*.json"))
def test_consistency_vectors(path):
    case = json.loads(path.read_text())
    proof = [_b64(h) for h in case["proof"] or []]
    try:
        merkle.verify_consistency(case["size1"], case["size2"], proof, _b64(case["root1"]), _b64(case["root2"]))
        accepted = True
    except ProofInvalid:
        accepted = False
    assert accepted is not case["wantErr"], case["desc"]


# The eight leaves every Certificate Transparency implementation is tested with, and the roots of their prefixes.
CT_LEAVES = [bytes.fromhex(h) for h in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
CT_LEAVES.append(bytes(range(0x60, 0x70)))
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("size", range(9))
def test_known_roots(size):
    hashes = [merkle.leaf_hash(leaf) for leaf in CT_LEAVES[:size]]
    assert merkle.root_of(hashes).hex() == CT_ROOTS[size]
    assert tiles.extend(0, hashes, lambda level, i: b"").root.hex() == CT_ROOTS[size]


LEAVES = [merkle.leaf_hash(str(i).encode()) for i in range(1400)]


def grown(splits):
    stored = {}
    size = 0
    for count in splits:
        step = tiles.extend(size, LEAVES[size : size + count], lambda level, i: stored.get((level, i), b""))
        stored.update(step.tiles)
        size = step.size
        assert step.root == merkle.root_of(LEAVES[:size])
    return size, stored


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=4), st.data())
def test_any_split_of_appends_gives_the_same_tree_and_true_proofs(splits, data):
    size, stored = grown(splits)
    assert stored == grown([size])[1]
    read = lambda level, i: stored.get((level, i), b"")  # noqa: E731
    older = data.draw(st.integers(1, size))
    index = data.draw(st.integers(0, older - 1))
    old_root, new_root = merkle.root_of(LEAVES[:older]), merkle.root_of(LEAVES[:size])
    assert tiles.root(older, read) == old_root
    merkle.verify_inclusion(LEAVES[index], index, older, tiles.inclusion_proof(index, older, read), old_root)
    merkle.verify_consistency(older, size, tiles.consistency_proof(older, size, read), old_root, new_root)
    if index + 1 < older:
        with pytest.raises(ProofInvalid):
            merkle.verify_inclusion(
                LEAVES[index], index + 1, older, tiles.inclusion_proof(index, older, read), old_root
            )


@pytest.mark.parametrize("size", [1, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537])
def test_tile_boundaries(size):
    leaves = [i.to_bytes(32, "big") for i in range(size)]
    stored = tiles.extend(0, leaves, lambda level, i: b"").tiles
    assert tiles.root(size, lambda level, i: stored.get((level, i), b"")) == merkle.root_of(leaves)
    assert max(level for level, _ in stored) == (2 if size >= 65_536 else 1 if size >= 256 else 0)


@pytest.fixture(scope="module")
def large():
    """A tree of 70,000 leaves, the example of tlog-tiles."""
    leaves = [i.to_bytes(32, "big") for i in range(70_000)]
    return leaves, tiles.extend(0, leaves, lambda level, i: b"").tiles


def test_the_tiles_of_the_specifications_example(large):
    widths = [(level, len(tile) // 32) for (level, _), tile in large[1].items()]
    assert sorted(widths) == sorted([(0, 256)] * 273 + [(0, 112), (1, 256), (1, 17), (2, 1)])


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([65_535, 65_536, 65_537, 69_999, 70_000]), st.data())
def test_newer_tiles_prove_any_older_tree(large, size, data):
    leaves, stored = large
    read = lambda level, i: stored[(level, i)]  # noqa: E731
    older = data.draw(st.one_of(st.integers(1, size), st.sampled_from([255, 256, 257, 65_535, size])))
    index = data.draw(st.integers(0, older - 1))
    old_root, new_root = merkle.root_of(leaves[:older]), merkle.root_of(leaves[:size])
    merkle.verify_inclusion(leaves[index], index, older, tiles.inclusion_proof(index, older, read), old_root)
    merkle.verify_consistency(older, size, tiles.consistency_proof(older, size, read), old_root, new_root)


@settings(deadline=None)
@given(st.data())
def test_a_proof_with_one_bit_changed_anywhere_is_refused(data):
    size, stored = grown([data.draw(st.integers(2, 300))])
    read = lambda level, i: stored[(level, i)]  # noqa: E731
    older = data.draw(st.integers(1, size - 1))
    roots = [merkle.root_of(LEAVES[:older]), merkle.root_of(LEAVES[:size])]

    def consistent(*hashes):
        merkle.verify_consistency(older, size, hashes[2:], *hashes[:2])

    def included(*hashes):
        merkle.verify_inclusion(hashes[0], older - 1, size, hashes[2:], hashes[1])

    for verify, hashes in (
        (consistent, [*roots, *tiles.consistency_proof(older, size, read)]),
        (included, [LEAVES[older - 1], roots[1], *tiles.inclusion_proof(older - 1, size, read)]),
    ):
        verify(*hashes)
        at, bit = data.draw(st.integers(0, len(hashes) - 1)), data.draw(st.integers(0, 255))
        hashes[at] = (int.from_bytes(hashes[at], "big") ^ 1 << bit).to_bytes(32, "big")
        with pytest.raises(ProofInvalid):
            verify(*hashes)


def test_a_byte_moved_across_the_seam_of_two_hashes_is_refused():
    """`left ‖ right` hashes the same wherever the seam is, so only the length check can tell."""
    a, b = LEAVES[:2]
    root = merkle.node_hash(a, b)
    with pytest.raises(ProofInvalid):
        merkle.verify_inclusion(a + b[:1], 0, 2, [b[1:]], root)
    first, second, *rest = tiles.consistency_proof(3, 4, lambda level, i: b"".join(LEAVES[:4]))
    old, new = merkle.root_of(LEAVES[:3]), merkle.root_of(LEAVES[:4])
    merkle.verify_consistency(3, 4, [first, second, *rest], old, new)
    with pytest.raises(ProofInvalid):
        merkle.verify_consistency(3, 4, [first + second[:1], second[1:], *rest], old, new)


@pytest.mark.parametrize("size", [1, 255, 256, 257, 65_535, 65_536, 65_537, 70_000])
@pytest.mark.parametrize("count", [1, 64, 600])
def test_appending_reads_a_tile_a_level_and_writes_what_building_at_once_writes(large, size, count):
    leaves, newer = large
    read_at = set()

    def read(level, index):
        read_at.add((level, index))
        return newer[(level, index)]  # wider than the tree being extended: what is beyond it must not leak in

    more = [merkle.leaf_hash(b"more %d" % i) for i in range(count)]
    step = tiles.extend(size, more, read)
    assert len(read_at) <= 3 and step.size == size + count
    assert step.root == merkle.root_of(leaves[:size] + more)
    whole = tiles.extend(0, leaves[:size] + more, lambda level, i: b"").tiles
    assert step.tiles == {at: whole[at] for at in step.tiles}
    kept = {at: tile for at, tile in whole.items() if at not in step.tiles}
    assert all(newer[at][: len(tile)] == tile for at, tile in kept.items())


def test_proofs_outside_the_tree_are_refused():
    size, stored = grown([10])
    read = lambda level, i: stored.get((level, i), b"")  # noqa: E731
    for call in (
        lambda: tiles.inclusion_proof(10, size, read),
        lambda: tiles.consistency_proof(0, size, read),
        lambda: tiles.consistency_proof(11, size, read),
        lambda: tiles.root(11, read),
        lambda: tiles.extend(11, LEAVES[:1], read),
        lambda: tiles.extend(10, [b"short"], read),
        lambda: merkle.verify_inclusion(b"short", 0, 1, [], b"short"),
    ):
        with pytest.raises(ProofInvalid):
            call()


@pytest.mark.parametrize(
    ("path", "level", "index", "width"),
    [
        ("tile/0/000", 0, 0, 256),
        ("tile/1/x001/x234/067", 1, 1234067, 256),
        ("tile/0/005.p/17", 0, 5, 17),
        ("tile/entries/x001/000.p/255", -1, 1000, 255),
    ],
)
def test_tile_paths_read_back(path, level, index, width):
    assert tiles.TilePath.parse(path) == tiles.TilePath(level, index, width)
    assert str(tiles.TilePath(level, index, width)) == path


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/0",
        "tile/00/000",
        "tile/64/000",
        "tile/0/x000/001",
        "tile/0/000.p/256",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/257",
        "tile/0/../000",
        "tile/0/" + "x001/" * 30 + "000",
        "tile/0/000/",
        "tile/0/١٢٣",
        "tile/-1/000",
        "entries/000",
        "tile/0/000\n",
    ],
)
def test_a_path_that_is_not_canonical_is_refused(path):
    with pytest.raises(ProofInvalid):
        tiles.TilePath.parse(path)


@given(st.integers(-1, 63), st.integers(0, 10**18), st.integers(1, 256))
def test_every_tile_path_reads_back(level, index, width):
    tile = tiles.TilePath(level, index, width)
    assert tiles.TilePath.parse(str(tile)) == tile


@given(st.one_of(st.text(), st.from_regex(r"tile/[0-9e]{1,3}/[x0-9/]{1,12}(\.p/[0-9]{1,3})?")))
def test_any_path_is_refused_or_canonical(path):
    with contextlib.suppress(ProofInvalid):
        assert str(tiles.TilePath.parse(path)) == path


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_entry_bundles_read_back(entries):
    assert tiles.decode_entries(tiles.encode_entries(entries)) == entries


@given(st.binary(max_size=60))
def test_any_bytes_are_a_bundle_or_refused(data):
    with contextlib.suppress(ProofInvalid):
        assert tiles.encode_entries(tiles.decode_entries(data)) == data


def test_an_entry_over_the_limit_is_refused():
    with pytest.raises(ProofInvalid):
        tiles.encode_entries([b"x" * 65_536])
    assert tiles.decode_entries(tiles.encode_entries([b"x" * 65_535])) == [b"x" * 65_535]


def test_a_bundle_has_at_most_256_entries():
    assert len(tiles.decode_entries(tiles.encode_entries([b""] * 256))) == 256
    with pytest.raises(ProofInvalid):
        tiles.encode_entries([b""] * 257)
    with pytest.raises(ProofInvalid):
        tiles.decode_entries(bytes(2 * 257))

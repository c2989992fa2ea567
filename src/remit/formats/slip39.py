"""The root key as words on paper: k of n shares (SLIP-0039, one group, no passphrase).

Fewer than k shares say nothing about the key. A wrong word, a share of another key, or one share twice is an error and
never another key: each share has a checksum, and the shared secret a digest. A passphrase would have no such check.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256
from itertools import combinations

from remit.domain.errors import BadField

MOST = 16
WORDS = 33


def split(key: bytes, needed: int, shares: int) -> list[str]:
    """Words for each share; any `needed` of them give the key, which is tried before this returns."""
    from shamir_mnemonic import generate_mnemonics

    if len(key) != 32:
        raise BadField("root key", "must be 32 bytes")
    if not 2 <= needed <= shares <= MOST:
        raise BadField("threshold", f"must be 2 to the number of shares, and shares at most {MOST}")
    made = [str(words) for words in generate_mnemonics(1, [(needed, shares)], key)[0]]
    for some in combinations(made, needed) if shares <= 7 else (made[:needed], made[-needed:]):
        if combine(some) != key:
            raise BadField("shares", "do not give the key back; nothing was written")
    return made


def combine(shares: Sequence[str]) -> bytes:
    """The key; `BadField` says which share is wrong or how many are missing, and quotes no word of any."""
    from shamir_mnemonic import MnemonicError, combine_mnemonics
    from shamir_mnemonic.share import Share

    told: list[Share] = []
    for number, text in enumerate(shares, 1):
        try:
            told.append(Share.from_mnemonic(" ".join(text.lower().split())))
        except (MnemonicError, ValueError) as bad:
            raise BadField(f"share {number}", f"has a wrong word, or not {WORDS} of them") from bad
    if len({share.identifier for share in told}) != 1:
        raise BadField("shares", "are not all of one ceremony")
    if len({share.index for share in told}) != len(told):
        raise BadField("shares", "hold one share twice")
    needed = told[0].member_threshold
    if len(told) < needed:
        raise BadField("shares", f"{needed} are needed, and {len(told)} were given")
    try:
        key = combine_mnemonics([" ".join(text.lower().split()) for text in shares[:needed]])
    except (MnemonicError, ValueError) as bad:
        raise BadField("shares", "do not fit together") from bad
    if len(key) != 32:
        raise BadField("shares", "are of something that is no root key")
    return bytes(key)


def fingerprint(key: bytes) -> str:
    """What a transcript names a root key by: 64 bits that tell nothing of it."""
    return hmac.new(key, b"remit root key fingerprint v1", sha256).hexdigest()[:16]

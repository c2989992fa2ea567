"""What MariaDB and MySQL keep of a password, made here: no server and no log of one sees the password itself."""

from __future__ import annotations

import secrets
from hashlib import sha1, sha256

_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ROUNDS = 5000  # "005", in thousands
# SHA-crypt's order of the digest's bytes, three to four characters.
_ORDER = [((i * 21) % 30, (i * 21 + 10) % 30, (i * 21 + 20) % 30) for i in range(10)]


def native(password: str) -> str:
    """`mysql_native_password`: SHA-1 twice, unsalted, which 192 random bits can bear. MariaDB's own default."""
    return "*" + sha1(sha1(password.encode()).digest()).hexdigest().upper()  # noqa: S324 - the protocol's own


def caching_sha2(password: str) -> str:
    """`caching_sha2_password`: `$A$005$`, 20 bytes of salt, SHA-crypt's SHA-256 in 43 characters. MySQL 8 and later.

    Takes some 10 ms of CPU.
    """
    salt = "".join(secrets.choice(_ALPHABET) for _ in range(20))
    return f"$A$005${salt}{sha_crypt(password.encode(), salt.encode())}"


def sha_crypt(key: bytes, salt: bytes) -> str:
    """SHA-crypt with SHA-256 (U. Drepper, "Unix crypt using SHA-256 and SHA-512", the numbered steps)."""
    other = sha256(key + salt + key).digest()  # 4-8
    mixed = key + salt + _repeated(other, len(key))  # 1-3, 9-10
    bits = len(key)
    while bits:  # 11
        mixed += other if bits & 1 else key
        bits >>= 1
    digest = sha256(mixed).digest()  # 12
    p = _repeated(sha256(key * len(key)).digest(), len(key))  # 13-16
    s = _repeated(sha256(salt * (16 + digest[0])).digest(), len(salt))  # 17-20
    for turn in range(_ROUNDS):  # 21
        first, last = (p, digest) if turn & 1 else (digest, p)
        digest = sha256(first + (s if turn % 3 else b"") + (p if turn % 7 else b"") + last).digest()
    groups = [(digest[a] << 16 | digest[b] << 8 | digest[c], 4) for a, b, c in _ORDER]
    groups.append((digest[31] << 8 | digest[30], 3))  # 22
    return "".join(_ALPHABET[value >> 6 * i & 63] for value, length in groups for i in range(length))


def _repeated(block: bytes, length: int) -> bytes:
    return (block * (length // len(block) + 1))[:length]

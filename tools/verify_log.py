#!/usr/bin/env python3
"""Check an exported log without trusting, or even having, the program that wrote it.

    verify_log.py LOG.jsonl --checkpoint LOG.jsonl.checkpoint --key NAME+ID+BASE64 [--older FILE]... [--witness KEY]...
    verify_log.py DIRECTORY-WITH-TILES --key NAME+ID+BASE64 --witness KEY --witness KEY --quorum 1
    verify_log.py --receipt EVENT.tlog-proof --event EVENT.json --key NAME+ID+BASE64

All on Python's standard library: Ed25519 (RFC 8032), Merkle trees (RFC 6962), checkpoints, cosignatures, proofs, tiles
(C2SP). It is short, and meant to be read. Exit: 0 it holds, 1 it does not, 2 a wrong question.
"""

import argparse
import base64
import hashlib
import itertools
import pathlib
import sys

# --- Ed25519 verification (RFC 8032 section 5.1.7, and its reference code in appendix A) ---
P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def times(n, p):
    half = times(n >> 1, add(p, p)) if n else (0, 1, 1, 0)
    return add(half, p) if n & 1 else half


def point(raw):  # None where there is none
    y, sign = int.from_bytes(raw, "little") & (2**255 - 1), raw[-1] >> 7
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x * ROOT % P if (x * x - square) % P else x
    if (x * x - square) % P or (x == 0 and sign) or y >= P or len(raw) != 32:
        return None
    x = P - x if x & 1 != sign else x
    return (x, y, 1, x * y % P)


BASE = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def ed25519(public, message, signature):
    a, r, s = point(public), point(signature[:32].ljust(32)), int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or None in (a, r) or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    left, right = times(s, BASE), add(r, times(h, a))
    return not ((left[0] * right[2] - right[0] * left[2]) % P or (left[1] * right[2] - right[1] * left[2]) % P)


# --- Merkle trees (RFC 6962 section 2.1) ---
leaf = lambda data: hashlib.sha256(b"\x00" + data).digest()  # noqa: E731
node = lambda left, right: hashlib.sha256(b"\x01" + left + right).digest()  # noqa: E731


def root(hashes):
    if len(hashes) < 2:
        return hashes[0] if hashes else hashlib.sha256(b"").digest()
    half = 1 << (len(hashes) - 1).bit_length() - 1
    return node(root(hashes[:half]), root(hashes[half:]))


def from_path(index, size, found, path):  # from the root down (section 2.1.1); None if the path does not fit
    if size < 2 or not path:
        return found if (index, size) == (0, 1) and not path else None
    half = 1 << (size - 1).bit_length() - 1
    left = index < half
    inner = from_path(index if left else index - half, half if left else size - half, found, path[:-1])
    return inner and (node(inner, path[-1]) if left else node(path[-1], inner))


# --- signed notes and checkpoints (C2SP signed-note, tlog-checkpoint, tlog-cosignature) ---
def key_of(text, kind):  # 1: a log's, 4: a witness's
    name, number, encoded = text.strip().split("+", 2)
    raw = base64.b64decode(encoded, validate=True)
    if len(raw) != 33 or raw[0] != kind or hashlib.sha256(name.encode() + b"\n" + raw).hexdigest()[:8] != number:
        raise ValueError(f"{name}: not an Ed25519 key, or its id is not its own")
    return name, raw[0], bytes.fromhex(number), raw[1:]


def signs(text, line, key):
    """Whether this signature of that key is good; None when it is another key's."""
    mark, name, encoded = line.split(" ")
    raw = base64.b64decode(encoded)
    if (mark, name, raw[:4]) != ("—", key[0], key[2]):
        return None
    time = f"cosignature/v1\ntime {int.from_bytes(raw[4:12], 'big')}\n" if key[1] == 4 else ""  # in seconds
    return ed25519(key[3], (time + text).encode(), raw[12 if time else 4 :])


def checkpoint(note, log_key, witnesses=(), quorum=None):
    """(origin, size, root) of a checkpoint that the log signed, and a quorum of these witnesses (else all) cosigned."""
    text, _, lines = note.rpartition("\n\n")
    text, by = text + "\n", set()
    for key in (log_key, *witnesses):
        found = [good for line in lines.splitlines() if (good := signs(text, line, key)) is not None]
        if key is log_key and not (found and all(found)):
            raise ValueError(f"{key[0]} has not signed this checkpoint")
        by |= {key[3]} if found and all(found) else set()
    if len(by) - 1 < (len(witnesses) if quorum is None else quorum):
        raise ValueError(f"too few witnesses have signed this checkpoint: {len(by) - 1} of {len(witnesses)}")
    return text.split("\n")[0], int(text.split("\n")[1]), base64.b64decode(text.split("\n")[2], validate=True)


# --- a folder of tiles (C2SP tlog-tiles) ---
def tile(folder, level, index, count):  # as wide as it is when there are `count` of its level
    digits = str(index).zfill(-(-len(str(index)) // 3) * 3)
    name = "/".join("x" * (at + 3 < len(digits)) + digits[at : at + 3] for at in range(0, len(digits), 3))
    width = min(256, count - index * 256)
    return pathlib.Path(f"{folder}/tile/{level}/{name}" + f".p/{width}" * (width < 256)).read_bytes()


def events(path, size):  # the lines of a file, or the entries of a folder
    for index in range(-(-size // 256) if pathlib.Path(path).is_dir() else 0):
        bundle = tile(path, "entries", index, size)
        while bundle:
            end = 2 + int.from_bytes(bundle[:2], "big")
            yield bundle[2:end]
            bundle = bundle[end:]
    if not pathlib.Path(path).is_dir():
        with open(path, "rb") as file:
            yield from (line.rstrip(b"\n") for line in file)


def check_tiles(folder, hashes, level=0):
    rows = [hashes[at : at + 256] for at in range(0, len(hashes), 256)]
    for index, row in enumerate(rows):
        if tile(folder, level, index, len(hashes)) != b"".join(row):
            raise ValueError(f"tile {index} of level {level} has other hashes than those of the events")
    if len(hashes) >= 256:
        check_tiles(folder, [root(row) for row in rows if len(row) == 256], level + 1)


def check_log(path, note, older, key, witnesses, quorum):
    origin, size, signed = checkpoint(note, key, witnesses, quorum)
    hashes = [leaf(event) for event in itertools.islice(events(path, size), size)]
    if len(hashes) < size:
        raise ValueError(f"cut short: {size} events are signed, and {len(hashes)} are here")
    for name, text in older:
        was, n, then = checkpoint(text, key)
        if was != origin or n > size:
            raise ValueError(f"{name}: of another log, or of a longer one: this log was rolled back")
        if root(hashes[:n]) != then:
            raise ValueError(f"{name}: the first {n} events are not those that were signed then")
    if root(hashes) != signed:
        raise ValueError("an event was edited, dropped, added or moved")
    if pathlib.Path(path).is_dir():
        check_tiles(path, hashes)
    return f"{size} events of {origin} are exactly those that were signed, also by enough of {len(witnesses)} witnesses"


def check_receipt(receipt, event, key, witnesses, quorum):
    claim, _, note = receipt.partition("\n\n")
    origin, size, signed = checkpoint(note, key, witnesses, quorum)
    lines = [line for line in claim.split("\n")[1:] if not line.startswith("extra ")]
    index, path = int(lines[0].split(" ")[1]), [base64.b64decode(line, validate=True) for line in lines[1:]]
    if not claim.startswith("c2sp.org/tlog-proof@v1\n") or from_path(index, size, leaf(event), path) != signed:
        raise ValueError("this event is not at that place of the log")
    return f"this is event {index} of {size} of {origin}"


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("log", nargs="?")
    for name in ("--key", "--checkpoint", "--receipt", "--event", "--quorum"):
        ask.add_argument(name, required=name == "--key", type=int if name == "--quorum" else str)
    for name in ("--older", "--witness"):
        ask.add_argument(name, action="append", default=[])
    given = ask.parse_args()
    read = lambda path: pathlib.Path(path).read_bytes().decode()  # noqa: E731
    try:
        key, witnesses = key_of(given.key, 1), [key_of(text, 4) for text in given.witness]
        if given.receipt and given.event:
            event = pathlib.Path(given.event).read_bytes().rstrip(b"\n")
            print(check_receipt(read(given.receipt), event, key, witnesses, given.quorum))
        elif given.log:
            older = [(path, read(path)) for path in given.older]
            beside = given.log + ("/checkpoint" if pathlib.Path(given.log).is_dir() else ".checkpoint")
            print(check_log(given.log, read(given.checkpoint or beside), older, key, witnesses, given.quorum))
        else:
            ask.error("give a log, or --receipt and --event")
    except (ValueError, IndexError) as wrong:
        sys.exit(f"NOT GOOD: {wrong or 'malformed'}")
    except OSError as missing:
        ask.error(str(missing))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Check an exported log without trusting, or even having, the program that wrote it.

    verify_log.py LOG.jsonl --checkpoint LOG.jsonl.checkpoint --key NAME+ID+BASE64 [--older FILE]... [--witness KEY]...
    verify_log.py --receipt EVENT.tlog-proof --event EVENT.json --key NAME+ID+BASE64
    verify_log.py --bundle INCIDENT.zip --key NAME+ID+BASE64

Everything is here, on Python's standard library: Ed25519 (RFC 8032), Merkle trees (RFC 6962), notes, checkpoints,
cosignatures and proofs (C2SP). It is short, and meant to be read. Exit: 0 it holds, 1 it does not, 2 a wrong question.
"""

import argparse
import base64
import hashlib
import sys
import zipfile
import zlib

# --- Ed25519 verification (RFC 8032 section 5.1.7, and its reference code in appendix A) ---

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def recover_x(y, sign):
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x * ROOT % P if (x * x - square) % P else x
    if (x * x - square) % P or (x == 0 and sign) or y >= P:
        return None
    return P - x if x & 1 != sign else x


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def times(n, p):
    q = (0, 1, 1, 0)
    while n:
        q, p, n = (add(q, p) if n & 1 else q), add(p, p), n >> 1
    return q


def point(raw):
    y = int.from_bytes(raw, "little")
    x = recover_x(y & (2**255 - 1), y >> 255)
    return None if x is None else (x, y & (2**255 - 1), 1, x * (y & (2**255 - 1)) % P)


BASE = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def ed25519(public, message, signature):
    a, r, s = point(public), point(signature[:32]), int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or None in (a, r) or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    left, right = times(s, BASE), add(r, times(h, a))
    return not ((left[0] * right[2] - right[0] * left[2]) % P or (left[1] * right[2] - right[1] * left[2]) % P)


# --- Merkle trees (RFC 6962 section 2.1) ---

leaf = lambda data: hashlib.sha256(b"\x00" + data).digest()  # noqa: E731
node = lambda left, right: hashlib.sha256(b"\x01" + left + right).digest()  # noqa: E731


class Tree:
    def __init__(self):
        self.size, self.stack = 0, []  # (height, hash), highest first

    def append(self, data):
        height, found = 0, leaf(data)
        while self.stack and self.stack[-1][0] == height:
            height, found = height + 1, node(self.stack.pop()[1], found)
        self.stack.append((height, found))
        self.size += 1

    def root(self):
        found = hashlib.sha256(b"").digest() if not self.stack else self.stack[-1][1]
        for _, left in reversed(self.stack[:-1]):
            found = node(left, found)
        return found


def from_path(index, size, found, path):  # RFC 9162 section 2.1.3.2; None if the path does not fit
    last = size - 1
    for one in path:
        if last == 0:
            return None
        if index & 1 or index == last:
            found = node(one, found)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            found = node(found, one)
        index, last = index >> 1, last >> 1
    return found if last == 0 else None


# --- signed notes and checkpoints (C2SP signed-note, tlog-checkpoint, tlog-cosignature) ---


class Wrong(Exception):
    pass


def key_of(text):
    name, number, encoded = text.strip().split("+", 2)
    raw = base64.b64decode(encoded, validate=True)
    if len(raw) != 33 or raw[0] not in (1, 4) or hashlib.sha256(name.encode() + b"\n" + raw).hexdigest()[:8] != number:
        raise Wrong(f"{name}: not an Ed25519 key, or its id is not its own")
    return name, raw[0], bytes.fromhex(number), raw[1:]


def checkpoint(note, log_key, witnesses=()):
    """(origin, size, root) of a checkpoint that the log signed, and that each of these witnesses cosigned."""
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    lines = [line.split(" ") for line in signatures.splitlines()]
    for name, kind, number, public in (log_key, *witnesses):
        mine = [base64.b64decode(line[2])[4:] for line in lines if line[0] == "—" and line[1] == name
                and base64.b64decode(line[2])[:4] == number]  # fmt: skip
        if kind == 4 and mine:  # a cosignature begins with its time, in seconds
            said = f"cosignature/v1\ntime {int.from_bytes(mine[0][:8], 'big')}\n{text}"
            good = ed25519(public, said.encode(), mine[0][8:])
        else:
            good = bool(mine) and ed25519(public, text.encode(), mine[0])
        if not good:
            raise Wrong(f"{name} has not signed this checkpoint")
    return text.split("\n")[0], int(text.split("\n")[1]), base64.b64decode(text.split("\n")[2], validate=True)


def check_log(path, note, older, key, witnesses):
    origin, size, root = checkpoint(note, key, witnesses)
    kept = {}
    for name, text in older:
        was, n, r = checkpoint(text, key)
        if was != origin or n > size:
            raise Wrong(f"{name}: of another log, or of a longer one: this log was rolled back")
        kept[n] = (name, r)
    tree = Tree()
    with open(path, "rb") as file:
        while True:
            if tree.size in kept and tree.root() != kept[tree.size][1]:
                raise Wrong(f"{kept[tree.size][0]}: the first {tree.size} events are not those that were signed then")
            line = file.readline() if tree.size < size else b""
            if not line:
                break
            tree.append(line.rstrip(b"\n"))
    if tree.size < size:
        raise Wrong(f"cut short: {size} events are signed, and {tree.size} are here")
    if tree.root() != root:
        raise Wrong("an event was edited, dropped, added or moved")
    return f"{size} events of {origin} are exactly those that were signed, and cosigned by {len(witnesses)} witnesses"


def check_receipt(receipt, event, key, witnesses):
    claim, _, note = receipt.partition("\n\n")
    origin, size, root = checkpoint(note, key, witnesses)
    lines = [line for line in claim.split("\n")[1:] if not line.startswith("extra ")]
    index, path = int(lines[0].split(" ")[1]), [base64.b64decode(line, validate=True) for line in lines[1:]]
    right = claim.startswith("c2sp.org/tlog-proof@v1\n") and 0 <= index < size and len(root) == 32
    if not right or from_path(index, size, leaf(event), path) != root:
        raise Wrong("this event is not at that place of the log")
    return f"this is event {index} of {size} of {origin}"


def check_bundle(path, key, witnesses):
    with zipfile.ZipFile(path) as bundle:
        names = bundle.namelist()
        if len(names) != len(set(names)) or sum(info.file_size for info in bundle.infolist()) > 1 << 28:
            raise Wrong("a file is there twice, or it unpacks to more than any bundle has")
        files = {name: bundle.read(name) for name in names}
    listed = dict(line.split("  ", 1)[::-1] for line in files.pop("MANIFEST.sha256", b"").decode().splitlines())
    if not listed or listed != {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}:
        raise Wrong("the files are not those that the manifest lists")
    events = [name.removesuffix(".json") for name in files if name.startswith("events/") and name.endswith(".json")]
    if 2 * len(events) != sum(name.startswith("events/") for name in files):
        raise Wrong("an event without its receipt, or a receipt without its event")
    for name in events:
        receipt = files[name + ".tlog-proof"].decode()
        said = check_receipt(receipt, files[name + ".json"], key, witnesses)
        if (
            said.split(" ")[3] != name.removeprefix("events/")
            or receipt.partition("\n\n")[2].encode() != files["checkpoint"]
        ):
            raise Wrong(f"{name}: its receipt is of another event, or leads to another checkpoint")
    origin, size, _ = checkpoint(files["checkpoint"].decode(), key, witnesses)
    return f"{len(events)} events are in {origin}, below its first {size}"


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("log", nargs="?")
    for name in ("--key", "--checkpoint", "--receipt", "--event", "--bundle"):
        ask.add_argument(name, required=name == "--key")
    for name in ("--older", "--witness"):
        ask.add_argument(name, action="append", default=[])
    given = ask.parse_args()
    read = lambda path: open(path, encoding="utf-8", newline="").read()  # noqa: E731, SIM115
    try:
        key, witnesses = key_of(given.key), [key_of(text) for text in given.witness]
        if given.receipt and given.event:
            with open(given.event, "rb") as file:
                print(check_receipt(read(given.receipt), file.read().rstrip(b"\n"), key, witnesses))
        elif given.bundle:
            print(check_bundle(given.bundle, key, witnesses))
        elif given.log:
            older = [(path, read(path)) for path in given.older]
            print(check_log(given.log, read(given.checkpoint or given.log + ".checkpoint"), older, key, witnesses))
        else:
            ask.error("give a log, or --receipt and --event, or --bundle")
    except (Wrong, ValueError, IndexError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as wrong:
        sys.exit(f"NOT GOOD: {wrong or 'malformed'}")
    except OSError as missing:
        print(missing, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Check what was exported of an incident without trusting, or even having, the program that wrote it.

    verify_incident.py INCIDENT.zip --key NAME+ID+BASE64 [--witness KEY]... [--quorum N]

Each event in it has a receipt that leads to one signed checkpoint (see verify_log.py, which must lie beside this), and
nothing is in it that its manifest does not list. Exit: 0 it holds, 1 it does not, 2 a wrong question.
"""

import argparse
import hashlib
import sys
import zipfile
import zlib

from verify_log import check_receipt, checkpoint, key_of

MOST = 1 << 28  # bytes, unpacked


def check_bundle(path, key, witnesses, quorum):
    with zipfile.ZipFile(path) as bundle:
        names = bundle.namelist()
        if len(names) != len(set(names)) or sum(info.file_size for info in bundle.infolist()) > MOST:
            raise ValueError("a file is there twice, or it unpacks to more than any bundle has")
        files = {name: bundle.read(name) for name in names}
    listed = dict(line.split("  ", 1)[::-1] for line in files.pop("MANIFEST.sha256", b"").decode().splitlines())
    if not listed or listed != {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}:
        raise ValueError("the files are not those that the manifest lists")
    events = [name.removesuffix(".json") for name in files if name.startswith("events/") and name.endswith(".json")]
    if 2 * len(events) != sum(name.startswith("events/") for name in files):
        raise ValueError("an event without its receipt, or a receipt without its event")
    for name in events:
        receipt = files[name + ".tlog-proof"].decode()
        said = check_receipt(receipt, files[name + ".json"], key, witnesses, quorum)
        ours = receipt.partition("\n\n")[2].encode() == files["checkpoint"]
        if said.split(" ")[3] != name.removeprefix("events/") or not ours:
            raise ValueError(f"{name}: its receipt is of another event, or leads to another checkpoint")
    origin, size, _ = checkpoint(files["checkpoint"].decode(), key, witnesses, quorum)
    return f"{len(events)} events are in {origin}, below its first {size}"


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("bundle")
    ask.add_argument("--key", required=True)
    ask.add_argument("--witness", action="append", default=[])
    ask.add_argument("--quorum", type=int)
    given = ask.parse_args()
    try:
        witnesses = [key_of(text, 4) for text in given.witness]
        print(check_bundle(given.bundle, key_of(given.key, 1), witnesses, given.quorum))
    except (ValueError, IndexError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as wrong:
        sys.exit(f"NOT GOOD: {wrong or 'malformed'}")
    except OSError as missing:
        ask.error(str(missing))


if __name__ == "__main__":
    main()

"""`remit key ceremony`: the root key as shares on paper, made and put together again where there is no network."""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path

import click

from remit import __version__

from .app import Context
from .exits import Exit, Failure

FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def ceremony() -> None:
    """The root key in shares: any K of N people can bring it back, fewer know nothing. Needs remit[ceremony]."""


@ceremony.command()
@click.option("--threshold", "-k", type=click.IntRange(2, 16), required=True, help="How many shares bring it back.")
@click.option("--shares", "-n", type=click.IntRange(2, 16), required=True, help="How many there are.")
@click.option("--from", "source", type=FILE, help="An existing root.key; without it a fresh key is drawn here.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="A folder in memory.")
@click.pass_obj
def split(obj: Context, threshold: int, shares: int, source: Path | None, out: Path) -> None:
    """Write a sheet of words for each holder, and a transcript that holds no secret, to OUT.

    \b
    On a machine without network, with OUT on a file system in memory; print, then switch it off:
      remit key ceremony split -k 3 -n 5 --out /dev/shm/ceremony
    The key itself is written nowhere: `combine` makes root.key of the shares, which also proves them.
    """
    from remit.formats import base64url, slip39

    _library()
    key = base64url.decode(source.read_text().strip()) if source else secrets.token_bytes(32)
    made, print_ = slip39.split(key, threshold, shares), slip39.fingerprint(key)
    if out.exists() and any(out.iterdir()):
        raise Failure(f"{out} is not empty", Exit.USAGE, next_step="Name a new folder.")
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number, words in enumerate(made, 1):
        _write(out / f"share-{number}-of-{shares}.txt", _sheet(number, shares, threshold, print_, words))
    transcript = _transcript(shares, threshold, print_, drawn=source is None)
    _write(out / "transcript.txt", transcript)
    told = {"fingerprint": print_, "threshold": threshold, "shares": shares, "out": str(out)}
    obj.out.one(told, transcript.rstrip())


@ceremony.command()
@click.argument("shares", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--out", type=FILE, required=True, help="The root.key to write (0600); never overwritten.")
@click.option("--fingerprint", default="", help="From the transcript: anything else is refused.")
@click.pass_obj
def combine(obj: Context, shares: tuple[Path, ...], out: Path, fingerprint: str) -> None:
    """Make root.key of files with the words of K shares; what else is on a sheet is passed over."""
    from remit.formats import base64url, slip39

    _library()
    key = slip39.combine([_words(path) for path in shares])
    found = slip39.fingerprint(key)
    if fingerprint and fingerprint != found:
        raise Failure(f"these shares are of the key {found}, not {fingerprint}", Exit.ERROR)
    _write(out, base64url.encode(key) + "\n")
    obj.out.one({"fingerprint": found, "out": str(out)}, f"Wrote {out}, the root key {found}.")


def _library() -> None:
    from importlib.util import find_spec

    if find_spec("shamir_mnemonic") is None:
        raise Failure("shamir-mnemonic is not installed", Exit.USAGE, next_step="pip install 'remit[ceremony]'")


def _sheet(number: int, shares: int, threshold: int, fingerprint: str, words: str) -> str:
    parts = words.split()
    rows = [" ".join(f"{i + 1:>2} {word:<9}" for i, word in enumerate(parts) if i // 3 == row) for row in range(11)]
    head = f"# Remit root key {fingerprint}: share {number} of {shares}; {threshold} bring it back (SLIP-0039)"
    return "\n".join([head, "", *(row.rstrip() for row in rows), ""])


def _words(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    said = " ".join(line for line in lines if not line.lstrip().startswith("#")).split()
    return " ".join(word for word in said if not word.isdecimal())


def _transcript(shares: int, threshold: int, fingerprint: str, *, drawn: bool) -> str:
    holders = "\n".join(f"  share {n} of {shares}   holder ____________________   signature ____________" for n in
                        range(1, shares + 1))  # fmt: skip
    made = "drawn from the operating system's generator on this machine" if drawn else "read from an existing root.key"
    return f"""Remit key ceremony, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, remit {__version__}

Root key      {fingerprint} (fingerprint; nothing of the key can be told from it)
The key was   {made}.
Shares        {shares}, of which any {threshold} bring it back (SLIP-0039, no passphrase).
Tried         sets of {threshold} shares gave this key before anything was written.

{holders}

  [ ] no network, no other program, output in memory only
  [ ] every holder has read their own sheet back: remit key ceremony combine
  [ ] machine switched off
  led by ____________________   seen by ____________________
"""


def _write(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as there:
        raise Failure(f"{path} is there already", Exit.USAGE, next_step="Nothing is overwritten here.") from there
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)

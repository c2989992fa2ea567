"""Exports of clouds, clusters and databases as steps: each is known by what is in it.

Names in an export are whatever somebody chose, so what an eye does not see in one is spelled out, a very long one is
shortened to its digest, and no step leads from or to what the catalogue says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from remit.domain.errors import BadField
from remit.domain.reach import Step

from . import aws_account, azure_estate, gcp_policy, kubernetes_rbac, postgres_roles
from .data import parsed

LIMIT = 256 * 1024 * 1024
NODES = 20_000_000
STEPS = 1_000_000
LONGEST = 512
_HELP = "docs/howto/blast.md says which commands export what is read here."


def load(paths: Sequence[Path]) -> Iterator[Step]:
    """Every step of these files; `BadField` for one that is none of the exports that are known, or says too much."""
    for count, step in enumerate(_read(paths), 1):
        if count > STEPS:
            raise BadField("exports", f"say more than {STEPS:,} steps", next_step="Look at fewer of them at once.")
        yield Step(_plain(step.source), _plain(step.target), step.how, _plain(step.detail))


def _plain(text: str) -> str:
    if len(text) > LONGEST:
        text = f"{text[: LONGEST - 80]}…{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _read(paths: Sequence[Path]) -> Iterator[Step]:
    azure: list[Any] = []
    gcp: list[Any] = []
    keys: list[Any] = []
    users: list[str] = []
    for path in paths:
        whole = read(path)
        try:
            if aws_account.is_export(whole):
                account = aws_account.read(whole)
                users += [one.arn for one in account.of("user")]
                yield from aws_account.steps(account)
            elif aws_account.is_keys(whole):
                keys.append(whole)
            elif kubernetes_rbac.is_export(whole):
                yield from kubernetes_rbac.steps(whole)
            elif postgres_roles.is_export(whole):
                yield from postgres_roles.steps(whole)
            elif azure_estate.is_export(whole):
                azure.append(whole)
            elif gcp_policy.is_policy(whole):
                gcp.append(whole)
            else:
                raise BadField(str(path), "is no export that is known here", next_step=_HELP)
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as flaw:
            raise _odd(path, flaw) from flaw
    try:
        yield from azure_estate.steps(azure)
        yield from gcp_policy.steps(gcp)
    except (AttributeError, KeyError, TypeError, ValueError) as flaw:
        raise _odd(Path("the exports of Azure or Google"), flaw) from flaw
    yield from _keys(keys, users)


def read(path: Path) -> Any:
    """The export, bounded; None for what is no JSON."""
    if path.stat().st_size > LIMIT:
        raise BadField(str(path), f"is over {LIMIT} bytes")
    return parsed(path.read_text("utf-8", "replace"), ".json", nodes=NODES)


def _odd(path: Path, flaw: Exception) -> BadField:
    said = f"looks like an export and is not one all through ({type(flaw).__name__} {str(flaw)[:80]})"
    return BadField(str(path), said, next_step=_HELP)


def _keys(lists: Iterable[Any], users: Sequence[str]) -> Iterator[Step]:
    for whole in lists:
        yield from aws_account.keys(whole, users)

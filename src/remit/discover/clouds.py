"""Exports of clouds, clusters and databases as one graph: each is known by what is in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from remit.domain.errors import BadField
from remit.domain.reach import Step

from . import aws_account, azure_estate, gcp_policy, kubernetes_rbac, postgres_roles
from .data import parsed

LIMIT = 256 * 1024 * 1024
NODES = 20_000_000


def load(paths: Sequence[Path]) -> Iterator[Step]:
    """Every step of these files; `BadField` for one that is none of the exports that are known."""
    azure: list[Any] = []
    gcp: list[Any] = []
    for path in paths:
        whole = read(path)
        if aws_account.is_export(whole):
            yield from aws_account.steps(aws_account.read(whole))
        elif kubernetes_rbac.is_export(whole):
            yield from kubernetes_rbac.steps(whole)
        elif postgres_roles.is_export(whole):
            yield from postgres_roles.steps(whole)
        elif azure_estate.is_export(whole):
            azure.append(whole)
        elif gcp_policy.is_policy(whole):
            gcp.append(whole)
        else:
            step = "docs/howto/blast.md says which commands export what is read here."
            raise BadField(str(path), "is no export that is known here", next_step=step)
    yield from azure_estate.steps(azure)
    yield from gcp_policy.steps(gcp)


def read(path: Path) -> Any:
    """The export, bounded; None for what is no JSON."""
    if path.stat().st_size > LIMIT:
        raise BadField(str(path), f"is over {LIMIT} bytes")
    return parsed(path.read_text("utf-8", "replace"), ".json", nodes=NODES)

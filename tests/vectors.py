"""Where vectors other people made are found: beside the repository or at $REMIT_VECTORS."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).parents[2] / "shared"
ROOT = Path(os.environ.get("REMIT_VECTORS") or BESIDE / "vectors")


def missing(name: str) -> str:
    """Why these vectors cannot be used, or nothing. Where they should be there (CI), their absence is an error."""
    if (ROOT / name).is_dir():
        return ""
    reason = f"vectors are not there: put {name} at {ROOT} or set REMIT_VECTORS"
    if os.environ.get("CI") == "true" and BESIDE.is_dir():
        raise FileNotFoundError(reason)
    return reason


def absent(name: str) -> list[object]:
    """One parameter that skips and says why."""
    return [pytest.param(None, marks=pytest.mark.skip(reason=missing(name)), id="absent")]


def files(name: str, pattern: str) -> list[object]:
    """Every file of a set, as parameters named by their last two parts."""
    if missing(name):
        return absent(name)
    return [pytest.param(path, id="/".join(path.parts[-2:])) for path in sorted((ROOT / name).rglob(pattern))]

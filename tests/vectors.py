"""Where vectors other people made are found: beside the repository or at $REMIT_VECTORS."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def vectors(name: str) -> Path:
    """Return the folder, or skip saying so; in CI nothing skips."""
    root = Path(os.environ.get("REMIT_VECTORS") or Path(__file__).parents[2] / "shared" / "vectors")
    if not (root / name).is_dir():
        if os.environ.get("CI") == "true" and Path(__file__).parents[2].joinpath("shared").is_dir():
            pytest.fail(f"{root / name} is not there")
        pytest.skip(f"vectors are not there: put {name} at {root} or set REMIT_VECTORS", allow_module_level=True)
    return root / name

"""A NATS user for one task: mint, and kill seen to be in force, on a real server with accounts in a full resolver."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from credentials import absent, remit
from pytest import skip

GRANTS = {"publish": [{"under": ["orders", "acme"]}], "inbox": True}


def main() -> None:
    """Remit alone: OpenBao has no engine for NATS."""
    try:
        from tests.issuers.nats_house import house

        with house() as there:
            remit("nats", (there.settings(), there.environ()), GRANTS)
    except (skip.Exception, ModuleNotFoundError) as missing:
        absent("nats", "remit", str(missing))


main()

"""Server settings: flags over `REMIT_*` over `[server]` in `remit.toml` over defaults, each with where it came from."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from .exits import Exit, Failure

DEFAULTS: Mapping[str, Any] = {
    "data": Path("remit-data"),
    "host": "127.0.0.1",
    "port": 7450,
    "public_url": "",
    "database": "",
    "tls_cert": "",
    "tls_key": "",
    "trust_domain": "remit.local",
    "workload_api": "",
    "svid_ttl": 3600,
    "rotate_keys_after": 2_592_000,
    "key_overlap": 3600,
    "workers": 1,
    "drain": 0,
    "out_dir": "",
    "nats": "",
    "nats_creds": "",
    "nats_domain": "",
}
EDGE: Mapping[str, Any] = {
    "data": Path("remit-edge"),
    "host": "127.0.0.1",
    "port": 7451,
    "tls_cert": "",
    "tls_key": "",
    "backlog": 100_000,
    "nats": "",
    "nats_creds": "",
    "nats_domain": "",
}
# What holds a secret may be in a file, whose name is in `REMIT_X_FILE`.
IN_FILES = frozenset({"database", "nats"})
WHOLE: Mapping[str, tuple[int, int]] = {
    "port": (0, 65_535),
    "backlog": (100, 10_000_000),
    "svid_ttl": (2, 86_400),
    "rotate_keys_after": (60, 300 * 86_400),
    "key_overlap": (1, 7 * 86_400),
    "workers": (1, 64),
    "drain": (0, 300),
}


def effective(flags: Mapping[str, Any], folder: Path = Path(), kind: str = "server") -> dict[str, tuple[Any, str]]:
    """Return each setting's value and its source: `flag`, `REMIT_X`, `remit.toml`, or `default`.

    Of an `edge` the variables are `REMIT_EDGE_X`, and its table is `[edge]`.
    """
    defaults, prefix = (EDGE, "REMIT_EDGE_") if kind == "edge" else (DEFAULTS, "REMIT_")
    written = _from_file(folder / "remit.toml", kind, defaults)
    found: dict[str, tuple[Any, str]] = {}
    for name, default in defaults.items():
        variable = prefix + name.upper()
        if name in flags:
            found[name] = (flags[name], "flag")
        elif os.environ.get(variable):
            found[name] = (_typed(name, os.environ[variable], variable), variable)
        elif name in IN_FILES and (path := os.environ.get(f"{variable}_FILE")):
            found[name] = (_read(path, f"{variable}_FILE"), f"{variable}_FILE")
        elif name in written:
            found[name] = (_typed(name, written[name], "remit.toml"), "remit.toml")
        else:
            found[name] = (default, "default")
    return found


def _read(path: str, source: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{source}: {path} cannot be read", Exit.USAGE) from error


def _from_file(path: Path, kind: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        table = tomllib.loads(path.read_text()).get(kind, {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Failure(f"{path}: {error}", Exit.USAGE) from error
    for name in table:
        if name not in defaults:
            near = get_close_matches(name, defaults, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(defaults)}"
            raise Failure(f"{path}: [{kind}] has no setting {name!r}; {hint}", Exit.USAGE)
    return dict(table)


def _typed(name: str, value: Any, source: str) -> Any:
    if name in WHOLE:
        least, most = WHOLE[name]
        if not str(value).isdecimal() or not least <= int(value) <= most:
            raise Failure(f"{source}: {name} must be {least} to {most}, not {value!r}", Exit.USAGE)
        return int(value)
    if not isinstance(value, str):
        raise Failure(f"{source}: {name} must be text", Exit.USAGE)
    return Path(value) if name == "data" else value

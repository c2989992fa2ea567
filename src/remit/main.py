"""The `remit` command: which composition root does what. They alone name implementations."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn


def main() -> NoReturn:
    """The `remit` command. `--version` answers before anything heavy is imported."""
    if sys.argv[1:] == ["--version"]:
        from remit import __version__

        print(f"remit {__version__}")
        sys.exit(0)
    from remit.cli.app import Parts, run

    run(Parts(_serve, _enforce, _gateway, _describe, _egress, _egress_run, _serve_edge, _check_store, _restore))


def _serve(announce: Callable[[str, Path, Path, str], None], **options: Any) -> None:
    from remit.roots.server import serve

    serve(announce, **options)


def _enforce(command: list[str], **options: Any) -> None:
    """An MCP enforcement point on this process's stdio."""
    import asyncio

    from remit.gateway.mcp import run

    asyncio.run(run(command, **options))


def _gateway(url: str, announce: Callable[[str], None], **options: Any) -> None:
    import uvloop

    from remit.gateway.mcp.serve import serve as serve_gateway

    with _traced("remit-gateway"):
        uvloop.run(serve_gateway(url, announce, **options))


def _egress(url: str, announce: Callable[[str], None], **options: Any) -> None:
    import uvloop

    from remit.gateway.egress.serve import serve as serve_egress

    with _traced("remit-egress"):
        uvloop.run(serve_egress(url, announce, **options))


@contextmanager
def _traced(service: str) -> Iterator[None]:
    import os

    from remit import telemetry

    tracing = telemetry.start(service, os.environ)
    try:
        yield
    finally:
        if tracing is not None:
            tracing.close()


def _egress_run(command: tuple[str, ...], told: Callable[[str], None], **options: Any) -> int:
    import asyncio

    from remit.gateway.egress.serve import run

    return asyncio.run(run(command, told, **options))


def _serve_edge(announce: Callable[[dict[str, Any]], None], **options: Any) -> None:
    from remit.roots.edge import serve_edge

    serve_edge(announce, **options)


def _check_store(file: Path | None, older: list[str], **given: Any) -> Any:
    from remit.roots.offline import check

    return check(file, older, **given)


def _restore(file: Path | None, known: str, by: str, **given: Any) -> Any:
    from remit.roots.offline import restore

    return restore(file, known, by, **given)


def _describe(server: str, **where: Any) -> list[tuple[str, dict[str, Any], str]]:
    """The tools of the MCP server started by `command`, or at `url` (with MCP_SERVER_TOKEN, if it wants one)."""
    import asyncio
    import os

    from remit.domain.catalogue import ServerConfig
    from remit.gateway.mcp import describe

    return asyncio.run(describe(ServerConfig(server, **where), server, os.environ.get("MCP_SERVER_TOKEN", "")))


if __name__ == "__main__":
    main()

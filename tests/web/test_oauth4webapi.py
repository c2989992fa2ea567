"""A strict OAuth client that is not ours gets transaction tokens, replaces them, and is refused in the words it knows."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from remit_client.keys import b64
from tests.web.test_flow import ACCESS
from tests.web.test_transaction_tokens import (  # fixtures are used by name
    DOMAIN,
    TXN,
    graph,  # noqa: F401
    handed,  # noqa: F401
    offline,
    server,  # noqa: F401
)

SCRIPT = Path(__file__).with_name("oauth4webapi.mjs")


@pytest.fixture
def client(tmp_path):
    if shutil.which("npm") is None:
        pytest.skip("npm is not here")
    install = ["npm", "install", "--silent", "--prefix", str(tmp_path), "oauth4webapi@3.8.8"]
    if subprocess.run(install, check=False, timeout=120).returncode:
        pytest.skip("oauth4webapi could not be installed")
    shutil.copy(SCRIPT, tmp_path / "client.mjs")
    return tmp_path / "client.mjs"


def ask(client, server, *asked):  # noqa: F811
    lines = []
    for agent, subject, kind, scope in asked:
        private = agent.key.private.private_numbers().private_value.to_bytes(32, "big")
        jwk = {**agent.key.jwk, "d": b64(private), "kid": agent.key.jkt}
        asks = {"issuer": server.url, "name": agent.name, "jwk": jwk, "domain": DOMAIN}
        lines.append(json.dumps({**asks, "subject": subject, "kind": kind, "scope": scope}))
    done = subprocess.run(
        ["node", str(client)], input="\n".join(lines), capture_output=True, text=True, check=True, timeout=60
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.soak
def test_oauth4webapi_carries_a_transaction(client, server, graph, handed):  # noqa: F811
    *_, sent = handed
    (first,) = ask(client, server, (graph["billing"], sent, ACCESS, "read write"))
    assert (first["token_type"], first["issued_token_type"]) == ("n_a", TXN)
    second, wider, loop, stranger = ask(
        client,
        server,
        (graph["ledger"], first["access_token"], TXN, "read"),
        (graph["ledger"], first["access_token"], TXN, "read admin"),
        (graph["billing"], first["access_token"], TXN, "read"),
        (graph["ledger"], sent, ACCESS, "read"),
    )
    assert offline(server, second["access_token"]).path == ("billing", "ledger")
    assert [one["error"] for one in (wider, loop, stranger)] == ["access_denied"] * 3

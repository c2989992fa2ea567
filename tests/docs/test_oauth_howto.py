"""Somebody else's MCP server, connected, reviewed and disconnected as its page says."""

from __future__ import annotations

import time

from tests.docs.howtos import fenced
from tests.docs.test_howto_commands import live, shell
from tests.oauth_house import AuthorizationServer, NotesServer
from tests.server import furnished


def test_connected_reviewed_and_disconnected_as_the_page_says(tmp_path):
    theirs = AuthorizationServer()
    notes = NotesServer(theirs)
    page = "oauth.md"
    inside = ('kind = "oauth"\n', 'kind = "oauth"\nallow_private_network = true\n')
    running, files = live(tmp_path, page, "crm", ("https://crm.example/mcp", notes.resource), inside)
    connect, review, disconnect = fenced(page, "sh")
    begin, answer = connect.splitlines()
    try:
        with running as server:
            furnished(server, files)
            token = server.http("operator").post("/v1/agents/bot/join-tokens", json={}).json()["join_token"]
            env = {
                "REMIT_DATA": str(server.data),
                "REMIT_JOIN_TOKEN": token,
                "REMIT_AGENT_DIR": str(tmp_path / "agent"),
            }
            address = shell(begin, tmp_path, **env).strip()
            said = shell(answer, tmp_path, REDIRECTED=theirs.agreed(address), **env)
            assert "crm is connected" in said and "notes.read" in said
            assert "crm.whose" in shell(review, tmp_path, REMIT_URL=server.url, **env)
            assert theirs.accounts.live() == []  # its task is over
            ending, show = disconnect.splitlines()
            shell(ending, tmp_path, **env)
            deadline = time.monotonic() + 10
            while "ended" not in shell(show, tmp_path, **env) and time.monotonic() < deadline:
                time.sleep(0.1)
            assert not theirs.accounts.refresh
            for path in ("/client/key", "/client/public", "/.well-known/client-jwks.json"):
                assert server.http().get(path).status_code == 200
            assert server.http().get("/client/other").status_code == 404
    finally:
        notes.close()
        theirs.close()

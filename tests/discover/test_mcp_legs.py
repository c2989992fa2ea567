"""Servers of one agent that are harmless one by one, and what breaks it when they are not."""

from __future__ import annotations

import json

import pytest

from remit.discover.agent_configs import read
from remit.discover.files import File
from remit.discover.mcp_legs import KNOWN, legs_of
from remit.domain.trifecta import Leg


def flagged(*servers: str) -> list[str]:
    entries = {
        name: {"command": "npx", "args": ["-y", f"@modelcontextprotocol/server-{name}@1.0.0"]} for name in servers
    }
    found = read(File(".mcp.json", json.dumps({"mcpServers": entries}).encode()))
    return [flaw.what for flaw in found.flaws if flaw.rule == "lethal-trifecta"] if found else []


def test_three_together_are_flagged_with_the_smallest_change() -> None:
    (said,) = flagged("filesystem", "postgres", "fetch")
    assert said.endswith("Smallest change that breaks it: without fetch")
    assert "private data: filesystem, postgres" in said and "a way out: fetch" in said
    (said,) = flagged("postgres", "fetch", "gmail")
    assert said.endswith("without fetch and gmail")


@pytest.mark.parametrize(
    "two", [("filesystem", "postgres"), ("fetch", "brave-search"), ("sentry", "postgres"), ("time",)]
)
def test_two_of_them_are_not(two) -> None:
    assert flagged(*two) == []


def test_a_server_is_known_by_whole_words() -> None:
    assert legs_of(["https://mcp.notion.com/mcp"]) == KNOWN["notion"]
    assert legs_of(["docker", "run", "ghcr.io/github/github-mcp-server"]) == frozenset(Leg)
    assert legs_of(["npx", "prefetcher", "githubber", "slackline"]) == frozenset()
    assert legs_of(["npx", "@scope/google-drive"]) == KNOWN["google-drive"]

"""The official conformance suite's `auth` scenarios with Remit as the client (see `conformance_client`)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .test_gateway_conformance import GET_IT, NODE, SUITE

pytestmark = pytest.mark.soak
CLIENT = Path(__file__).parent / "conformance_client.py"
PASS = (
    "metadata-default", "metadata-var1", "metadata-var2", "metadata-var3", "scope-from-www-authenticate",
    "scope-from-scopes-supported", "scope-omitted-when-undefined", "token-endpoint-auth-basic",
    "token-endpoint-auth-post", "token-endpoint-auth-none", "pre-registration", "resource-mismatch",
    "offline-access-scope", "offline-access-not-supported", "iss-supported", "iss-not-advertised",
    "iss-supported-missing", "iss-wrong-issuer", "iss-unexpected", "iss-normalized", "metadata-issuer-mismatch",
    "client-credentials-basic",
)  # fmt: skip
# Where Remit does less than the suite would have it, on purpose, and what it is that fails.
LESS = {
    "scope-step-up": "scope-step-up",  # nothing is widened without a person
    "authorization-server-migration": "sep-2352-reregister-on-as-change",  # nor moved to another server
    "basic-cimd": "cimd-client-id-used",  # a warning: the suite knows one document, and Remit has its own
}


def suite(name: str) -> tuple[int, int, str]:
    """(checks passed, checks failed, all that was said)."""
    if not (NODE.exists() and SUITE.exists()):
        if os.environ.get("REMIT_NEEDS_CONFORMANCE"):
            pytest.fail(f"needs the conformance suite: {GET_IT}")
        pytest.skip(f"needs the conformance suite: {GET_IT}")
    command = f"{sys.executable} {CLIENT}"
    words = [str(NODE), str(SUITE), "client", "--command", command, "--scenario", f"auth/{name}"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    said = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, env=env)
    told = said.stdout + said.stderr
    found = re.search(r"Passed: (\d+)/(\d+), (\d+) failed", told)
    assert found, told[-2000:]
    return int(found[1]), int(found[3]), told


@pytest.mark.parametrize("name", PASS)
def test_every_check_passes(name):
    passed, failed, told = suite(name)
    assert passed and not failed and "OVERALL: FAILED" not in told, told[-3000:]


@pytest.mark.parametrize("name", LESS)
def test_it_does_less_on_purpose(name):
    _, _, told = suite(name)
    named = {match for line in told.splitlines() if "FAILURE" in line or "WARNING" in line
             for match in re.findall(r"\[([a-z0-9-]+) *\]", line)}  # fmt: skip
    assert named and all(one.startswith(LESS[name]) for one in named), named

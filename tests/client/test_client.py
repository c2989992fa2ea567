"""The client against a real server: permits, holds, denials, and no way through on an error."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import anyio
import httpx
import pytest

import remit_client as remit
from remit_client.protocol import _Token
from remit_client.wire import Send, checked


def joined(server, tmp_path, name="bot"):
    token = server.http("operator").post(f"/v1/agents/{name}/join-tokens", json={}).json()["join_token"]
    return remit.Remit(server.url, agent_dir=tmp_path / "agent", join_token=token)


def answer(server, yes, delay=0.2, who="frank"):
    """A person who answers whatever waits for this agent's newest task."""

    def later():
        time.sleep(delay)
        http = server.http(who)
        pending = http.get("/v1/approvals", params={"state": "pending", "limit": 500}).json()["items"]
        newest = max(pending, key=lambda item: item["asked_at"])
        http.post(f"/v1/approvals/{newest['id']}/answer", json={"digest": newest["digest"], "yes": yes})

    thread = threading.Thread(target=later)
    thread.start()
    return thread


PAY = {"customer": "acme", "invoice": 17, "amount": "120.00"}


def test_a_task_from_start_to_end(server, tmp_path):
    client = joined(server, tmp_path)
    with client.task("pay", goal="pay it", customer="acme") as task:
        assert task.call("list", customer="acme").why
        credential = task.credential("shown")
        assert credential["value"].startswith("canary-")
        assert "canary" not in repr(credential) + str(credential) + f"{credential}"
        with pytest.raises(remit.Denied) as denied:
            task.call("list", customer="globex")
        assert denied.value.reasons == ("out_of_scope",)
        thread = answer(server, True)
        assert task.call("pay", **PAY).why == ("frank agreed.",)
        thread.join()
        with pytest.raises(remit.Held) as held:
            task.call("pay", PAY, wait=0)
        assert held.value.approval in str(held.value) and held.value.approvers == ("finance",)
        thread = answer(server, False)
        with pytest.raises(remit.Denied) as denied:
            task.call("pay", **PAY)
        assert denied.value.reasons == ("approval_refused",)
        thread.join()
        with pytest.raises(remit.Held):
            task.call("pay", {**PAY, "invoice": 18}, wait=1)
        used = task.id
    assert server.http("operator").get(f"/v1/tasks/{used}").json()["end_reason"] == "done"
    with pytest.raises(remit.Denied):
        task.call("list", customer="acme")
    again = remit.Remit(server.url, agent_dir=tmp_path / "agent")  # the key is kept; nothing else is needed
    with again.task("pay", goal="g", customer="acme") as second:
        assert second.id != used


def test_an_exception_in_the_block_is_kept_and_ends_the_task(server, tmp_path):
    client = joined(server, tmp_path)
    with pytest.raises(ZeroDivisionError), client.task("pay", goal="g", customer="acme") as task:
        raise ZeroDivisionError("secret text")
    ended = server.http("operator").get(f"/v1/tasks/{task.id}").json()
    assert (ended["state"], ended["end_reason"]) == ("closed", "failed: ZeroDivisionError")


def test_a_token_for_another_server_is_bound_to_its_origin(server, tmp_path):
    seen = []

    class Resource(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.path, self.headers.get("Authorization", ""), self.headers.get("DPoP", "")))
            self.send_response(302 if self.path == "/redirect" else 200)
            if self.path == "/redirect":
                self.send_header("Location", f"http://localhost:{self.server.server_port}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    resource = HTTPServer(("127.0.0.1", 0), Resource)
    threading.Thread(target=resource.serve_forever, daemon=True).start()
    origin = f"http://127.0.0.1:{resource.server_port}"
    client = joined(server, tmp_path)
    with client.task("pay", goal="g", customer="acme") as task:
        auth = task.auth("https://rs.example", origin)
        with httpx.Client(auth=auth, follow_redirects=True, trust_env=False) as http:
            http.get(f"{origin}/direct?q=1")
            http.get(f"{origin}/redirect")
            http.get(f"http://localhost:{resource.server_port}/lookalike")
    resource.shutdown()
    by_path = {path: (authorization, proof) for path, authorization, proof in seen}
    assert by_path["/direct?q=1"][0].startswith("DPoP ") and by_path["/direct?q=1"][1]
    assert by_path["/elsewhere"][0] == "" and by_path["/lookalike"] == ("", "")
    # What httpx carries along a redirect is the spent proof of the first URL.
    assert by_path["/elsewhere"][1] in ("", by_path["/redirect"][1])
    assert by_path["/direct?q=1"][1] != by_path["/redirect"][1]


def test_the_async_twin(server, tmp_path):
    token = server.http("operator").post("/v1/agents/bot/join-tokens", json={}).json()["join_token"]

    async def main():
        client = remit.AsyncRemit(server.url, agent_dir=tmp_path / "agent", join_token=token)
        assert await client.prove() == "bot"
        async with client.task("pay", goal="g", customer="acme") as task:
            assert (await task.call("list", customer="acme")).why
            with pytest.raises(remit.Denied):
                await task.call("list", customer="x")
            thread = answer(server, True)
            assert (await task.call("pay", PAY)).why
            thread.join()
            assert (await task.credential("shown"))["value"]
            assert await task.auth("https://rs.example")
            used = task.id
            async with client.adopt("pay", used) as same:
                assert (await same.call("list", customer="acme")).why
            assert (await task.get(f"/v1/tasks/{used}"))["state"] == "open"
        with pytest.raises(ZeroDivisionError):
            async with client.task("pay", goal="g", customer="acme"):
                raise ZeroDivisionError
        await client.close()
        return used

    used = asyncio.run(main())
    assert server.http("operator").get(f"/v1/tasks/{used}").json()["state"] == "closed"


def test_module_level_configuration_comes_from_the_environment(server, tmp_path, monkeypatch):
    token = server.http("operator").post("/v1/agents/bot/join-tokens", json={}).json()["join_token"]
    for name, value in (("URL", server.url), ("AGENT_DIR", str(tmp_path / "a")), ("JOIN_TOKEN", token)):
        monkeypatch.setenv(f"REMIT_{name}", value)
    monkeypatch.setattr("remit_client.sync._default", None)
    with remit.task("pay", goal="g", customer="acme", duration_s=60, max_calls=1) as task:
        task.call("list", customer="acme")
        with pytest.raises(remit.Denied) as denied:
            task.call("list", customer="acme")
    assert denied.value.reasons == ("budget_spent",)

    async def main():
        async with remit.atask("pay", goal="g", customer="acme") as other:
            return other.id

    assert asyncio.run(main())


def test_what_a_wrong_proposal_says(server, tmp_path):
    client = joined(server, tmp_path)
    assert client.prove() == "bot"
    with pytest.raises(remit.Refused, match="must match"), client.task("pay", goal="g", customer="ACME"):
        pass
    with pytest.raises(remit.Denied), client.task("nothing", goal="g"):
        pass
    with client.task("pay", goal="g", customer="acme") as task, pytest.raises(remit.Denied, match="offers: rs, shown"):
        task.credential("nothing")
    client.close()


def test_leaving_after_the_end_or_the_deadline_is_quiet(server, tmp_path):
    client = joined(server, tmp_path)
    with client.task("pay", goal="g", customer="acme", duration_s=1) as late:
        time.sleep(1.2)
    with pytest.raises(remit.RemitError):
        late.call("list", customer="acme")
    with client.task("pay", goal="g", customer="acme") as task:
        task.end("enough")
        client.close()  # leaving asks nothing more
    ended = server.http("operator").get(f"/v1/tasks/{task.id}").json()
    assert (ended["state"], ended["end_reason"]) == ("closed", "enough")


def test_tokens_are_renewed_before_they_expire_and_not_otherwise(server, tmp_path):
    client = joined(server, tmp_path)
    with client.task("pay", goal="g", customer="acme") as task:
        first, bound = task.access_token(), task.token("https://rs.example")
        assert (task.access_token(), task.token("https://rs.example")) == (first, bound)
        auth = task.auth("https://rs.example")
        assert _sent(auth) == f"DPoP {bound}"
        work = task._work
        work._token = replace(work._token, until=time.monotonic() - 1)
        assert task.call("list", customer="acme").why and task.access_token() != first
        work._elsewhere["https://rs.example"] = replace(work._elsewhere["https://rs.example"], until=0.0)
        assert _sent(auth) not in ("", f"DPoP {bound}")
        leases = server.http("operator").get(f"/v1/tasks/{task.id}/leases").json()["items"]
        assert len(leases) == 2


def _sent(auth, url="https://rs.example/x"):
    return next(auth.sync_auth_flow(httpx.Request("GET", url))).headers.get("Authorization", "")


def test_the_person_who_asked_is_the_initiator(server, tmp_path):
    client = joined(server, tmp_path)
    token = server.http("dana").post("/v1/subject-tokens", json={"agent": "bot"}).json()["subject_token"]
    with client.task("pay", goal="g", customer="acme", on_behalf_of=token) as task:
        assert task.get(f"/v1/tasks/{task.id}")["initiator"] == "person:dana"
    with pytest.raises(remit.RemitError), client.task("pay", goal="g", customer="acme", on_behalf_of=token):
        raise AssertionError("a subject token is good once")


def test_a_new_key_or_another_server_uses_the_fresh_invitation(server, tmp_path):
    joined(server, tmp_path).prove()
    (tmp_path / "agent" / "key.pem").unlink()
    assert remit.Remit(server.url, agent_dir=tmp_path / "agent").agent.name == ""  # agent.json is the old key's
    client = joined(server, tmp_path)
    with client.task("pay", goal="g", customer="acme") as task:
        assert task.id
    stranger = remit.AgentKey.load_or_create(tmp_path / "moved")
    (tmp_path / "moved" / "agent.json").write_text(json.dumps({"agent": "bot", "jkt": stranger.jkt}))
    token = server.http("operator").post("/v1/agents/bot/join-tokens", json={}).json()["join_token"]
    moved = remit.Remit(server.url, agent_dir=tmp_path / "moved", join_token=token)  # known, but not to this server
    with moved.task("pay", goal="g", customer="acme") as task:
        assert task.id
    (tmp_path / "moved" / "agent.json").write_text("{")
    with pytest.raises(remit.NotAuthenticated):
        remit.Remit(server.url, agent_dir=tmp_path / "moved", join_token="").prove()


def test_a_cancelled_block_still_ends_its_task(server, tmp_path):
    token = server.http("operator").post("/v1/agents/bot/join-tokens", json={}).json()["join_token"]
    ids = []

    async def main():
        client = remit.AsyncRemit(server.url, agent_dir=tmp_path / "agent", join_token=token)

        async def body():
            async with client.task("pay", goal="g", customer="acme") as task:
                ids.append(task.id)
                await anyio.sleep(60)

        running = asyncio.create_task(body())
        while not ids:
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        with anyio.move_on_after(0.5):  # keeps cancelling at every await, the end's own included
            await body()
        await client.close()

    asyncio.run(main())
    states = {server.http("operator").get(f"/v1/tasks/{i}").json()["state"] for i in ids}
    assert len(ids) == 2 and states == {"closed"}


def test_an_agent_that_proved_nothing_is_told_how(server, tmp_path):
    client = remit.Remit(server.url, agent_dir=tmp_path / "agent", join_token="")
    with pytest.raises(remit.NotAuthenticated, match="remit agent invite"):
        client.prove()
    client = remit.Remit(server.url, agent_dir=tmp_path / "agent", join_token="join_nothing")
    with pytest.raises(remit.NotAuthenticated):
        client.prove()


def test_a_key_others_can_read_is_refused(tmp_path):
    remit.AgentKey.load_or_create(tmp_path / "agent")
    path = tmp_path / "agent" / "key.pem"
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    os.chmod(path, 0o644)
    with pytest.raises(remit.RemitError, match="can be read by others"):
        remit.AgentKey.load_or_create(tmp_path / "agent")
    os.chmod(path, 0o600)
    path.write_text("")
    with pytest.raises(remit.RemitError, match="not a private key"):
        remit.AgentKey.load_or_create(tmp_path / "agent")
    os.chmod(path.parent, 0o777)
    with pytest.raises(remit.RemitError, match="can be written by others"):
        remit.AgentKey.load_or_create(tmp_path / "agent")


def test_processes_that_start_at_once_share_one_key(tmp_path):
    gate = threading.Barrier(8)

    def load():
        gate.wait()
        return remit.AgentKey.load_or_create(tmp_path / "agent").jkt

    with ThreadPoolExecutor(8) as pool:
        found = {future.result() for future in [pool.submit(load) for _ in range(8)]}
    assert len(found) == 1 and [p.name for p in (tmp_path / "agent").iterdir()] == ["key.pem"]


class Broken(BaseHTTPRequestHandler):
    """Answers everything the same wrong way."""

    status, body = 500, b"oops"

    def do_POST(self):
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_GET = do_POST  # noqa: N815

    def log_message(self, *args):
        pass


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, b"oops", remit.Unreachable),
        (503, b'{"detail":"store"}', remit.Unreachable),
        (200, b"not json", remit.Unreachable),
        (429, b"{}", remit.Unreachable),
        (401, b"{}", remit.NotAuthenticated),
        (404, b"[]", remit.NotFound),
        (302, b"", remit.Refused),
        (200, b"", remit.Unreachable),
        (200, b"{}", remit.Unreachable),
        (200, b'{"decision":"permit","why":"all"}', remit.Unreachable),
        (200, b"[" * 200_000, remit.Unreachable),
        (200, b'"' + b"x" * 5_000_000 + b'"', remit.Unreachable),
        (400, b'{"detail":"d","field":"f"}', remit.Refused),
        (403, b'{"detail":"d","reasons":["r"]}', remit.Denied),
    ],
)
def test_every_wrong_answer_is_an_exception_never_a_permit(tmp_path, status, body, error):
    kind = type("Wrong", (Broken,), {"status": status, "body": body})
    wrong = HTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=wrong.serve_forever, daemon=True).start()
    client = remit.Remit(f"http://127.0.0.1:{wrong.server_port}", agent_dir=tmp_path / "a", join_token="x")
    (tmp_path / "a" / "agent.json").write_text(json.dumps({"agent": "bot"}))
    client.agent.name = "bot"
    task = client.adopt("pay", "tsk_x")
    task._work._token = _Token("t", time.monotonic() + 100)
    with pytest.raises(error):
        task.call("list", customer="acme")
    wrong.shutdown()


class Dripping(BaseHTTPRequestHandler):
    """Never silent for long, never done."""

    def do_POST(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(b" ")
                time.sleep(0.05)

    def log_message(self, *args):
        pass


def test_an_answer_that_never_ends_is_no_answer(tmp_path, monkeypatch):
    monkeypatch.setattr("remit_client.wire.CONNECT", 0)
    dripping = HTTPServer(("127.0.0.1", 0), Dripping)
    threading.Thread(target=dripping.serve_forever, daemon=True).start()
    client = remit.Remit(f"http://127.0.0.1:{dripping.server_port}", agent_dir=tmp_path / "a")
    began = time.monotonic()
    with pytest.raises(remit.Unreachable, match="too slow"):
        client.run(checked(Send("POST", client.agent.url, {}, patience=0.4)))
    assert time.monotonic() - began < 5
    dripping.shutdown()


def test_no_server_means_no(tmp_path):
    client = remit.Remit("http://127.0.0.1:1", agent_dir=tmp_path / "a", join_token="x")
    with pytest.raises(remit.Unreachable, match="the answer is no"), client.task("pay", goal="g"):
        raise AssertionError("the block must not run")

"""`remit gateway` between the official SDK's client, unmodified, and servers that know nothing of it."""

from __future__ import annotations

import asyncio
import subprocess
import time
from contextlib import suppress
from copy import copy
from pathlib import Path

import mcp_types as types
import pytest
from mcp import Client, StdioServerParameters, stdio_client

from tests.server import REMIT, furnished, process

from .gates import NOTES, agent_dir, at_work, catalogue, described, free_port, gateway, tool


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    state = tmp_path_factory.mktemp("notes")
    port = free_port()
    with process(tmp_path_factory.mktemp("gate") / "data") as running:
        lines = described(running, "notes", [*NOTES, str(state)])
        tools = {
            name: tool(line, "irreversible" if name == "notes.delete_note" else "read")
            for name, line in lines.items()
            if name != "notes.unreviewed"
        }
        command = [*NOTES, str(state)]
        resource, patient, spare = (f"http://127.0.0.1:{p}/mcp" for p in (port, free_port(), free_port()))
        more = "".join(
            f'[[credentials]]\nname = "{name}"\nissuer = "tokens"\nttl = "10m"\ngrants = {{ audience = "{at}" }}\n'
            for name, at in (("patient", patient), ("spare", spare))
        )
        files = catalogue(resource, {"notes": f"command = {command}"}, tools, list(tools), more)
        server = furnished(running, files)
        with gateway(server, state, port, "--wait", "0") as child:
            server.state, server.resource, server.gateway = state, child.resource, child
            server.agent_dir = agent_dir(server, state / "agent")
            server.patient, server.spare = patient, spare
            yield server


@pytest.fixture(scope="module")
def patient(gate, tmp_path_factory):
    """The same behind a gateway that waits."""
    port = int(gate.patient.rsplit(":", 1)[1].split("/")[0])
    with gateway(gate, tmp_path_factory.mktemp("patient"), port, "--wait", "30") as child:
        found = copy(gate)
        found.state, found.agent_dir, found.resource = gate.state, gate.agent_dir, child.resource
        yield found


def text(result):
    return result.content[0].text


def talk(gate, conversation, **options):
    async def main():
        async with at_work(gate, gate.agent_dir, gate.resource, **options) as (client, task):
            return await conversation(client, task)

    return asyncio.run(main())


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_unmodified_client_lists_and_calls(gate, mode):
    async def conversation(client, task):
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert names == ["read_note", "delete_note", "change", "big", "die"]
        result = await client.call_tool("read_note", {"name": "a"})
        assert text(result) == "note a REMIT=False" and not result.is_error
        denied = await client.call_tool("unreviewed", {"name": "a"})
        assert denied.structured_content["remit"]["reasons"] == ["tool_unknown"]

    talk(gate, conversation, mode=mode)


def approve(gate, approval):
    frank = gate.http("frank")
    found = frank.get(f"/v1/approvals/{approval}").json()
    frank.post(f"/v1/approvals/{approval}/answer", json={"digest": found["digest"], "yes": True})


@pytest.mark.parametrize("answers", ["accept", "decline"])
def test_waiting_2025_11_25_clients_are_shown_the_page_and_see_progress(gate, patient, answers):
    shown, said, deleted = [], [], patient.state / "deleted"

    async def elicited(context, params):
        shown.append((params.url, params.elicitation_id))
        if answers == "accept":
            await asyncio.to_thread(approve, patient, params.elicitation_id)
        return types.ElicitResult(action=answers)

    async def progress(done, total, message):
        said.append(message)

    async def conversation(client, task):
        return await client.call_tool("delete_note", {"name": answers}, progress_callback=progress)

    result = talk(patient, conversation, mode="legacy", elicitation_callback=elicited)
    assert len(shown) == 1 and shown[0][0].endswith(shown[0][1]) and "finance" in said[0]
    assert (text(result) == f"deleted {answers}") if answers == "accept" else result.is_error
    assert (answers in (deleted.read_text() if deleted.exists() else "")) is (answers == "accept")


def test_who_hangs_up_undoes_nothing_that_was_approved(gate, patient):
    """The client goes away while its call waits; the person agrees; a retry gets the outcome of the one execution."""

    async def conversation(client, task):
        waiting = asyncio.create_task(client.call_tool("delete_note", {"name": "left"}))
        while not (pending := patient.http("frank").get("/v1/approvals", params={"state": "pending"}).json()["items"]):
            await asyncio.sleep(0.05)
        first = asyncio.create_task(client.call_tool("delete_note", {"name": "left"}))
        waiting.cancel()
        approve(patient, pending[-1]["id"])
        assert text(await first) == "deleted left"
        again = await client.call_tool("delete_note", {"name": "left"})
        assert text(again) == "deleted left" and again.meta["remit/replayed"]

    talk(patient, conversation)
    assert (patient.state / "deleted").read_text().split().count("left") == 1


def test_a_changed_description_suspends_the_tool_and_is_shown_as_a_difference(gate):
    async def conversation(client, task):
        assert not (await client.call_tool("read_note", {"name": "a"})).is_error
        await client.call_tool("change", {"name": "x"})
        assert "read_note" not in [tool.name for tool in (await client.list_tools()).tools]
        result = await client.call_tool("read_note", {"name": "a"})
        assert result.structured_content["remit"]["reasons"] == ["tool_changed"]

    talk(gate, conversation)

    async def another_task_has_another_process(client, task):
        assert "read_note" in [tool.name for tool in (await client.list_tools()).tools]

    talk(gate, another_task_has_another_process)


def test_a_dead_server_is_started_again(gate):
    async def conversation(client, task):
        died = await client.call_tool("die", {"name": "x"})
        assert died.is_error and "not known" in text(died)
        deadline = time.monotonic() + 20
        while (result := await client.call_tool("read_note", {"name": "a"})).is_error and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
        assert text(result) == "note a REMIT=False"

    talk(gate, conversation)


@pytest.mark.soak
def test_a_task_that_ended_keeps_no_process(gate):
    """And what it was answered before is not given again."""

    async def conversation(client, task):
        pids = {
            int(pid) for pid in Path(f"/proc/{gate.gateway.pid}/task/{gate.gateway.pid}/children").read_text().split()
        }
        assert not (await client.call_tool("read_note", {"name": "a"})).is_error
        now = {
            int(pid) for pid in Path(f"/proc/{gate.gateway.pid}/task/{gate.gateway.pid}/children").read_text().split()
        }
        (mine,) = now - pids
        gate.http("operator").post(f"/v1/tasks/{task.id}/end", json={"reason": "enough"})
        deadline = time.monotonic() + 20
        while Path(f"/proc/{mine}").exists() and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
        assert not Path(f"/proc/{mine}").exists()
        ended.append(True)

    ended = []
    with suppress(Exception):  # the client cannot say goodbye with a token that is none any more
        talk(gate, conversation)
    assert ended


def test_sessions_are_nobody_elses_and_end_with_the_gateway(gate, tmp_path):
    def children(parent):
        return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]

    ended = []

    async def main():
        async with (
            at_work(gate, gate.agent_dir, child.resource) as (one, _),
            at_work(gate, gate.agent_dir, child.resource) as (other, _),
        ):
            for client in (one, other, one):
                assert not (await client.call_tool("read_note", {"name": "a"})).is_error
            pids = children(child.pid)
            assert len(pids) == 2  # two tasks of one agent, two processes
            child.terminate()
            assert await asyncio.to_thread(child.wait, 20) == 0
            assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
            ended.append(True)

    port = int(gate.spare.rsplit(":", 1)[1].split("/")[0])
    with gateway(gate, tmp_path, port) as child, suppress(Exception):  # the clients find nobody to say goodbye to
        asyncio.run(main())
    assert ended


# --- `remit mcp --gateway`: a client that can only start a command ---


def environment(gate):
    return gate.env(REMIT_URL=gate.url, REMIT_AGENT_DIR=str(gate.agent_dir))


def talk_stdio(gate, conversation, mode):
    async def main():
        server = StdioServerParameters(
            command=REMIT,
            args=["mcp", "--purpose", "work", "--goal", "g", "--gateway", gate.resource],
            env=environment(gate),
        )
        async with Client(stdio_client(server), mode=mode, read_timeout_seconds=30) as client:
            await conversation(client)

    asyncio.run(main())


def tasks(gate, state):
    return [
        task["id"]
        for task in gate.http("operator").get("/v1/tasks", params={"state": state, "limit": 500}).json()["items"]
    ]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_unmodified_client_has_what_the_gateway_has_for_its_task(gate, mode):
    before = set(tasks(gate, "open"))

    async def conversation(client):
        (mine,) = set(tasks(gate, "open")) - before
        assert [tool.name for tool in (await client.list_tools()).tools][:2] == ["read_note", "delete_note"]
        assert text(await client.call_tool("read_note", {"name": "a"})) == "note a REMIT=False"
        held = await client.call_tool("delete_note", {"name": f"bridge-{mode}"})
        assert held.is_error and held.structured_content["remit"]["decision"] == "hold"
        approve(gate, held.structured_content["remit"]["approval"]["id"])
        done = await client.call_tool("delete_note", {"name": f"bridge-{mode}"})
        assert not done.is_error and (gate.state / "deleted").read_text().count(f"bridge-{mode}") == 1
        tasks_of[mode] = mine

    tasks_of = {}
    talk_stdio(gate, conversation, mode)
    assert tasks_of[mode] in tasks(gate, "closed")


@pytest.mark.parametrize(
    ("more", "said", "code"),
    [
        (["--gateway", "SPARE"], "cannot be reached", 7),
        (["--gateway", "http://127.0.0.1:9/mcp"], "none that this task's purpose grants", 1),
        (["--gateway", "http://127.0.0.1:9/mcp", "--server", "x"], "say what is behind it", 2),
        ([], "say what is behind it", 2),
    ],
)
def test_what_is_behind_is_one_of_two(gate, more, said, code):
    initialize = '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}\n'
    done = subprocess.run(
        [REMIT, "mcp", "--purpose", "work", "--goal", "g", *(gate.spare if word == "SPARE" else word for word in more)],
        env=environment(gate), input=initialize, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    print(done)
    assert done.returncode == code and said in done.stderr

"""The how-to pages for agents run as they stand: each Python block against a real server, with the framework itself."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import inspect
import re
from pathlib import Path

import pytest

import remit_client as remit
from tests.server import process

ROOT = Path(__file__).parents[2]
PAY = ("send_payment", {"customer": "acme", "invoice": 17, "amount": "120.00"}, "call_1")


def blocks(page):
    """(the section it is in, the code)."""
    found, section = [], ""
    for part in re.split(
        r"^(## [^\n]+|```python\n.*?^```)$", (ROOT / "docs" / "howto" / page).read_text(), flags=re.S | re.M
    ):
        if part.startswith("## "):
            section = part[3:]
        elif part.startswith("```python\n"):
            found.append((section, part[10:-3]))
    return found


def executed(code, names):
    """Top-level `await` too, as people paste it into a notebook."""
    compiled = compile(code, "how-to", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(compiled, names)  # what the flag gives for `await` is a coroutine
    if inspect.iscoroutine(result):
        asyncio.run(result)


@pytest.fixture(scope="module")
def billing(tmp_path_factory):
    folder = ROOT / "examples" / "billing"
    files = {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.suffix in (".toml", ".cedar") and not path.name.endswith(".cases.toml")
    }
    at = tmp_path_factory.mktemp("billing")
    with process(at / "data") as server:
        http = server.http("operator")
        answer = http.post("/v1/catalogue", json={"files": files})
        assert answer.status_code == 200, answer.text
        token = http.post("/v1/agents/invoice-bot/join-tokens", json={}).json()["join_token"]
        server.client = remit.Remit(server.url, agent_dir=at / "agent", join_token=token)
        server.client.prove()
        yield server


@pytest.fixture
def task(billing):
    with billing.client.task("pay-invoices", goal="Pay ACME", customer="acme") as opened:
        yield opened


def test_the_ten_minutes(billing, monkeypatch, capsys):
    monkeypatch.setattr("remit_client.sync._default", billing.client)
    (_, code), (_, asgi) = blocks("agent.md")
    executed(code, {})
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "[17, 18]" and said[1].startswith("waits for ") and said[2].startswith("Outside this task")
    executed(asgi, {"app": lambda scope, receive, send: None})


def _openai():
    from tests.adapters.drivers.openai_agents import Script, function_tool

    def send_payment(customer: str, invoice: int, amount: str) -> str:
        """Pay."""
        raise AssertionError("it ran")

    return {"model": Script([PAY]), "send_payment": function_tool(send_payment)}


def _langchain():
    from langchain_core.tools import tool

    from tests.adapters.drivers.langchain import Script

    @tool
    def send_payment(customer: str, invoice: int, amount: str) -> str:
        """Pay."""
        raise AssertionError("it ran")

    return {"model": Script(calls=[PAY]), "send_payment": send_payment}


def _pydantic():
    from pydantic_ai.messages import ModelResponse, ToolCallPart
    from pydantic_ai.models.function import FunctionModel

    def send_payment(customer: str, invoice: int, amount: str) -> str:
        raise AssertionError("it ran")

    name, arguments, call = PAY
    model = FunctionModel(lambda messages, info: ModelResponse([ToolCallPart(name, arguments, tool_call_id=call)]))
    return {"model": model, "send_payment": send_payment}


SECTIONS = {
    "OpenAI Agents SDK": ("agents", _openai, True),
    "LangChain and LangGraph": ("langchain", _langchain, True),
    "Pydantic AI": ("pydantic_ai", _pydantic, True),
    "FastMCP and the MCP SDK": ("fastmcp", dict, False),
}


@pytest.mark.parametrize("section", SECTIONS)
def test_a_framework_as_its_section_says(task, capsys, section):
    needed, names, holds = SECTIONS[section]
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not here: make adapters")
    (_, guard), *rest = blocks("frameworks.md")
    code = dict(rest)[section]
    given = {"task": task, **names()}
    executed(guard, given)
    executed(code, given)
    if holds:
        assert capsys.readouterr().out.startswith("waits for ")


def test_every_block_is_run():
    assert [name for name, _ in blocks("frameworks.md")] == ["", *SECTIONS]
    assert len(blocks("agent.md")) == 2


def test_each_adapter_is_short_and_says_what_it_is_worth():
    found = sorted((ROOT / "src" / "remit_client" / "adapters").glob("[a-z]*.py"))
    assert len(found) == 8
    for path in found:
        text = path.read_text()
        assert len(text.splitlines()) < 100 and "Grade: *hook*" in text, path.name
    import remit_client.adapters as package

    said = Path(inspect.getfile(package)).read_text()
    assert "import" not in said.replace("imported", ""), "nothing of a framework is imported before it is asked for"

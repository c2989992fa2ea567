"""One contract, every framework: the same cases against the real server through a wire that can fail."""

from __future__ import annotations

import importlib
import importlib.util
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import remit_client as remit
from tests.adapters.drivers import NAMES
from tests.adapters.house import INSIDE, SECRET_RESULT, house

# (driver module, class, what must be installed, whether CI has it)
DRIVERS = {
    "langchain": ("langchain", "Driver", "langchain"),
    "langchain-async": ("langchain", "AsyncDriver", "langchain"),
    "pydantic-ai": ("pydantic_ai", "Driver", "pydantic_ai"),
    "openai-agents": ("openai_agents", "Driver", "agents"),
    "claude-agent": ("claude_agent", "Driver", "claude_agent_sdk"),
    "google-adk": ("google_adk", "Driver", "google.adk"),
    "crewai": ("crewai", "Driver", "crewai"),
    "fastmcp": ("fastmcp", "Driver", "fastmcp"),
    "mcp": ("mcp", "Driver", "mcp_types"),
}
PAY = {"customer": "acme", "invoice": 17, "amount": "120.00"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with house(tmp_path_factory.mktemp("house")) as opened:
        yield opened


def here(module):
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


# Too big, or at odds with others, for the environment that every test has: `make adapters` runs these.
APART = ("claude-agent", "crewai", "google-adk")


@pytest.fixture(params=[pytest.param(n, marks=[pytest.mark.frameworks] if n in APART else []) for n in sorted(DRIVERS)])
def framework(request):
    module, name, needed = DRIVERS[request.param]
    if not here(needed):
        pytest.skip(f"{needed} is not here: make adapters")
    return getattr(importlib.import_module(f"tests.adapters.drivers.{module}"), name)


@pytest.fixture
def task(home):
    with home.task() as opened:
        yield opened


@pytest.fixture
def driver(framework, task):
    return framework(remit.Guard(task, tools=NAMES))


def test_a_permitted_call_runs_once_and_its_result_is_observed(home, task, driver):
    turn = driver.attempt(("list_invoices", {"customer": "acme"}, "c1"))
    assert SECRET_RESULT in turn.text and turn.held is None
    assert driver.tools.ran == [("list", {"customer": "acme"})]
    assert home.spent(task) == 1
    assert [path for path, _ in home.wire.seen if path.endswith(f"{task.id}/observations")]


def test_a_denied_call_does_not_run_and_says_what_to_do(task, driver):
    turn = driver.attempt(("list_invoices", {"customer": "globex"}, "c1"))
    assert driver.tools.ran == []
    assert "Outside this task" in turn.text and "Nothing was done." in turn.text


def test_a_denial_names_no_policy(task, driver):
    turn = driver.attempt(("wipe", {"customer": "acme"}, "c1"))
    assert driver.tools.ran == [] and "Denied" in turn.text
    assert not [word for word in INSIDE if word in turn.text], turn.text


def held(driver, arguments=PAY, call="c1"):
    """A held call: paused natively where the framework can, else told to the model."""
    turn = driver.attempt(("pay", arguments, call))
    assert driver.tools.ran == []
    if driver.native:
        assert turn.held and turn.held["url"].endswith(turn.held["approval"]) and not turn.said
        assert turn.held["approvers"] == ["finance"]
        approval = turn.held["approval"]
    else:
        assert "Held" in turn.text and "finance must agree" in turn.text
        approval = turn.text.partition("/console/approvals/")[2].split()[0]
    assert not [word for word in INSIDE if word in str(turn.held) + str(turn.said)]
    return turn, approval


def again(driver, turn, arguments=PAY, call="c1"):
    return driver.resume(turn) if driver.native else driver.attempt(("pay", arguments, call))


def test_a_held_call_resumes_when_people_agreed_and_runs_once(home, task, driver):
    turn, approval = held(driver)
    home.answer(approval)
    assert "pay done" in again(driver, turn).text
    assert driver.tools.ran == [("pay", PAY)]
    assert home.spent(task) == 1
    _, another = held_after(driver)
    assert another != approval


def held_after(driver):
    """The approval was for one run: the same arguments again are another question."""
    before = list(driver.tools.ran)
    driver.tools.ran.clear()
    found = held(driver, call="c2")
    driver.tools.ran[:] = before
    return found


def test_a_refused_call_never_runs(home, task, driver):
    turn, approval = held(driver)
    home.answer(approval, yes=False)
    assert "said no" in again(driver, turn).text
    assert driver.tools.ran == [] and home.spent(task) == 0


def test_resuming_without_an_answer_is_no_approval(home, task, driver):
    turn, _ = held(driver)
    later = again(driver, turn)
    assert driver.tools.ran == [] and "must agree first" in str(later.said) + str(later.held)


def test_arguments_edited_after_the_approval_are_another_question(home, task, driver):
    turn, approval = held(driver)
    home.answer(approval)
    edited = {**PAY, "amount": "12000.00"}
    if driver.edits:
        later = driver.resume(turn, edited)
    else:
        later = driver.attempt(("pay", edited, "c1"))
    assert driver.tools.ran == []
    assert "must agree first" in str(later.said) + str(later.held)
    assert approval not in str(later.said) + str(later.held)


def test_a_call_that_was_decided_before_it_ran_spends_one_permit(home, task, framework):
    guard = remit.Guard(task, tools=NAMES)
    driver = framework(guard)
    call = remit.ToolCall("list_invoices", {"customer": "acme"}, "c1")
    assert isinstance(guard.decide(call), remit.Permit)
    assert isinstance(guard.decide(call), remit.Permit)
    driver.attempt(("list_invoices", {"customer": "acme"}, "c1"))
    assert home.spent(task) == (1 if driver.ids else 2) and len(driver.tools.ran) == 1
    driver.attempt(("list_invoices", {"customer": "acme"}, "c1"))
    assert home.spent(task) == (2 if driver.ids else 3), "a call that ran needs another permit to run again"


@pytest.mark.parametrize("mode", ["down", "garbage", "absurd"])
def test_no_usable_answer_means_no(home, task, driver, mode):
    home.wire.mode = mode
    turn = driver.attempt(("list_invoices", {"customer": "acme"}, "c1"))
    assert driver.tools.ran == []
    assert "no answer means no" in turn.text and "Nothing was done." in turn.text
    assert home.server.url not in turn.text and "127.0.0.1" not in turn.text


@pytest.mark.parametrize("mode", ["slow", "drip"])
def test_a_late_answer_means_no(home, task, framework, mode):
    driver = framework(remit.Guard(task, tools=NAMES, deadline=0.7))
    task.call("list", customer="acme")  # what is slow from now on is the decision
    home.wire.mode = mode
    started = time.monotonic()
    turn = driver.attempt(("list_invoices", {"customer": "acme"}, "c1"))
    assert time.monotonic() - started < 3.0 + getattr(driver, "starts_in", 0)
    assert driver.tools.ran == [] and "within 0.7 s" in turn.text


def test_a_result_that_was_not_accepted_is_withheld(home, task, driver):
    home.wire.mode = "deaf"
    turn = driver.attempt(("list_invoices", {"customer": "acme"}, "c1"))
    assert len(driver.tools.ran) == 1
    assert SECRET_RESULT not in str(turn.said) + str(turn.held)
    assert "withheld" in str(turn.said) or turn.stopped, "either the model is told, or it is asked nothing more"


def test_many_calls_at_once_are_each_decided(home, task, framework, driver):
    with ThreadPoolExecutor(6) as pool:
        turns = list(pool.map(lambda n: driver.attempt(("list_invoices", {"customer": "acme"}, f"c{n}")), range(6)))
    assert all(SECRET_RESULT in turn.text for turn in turns)
    assert len(driver.tools.ran) == 6 and home.spent(task) == 6


def test_several_calls_of_one_turn_are_each_decided(home, task, driver):
    calls = [("list_invoices", {"customer": name}, f"c-{name}") for name in ("acme", "globex")]
    turn = driver.attempt(*calls)
    assert SECRET_RESULT in turn.said["c-acme"] and "Denied" in turn.said["c-globex"]
    assert driver.tools.ran == [("list", {"customer": "acme"})]


def test_ci_has_the_frameworks_that_it_is_said_to_have():
    if os.environ.get("CI") == "true":
        for needed in ("langchain", "pydantic_ai", "agents", "fastmcp"):
            assert importlib.util.find_spec(needed), needed

"""The guard and its decorator against a real server; what the adapters' suite does not show."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import enum
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

import remit_client as remit
from remit_client.contract import plain
from remit_client.decorated import Withheld
from tests.adapters.house import SECRET_RESULT, house

LIST = remit.ToolCall("list", {"customer": "acme"}, "c1")
PAY = {"customer": "acme", "invoice": 17, "amount": "120.00"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with house(tmp_path_factory.mktemp("house")) as opened:
        yield opened


@pytest.fixture
def task(home):
    with home.task() as opened:
        yield opened


def test_a_decorated_function_is_decided_by_its_signature(home, task):
    ran = []

    @remit.guard("pay", task=task)
    def send(customer, /, invoice, *, amount=Decimal("120.00")):
        ran.append((customer, invoice, amount))
        return "paid"

    with pytest.raises(remit.Held) as held:
        send("acme", 17)
    home.answer(held.value.approval)
    assert send("acme", invoice=17) == "paid" and ran == [("acme", 17, Decimal("120.00"))]
    with pytest.raises(remit.Held):
        send("acme", 17)
    with pytest.raises(remit.Denied, match="Nothing was done"):
        send("globex", 17)
    with pytest.raises(TypeError):
        send(17)
    assert len(ran) == 1


def test_the_current_task_is_the_innermost_open_one(home):
    @remit.guard
    def list(customer):
        return SECRET_RESULT

    with pytest.raises(remit.Denied, match="No task is open here"):
        list("acme")
    with home.task() as outer:
        with home.task() as inner:
            list("acme")
            assert remit.current() is inner
        list("acme")
        assert (home.spent(inner), home.spent(outer)) == (1, 1)
        found = []
        thread = threading.Thread(target=lambda: found.append(remit.current()))  # another context: no task there
        thread.start()
        thread.join()
        assert found == [None]
    assert remit.current() is None


def test_an_async_function_and_an_async_task(home):
    async def main():
        client = remit.AsyncRemit(home.server.url, agent_dir=home.client.agent.directory)

        @remit.guard("list")
        async def list_invoices(customer):
            return SECRET_RESULT

        async with client.task("pay", goal="g", customer="acme") as task:
            assert await list_invoices("acme") == SECRET_RESULT
            with pytest.raises(remit.Denied):
                await list_invoices("globex")
            guard = remit.Guard(task)
            held = await guard.adecide(remit.ToolCall("pay", PAY))
            assert isinstance(held, remit.Pending) and not await guard.await_(held, 0.1)
            for blocking in (lambda: guard.decide(LIST), lambda: guard.wait(held, 1)):
                with pytest.raises(TypeError):
                    blocking()
            assert "withheld" in guard.observe(LIST, 1)
            many = await asyncio.gather(*(guard.adecide(dataclasses.replace(LIST, id=f"n{n}")) for n in range(8)))
            assert all(isinstance(one, remit.Permit) for one in many)
        await client.close()

    asyncio.run(main())


def test_waiting_for_a_person_while_the_function_waits(home, task):
    @remit.guard("pay", task=task, wait=10)
    def pay(customer, invoice, amount):
        return "paid"

    def later():
        http = home.server.http("frank")
        while not (items := http.get("/v1/approvals", params={"state": "pending"}).json()["items"]):
            time.sleep(0.05)
        home.answer(items[-1]["id"])

    thread = threading.Thread(target=later)
    thread.start()
    assert pay(**PAY) == "paid"
    thread.join()


def test_a_result_that_cannot_be_reported_is_nobodys(home, task):
    for result in (b"bytes", object(), {1: 2}, float("nan"), "x" * (1024 * 1024 + 1)):
        with pytest.raises(Withheld, match="withheld"):
            remit.guard("list", task=task, ignore=("result",))(lambda customer, result: result)("acme", result)
    with pytest.raises(TypeError, match="generator"):
        remit.guard(lambda: (yield))


def test_arguments_that_hide_each_other_are_refused(task):
    @remit.guard("list", task=task)
    def list_(customer, /, **rest):
        raise AssertionError

    with pytest.raises(TypeError, match="two values"):
        list_("globex", customer="acme")


def test_one_call_spends_one_permit_until_it_ran(home, task):
    guard = remit.Guard(task)
    assert isinstance(guard.decide(LIST), remit.Permit) and isinstance(guard.decide(LIST), remit.Permit)
    assert home.spent(task) == 1
    other = remit.ToolCall("list", {"customer": "acme", "more": None}, "c1")
    assert isinstance(guard.decide(other), remit.Deny)  # one argument more is another call
    assert guard.observe(LIST, "result") == ""
    guard.decide(LIST)
    assert home.spent(task) == 2
    guard.settled(LIST)
    guard.decide(LIST)
    assert home.spent(task) == 3
    nameless = remit.ToolCall("list", {"customer": "acme"})
    guard.decide(nameless)
    guard.decide(nameless)
    assert home.spent(task) == 5


def test_one_call_asked_by_many_at_once_spends_one_permit(home, task):
    guard = remit.Guard(task)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(guard.decide, [LIST] * 8))
    assert home.spent(task) == 1
    assert {type(one) for one in found} <= {remit.Permit, remit.Deny}
    assert all(one.reasons == ("busy",) for one in found if isinstance(one, remit.Deny))


def test_a_permit_is_for_one_task_only(home):
    guard = remit.Guard()
    for _ in range(2):
        with home.task() as task:
            guard.decide(LIST)
            assert home.spent(task) == 1
    with home.task() as ended:
        guard.decide(LIST)
        ended.end()
        # What was permitted before the end is not asked again; a new call is.
        assert isinstance(guard.decide(dataclasses.replace(LIST, id="c2")), remit.Deny)


def test_arguments_that_are_no_json_are_denied(task):
    guard = remit.Guard(task)
    recursive: dict = {}
    recursive["again"] = recursive
    for arguments in ({"customer": b"x"}, {"customer": float("inf")}, recursive, {"customer": object()}):
        for call in (remit.ToolCall("list", arguments, "c"), remit.ToolCall("list", arguments)):
            found = guard.decide(call)
            assert isinstance(found, remit.Deny) and "plain JSON" in found.text


def test_offline_is_a_choice_and_only_when_nobody_is_there(home, task):
    task.access_token()
    lax, strict = remit.Guard(task, offline="permit", deadline=0.5), remit.Guard(task, deadline=0.5)
    for mode, lax_says in (
        ("down", remit.Permit),
        ("slow", remit.Permit),
        ("garbage", remit.Deny),
        ("absurd", remit.Deny),
    ):
        home.wire.mode = mode
        assert isinstance(lax.decide(LIST), lax_says), mode
        assert isinstance(strict.decide(LIST), remit.Deny)
        lax.settled(LIST)
    home.wire.mode = "down"
    assert lax.observe(LIST, "r") == "" and "withheld" in strict.observe(LIST, "r")
    home.wire.mode = "deaf"
    assert "withheld" in lax.observe(LIST, "r")  # an answer that says no is not "nobody there"
    home.wire.mode = "pass"
    assert isinstance(lax.decide(remit.ToolCall("list", {"customer": "globex"})), remit.Deny)
    with pytest.raises(ValueError):
        remit.Guard(task, offline="whatever")


def test_a_slow_server_costs_its_deadline_and_no_more(home, task):
    task.call("list", customer="acme")
    for mode in ("slow", "drip"):
        home.wire.mode = mode
        started = time.monotonic()
        assert isinstance(remit.Guard(task, deadline=0.4).decide(LIST), remit.Deny)
        assert isinstance(asyncio.run(remit.Guard(task, deadline=0.4).adecide(LIST)), remit.Deny)
        assert time.monotonic() - started < 2.5


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Pair:
    a: int
    b: object


def test_values_as_json_says_them():
    day, some = datetime.date(2026, 1, 2), UUID(int=1)
    given = Pair(1, {"x": (Decimal("1.10"), Colour.RED, day, Path("/a"), some, None, True)})
    assert plain(given) == {"a": 1, "b": {"x": ["1.10", "red", "2026-01-02", "/a", str(some), None, True]}}

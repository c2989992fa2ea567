"""The guard: decide before a tool runs, report what it returned, and let nothing through on an error.

    guard = remit.Guard(task, tools={"send_payment": "payments.send"})
    match guard.decide(ToolCall("send_payment", {"invoice": 17}, id="call_1")):
        case Permit(): ...        # once
        case Pending() as held: ... # held.url is where a person answers
        case Deny() as denied: ...  # denied.text is for the model

It runs in the agent's own process, so it is *advisory* against an agent that was taken over; what cannot be gone
around is the gateway, and credentials that exist only for the task.
"""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

import anyio
import anyio.to_thread
import httpx

from .aio import AsyncTask
from .answers import Permit
from .contract import DEADLINE, Deny, Pending, ToolCall, Verdict, plain, refusal, withheld
from .errors import Denied
from .sync import Task
from .telemetry import Telling, span
from .within import current

T = TypeVar("T")
REMEMBERED = 1024
REMEMBERED_S = 300.0
_BUSY = Deny("This very call is being decided already; wait for its answer.", ("busy",))
_NO_TASK = "No task is open here, and outside a task nothing may happen."


class Guard:
    """One task's guard; `task` is the current one (`with remit.task(…)`) when none is given.

    `tools` gives catalogue names to the framework's names. A permit is for one execution: it is remembered by
    (task, call id, arguments) until the result is observed, so that a framework that asks twice for one call spends
    one. `offline="permit"` lets calls through while Remit cannot be reached at all; only for agents where that is the
    lesser harm, and never for an answer that says no or cannot be understood. `observe=False` is for tools whose
    results something else reports, such as a gateway in front of them.
    """

    def __init__(
        self,
        task: Task | AsyncTask | None = None,
        *,
        tools: Mapping[str, str] | None = None,
        deadline: float = DEADLINE,
        offline: Literal["deny", "permit"] = "deny",
        observe: bool = True,
    ) -> None:
        if offline not in ("deny", "permit"):
            raise ValueError("offline is 'deny' or 'permit'")
        self._task = task
        self._tools = dict(tools or {})
        self._deadline = deadline
        self._offline = offline
        self._observe = observe
        self._lock = threading.Lock()
        self._permits: OrderedDict[str, tuple[Permit, float]] = OrderedDict()
        self._asking: set[str] = set()

    @property
    def task(self) -> Task | AsyncTask:
        """The task that calls are decided in; `Denied` when there is none."""
        found = self._task or current()
        if found is None or not found.id:
            raise Denied(_NO_TASK, reasons=("task_not_open",), next_step="Open one with `with remit.task(…)`.")
        return found

    def named(self, tool: str) -> str:
        """The catalogue's name of a framework's tool."""
        return self._tools.get(tool, tool)

    # --- decide ---

    def decide(self, call: ToolCall) -> Verdict:
        """Permit, Deny or Pending, within the deadline; raises nothing. Blocks: use `adecide` in a coroutine."""
        asked = _Asked(self, call)
        with asked:
            if asked.verdict is None:
                task = asked.task
                if not isinstance(task, Task):
                    raise TypeError("an AsyncTask is asked with `adecide`")
                try:
                    asked.verdict = _within(self._deadline, lambda: task.call(*asked.words, wait=0, pin=call.pin))
                except Exception as error:
                    asked.failed(error)
        return asked.answer()

    async def adecide(self, call: ToolCall) -> Verdict:
        """The same, without blocking the event loop, for either kind of task."""
        asked = _Asked(self, call)
        with asked:
            if asked.verdict is None:
                try:
                    asked.verdict = await self._aask(asked.task, call, asked.words)
                except Exception as error:
                    asked.failed(error)
        return asked.answer()

    async def _aask(self, task: Task | AsyncTask, call: ToolCall, words: tuple[str, Mapping[str, Any]]) -> Permit:
        with anyio.fail_after(self._deadline):
            if isinstance(task, AsyncTask):
                return await task.call(*words, wait=0, pin=call.pin)
            return await anyio.to_thread.run_sync(
                lambda: task.call(*words, wait=0, pin=call.pin), abandon_on_cancel=True
            )

    # --- observe ---

    def observe(self, call: ToolCall, content: Any) -> str:
        """Report a result; empty when it was accepted, else the text that must take the result's place."""
        with _Reported(self, call) as told:
            if self._observe:
                task, body = self.task, plain(content)
                if not isinstance(task, Task):
                    raise TypeError("an AsyncTask is told with `aobserve`")
                _within(self._deadline, lambda: task.observe(self.named(call.tool), body))
        return told.text

    async def aobserve(self, call: ToolCall, content: Any) -> str:
        """The same, without blocking the event loop."""
        with _Reported(self, call) as told:
            if self._observe:
                task, body, name = self.task, plain(content), self.named(call.tool)
                with anyio.fail_after(self._deadline):
                    if isinstance(task, AsyncTask):
                        await task.observe(name, body)
                    else:
                        await anyio.to_thread.run_sync(lambda: task.observe(name, body), abandon_on_cancel=True)
        return told.text

    def settled(self, call: ToolCall) -> None:
        """The call ran, whatever came of it: its permit is spent, and another run needs another."""
        with self._lock:
            self._permits.pop(self._key(call), None)

    def _key(self, call: ToolCall) -> str:
        try:
            return call.key(self.task.id, self.named(call.tool)) if call.id else ""
        except (Denied, TypeError, ValueError, RecursionError):
            return ""

    # --- people ---

    def wait(self, pending: Pending, seconds: float) -> bool:
        """Wait until people answered; False when they have not. What they said, the next decision says."""
        task = self.task
        if not isinstance(task, Task):
            raise TypeError("an AsyncTask waits with `await_`")
        return task.wait_for(pending.approval, seconds)

    async def await_(self, pending: Pending, seconds: float) -> bool:
        """The same, without blocking the event loop."""
        task = self.task
        if isinstance(task, AsyncTask):
            return await task.wait_for(pending.approval, seconds)
        return await anyio.to_thread.run_sync(lambda: task.wait_for(pending.approval, seconds), abandon_on_cancel=True)


class _Asked:
    """One decision in the making: what is remembered of it before, and after."""

    def __init__(self, guard: Guard, call: ToolCall) -> None:
        self._guard = guard
        self._call = call
        self._key = ""
        self.verdict: Verdict | None = None

    def __enter__(self) -> None:
        self._span = span("decide", self._guard.named(self._call.tool), _id(self._guard), self._call.id)
        self._telling: Telling = self._span.__enter__()
        try:
            self.task = self._guard.task
            self.words = (self._guard.named(self._call.tool), plain(self._call.arguments))
            key = self._call.key(self.task.id, self.words[0]) if self._call.id else ""
        except (Denied, TypeError, ValueError, RecursionError) as flaw:
            self.verdict = refusal(flaw, 0)
            return
        if not key:
            return
        with self._guard._lock:
            permit, until = self._guard._permits.get(key, (None, 0.0))
            if permit is not None and time.monotonic() < until:
                self.verdict = permit
            elif key in self._guard._asking:
                self.verdict = _BUSY
            else:
                self._guard._asking.add(key)
                self._key = key

    def failed(self, error: Exception) -> None:
        """Make an answer of whatever was raised."""
        self.verdict = refusal(error, self._guard._deadline)
        if self._guard._offline == "permit" and _out_of_reach(error):
            self.verdict = Permit(("Remit cannot be reached; this process was told to go on without it.",))

    def __exit__(self, *failure: Any) -> None:
        verdict = self.answer()
        if self._key:
            with self._guard._lock:
                self._guard._asking.discard(self._key)
                if isinstance(verdict, Permit):
                    self._guard._permits[self._key] = (verdict, time.monotonic() + REMEMBERED_S)
                    while len(self._guard._permits) > REMEMBERED:
                        self._guard._permits.popitem(last=False)
        word = {Permit: "permit", Deny: "deny", Pending: "hold"}[type(verdict)]
        reasons = verdict.reasons if isinstance(verdict, Deny) else ()
        approval = verdict.approval if not isinstance(verdict, Deny) else ""
        self._telling.outcome(word, **{"remit.reasons": reasons, "remit.approval": approval})
        self._span.__exit__(None, None, None)

    def answer(self) -> Verdict:
        """A verdict; one that was never reached is a no."""
        return self.verdict if self.verdict is not None else refusal(TimeoutError(), self._guard._deadline)


class _Reported:
    """One report in the making; anything that goes wrong within it withholds the result."""

    def __init__(self, guard: Guard, call: ToolCall) -> None:
        self._guard = guard
        self._call = call
        self.text = ""

    def __enter__(self) -> _Reported:
        self._guard.settled(self._call)
        self._span = span("observe", self._guard.named(self._call.tool), _id(self._guard), self._call.id)
        self._telling: Telling = self._span.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> bool:
        excused = error is not None and self._guard._offline == "permit" and _out_of_reach(error)
        if error is not None and not excused:
            self.text = withheld(self._guard.named(self._call.tool))
        self._telling.outcome("withheld" if self.text else "accepted")
        self._span.__exit__(None, None, None)
        return isinstance(error, Exception)


def _within(seconds: float, ask: Callable[[], T]) -> T:
    """Its result, or `TimeoutError`: a server that sends a byte a second outlives every socket timeout."""
    answers: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((ask(), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True).start()
    try:
        found, error = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return found  # type: ignore[return-value]


def _out_of_reach(error: BaseException) -> bool:
    """Nobody there, or not in time; an answer that cannot be understood is not that."""
    return isinstance(error, TimeoutError) or isinstance(error.__cause__, httpx.TransportError)


def _id(guard: Guard) -> str:
    try:
        return guard.task.id
    except Denied:
        return ""

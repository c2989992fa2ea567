"""`@remit.guard`: any function, decided before it runs and reported after.

@remit.guard("payments.send")
def send_payment(customer: str, invoice: int, amount: str) -> str: ...

with remit.task("pay-invoices", goal="Pay ACME's overdue invoices", customer="acme"):
    send_payment("acme", 17, amount="120.00")     # Denied and Held are raised instead of running it
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from typing import Any, TypeVar, overload

from .aio import AsyncTask
from .contract import Deny, Pending, ToolCall, Verdict
from .errors import RemitError
from .gate import Guard
from .sync import Task

F = TypeVar("F", bound=Callable[..., Any])


class Withheld(RemitError):
    """The function ran, and what it returned was not accepted; so nobody gets to read it."""


@overload
def guard(tool: F, /) -> F: ...
@overload
def guard(
    tool: str = "",
    /,
    *,
    task: Task | AsyncTask | None = None,
    ignore: Collection[str] = ("self", "cls"),
    wait: float = 0,
    **options: Any,
) -> Callable[[F], F]: ...


def guard(
    tool: Any = "",
    /,
    *,
    task: Task | AsyncTask | None = None,
    ignore: Collection[str] = ("self", "cls"),
    wait: float = 0,
    **options: Any,
) -> Any:
    """Decorate a function or a coroutine function. `tool` is its name in the catalogue, its own name by default.

    Arguments are decided by the names in its signature, defaults too, but for those in `ignore`. `wait` is how many
    seconds it waits for a person when held. The rest is `Guard`'s. Raises `Denied`, `Held`, or `Withheld`.
    """
    if callable(tool):
        return guard()(tool)

    def decorate(function: F) -> F:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError("a generator's result cannot be reported before it is used; return a list")
        gate, signature = Guard(task, **options), inspect.signature(function)
        name = tool or getattr(function, "__name__", "")

        def attempt(args: tuple[Any, ...], kwargs: dict[str, Any]) -> ToolCall:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            said: dict[str, Any] = {}
            for one, value in bound.arguments.items():
                if signature.parameters[one].kind is inspect.Parameter.VAR_KEYWORD:
                    if said.keys() & value.keys():  # `f(1, a=2)` of `f(a, /, **rest)`: one of the two would be hidden
                        raise TypeError(f"{name} got two values for {sorted(said.keys() & value.keys())}")
                    said |= {word: given for word, given in value.items() if word not in ignore}
                elif one not in ignore:
                    said[one] = value
            return ToolCall(name, said)

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            call = attempt(args, kwargs)
            verdict = gate.decide(call)
            if isinstance(verdict, Pending) and wait > 0 and gate.wait(verdict, wait):
                verdict = gate.decide(call)
            _or_raise(verdict)
            result = function(*args, **kwargs)
            return _accepted(gate.observe(call, result), result)

        @functools.wraps(function)
        async def arun(*args: Any, **kwargs: Any) -> Any:
            call = attempt(args, kwargs)
            verdict = await gate.adecide(call)
            if isinstance(verdict, Pending) and wait > 0 and await gate.await_(verdict, wait):
                verdict = await gate.adecide(call)
            _or_raise(verdict)
            result = await function(*args, **kwargs)
            return _accepted(await gate.aobserve(call, result), result)

        return arun if inspect.iscoroutinefunction(function) else run  # type: ignore[return-value]

    return decorate


def _or_raise(verdict: Verdict) -> None:
    if isinstance(verdict, Deny | Pending):
        raise verdict.error()


def _accepted(withheld: str, result: Any) -> Any:
    if withheld:
        raise Withheld(withheld)
    return result

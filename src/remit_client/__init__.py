"""The agent's side of Remit: prove, propose, call, be issued credentials, finish.

    import remit_client as remit

    with remit.task("pay-invoices", goal="Pay ACME's overdue invoices", customer="acme") as task:
        rows = connect(**task.credential("billing-db")).execute("select …")
        task.call("payments.send", customer="acme", invoice=17, amount="120.00")

A call returns when it is permitted, waits for the person when it is held, and raises `Denied` with reasons
otherwise. Whatever goes wrong on the way means no: nothing here ever lets an action through on an error.
"""

from __future__ import annotations

TYPE_CHECKING = False  # what type checkers know it as, without importing typing
if TYPE_CHECKING:
    from typing import Any

    from .aio import AsyncRemit, AsyncTask, atask
    from .answers import Permit
    from .contract import Deny, Pending, ToolCall
    from .decorated import guard
    from .dpop import DPoPAuth
    from .errors import (
        Denied,
        Held,
        NotAuthenticated,
        NotFound,
        Refused,
        RemitError,
        Unreachable,
    )
    from .gate import Guard
    from .keys import AgentKey
    from .sync import Remit, Task, task
    from .within import current

# Imported when asked for: a credential helper starts on every `git fetch` and needs none of them.
_WHERE = {
    "AgentKey": "keys",
    "AsyncRemit": "aio",
    "AsyncTask": "aio",
    "DPoPAuth": "dpop",
    "Denied": "errors",
    "Deny": "contract",
    "Guard": "gate",
    "Held": "errors",
    "NotAuthenticated": "errors",
    "NotFound": "errors",
    "Pending": "contract",
    "Permit": "answers",
    "Refused": "errors",
    "Remit": "sync",
    "RemitError": "errors",
    "Task": "sync",
    "ToolCall": "contract",
    "Unreachable": "errors",
    "atask": "aio",
    "current": "within",
    "guard": "decorated",
    "task": "sync",
}

__all__ = [
    "AgentKey",
    "AsyncRemit",
    "AsyncTask",
    "DPoPAuth",
    "Denied",
    "Deny",
    "Guard",
    "Held",
    "NotAuthenticated",
    "NotFound",
    "Pending",
    "Permit",
    "Refused",
    "Remit",
    "RemitError",
    "Task",
    "ToolCall",
    "Unreachable",
    "atask",
    "current",
    "guard",
    "task",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})

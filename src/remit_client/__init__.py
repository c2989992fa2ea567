"""The agent's side of Remit: prove, propose, call, be issued credentials, finish.

    import remit_client as remit

    with remit.task("pay-invoices", goal="Pay ACME's overdue invoices", customer="acme") as task:
        rows = connect(**task.credential("billing-db")).execute("select …")
        task.call("payments.send", customer="acme", invoice=17, amount="120.00")

A call returns when it is permitted, waits for the person when it is held, and raises `Denied` with reasons
otherwise. Whatever goes wrong on the way means no: nothing here ever lets an action through on an error.
"""

from .aio import AsyncRemit, AsyncTask, atask
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
from .keys import AgentKey
from .protocol import Permit
from .sync import Remit, Task, task

__all__ = [
    "AgentKey",
    "AsyncRemit",
    "AsyncTask",
    "DPoPAuth",
    "Denied",
    "Held",
    "NotAuthenticated",
    "NotFound",
    "Permit",
    "Refused",
    "Remit",
    "RemitError",
    "Task",
    "Unreachable",
    "atask",
    "task",
]

"""Each framework, driven without a model: one turn that calls a tool, and what the model was told of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from tests.adapters.house import SECRET_RESULT


@dataclass
class Turn:
    """`said` is what the model was told, by call id; `held` what an application was, when the call paused."""

    said: dict[str, str] = field(default_factory=dict)
    held: dict[str, Any] | None = None
    state: Any = None
    stopped: bool = False

    @property
    def text(self) -> str:
        assert len(self.said) == 1, self.said
        return next(iter(self.said.values()))


class Tools:
    """The tools themselves: what they did, really."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, dict[str, Any]]] = []
        self._lock = threading.Lock()

    def _did(self, name: str, **arguments: Any) -> str:
        with self._lock:
            self.ran.append((name, arguments))
        return SECRET_RESULT if name == "list" else f"{name} done"

    def list_invoices(self, customer: str) -> str:
        """List invoices."""
        return self._did("list", customer=customer)

    def pay(self, customer: str, invoice: int, amount: str) -> str:
        """Pay an invoice."""
        return self._did("pay", customer=customer, invoice=invoice, amount=amount)

    def wipe(self, customer: str) -> str:
        """Wipe a customer."""
        return self._did("wipe", customer=customer)


Call = tuple[str, dict[str, Any], str]  # the framework's name of the tool, arguments, call id
NAMES = {"list_invoices": "list"}

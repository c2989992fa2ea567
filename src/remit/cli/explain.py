"""`remit explain RMT-3002`: what a code means and what to do about it."""

from __future__ import annotations

import inspect

import click

from remit.domain import errors
from remit.govern.reasons import REASONS

from .app import Context
from .exits import Exit, Failure


@click.command()
@click.argument("code")
@click.pass_obj
def explain(obj: Context, code: str) -> None:
    """Explain an error code (RMT-3002) or a decision's reason (out_of_scope)."""
    for kind in errors.every_refusal():
        if kind.code == code.upper():
            text = inspect.cleandoc(kind.__doc__ or "")
            obj.out.one(
                {"code": kind.code, "title": kind.title, "status": kind.status, "meaning": text},
                f"{kind.code}  {kind.title} (HTTP {kind.status})\n{text}",
            )
            return
    for reason, text in REASONS.items():
        if reason.value == code.lower():
            obj.out.one({"code": reason.value, "meaning": text}, f"{reason.value}\n{text}")
            return
    raise Failure(
        f"there is no code {code!r}",
        Exit.NOT_FOUND,
        next_step="Codes are RMT-1000 … RMT-6003, and the reasons of a decision such as out_of_scope.",
    )

"""`remit rollout`: a revision of the catalogue that some of the edges have before the others."""

from __future__ import annotations

import click

from .api import Api
from .app import Context
from .catalogue import SHARE, rolled_out


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def rollout() -> None:
    """Begin with `remit apply FOLDER --edges 10%`; then widen, finish, or take it back.

    Edges are chosen by their names: whoever is among 10 % is among 20 %. The centre has it when it is finished.
    """


@rollout.command("show")
@click.pass_obj
def show(obj: Context) -> None:
    """Show what is rolled out, and which edges have it."""
    answer = Api(obj.person).get("/v1/rollout")
    obj.out.one(answer, rolled_out(answer))


@rollout.command("widen")
@click.argument("share", type=SHARE)
@click.pass_obj
def widen(obj: Context, share: int) -> None:
    """Let SHARE percent of the edges have it."""
    answer = Api(obj.person).post("/v1/rollout/share", {"share": share})
    obj.out.one(answer, rolled_out(answer))


@rollout.command("finish")
@click.pass_obj
def finish(obj: Context) -> None:
    """Put it in force everywhere."""
    answer = Api(obj.person).post("/v1/rollout/finish")
    obj.out.one(answer, rolled_out(answer))


@rollout.command("back")
@click.option("--reason", required=True, help="Why; goes to the log.")
@click.pass_obj
def back(obj: Context, reason: str) -> None:
    """Have every edge follow again what is in force at the centre."""
    answer = Api(obj.person).post("/v1/rollout/back", {"reason": reason})
    obj.out.one(answer, rolled_out(answer))

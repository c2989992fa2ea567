"""Watch an ended task's credentials die: one line that changes on a terminal, a line a change elsewhere."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import Any

import click

from .api import Api
from .app import Context
from .exits import Exit, Failure
from .output import ago

LOOK_AGAIN = (0.02, 1.0)


def watch(obj: Context, api: Api, task_id: str, seconds: float) -> dict[str, Any]:
    """Return the task when it has settled; a `Failure` with 5 when some credential is left after `seconds`."""
    until, pause, told = time.monotonic() + seconds, LOOK_AGAIN[0], ""
    on_terminal = sys.stderr.isatty() and not (obj.out.as_json or obj.out.quiet)
    while True:
        found: dict[str, Any] = api.get(f"/v1/tasks/{task_id}")
        left = found["credentials"]
        line = json.dumps(left) if obj.out.as_json else sentence(left)
        if line != told and left["alive"]:
            told = line
            if on_terminal:
                click.echo(f"\r\x1b[K{line}", err=True, nl=False)
            elif obj.out.as_json:
                click.echo(json.dumps({"task": task_id, "state": found["state"], "credentials": left}))
            else:
                obj.out.say(line)
        over = time.monotonic() >= until
        if on_terminal and told and (over or found["settled_at"]):
            click.echo("\r\x1b[K", err=True, nl=False)
        if found["settled_at"]:
            return found
        if over:
            step = f"They are killed all the same. Look again: remit task end {task_id}"
            raise Failure(f"after {seconds} s: {sentence(left)}", Exit.HELD, next_step=step)
        time.sleep(min(pause, max(0.0, until - time.monotonic())))
        pause = min(pause * 1.5, LOOK_AGAIN[1])


def sentence(left: Mapping[str, Any]) -> str:
    """`3 credentials left: db 2 (retry in 4 s: …, down for 2 min), tokens 1 (dies by itself in 9 min)`."""
    if not left["alive"]:
        return "every credential is dead; settling"
    parts = []
    for one in left["waits"]:
        about = [f"{one['waits']}{' ' + ago(one['at']) if one['at'] else ''}"]
        about += [one["why"]] if one["why"] else []
        about += [f"down since {ago(one['issuer_down_since'])}"] if one["issuer_down_since"] else []
        parts.append(f"{one['issuer']} {one['count']} ({', '.join(about)})")
    count = left["alive"]
    return f"{count} credential{'' if count == 1 else 's'} left: {', '.join(parts)}"

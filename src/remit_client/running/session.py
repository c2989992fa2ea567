"""One run: open the task, hand over its credentials, wait for the command, end the task, wait until all is dead."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import RemitError
from ..shapes import Private, Wanted
from ..sync import Remit, Task
from .child import FORWARDED, Child, NotStarted, Stopped, heeded, keep_memory_private, stoppable
from .door import Door
from .hooks import Hooks
from .offers import Offers
from .vault import Vault
from .watchdog import Watchdog

PATIENCE = 60.0  # seconds to wait until every credential is dead
Told = Callable[[str], None]


def run(
    remit: Remit,
    task: Task,
    wanted: Sequence[Wanted],
    command: Sequence[str],
    *,
    ends: bool,
    told: Told,
    hook_key: bool = False,
) -> int:
    """The command's exit code, 128 + n for signal n. Errors before the command starts are raised, the task ended.

    `hook_key`: the command gets REMIT_HOOK_KEY, with which its hooks may ask the server themselves.
    """
    if sys.platform != "linux":
        raise RemitError("`remit run` needs Linux.", next_step="Use remit_client's `task.credential` there.")
    keep_memory_private()
    try:
        with stoppable():
            return _run(remit, task, wanted, command, ends, told, hook_key)
    except Stopped as stopped:
        told(f"stopped by {stopped}")
        return 128 + stopped.number
    except NotStarted as wrong:
        told(str(wrong))
        return wrong.code


def _run(
    remit: Remit,
    task: Task,
    wanted: Sequence[Wanted],
    command: Sequence[str],
    ends: bool,
    told: Told,
    hook_key: bool,
) -> int:
    try:
        private = Private()
    except OSError as failure:
        step = "Set XDG_RUNTIME_DIR to a directory that is yours alone (0700)."
        raise RemitError(f"There is no place for private files ({failure.strerror}).", next_step=step) from failure
    watchdog, vault = None, None
    reason = "the command was not started"
    try:
        # What comes before `with` is undone by `finally`; the task is not entered, so that we end it in our own way.
        task.open()
        watchdog = Watchdog(remit, task, private.path, ends=ends)
        found = task.get(f"/v1/tasks/{task.id}")
        told(f"task {task.id} is open until {time.strftime('%H:%M:%S', time.localtime(found['deadline'] / 1000))}")
        vault = Vault(task.credential, found["deadline"])
        offers = Offers(wanted, vault, private)
        hooks = Hooks(task)
        door = Door(private.path / "socket", lambda asked: (hooks if "hook" in asked else offers).answer(asked))
        try:
            offers.prepare()
            for sentence in offers.warnings(found["deadline"]):
                told(sentence)
            ours = {"REMIT_TASK": task.id, "REMIT_SOCKET": str(door.path)}
            if hook_key:
                ours["REMIT_HOOK_KEY"] = task.hook_key()
            child = Child(command, offers.environment(os.environ, **ours))
            try:
                door.open()
                offers.start_renewing(told)
                code = child.wait(told)
            except BaseException:
                child.kill()
                raise
            reason = f"the command left with {code}"
            return code
        finally:
            offers.stop()
            door.close()
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)  # once it has begun, the end is not interrupted
        if vault is not None:
            vault.close()
        private.remove()
        done = _finish(task, reason, told) if ends and task.id else True
        if watchdog is not None and done:
            watchdog.stand_down()
        elif watchdog is not None:
            told("The task could not be ended; a process stays behind and tries for some minutes.")


def _finish(task: Task, reason: str, told: Told) -> bool:
    """End it and wait until its credentials are dead; False when Remit did not take the end."""
    try:
        ended: Mapping[str, Any] = task.end(reason)
    except RemitError as failure:
        told(str(failure))
        return False
    if ended["end_reason"] != reason:
        told(f"The task was {ended['state']} already: {ended['end_reason']}.")
    try:
        _wait(task, ended, told)
    except RemitError as failure:
        told(f"The task is over, but whether its credentials are dead is not known: {failure}")
    return True


def _wait(task: Task, ended: Mapping[str, Any], told: Told) -> None:
    until, last = time.monotonic() + PATIENCE, ""
    while not ended["settled_at"]:
        left = [lease for lease in task.get(f"/v1/tasks/{task.id}/leases")["items"] if lease["state"] != "ended"]
        now = time.time() * 1000
        lasting = [lease for lease in left if not lease["attempts"] and lease["retry_at"] >= lease["expires_at"]]
        said = "; ".join(f"{lease['credential']} ({lease['last_error'] or lease['state']})" for lease in left)
        if left and len(lasting) == len(left) and min(lease["expires_at"] for lease in left) > now + PATIENCE * 1000:
            seconds = (max(lease["expires_at"] for lease in left) - now) / 1000
            told(f"Nobody can take these back: {said}. They die by themselves within {seconds:.0f} s.")
            return
        if time.monotonic() > until:
            told(f"Still being killed: {said}. Remit goes on; see `remit task show {task.id}`.")
            return
        if said and said != last:
            told(f"waiting until dead: {said}")
        last = said
        stop = signal.sigtimedwait(heeded(signal.SIGINT, signal.SIGTERM, signal.SIGHUP), 0.5)
        if stop is not None:
            told("Not waiting any longer; Remit goes on killing.")
            return
        ended = task.get(f"/v1/tasks/{task.id}")
    told(f"task {task.id} is over and every credential is dead")

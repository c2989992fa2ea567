"""A small process that ends the task when `remit run` cannot: it holds one end of a pipe and waits.

It is forked before any credential exists, so there is none in its memory; it is in a session of its own, so what is
sent to the command's terminal or process group does not reach it. When the pipe closes without a word, `remit run`
was killed. When the watchdog is killed as well, the task ends at its deadline.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from ..errors import RemitError
from ..sync import Remit, Task

_DELAYS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 60.0, 60.0, 60.0, 60.0)


class Watchdog:
    """Call in a process with one thread. `ends`: whether the task is ours to end, or only the directory to remove."""

    def __init__(self, remit: Remit, task: Task, directory: Path, *, ends: bool) -> None:
        listen, self._pipe = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            _guard(listen, remit, task, directory, ends)
        os.close(listen)

    def stand_down(self) -> None:
        """All is done; it need do nothing."""
        with suppress(OSError):
            os.write(self._pipe, b".")
        os.close(self._pipe)
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def _guard(listen: int, remit: Remit, task: Task, directory: Path, ends: bool) -> NoReturn:
    """Never returns into the code that forked it, whatever happens."""
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        os.chdir("/")
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        os.dup2(listen, 3)
        os.closerange(4, os.sysconf("SC_OPEN_MAX"))
        if os.read(3, 1) == b"":
            shutil.rmtree(directory, ignore_errors=True)
            if ends:
                _end(task.over(remit.again()))
    finally:
        os._exit(0)


def _end(task: Task) -> None:
    for delay in _DELAYS:
        time.sleep(delay)
        with suppress(RemitError):
            task.end("remit run was killed", settled=False)
            return

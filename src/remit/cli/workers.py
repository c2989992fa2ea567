"""`remit up --workers N`: a parent that holds the socket and keeps N servers alive on it.

Every worker accepts from the one socket that the parent opened, so connections that come while a worker is started
again are answered by the others, and none is refused. The parent does nothing else: it opens no store.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

import structlog

Ready: TypeAlias = Callable[[Sequence[str]], None]
AGAIN_AFTER = (0.1, 10.0)  # seconds before a worker that died is started again: twice as many each time
LIVED = 10.0  # seconds after which its next death counts as the first
STOPPING = (signal.SIGTERM, signal.SIGINT)
_log = structlog.get_logger("remit.workers")


@dataclass
class _Worker:
    number: int
    pid: int = 0
    began: float = 0.0
    deaths: int = 0
    again_at: float = 0.0


@dataclass
class Workers:
    """`serve(number, lifeline, ready)` runs one worker until it is told to stop, calls `ready` once it answers, and
    stops by itself when `lifeline`, a file descriptor, can be read: then the parent is gone. `patience` is in seconds.
    """

    serve: Callable[[int, int, Ready], None]
    patience: float
    _alive: dict[int, _Worker] = field(default_factory=dict)
    _dead: list[_Worker] = field(default_factory=list)
    _told: list[int] = field(default_factory=list)
    _code: int = 0

    def run(self, count: int, announce: Ready) -> int:
        """Until a signal; 0 if every worker ended cleanly, otherwise the exit code of one that did not.

        What the first had to say is announced when all answer. If it cannot start it has said why, and that is all.
        """
        self._lifeline, self._held = os.pipe()
        self._waking, wakes = os.pipe()
        os.set_blocking(wakes, False)
        for number in (*STOPPING, signal.SIGCHLD):
            signal.signal(number, lambda number, _: self._told.append(number))
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        said = self._start(_Worker(0))
        if said is not None:
            for place in range(1, count):
                self._start(_Worker(place))
            announce(said)
            self._keep()
        self._stop()
        return self._code

    def _start(self, worker: _Worker) -> Sequence[str] | None:
        """Fork, and wait until it answers; returns what it said, or None if it died before."""
        reading, writing = os.pipe()
        sys.stdout.flush()
        pid = os.fork()
        if not pid:
            self._child(worker, reading, writing)
        os.close(writing)
        worker.pid, worker.began = pid, time.monotonic()
        self._alive[pid] = worker
        with os.fdopen(reading) as answer:
            line = answer.readline()
        return json.loads(line) if line else None

    def _child(self, worker: _Worker, reading: int, writing: int) -> None:
        """Never returns: what this process says when it fails is said as by any `remit up`."""
        signal.set_wakeup_fd(-1)
        for number in (*STOPPING, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.setpgid(0, 0)  # what a terminal sends is for the parent, which tells us
        os.close(reading)
        os.close(self._held)

        def ready(said: Sequence[str]) -> None:
            with os.fdopen(writing, "w") as answer:
                answer.write(json.dumps(list(said)) + "\n")

        self.serve(worker.number, self._lifeline, ready)
        sys.exit(0)

    def _keep(self) -> None:
        while not set(STOPPING) & set(self._told):
            self._reap()
            now = time.monotonic()
            for worker in [one for one in self._dead if one.again_at <= now]:
                self._dead.remove(worker)
                self._start(worker)
            first = min((one.again_at for one in self._dead), default=now + 60)
            self._sleep(max(0.0, first - time.monotonic()))

    def _reap(self) -> None:
        while self._alive:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            worker, code = self._alive.pop(pid), os.waitstatus_to_exitcode(status)
            self._died(worker, code)

    def _died(self, worker: _Worker, code: int) -> None:
        lived = time.monotonic() - worker.began
        worker.deaths = 1 if lived > LIVED else worker.deaths + 1
        least, most = AGAIN_AFTER
        pause = min(most, least * 2 ** min(16, worker.deaths - 1))
        worker.again_at = time.monotonic() + pause
        self._dead.append(worker)
        _log.error("a worker died", worker=worker.number, pid=worker.pid, code=code, again_in_s=pause)

    def _stop(self) -> None:
        """Tell them all, wait, and end by force whoever is not done in time."""
        self._signal(signal.SIGTERM)
        until = time.monotonic() + self.patience
        while self._alive:
            with suppress(ChildProcessError):
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid:
                    del self._alive[pid]
                    self._code = self._code or abs(os.waitstatus_to_exitcode(status))
                    continue
            left = until - time.monotonic()
            if left <= 0:
                self._signal(signal.SIGKILL)
            self._sleep(max(0.1, left))

    def _signal(self, number: int) -> None:
        for pid in self._alive:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _sleep(self, seconds: float) -> None:
        if select.select([self._waking], [], [], seconds)[0]:
            os.read(self._waking, 512)

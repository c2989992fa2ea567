"""The command itself: started so that it dies with us, told every signal we are told, its exit code ours.

It stays in our process group, so that job control and Ctrl-C work as without us: what a terminal sends reaches it
directly and is not sent a second time.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
GRACE = 10.0  # seconds between SIGTERM or SIGHUP and SIGKILL
_SI_KERNEL = 0x80  # siginfo_t.si_code: sent by the kernel, as for Ctrl-C or a hangup, to the whole group
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4


class Stopped(Exception):
    """A signal came before the command was started."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def heeded(*numbers: int) -> set[int]:
    """Of these, what we were not started to ignore, as `nohup` has it. Blocked, ignored signals would be seen too."""
    return {number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN}


class NotStarted(Exception):
    """The command cannot be run; `code` is what a shell would leave with (126, 127)."""

    def __init__(self, command: str, why: str, code: int) -> None:
        super().__init__(f"{command}: {why}")
        self.code = code


@contextmanager
def stoppable() -> Iterator[None]:
    """Here a signal that would end the process raises `Stopped` instead, so that what was opened is closed."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise Stopped(number)

    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        for number, was in before.items():
            if was is not signal.SIG_IGN:  # as under nohup
                signal.signal(number, stop)
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)


def keep_memory_private() -> None:
    """What runs inside may be this user's, and still not read our memory, where the agent's key is (prctl(2))."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


class Child:
    """Start it in a process with one thread; from then on our signals are blocked, and `wait` looks at them."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        prctl = ctypes.CDLL(None).prctl
        parent, (answer, report) = os.getpid(), os.pipe()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {*FORWARDED, signal.SIGCHLD})
        self.pid = os.fork()
        if self.pid == 0:
            try:
                prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                if os.getppid() != parent:
                    os._exit(125)
                for number in (*FORWARDED, signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores the last two
                    if number in (signal.SIGPIPE, signal.SIGXFSZ) or signal.getsignal(number) is not signal.SIG_IGN:
                        signal.signal(number, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
                os.execvpe(command[0], list(command), dict(environment))  # noqa: S606 - that is what we are for
            except OSError as failure:
                os.write(report, str(failure.errno or 0).encode())
            finally:
                os._exit(127)
        os.close(report)
        with os.fdopen(answer, "rb") as said:
            failed = said.read()
        if failed:
            os.waitpid(self.pid, 0)
            raise NotStarted(command[0], os.strerror(int(failed)), 127 if int(failed) == 2 else 126)

    def wait(self, told: Callable[[str], None]) -> int:
        """Its exit code, or 128 + n when signal n killed it."""
        kill_at = 0.0
        while True:
            found = signal.sigtimedwait({*heeded(*FORWARDED), signal.SIGCHLD}, 0.5)
            if found is not None and found.si_signo != signal.SIGCHLD:
                if found.si_code != _SI_KERNEL:
                    os.kill(self.pid, found.si_signo)
                if found.si_signo in (signal.SIGTERM, signal.SIGHUP) and not kill_at:
                    kill_at = time.monotonic() + GRACE
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return _code(status)
            if kill_at and time.monotonic() > kill_at:
                told(f"It did not end in {GRACE:.0f} s; killing it.")
                os.kill(self.pid, signal.SIGKILL)
                kill_at = float("inf")

    def kill(self) -> None:
        """At once."""
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def _code(status: int) -> int:
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

"""What runs on the hosts, each a process of its own: start, kill, stop, pause, resume, skew, and start again what died.

A party that ought to run and does not is started again by `tend`, as a service manager would.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from remit.testing.postgres import binaries

from . import hosts

REMIT = str(Path(sys.executable).parent / "remit")
CENTRE = "remit.faults"  # the name that every replica answers to
PORT = 7450
PLANTED = Path(__file__).parent / "planted"
AGAIN = 1.0  # seconds between a death and the next start


class Party:
    """One process on one host. `clock` is the file by which libfaketime shifts its wall clock; None: the host's."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str], clock: Path | None = None
    ) -> None:
        self.name, self.wanted, self.deaths = name, False, 0
        self._command = ["ip", "netns", "exec", name, *command]
        self._log, self._clock = log, clock
        self._env = {k: v for k, v in os.environ.items() if not k.startswith("REMIT_")} | dict(env)
        self._child: subprocess.Popen[bytes] | None = None
        self._died = 0.0
        self._lock = threading.RLock()
        if clock is not None:
            self.skew(0)
            self._env |= {
                "LD_PRELOAD": hosts.faketime(),
                "FAKETIME_TIMESTAMP_FILE": str(clock),
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "FAKETIME_CACHE_DURATION": "1",
                "NO_FAKE_STAT": "1",
            }

    @property
    def running(self) -> bool:
        """Whether the process is there, paused or not."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start it, unless it runs; it is kept running from now on."""
        with self._lock:
            if self.running and not self.wanted:
                self.kill()
            self.wanted = True
            if not self.running:
                with self._log.open("ab") as log:
                    self._child = subprocess.Popen(
                        self._command, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                    )

    def kill(self) -> None:
        """With -9, and everything it started; it stays dead until `start`."""
        with self._lock:
            self.wanted = False
            self._signal(signal.SIGKILL)
            if self._child is not None:
                self._child.wait()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to end, as an operator would, and do not wait; what has not ended by its next `start` is killed."""
        with self._lock:
            self.wanted = False
            if self._child is not None and self.running:
                self._signal(signal.SIGCONT)
                self._child.send_signal(how)

    def pause(self) -> None:
        """It does nothing, and nobody is told."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """As if nothing had been."""
        self._signal(signal.SIGCONT)

    def skew(self, seconds: int) -> None:
        """Its wall clock is wrong by that much, within a second; its monotonic clock is not."""
        assert self._clock is not None, f"{self.name} has the host's clock"
        draft = self._clock.with_suffix(".next")
        draft.write_text(f"{seconds:+d}\n")
        draft.replace(self._clock)

    def tend(self) -> bool:
        """Start it again when it died by itself a moment ago; returns whether it had."""
        with self._lock:
            if not self.wanted or self.running:
                return False
            if not self._died:
                self._died, self.deaths = time.monotonic(), self.deaths + 1
            if time.monotonic() - self._died < AGAIN:
                return False
            self._died = 0.0
            self.start()
            return True

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._family() if self.running else ():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _family(self) -> list[int]:
        """It first, then what it started."""
        assert self._child is not None
        found = [self._child.pid]
        for pid in found:
            with suppress(OSError):
                found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return found


def replica(name: str, address: str, folder: Path, dsn: str, env: Mapping[str, str], tls: Path, bug: str = "") -> Party:
    """One of several servers over one database; `bug` is planted into it (see `planted`). `env` names the broker."""
    command = [REMIT, "--json", "up", "--data", str(folder / name), "--host", address, "--port", str(PORT)]
    command += ["--public-url", f"https://{CENTRE}:{PORT}", "--database", dsn, "--trust-domain", "faults"]
    command += ["--tls-cert", str(tls / f"{CENTRE}.pem"), "--tls-key", str(tls / f"{CENTRE}.key")]
    return Party(name, command, folder / f"{name}.log", {**env, **plant(bug)}, folder / f"{name}.clock")


def edge(name: str, address: str, folder: Path, tls: Path, bug: str = "", nats: str = "") -> Party:
    """An edge with its store on a small disk of its own; it is enrolled before it is first started (see `enrol`).

    It hears frames over `nats`, or without a broker over a stream of the centre's.
    """
    data = folder / name / "data"
    command = [REMIT, "--json", "edge", "run", "--data", str(data), "--host", address, "--port", str(PORT)]
    command += ["--tls-cert", str(tls / f"{called(name)}.pem"), "--tls-key", str(tls / f"{called(name)}.key")]
    env = {**plant(bug), **({"REMIT_EDGE_NATS": nats} if nats else {})}
    return Party(name, command, folder / f"{name}.log", env, folder / f"{name}.clock")


def broker(name: str, address: str, folder: Path) -> Party:
    """A NATS server with JetStream. What it loses or forges costs time only: frames are signed, gaps are pulled."""
    store = folder / name
    store.mkdir()
    conf = folder / f"{name}.conf"
    conf.write_text(f'host: {address}\nport: 4222\njetstream: {{ store_dir: "{store}" }}\n')
    command = [str(Path(sys.executable).parent / "nats-server"), "-c", str(conf)]
    return Party(name, command, folder / f"{name}.log", {})


def called(name: str) -> str:
    """The name in an edge's address."""
    return f"{name}.faults"


def enrol(name: str, folder: Path, key: str, ca: str) -> None:
    """As an operator does it on the edge's host; it finds the centre by its name, at any replica."""
    file = folder / f"{name}.key"
    file.write_text(key + "\n")
    file.chmod(0o600)
    command = [REMIT, "edge", "enrol", name, "--centre", f"https://{CENTRE}:{PORT}", "--key-file", str(file)]
    hosts.run("ip", "netns", "exec", name, *command, "--ca", ca, "--data", str(folder / name / "data"))


def plant(bug: str) -> dict[str, str]:
    """The environment in which a process under test has this bug."""
    return {"PYTHONPATH": str(PLANTED), "FAULTS_PLANTED": bug} if bug else {}


class Database(Party):
    """A PostgreSQL on its own small disk, which loses nothing that it confirmed."""

    def __init__(self, name: str, address: str, folder: Path, size: str) -> None:
        self.disk = hosts.small_disk(folder / name, size)
        self.address, self.data = address, self.disk / "data"
        self._user = pwd.getpwnam("postgres")
        self._bin = binaries()
        os.chown(self.disk, self._user.pw_uid, self._user.pw_gid)
        command = [*self._as_user(), str(self._bin / "postgres"), "-D", str(self.data)]
        for setting in (
            f"listen_addresses={address}",
            f"unix_socket_directories={self.disk}",
            "max_connections=120",
            "shared_buffers=32MB",
            "max_wal_size=64MB",
            "wal_recycle=off",
            "tcp_keepalives_idle=5",
            "tcp_keepalives_interval=2",
            "tcp_keepalives_count=3",
        ):
            command += ["-c", setting]
        super().__init__(name, command, folder / f"{name}.log", {"LC_ALL": "C"})

    def make(self, *statements: str) -> None:
        """Begin: an empty cluster, a running server, and these statements."""
        password = self.disk / "password"
        password.write_text("admin-password\n")
        os.chown(password, self._user.pw_uid, self._user.pw_gid)
        hosts.run(
            *self._as_user(),
            str(self._bin / "initdb"),
            "--auth=scram-sha-256",
            f"--pwfile={password}",
            "--username=admin",
            "--encoding=UTF8",
            "--locale=C",
            "-D",
            str(self.data),
        )
        with (self.data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 10.77.0.0/24 scram-sha-256\n")
        self.start()
        wait_for(self.answers, 60, f"{self.name} does not start")
        for statement in statements:
            self.ask(statement)

    def answers(self) -> bool:
        """Whether it takes connections."""
        import psycopg

        try:
            return bool(self.ask("SELECT 1"))
        except psycopg.Error:
            return False

    def ask(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement as its administrator; the rows, if it has any."""
        import psycopg

        with psycopg.connect(self.dsn(database=database), autocommit=True, connect_timeout=3) as db:
            done = db.execute(statement)
            return done.fetchall() if done.description else []

    def dsn(self, user: str = "admin", password: str = "admin-password", database: str = "postgres") -> str:
        """A URL; the password is a throw-away server's."""
        return f"postgresql://{user}:{password}@{self.address}:5432/{database}"

    def kill(self) -> None:
        """With -9; whoever of its own is left must not be there when it starts again."""
        super().kill()
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _as_user(self) -> list[str]:
        return ["setpriv", f"--reuid={self._user.pw_uid}", f"--regid={self._user.pw_gid}", "--clear-groups"]


def wait_for(good: Callable[[], bool], seconds: float, otherwise: str) -> float:
    """Wait; returns how many seconds it took, raises after too many."""
    began = time.monotonic()
    while not good():
        if time.monotonic() - began > seconds:
            raise TimeoutError(otherwise)
        time.sleep(0.2)
    return time.monotonic() - began

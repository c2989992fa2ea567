"""Whether what was found is still good: asked only where somebody said so, of who stood beside it, and not for long."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from remit.cli.app import Context, Parts, cli
from remit.cli.output import Output
from remit.discover import Looked, scan, verify
from remit.discover.values import Fingerprints
from remit.discover.verify import Door, doors, verified
from remit.domain.leak import Live
from remit.testing.postgres import PostgresServer
from tests.issuers.servers import redis_server

FINGERPRINTS = Fingerprints(b"k" * 32)


class Stranger:
    """Listens, keeps what it is sent, and never answers."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                one, _ = self.socket.accept()
            except OSError:
                return
            self.heard.append(one.recv(65536))


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    one = Stranger()
    yield one
    one.socket.close()


def live(root: Path, *, asked: bool = True) -> dict[str, str]:
    """What is said of each file's secret."""
    one = scan([root], FINGERPRINTS, Looked(scanners=False, verify=asked))
    return {flaw.place.path: flaw.live for flaw in one.flaws}


def test_nobody_is_asked_unless_somebody_says_so(tmp_path: Path, stranger: Stranger) -> None:
    (tmp_path / "a.env").write_text(f"DB=postgres://app:pw-9Zx81-of-x@127.0.0.1:{stranger.port}/x\n")
    assert live(tmp_path, asked=False) == {"a.env": ""}
    time.sleep(0.05)
    assert stranger.heard == []


def test_a_server_that_never_answers_is_waited_for_only_so_long(
    tmp_path: Path, stranger: Stranger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "PATIENCE", 0.3)
    for number in range(6):
        text = f"DB=postgres://app:pw-9Zx81-of-{number}@127.0.0.1:{stranger.port}/x\n"
        (tmp_path / f"{number}.env").write_text(text.replace("postgres", "redis") if number % 2 else text)
    started = time.monotonic()
    assert set(live(tmp_path).values()) == {""}
    assert stranger.heard and time.monotonic() - started < 5


def test_postgresql_says(tmp_path: Path, postgres: PostgresServer) -> None:
    password = "right-9Zx81-of-app"
    with psycopg.connect(postgres.dsn(), autocommit=True) as db:
        db.execute("DROP ROLE IF EXISTS verified")
        db.execute(f"CREATE ROLE verified LOGIN PASSWORD '{password}'")
    address = f"127.0.0.1:{postgres.port}"
    (tmp_path / "good.env").write_text(
        f"A=postgresql+asyncpg://verified:{password}@{address}/postgres?sslrootcert=/x\n"
    )
    (tmp_path / "gone.env").write_text(f"B=postgres://verified:wrong-9Zx81-of-app@{address}/postgres\n")
    (tmp_path / "nobody.env").write_text(f"C=postgres://noone:other-9Zx81-of-app@{address}/postgres\n")
    (tmp_path / "away.env").write_text("D=postgres://app:more-9Zx81-of-app@127.0.0.1:1/x\n")
    assert live(tmp_path) == {"good.env": "yes", "gone.env": "no", "nobody.env": "no", "away.env": ""}


def test_redis_says(tmp_path: Path) -> None:
    with redis_server() as server:
        parts = f"admin:admin-password@127.0.0.1:{server.port}"
        (tmp_path / "good.env").write_text(f"A=redis://{parts}\n")
        (tmp_path / "gone.env").write_text(f"B=redis://admin:wrong-9Zx81-of-app@{parts.rpartition('@')[2]}\n")
        assert live(tmp_path) == {"good.env": "yes", "gone.env": "no"}


def test_aws_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        import boto3
        import httpx

        iam = boto3.client("iam", "us-east-1", aws_access_key_id="x", aws_secret_access_key="y", endpoint_url=url)
        iam.create_user(UserName="ci")
        key = iam.create_access_key(UserName="ci")["AccessKey"]
        httpx.post(f"{url}/moto-api/reset-auth", content=b"0")
        good = f"AWS_ACCESS_KEY_ID={key['AccessKeyId']}\nAWS_SECRET_ACCESS_KEY={key['SecretAccessKey']}\n"
        (tmp_path / "good.env").write_text(good)
        (tmp_path / "gone.env").write_text(
            good.replace(key["SecretAccessKey"], "wJalrXUtnFEMIK7MDENGbPxRfiCYzZ9x8y7w6v5u")
        )
        found = live(tmp_path)
    finally:
        server.stop()
    assert set(found) == {"good.env", "gone.env"} and (found["good.env"], found["gone.env"]) == ("yes", "no")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("postgres://u:p4ss-of-u@h/d", "postgres"), ("postgresql+psycopg://u:p4ss-of-u@h:1/d?options=-c", "postgres"),
        ("redis://:p4ss-of-u@h", "redis"), ("rediss://u:p4ss-of-u@h/0", "rediss"), ("mysql://u:p4ss-of-u@h/d", ""),
        ("postgres://h/d", ""), ("postgres://u:p@/d", ""), ("postgres://u:p4ss@[broken/d", ""), ("postgres://u:p@h:99999/d", ""),
        ("AKIAIOSFODNN7EXAMPLE " + "a" * 40, "aws"), ("AKIAIOSFODNN7EXAMPLE " + "a" * 40 + " " + "b" * 40, ""),
        ("AKIAIOSFODNN7EXAMPLE", ""), ("http://u:p4ss-of-u@h", ""),
    ],
)  # fmt: skip
def test_doors_are_what_is_known_how_to_ask(text: str, kind: str) -> None:
    assert [one.kind for one in doors(text)] == ([kind] if kind else [])
    assert "p4ss" not in repr(list(doors(text)))


def test_no_more_are_asked_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    async def yes(_: Door) -> Live:
        return Live.YES

    async def broken(_: Door) -> Live:
        raise verify.NoVerifier("pip install 'remit[redis]'")

    monkeypatch.setitem(verify._ASK, "postgres", yes)  # type: ignore[attr-defined]
    monkeypatch.setitem(verify._ASK, "redis", broken)  # type: ignore[attr-defined]
    known, without = verified([Door("postgres", str(n), "h") for n in range(60)] * 2)
    assert len(known) == verify.MOST and without == ["10 secrets were not asked about: no more than 50 are"]
    assert verified([Door("redis", "x", "h"), Door("postgres", "x", "h")]) == (
        {"x": Live.YES},
        ["pip install 'remit[redis]'"],
    )


def test_from_the_command_line(tmp_path: Path, stranger: Stranger, monkeypatch: pytest.MonkeyPatch) -> None:
    async def yes(_: Door) -> Live:
        return Live.YES

    monkeypatch.setitem(verify._ASK, "postgres", yes)  # type: ignore[attr-defined]
    (tmp_path / "a.env").write_text(f"DB=postgres://app:pw-9Zx81-of-x@127.0.0.1:{stranger.port}/x\n")
    none = lambda *_, **__: None  # noqa: E731
    context = Context(Output(as_json=False, quiet=False), Parts(*[none] * len(fields(Parts))))  # type: ignore[arg-type]
    done = CliRunner().invoke(cli, ["scan", str(tmp_path), "--own", "--verify"], obj=context)
    assert "STILL GOOD" in done.output and stranger.heard == []
    done = CliRunner().invoke(cli, ["--json", "scan", str(tmp_path), "--own", "--verify"], obj=context)
    assert [one["live"] for one in json.loads(done.stdout)["findings"]] == ["yes"]
    assert "REMIT" not in os.environ.get("AWS_ENDPOINT_URL", "")

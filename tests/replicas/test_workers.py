"""Several processes on one socket, and how a server leaves: kept alive, told to stop, finishing what it began."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

import httpx

from tests.replicas.estate import estate, seconds_until
from tests.server import REMIT, furnished, process


def children(pid):
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_on_sqlite_it_says_why_not_and_what_to_do(tmp_path):
    command = [REMIT, "up", "--data", str(tmp_path / "data"), "--port", "0", "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and "PostgreSQL" in done.stderr and "leave --workers out" in done.stderr


def test_workers_are_kept_alive_and_nobody_is_refused(postgres, tmp_path):
    with estate(postgres, tmp_path) as here:
        with process(tmp_path / "data", "--database", here.dsn, "--workers", "2") as server:
            furnished(server)
            parent = server.child.pid
            assert len(children(parent)) == 2
            stop, problems, answered = threading.Event(), [], [0]

            def load():
                agent = None
                while not stop.is_set():
                    try:
                        agent = agent or server.agent()
                        task, token = agent.task()
                        assert agent.call(task, token)["decision"] == "permit"
                        answered[0] += 1
                    except (httpx.RemoteProtocolError, httpx.ReadError):  # the worker that was killed was answering
                        pass
                    except Exception as problem:
                        problems.append(problem)

            threads = [threading.Thread(target=load) for _ in range(3)]
            for thread in threads:
                thread.start()
            seen = set(children(parent))
            seconds_until(lambda: answered[0] > 5, 10)
            victim = children(parent)[0]
            os.kill(victim, signal.SIGKILL)
            seconds_until(lambda: len(set(children(parent)) - {victim}) == 2, 10)
            seen |= set(children(parent))
            before = answered[0]
            seconds_until(lambda: answered[0] > before + 5, 10)
            stop.set()
            for thread in threads:
                thread.join()
            assert len(seen) == 3 and not problems
            left = children(parent)
        assert not any(Path(f"/proc/{pid}").exists() for pid in left)  # and it ended with 0: see `process`


def test_it_says_its_lines_once_and_its_workers_go_when_it_is_gone(postgres, tmp_path):
    with estate(postgres, tmp_path) as here:
        where = ["--data", str(tmp_path / "data"), "--port", "0", "--database", here.dsn, "--workers", "2"]
        child = subprocess.Popen([REMIT, "up", *where], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        lines = [child.stdout.readline() for _ in range(5)]
        assert [line.split()[0] for line in lines] == ["Remit", "data", "keys", "sign", "next"]
        workers = children(child.pid)
        again = [REMIT, "up", *where[:4], "--database", "postgresql://x:x@127.0.0.1:1/none", "--workers", "2"]
        failed = subprocess.run(again, capture_output=True, text=True, timeout=60)  # the first worker cannot start
        assert failed.returncode == 1 and failed.stderr.count("PostgreSQL cannot be opened") == 1, failed.stderr
        child.kill()
        child.wait()
        seconds_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 10)
        assert child.stdout.read() == ""


def test_before_it_stops_it_says_that_it_is_not_ready_and_finishes_what_was_asked(tmp_path):
    with process(tmp_path / "data", "--drain", "1") as server:
        port = int(server.url.rsplit(":", 1)[1])
        body = b'{"kind": "auditor", "name": "anna"}'
        head = f"POST /v1/keys HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.keys['operator']}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=10) as begun, server.http() as http:
            begun.sendall(head.encode() + body[:9])
            assert http.get("/readyz").status_code == 200
            server.child.send_signal(signal.SIGTERM)
            seconds_until(lambda: http.get("/readyz").status_code == 503, 1)
            answer = http.get("/readyz")
            assert answer.json()["code"] == "RMT-6006" and answer.headers["connection"] == "close"
            assert http.get("/healthz").status_code == 200
            seconds_until(lambda: refused(port), 3)
            assert server.child.poll() is None
            begun.sendall(body[9:])
            assert begun.recv(65536).startswith(b"HTTP/1.1 201")
        server.child.wait(5)


def refused(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0

"""The log goes out of a real server: through `kill -9`, to witnesses of somebody else, and into a folder of tiles."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.server import CATALOGUE, eventually, furnished, process
from tests.sinks import Collector, places
from tests.witness import AICS, aics

FILE = '[out.disk]\nkind = "file"\nformat = "remit"\nbatch = 20\n'
HTTP = (
    '[out.siem]\nkind = "http"\nurl = "{}/in"\nallow_private_network = true\nbatch = 50\ntoken_env = "REMIT_OUT_SIEM"\n'
)
CANARY = "canary-7f3a"


def with_out(text):
    return {**CATALOGUE, "remit.toml": CATALOGUE["remit.toml"] + text}


def size_of(server):
    return server.http("operator").get("/v1/log").json()["size"]


def caught_up(server, sinks=2):
    def look():
        return server.http("operator").get("/v1/out").json()["items"]

    return eventually(look, lambda rows: len(rows) == sinks and all(not row["behind"] for row in rows), 20)


def work(server, count=40):
    agent = server.agent()
    task, token = agent.task()
    for _ in range(count):
        agent.call(task, token)


@pytest.mark.soak
def test_killed_in_the_middle_nothing_is_missing_and_some_may_come_twice(tmp_path):
    with Collector() as collector:
        data = tmp_path / "data"
        kills = 0
        for run in range(3):
            with process(data, REMIT_OUT_SIEM=CANARY) as server:
                if run == 0:
                    furnished(server, with_out(FILE + HTTP.format(collector.url)))
                if run == 2:
                    work(server, 5)
                    caught_up(server)
                    break
                stopped = threading.Event()

                def calls(server=server, stopped=stopped):
                    try:
                        while not stopped.is_set():
                            work(server, 5)
                    except Exception:
                        return

                with ThreadPoolExecutor(1) as pool:
                    pool.submit(calls)
                    before = len(collector.came)
                    collector.answers += [0.0] * 2 + [0.3]  # it dies while this one is answered
                    eventually(lambda: len(collector.came), lambda n, b=before: n >= b + 3, 20)
                    server.child.send_signal(signal.SIGKILL)
                    server.child.wait()
                    stopped.set()
                kills += 1
        with process(data, REMIT_OUT_SIEM=CANARY) as server:
            caught_up(server)
            size = size_of(server)
            log = server.http("operator").get("/v1/log/entries?limit=1000").content.split(b"\n")[:-1]
            files = [str(data / "out" / "disk.jsonl")]
            arrived = tmp_path / "arrived.jsonl"
            arrived.write_bytes(b"".join(collector.taken))
            key = server.http().get("/log/key").text.strip()
            (tmp_path / "note").write_text(server.http("operator").get("/log/checkpoint").text)
            for path in (*files, str(arrived)):
                found = server.cli("--json", "out", "check", path, "--key", key, "--checkpoint", str(tmp_path / "note"))
                assert found.returncode == 0, found.stderr + found.stdout
                told = json.loads(found.stdout)
                assert (told["first"], told["gaps"]) == (0, []) and told["last"] >= size - 1
            got = places(collector.lines())
            assert kills == 2 and {place for place, _ in got} >= set(range(size))
            assert all(log[place] == leaf for place, leaf in got if place < len(log))
            assert all(one["authorization"] == f"Bearer {CANARY}" for one in collector.headers)
            secret = CANARY.encode()
            said = server.http("operator").get("/metrics").content + server.http("operator").get("/v1/out").content
            assert secret not in said and secret not in data.with_suffix(".log").read_bytes()
            assert not [one for one in data.rglob("*") if one.is_file() and secret in one.read_bytes()]


def test_gaps_repeats_and_forgeries_of_a_delivered_file_are_told(tmp_path):
    from remit.formats.out_record import Form, line

    def check(*lines, more=()):
        path = tmp_path / "got"
        path.write_bytes(b"".join(one + b"\n" for one in lines))
        found = subprocess.run(
            [sys.executable.replace("python", "remit"), "--json", "out", "check", str(path), *more],
            capture_output=True,
            text=True,
            check=False,
        )
        return found.returncode, json.loads(found.stdout), found.stderr

    def record(place, what="a", form=Form.REMIT):
        entry = {"at": 1, "by": "system:x", "trace": "", "type": "Followed", "data": {"size": what}, "writes": []}
        return line(form, place, json.dumps(entry).encode(), "l/log")

    code, told, _ = check(record(0), record(1, form=Form.OCSF), record(1), record(2))
    assert (code, told["repeated"], told["gaps"]) == (0, 1, [])
    code, told, said = check(record(0), record(3), record(5))
    assert code and told["gaps"] == [[1, 2], [4, 4]] and "places 1 to 2 are missing" in said
    code, told, said = check(record(0), record(1), record(1, "b"))
    assert code and told["different"] == [1]
    code, told, said = check(record(0), b'<13>1 x remit torn {"log":"l/lo', record(1))
    assert code and told["unreadable"] == 1
    assert check(record(3), record(4))[0] == 0 and check(record(3), record(4), more=("--from", "2"))[0] == 1
    assert check()[0] == 1


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with process(tmp_path_factory.mktemp("out") / "data") as running:
        yield furnished(running, with_out(FILE))


def test_people_see_and_turn_a_sink_by_the_command_line(server):
    caught_up(server, 1)
    assert "running" in server.cli("out", "list").stdout
    assert "is paused" in server.cli("out", "pause", "disk", "--reason", "disk swap").stdout
    work(server, 3)
    row = eventually(
        lambda: json.loads(server.cli("--json", "out", "show", "disk").stdout), lambda one: one["behind"] > 3
    )
    assert row["state"] == "paused" and row["reason"] == "disk swap"
    told = server.http("operator").get("/metrics").text
    assert re.search(r'remit_out_behind\{sink="disk"\} [1-9]', told) and 'remit_out_paused{sink="disk"} 1.0' in told
    assert server.cli("out", "resume", "disk").returncode == 0
    caught_up(server, 1)
    assert server.cli("out", "rewind", "disk", "0").returncode == 0
    assert server.cli("out", "rewind", "disk", "999999").returncode == 1
    caught_up(server, 1)
    path = server.data / "out" / "disk.jsonl"
    told = json.loads(server.cli("--json", "out", "check", str(path)).stdout)
    assert told["repeated"] > 10 and told["gaps"] == []
    assert server.http("anna").post("/v1/out/disk/pause", json={}).status_code == 403
    assert server.http("operator").post("/v1/out/other/pause", json={}).status_code == 404
    assert "1 sinks of the log, none behind" in server.cli("doctor").stdout


def test_a_catalogue_names_no_path_no_other_variable_and_no_address_in_the_clear(server):
    def said(text):
        answer = server.http("operator").post("/v1/catalogue/plan", json={"files": with_out(text)})
        return answer.status_code, answer.json().get("detail", "")

    for text, why in (
        ('[out.x]\nkind = "file"\npath = "/etc/cron.d/x"\n', "unknown key 'path'"),
        ('[out.x]\nkind = "http"\nurl = "https://siem.example"\ntoken_env = "REMIT_ROOT_KEY"\n', "REMIT_OUT_"),
        ('[out.x]\nkind = "http"\nurl = "http://siem.example"\nallow_private_network = true\n', "this host itself"),
        ('[out.x]\nkind = "http"\nurl = "http://127.0.0.1:1"\n', "this host itself"),
        ('[out.x]\nkind = "http"\nurl = "https://user:pw@siem.example"\n', "nothing secret in it"),
        ('[out.x]\nkind = "http"\nurl = "https://siem.example?token=x"\n', "nothing secret in it"),
        (
            '[out.x]\nkind = "syslog"\nurl = "tcp://siem.example:514"\nallow_private_network = true\n',
            "this host itself",
        ),
        ('[out.x]\nkind = "syslog"\nurl = "tls://siem.example"\n', "a host and a port"),
        ('[out.x]\nkind = "syslog"\nurl = "tls://siem.example:6514"\nsecret = "a"\n', "no place for a token"),
        ('[out.x]\nkind = "http"\nurl = "https://s.example"\nsecret = "a"\ntoken_env = "REMIT_OUT_A"\n', "one of"),
        ('[out.x]\nkind = "http"\nurl = "https://s.example"\nscheme = "Bearer x"\n', "is a word"),
        ('[out.x]\nkind = "http"\nurl = "https://s.example"\nauthority = "no"\n', "as PEM"),
        ('[out.x]\nkind = "carrier-pigeon"\n', "cannot be"),
        ('[out."../x"]\nkind = "file"\n', "is not a name"),
        ('[witness.x]\nurl = "https://w.example"\nkey = "w+00000000+AAAA"\n', "verifier key of a witness"),
        ('[witness.x]\nurl = "ftp://w.example"\nkey = "w"\n', "https://"),
    ):
        status, detail = said(text)
        assert status == 400 and why in detail, (text, detail)
    assert said('[out.x]\nkind = "syslog"\nurl = "tls://siem.example:6514"\n')[0] == 200


def test_a_folder_of_tiles_is_served_by_anybody_and_checked_by_somebody_else(server, tmp_path):
    folder, key = tmp_path / "tiles", server.http().get("/log/key").text.strip()
    tool = [sys.executable, "tools/verify_log.py", str(folder), "--key", key]

    def exported():
        done = server.cli("--json", "log", "export", "--tiles", str(folder))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def verified(*more):
        return subprocess.run([*tool, *more], capture_output=True, text=True, check=False)

    first = exported()
    older = (folder / "checkpoint").read_bytes()
    (tmp_path / "older").write_bytes(older)
    assert verified().returncode == 0 and exported()["written"] == 0
    http = server.http("operator")
    for _ in range(130):
        http.post("/v1/out/disk/pause", json={})
        http.post("/v1/out/disk/resume", json={})
    eventually(lambda: size_of(server), lambda n: n >= first["events"] + 260)
    again = exported()
    assert again["events"] > 256 and verified("--older", str(tmp_path / "older")).returncode == 0
    names = sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file())
    rest = again["events"] % 256
    levels = ["tile/0/000", f"tile/0/001.p/{rest}", "tile/1/000.p/1", "tile/entries/000", f"tile/entries/001.p/{rest}"]
    assert names == sorted(["checkpoint", *levels]), "nothing else, and no partial tile that is full now"
    for path in levels:
        if not path.startswith("tile/1"):
            good = (folder / path).read_bytes()
            (folder / path).write_bytes(good[:50] + bytes([good[50] ^ 1]) + good[51:])
            assert verified().returncode == 1, path
            (folder / path).write_bytes(good)
    # What is there already is never rewritten: a server that shows another history is found out.
    tile = folder / "tile/1/000.p/1"
    good = tile.read_bytes()
    tile.write_bytes(bytes(32))
    http.post("/v1/out/disk/pause", json={})
    eventually(lambda: size_of(server), lambda n: n > again["events"])
    done = server.cli("log", "export", "--tiles", str(folder))
    assert done.returncode == 1 and "not exported" in done.stderr
    tile.write_bytes(good)
    (folder / "checkpoint").write_bytes(older.replace(b"/log\n", b"/other\n", 1))
    assert "another log" in server.cli("log", "export", "--tiles", str(folder)).stderr


@pytest.mark.soak
def test_somebody_elses_verifier_believes_tiles_and_cosignatures(tmp_path):
    """`aics-witness` and `aics-tlog` (PyPI), the whole way: a server that asks it, a folder that is exported, both read."""
    if not AICS.exists():
        said = "aics-witness is missing: make witness"
        pytest.fail(said) if os.environ.get("REMIT_NEEDS_WITNESS") else pytest.skip(said)
    with process(tmp_path / "data") as server:
        furnished(server)
        key = server.http().get("/log/key").text.strip()
        (tmp_path / "w").mkdir()
        with aics(tmp_path / "w", "w.example", key) as witness:
            entry = f'[witness.w]\nurl = "{witness.url}"\nkey = "{witness.key}"\nallow_private_network = true\n'
            server.http("operator").post("/v1/catalogue", json={"files": with_out(entry)}).raise_for_status()
            work(server, 260)
            eventually(
                lambda: server.http("operator").get("/v1/witnesses").json()["items"][0]["size"], lambda n: n > 260, 40
            )
            folder = tmp_path / "tiles"
            done = server.cli("log", "export", "--tiles", str(folder), "--quorum", "1")
            assert done.returncode == 0, done.stderr
            words = ["verify-checkpoint", "--tiles", str(folder), "--log-key", key, "--origin", key.split("+")[0]]
            words += ["--witness-key", witness.key, "--quorum"]
            tool = AICS.with_name("aics-tlog")
            found = subprocess.run([tool, *words, "1"], capture_output=True, text=True, check=False)
            assert found.returncode == 0 and json.loads(found.stdout)["ok"], found.stdout + found.stderr
            assert subprocess.run([tool, *words, "2"], capture_output=True, check=False).returncode != 0
            leaf = tmp_path / "leaf"
            leaf.write_bytes(server.http("operator").get("/v1/log/entries?start=100&limit=1").content.rstrip(b"\n"))
            words = ["verify-inclusion", "--tiles", str(folder), "--log-key", key, "--origin", key.split("+")[0]]
            found = subprocess.run(
                [tool, *words, "--index", "100", "--leaf-file", str(leaf)], capture_output=True, text=True, check=False
            )
            assert found.returncode == 0, found.stdout + found.stderr
            told = server.cli("log", "verify", "--key", key, "--witness", witness.key, "--quorum", "1")
            assert told.returncode == 0 and "cosigned by 1 of 1 witnesses" in told.stdout, told.stderr
            assert server.cli("log", "verify", "--key", key, "--witness", key, "--quorum", "1").returncode == 2
            assert "none refuses" in server.cli("doctor").stdout
            assert "w.example" in server.cli("log", "witnesses").stdout

"""The log goes out: real files, HTTP, rsyslog over TLS and OTLP; outages, replicas, hostile words."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse

from remit.attest.fetch import believing, checked
from remit.domain import events
from remit.domain.caller import CallerKind
from remit.domain.change import Change
from remit.domain.errors import Absent, BadField, WrongState
from remit.domain.out import Out, OutState
from remit.govern.out import sinks
from remit.out import Tools, build
from remit.verbs import out as verb
from remit.work.deliver import Delivering
from remit.work.sequence import sequence
from tests.issuers.certificates import certificate
from tests.sinks import Collector, places, rsyslog
from tests.world import FILES, world

LOG = "remit.test/log"


class House:
    """A store on disk, a catalogue with sinks, and replicas that deliver."""

    def __init__(self, w, folder, environ):
        self.w, self.folder, self.environ, self.turn = w, folder, environ, [True, True]
        self.replicas = [self.replica(0), self.replica(1)]

    def replica(self, number):
        async def unseal(name):
            return await self.w.env.unsealed(name, self.w.clock.now)

        tools = Tools(self.folder / "out", believing, checked, unseal, self.environ, "remit.test")
        return Delivering(self.w.env, self.w.store, LOG, lambda sink: build(sink, tools), lambda: self.turn[number])

    @classmethod
    async def open(cls, tmp_path, entry, environ=None):
        w = await world(files={**FILES, "remit.toml": FILES["remit.toml"] + entry})
        h = cls(w, tmp_path, environ or {})
        await h.happens(5)
        return h

    async def sequenced(self):
        while await sequence(self.w.store, self.w.env.signer, LOG):
            pass
        self.size, _ = await self.w.store.head()

    async def happens(self, count=1, why="pay it"):
        call = self.w.call(CallerKind.OPERATOR, "op")
        for _ in range(count):
            await self.w.store.commit(Change(events.OutTurned("siem", "running", why), call))
        await self.sequenced()

    async def passes(self, *replicas, count=1):
        for _ in range(count):
            for one in replicas or self.replicas[:1]:
                await one.look()
                await asyncio.gather(*one._running.values())

    async def shown(self):
        (found,) = await sinks(self.w.env, self.w.store, self.w.clock.now)
        return found

    async def leaves(self):
        return list(enumerate(await self.w.store.entries(0, self.size)))


def opened(tmp_path, entry, test, environ=None):
    async def run():
        h = await House.open(tmp_path, entry, environ)
        try:
            await test(h)
        finally:
            for one in h.replicas:
                await one.finish()

    asyncio.run(run())


def http(url, more=""):
    return f'[out.siem]\nkind = "http"\nurl = "{url}/in"\nallow_private_network = true\n{more}'


@pytest.fixture
def collector():
    with Collector() as running:
        yield running


@pytest.mark.parametrize("form", ["ocsf", "remit"])
def test_a_file_has_every_event_in_order_and_is_followed_by_another_when_it_is_full(tmp_path, form):
    async def test(h):
        await h.happens(3000)
        await h.passes()
        await h.happens(5)
        await h.passes()
        folder = tmp_path / "out"
        full = sorted(folder.glob("siem.0*.jsonl"))
        assert len(full) >= (2 if form == "ocsf" else 0) and all(one.stat().st_size <= 1 << 20 for one in full)
        found = [place for one in (*full, folder / "siem.jsonl") for place in places(one.read_bytes().splitlines())]
        assert found == await h.leaves()
        assert (folder / "siem.jsonl").stat().st_mode & 0o777 == 0o600
        assert (await h.shown()).behind == 0

    opened(tmp_path, f'[out.siem]\nkind = "file"\nformat = "{form}"\nrotate_mb = 1\n', test)


def test_a_record_that_a_crash_left_in_part_is_cut_off_and_comes_again(tmp_path):
    async def test(h):
        await h.passes()
        path = tmp_path / "out" / "siem.jsonl"
        whole = path.read_bytes()
        path.write_bytes(whole + b'{"log":"remit.test/log","place":99,"ev')
        await h.happens(1)
        await h.passes()
        assert path.read_bytes().startswith(whole) and places(path.read_bytes().splitlines()) == await h.leaves()

    opened(tmp_path, '[out.siem]\nkind = "file"\n', test)


def test_a_file_is_never_written_through_a_link(tmp_path):
    async def test(h):
        (tmp_path / "out").mkdir()
        victim = tmp_path / "authorized_keys"
        victim.write_text("")
        (tmp_path / "out" / "siem.jsonl").symlink_to(victim)
        await h.passes()
        assert victim.read_text() == "" and "cannot be written" in (await h.shown()).error

    opened(tmp_path, '[out.siem]\nkind = "file"\n', test)


def test_http_goes_on_only_after_2xx_waits_as_it_is_asked_and_loses_nothing(tmp_path, collector):
    async def test(h):
        collector.answers += [503, (429, {"Retry-After": "90"}), 302, 400]
        await h.passes()
        assert (await h.shown()).error == "status 503" and (await h.shown()).behind == h.size
        await h.passes()
        assert len(collector.came) == 1, "it is tried again only when it is time"
        h.w.clock.now += 1_000
        await h.passes()
        assert (await h.shown()).due == h.w.clock.now + 90_000
        h.w.clock.now += 90_000
        await h.passes()  # the redirect is not followed
        h.w.clock.now += 60_000
        await h.passes()
        assert (await h.shown()).state == "failing" and set(collector.paths) == {"/in"}
        await h.happens(700)
        h.w.clock.now += 60_000
        await h.passes()
        assert places(collector.lines()) == await h.leaves() and (await h.shown()).failing == 0
        assert {len(body.splitlines()) for body in collector.taken[:-1]} == {256}
        assert collector.headers[-1]["authorization"] == "Splunk t0ken"
        assert f'log="{LOG}", first=' in collector.headers[-1]["remit-batch"]

    entry = http(collector.url, 'token_env = "REMIT_OUT_TOKEN"\nscheme = "Splunk"\n')
    opened(tmp_path, entry, test, {"REMIT_OUT_TOKEN": "t0ken"})


def test_too_much_at_once_is_halved_until_it_is_taken(tmp_path, collector):
    async def test(h):
        await h.happens(100)
        collector.answers += [413] * 4
        for _ in range(8):
            await h.passes()
            h.w.clock.now += 60_000
        assert [len(body.splitlines()) for body in collector.came][:5] == [h.size >> n for n in range(5)]
        assert places(collector.lines()) == await h.leaves()

    opened(tmp_path, http(collector.url), test)


def test_a_token_is_a_sealed_secret_and_in_no_word_of_an_error(tmp_path, collector):
    from remit.verbs.seal import seal

    async def test(h):
        await h.passes()
        assert (await h.shown()).error == "nothing is sealed as siem-token" and not collector.came
        await seal(h.w.env, h.w.call(CallerKind.OPERATOR, "op"), "siem-token", b"canary-4711")
        h.w.clock.now += 60_000
        collector.answers += [401]
        await h.passes()
        assert collector.headers[-1]["authorization"] == "Bearer canary-4711"
        assert "canary" not in repr(await h.shown()) and "canary" not in repr(await h.w.store.marks())

    opened(tmp_path, http(collector.url, 'secret = "siem-token"\n'), test)


def test_a_pause_sends_nothing_and_loses_nothing_and_a_rewind_sends_again(tmp_path, collector):
    async def test(h):
        op = h.w.call(CallerKind.OPERATOR, "op")
        await h.passes()
        before = h.size
        await verb.turn(h.w.env, op, "siem", OutState.PAUSED, "maintenance")
        await h.happens(3)
        await h.passes()
        assert len(places(collector.lines())) == before and (await h.shown()).state == "paused"
        with pytest.raises(WrongState):
            await verb.turn(h.w.env, op, "siem", OutState.PAUSED, "again")
        await verb.turn(h.w.env, op, "siem", OutState.RUNNING, "done")
        await h.sequenced()
        await h.passes()
        assert places(collector.lines()) == await h.leaves()
        await verb.rewind(h.w.env, op, "siem", 2, "it lost its disk", h.size)
        await h.sequenced()
        assert (await h.shown()).position == 2
        count = len(collector.lines())
        await h.passes()
        assert places(collector.lines())[count:] == (await h.leaves())[2:]
        for place in (-1, h.size + 1):
            with pytest.raises(BadField):
                await verb.rewind(h.w.env, op, "siem", place, "", h.size)
        with pytest.raises(Absent):
            await verb.turn(h.w.env, op, "other", OutState.PAUSED, "")
        assert (await h.w.store.get(Out, "siem")).turn == 1

    opened(tmp_path, http(collector.url), test)


def test_one_that_begins_late_is_given_what_comes(tmp_path, collector):
    async def test(h):
        begin = h.size
        await h.passes()
        await h.happens(2)
        await h.passes()
        assert places(collector.lines()) == (await h.leaves())[begin:]

    opened(tmp_path, http(collector.url, 'from = "now"\n'), test)


def test_a_replica_that_was_overtaken_marks_nothing_and_stops(tmp_path, collector):
    async def test(h):
        old, new = h.replicas
        await h.passes(old)
        await h.happens(600)
        collector.answers += [0.4]  # the old one is held up in its batch …
        await old.look()
        await asyncio.sleep(0.1)
        await h.passes(new)  # … and another one takes over meanwhile
        await asyncio.gather(*old._running.values())
        found = places(collector.lines())
        assert set(found) == set(await h.leaves())
        assert len(found) <= h.size + 256, "the old one sent the batch it was in, and no more"
        holders = [int(one["remit-batch"].rpartition("holder=")[2]) for one in collector.headers]
        assert holders.count(2) > 1 and holders[-1] in (1, 2)
        mark = (await h.w.store.marks())["out:siem"]
        assert (mark.position, mark.holder) == (h.size, 2)

    opened(tmp_path, http(collector.url), test)


def test_whoever_lost_its_turn_sends_nothing(tmp_path, collector):
    async def test(h):
        h.turn[0] = False
        await h.passes()
        assert not collector.came
        h.turn[0] = True
        await h.passes()
        assert places(collector.lines()) == await h.leaves()

    opened(tmp_path, http(collector.url), test)


HOSTILE = (
    'pay\n{"log":"remit.test/log","place":0,"event":{}}\r\x85<0>1 \u2028forged \x1b[31m\x9b31m \u202eeslaf\x7f "\\u0085'
)


@pytest.mark.parametrize("form", ["ocsf", "remit"])
def test_what_somebody_wrote_makes_no_record_of_its_own(tmp_path, form):
    async def test(h):
        await h.happens(1, HOSTILE)
        await h.passes()
        raw = (tmp_path / "out" / "siem.jsonl").read_bytes()
        lines = raw.decode().splitlines()  # which splits at NEL and U+2028 too
        assert len(lines) == h.size and not any(not c.isprintable() for line in lines for c in line)
        assert places([line.encode() for line in lines]) == await h.leaves()
        event = json.loads(lines[-1])
        data = event["unmapped"] if form == "ocsf" else event["event"]["data"]
        assert data["reason"] == HOSTILE

    opened(tmp_path, f'[out.siem]\nkind = "file"\nformat = "{form}"\n', test)


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("tls"))


def test_rsyslog_over_tls_has_everything_though_it_was_away(tmp_path, pem):
    chain, key = pem
    (tmp_path / "rsyslog").mkdir()
    with rsyslog(tmp_path / "rsyslog", chain, key) as server:
        authority = chain.read_text()
        entry = f'[out.siem]\nkind = "syslog"\nurl = "tls://127.0.0.1:{server.port}"\nallow_private_network = true\n'
        entry += f'authority = """\n{authority}"""\n'

        async def test(h):
            await h.passes()
            await h.happens(400)
            server.stop()
            await h.passes()
            assert (await h.shown()).behind > 0 and (await h.shown()).error == "ConnectionRefusedError"
            server.start()
            h.w.clock.now += 60_000
            await h.passes()
            assert (await h.shown()).behind == 0, await h.shown()
            for _ in range(100):
                if len(server.lines()) >= h.size:
                    break
                await asyncio.sleep(0.02)
            heads, messages = zip(*server.lines(), strict=True)
            assert places(messages) == await h.leaves()
            assert heads[-1].split()[0] == b"110" and heads[-1].split()[3:5] == [b"remit", b"OutTurned"]
            assert heads[-1].endswith(b'[meta sequenceId="%d"]' % h.size)

        opened(tmp_path, entry, test)


def test_syslog_believes_no_other_authority(tmp_path, pem):
    chain, key = pem
    (tmp_path / "rsyslog").mkdir()
    with rsyslog(tmp_path / "rsyslog", chain, key) as server:

        async def test(h):
            await h.passes()
            assert "certificate is not good" in (await h.shown()).error and not server.lines()

        entry = f'[out.siem]\nkind = "syslog"\nurl = "tls://127.0.0.1:{server.port}"\nallow_private_network = true\n'
        opened(tmp_path, entry, test)


def test_a_syslog_server_that_dies_with_what_it_has_not_read_has_acknowledged_nothing(tmp_path):
    async def test(h):
        await h.passes()
        await asyncio.to_thread(dying.join, 5)
        assert (await h.shown()).behind == h.size and (await h.shown()).state == "failing", await h.shown()

    def die():
        connection, _ = listening.accept()
        connection.recv(10)
        connection.close()

    listening = socket.create_server(("127.0.0.1", 0))
    dying = threading.Thread(target=die)
    dying.start()
    port = listening.getsockname()[1]
    entry = f'[out.siem]\nkind = "syslog"\nurl = "tcp://127.0.0.1:{port}"\nallow_private_network = true\n'
    opened(tmp_path, entry, test)


def test_udp_for_a_relay_on_this_host(tmp_path):
    listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listening.bind(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    listening.settimeout(2)

    async def test(h):
        await h.passes()
        got = [listening.recv(70_000) for _ in range(h.size)]
        assert places(got) == await h.leaves()

    port = listening.getsockname()[1]
    opened(
        tmp_path, f'[out.siem]\nkind = "syslog"\nurl = "udp://127.0.0.1:{port}"\nallow_private_network = true\n', test
    )
    listening.close()


def test_otlp_is_official_messages_and_what_was_rejected_was_not_taken(tmp_path, collector):
    async def test(h):
        rejected = ExportLogsServiceResponse()
        rejected.partial_success.rejected_log_records = 3
        collector.reply = rejected.SerializeToString()
        await h.passes()
        assert (await h.shown()).error == "3 records were rejected" and (await h.shown()).behind == h.size
        collector.reply, collector.taken = b"", []
        h.w.clock.now += 60_000
        await h.passes()
        found = []
        for body in collector.taken:
            for resource in ExportLogsServiceRequest.FromString(body).resource_logs:
                found += [record for scope in resource.scope_logs for record in scope.log_records]
        assert places([one.body.string_value.encode() for one in found]) == await h.leaves()
        values = {one.key: one.value for one in found[-1].attributes}
        assert values["remit.place"].int_value == h.size - 1 and found[0].event_name == "remit.SigningKeyCreated"
        assert collector.paths[-1] == "/v1/logs"

    entry = f'[out.siem]\nkind = "otlp"\nurl = "{collector.url}"\nallow_private_network = true\n'
    opened(tmp_path, entry, test)


def test_a_full_disk_leaves_no_half_of_a_batch(tmp_path, monkeypatch):
    async def test(h):
        await h.passes()
        path = tmp_path / "out" / "siem.jsonl"
        whole, write = path.read_bytes(), os.write
        await h.happens(3)

        def full(handle, text):
            write(handle, bytes(text[:100]))
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        await h.passes()
        monkeypatch.undo()
        assert path.read_bytes() == whole and "No space left" in (await h.shown()).error
        h.w.clock.now += 60_000
        await h.passes()
        assert places(path.read_bytes().splitlines()) == await h.leaves()

    opened(tmp_path, '[out.siem]\nkind = "file"\n', test)

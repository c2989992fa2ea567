"""People are told that they are asked, by real receivers: at least once, in plain words, and by nothing that approves."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from dataclasses import replace
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from aiosmtpd.controller import Controller

from remit.domain.approval import Approval
from remit.domain.caller import CallerKind
from remit.domain.decision import Access
from remit.domain.errors import BadCatalogue, Unavailable
from remit.domain.identity import Person
from remit.domain.notice import LAST_RETRY, Notice, Route
from remit.formats.catalogue import parse
from remit.notify import AppriseNotifier
from remit.ports import NoNotifier
from remit.store.memory import MemoryStore
from remit.testing.store import FaultyStore
from remit.verbs.approve import Given, answer
from remit.verbs.decide import decide
from remit.verbs.seal import seal
from remit.work.end_leases import end_leases
from remit.work.notify import SENTENCE, message, notify
from tests.world import FILES, world

PAY = {"customer": "acme", "invoice": 17, "amount": "120.00"}


class Receiver(BaseHTTPRequestHandler):
    """Keeps what it is sent; answers what it is told to."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, body))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def receiving(*answers):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.seen, server.answers = [], list(answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server, server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def routes(**whom):
    text = FILES["remit.toml"] + "".join(
        f'[notifications.{name}]\nsecret = "{name}"\nfor = {json.dumps(list(names))}\n' for name, names in whom.items()
    )
    return {**FILES, "remit.toml": text}


async def asked(addresses, store=None, rule="", **whom):
    files = routes(**whom)
    files["purposes/pay.toml"] = files["purposes/pay.toml"].replace('{ ttl = "10m" }', f'{{ ttl = "10m"{rule} }}')
    w = await world(store, files)
    w.env = replace(w.env, notifier=AppriseNotifier())
    for name, address in addresses.items():
        await seal(w.env, w.call(CallerKind.OPERATOR, "op"), name, address.encode())
    _, call = await w.proved()
    task = await w.task(call)
    hold = await decide(w.env, call, Access(task.id, "pay", PAY))
    return w, await w.store.get(Approval, hold.approval)


def test_a_chat_and_a_phone_are_told_in_one_sentence_with_a_link(run):
    async def main():
        with receiving() as (server, port):
            addresses = {"chat": f"json://127.0.0.1:{port}/hook-canary", "phone": f"ntfy://127.0.0.1:{port}/canary"}
            w, approval = await asked(addresses, chat=["finance"], phone=["gina"])
            assert await notify(w.env, w.clock.now) == 1
            assert await notify(w.env, w.clock.now) == 0
            assert len(server.seen) == 2
            told = {path: json.loads(body) for path, body in server.seen}
            chat, phone = told["/hook-canary"], next(body for path, body in told.items() if path != "/hook-canary")
            link = f"https://remit.test/console/approvals/{approval.id}"
            for text in (chat["message"], phone["message"]):
                assert text.startswith("bot asks: pay (customer=acme, invoice=17, amount=120.00), once.")
                assert text.endswith(link) and "finance must agree" in text
            assert chat["title"] == "bot waits for you"
            assert w.events().count("NoticeSent") == 2 and w.events()[-1] == "NoticeEnded"
            assert b"canary" not in b"".join(leaf for leaf, _ in w.store._events)

    run(main())


def test_mail_is_sent(run):
    class Box:
        def __init__(self):
            self.mails = []

        async def handle_DATA(self, server, session, envelope):  # noqa: N802 - the library's
            self.mails.append(envelope)
            return "250 taken"

    box = Box()
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()

    async def main():
        address = f"mailto://127.0.0.1:{port}?from=remit@remit.test&to=frank@remit.test&mode=insecure&format=text"
        w, approval = await asked({"mail": address}, mail=["frank"])
        assert await notify(w.env, w.clock.now) == 1
        (mail,) = box.mails
        found = message_from_bytes(mail.content)
        assert "bot waits for you" in found["Subject"] and mail.rcpt_tos == ["frank@remit.test"]
        part = next(part for part in found.walk() if part.get_content_type() == "text/plain")
        assert approval.id in part.get_payload(decode=True).decode()

    try:
        run(main())
    finally:
        controller.stop()


def test_what_was_not_taken_is_sent_again_and_what_was_taken_is_not(run):
    async def main():
        with receiving() as (good, port), receiving(500, 503) as (bad, other):
            addresses = {"good": f"json://127.0.0.1:{port}/", "bad": f"json://127.0.0.1:{other}/"}
            w, approval = await asked(addresses, good=["finance"], bad=[])
            assert await notify(w.env, w.clock.now) == 1
            assert (len(good.seen), len(bad.seen)) == (1, 1)
            assert await notify(w.env, w.clock.now) == 0
            for wait in (1_000, 2_000):
                w.clock.advance(wait)
                await notify(w.env, w.clock.now)
            assert (len(good.seen), len(bad.seen)) == (1, 3)
            row = await w.store.get(Notice, f"{approval.id}/0")
            assert (row.sent, row.due, row.attempts) == (("good", "bad"), 0, 2)
            assert w.events().count("NoticeFailed") == 2

    run(main())


def test_after_a_crash_between_sending_and_writing_it_down_it_is_sent_again(run):
    async def main():
        with receiving() as (server, port):
            store = FaultyStore(MemoryStore())
            w, _ = await asked({"chat": f"json://127.0.0.1:{port}/"}, store, chat=[])
            store.faults = ["lost"]
            with pytest.raises(Unavailable):
                await notify(w.env, w.clock.now)
            assert await notify(w.env, w.clock.now) == 1
            assert len(server.seen) == 2

    run(main())


def test_who_is_asked_later_is_told_then(run):
    async def main():
        with receiving() as (server, port):
            addresses = {name: f"json://127.0.0.1:{port}/{name}" for name in ("finance", "owner")}
            w, approval = await asked(addresses, rule=', escalate_after = "3m"', finance=["finance"], owner=["olga"])
            assert approval.escalation == ()  # the world's agent has no path: give it one
            row = replace(approval, escalation=("olga",), escalate_at=w.clock.now + 1, escalate_every=1)
            from remit.domain import events
            from remit.domain.change import Change

            because = events.ApprovalQuestioned(approval.id, approval.task, "x", "")
            await w.store.commit(Change(because, w.call()).put(row, was=approval))
            await notify(w.env, w.clock.now)
            assert [path for path, _ in server.seen] == ["/finance"]
            w.clock.advance(1)
            await end_leases(w.env, w.clock.now)
            await notify(w.env, w.clock.now)
            assert [path for path, _ in server.seen] == ["/finance", "/owner"]

    run(main())


def test_nobody_is_told_of_what_was_answered_and_nothing_is_owed_without_a_route(run):
    async def main():
        with receiving() as (server, port):
            w, approval = await asked({"chat": f"json://127.0.0.1:{port}/"}, chat=[])
            await answer(w.env, w.person("frank"), approval.id, Given(approval.digest, True))
            assert await notify(w.env, w.clock.now) == 1 and server.seen == []
            w, approval = await asked({"chat": f"json://127.0.0.1:{port}/"}, chat=["billing"])
            assert await notify(w.env, w.clock.now) == 1 and server.seen == []
            w, approval = await asked({})
            assert await w.store.get(Notice, f"{approval.id}/0") is None

    run(main())


@pytest.mark.parametrize("address", ["nonsense", "", "json://127.0.0.1:1/"])
def test_an_address_that_is_none_or_dead_is_a_failure_that_tells_nothing(run, address, caplog):
    async def main():
        w, _ = await asked({"chat": address or "x"}, chat=[])
        assert await notify(w.env, w.clock.now) == 1
        assert w.events()[-1] == "NoticeFailed"
        assert "127.0.0.1" not in caplog.text
        files = routes(other=[])
        w = await world(files=files)  # nothing is sealed there, and nothing can send
        _, call = await w.proved()
        await decide(w.env, call, Access((await w.task(call)).id, "pay", PAY))
        assert await notify(w.env, w.clock.now) == 1 and w.events()[-1] == "NoticeFailed"
        with pytest.raises(Unavailable, match="can send"):
            await NoNotifier().send("", "", "")

    run(main())


def test_what_an_agent_wrote_is_one_bounded_line_of_text(run):
    async def main():
        w, approval = await asked({})
        shown = replace(approval.shown, sentence="pay\n\nhttps://evil.test \u202e\x1b[2J " + "x" * 1000)
        text = message(w.env, replace(approval, shown=shown))
        first, empty, link = text.split("\n")
        assert "\\n\\nhttps://evil.test \\u202e\\x1b[2J" in first and "not all of it" in first
        assert len(first) < SENTENCE + 200 and empty == ""
        assert link == f"https://remit.test/console/approvals/{approval.id}"

    run(main())


def test_whom_a_route_is_for():
    people = {p.name: p for p in (Person("frank", ("finance",)), Person("gina", ("finance", "security")))}
    for whom, names, reaches in (
        ((), ("olga",), True),
        (("finance",), ("finance",), True),
        (("finance",), ("frank",), True),
        (("gina",), ("finance",), True),
        (("security",), ("frank",), False),
        (("olga",), ("finance",), False),
    ):
        assert Route("r", "s", whom).reaches(names, people) is reaches, (whom, names)
    row = Notice("apv_1", 0, ("frank",), 1)
    for _ in range(20):
        row = row.failed(0)
    assert row.due == LAST_RETRY
    with pytest.raises(BadCatalogue, match="there is no person or group 'finanse'"):
        parse(routes(chat=["finanse"]))


def test_a_link_alone_approves_nothing(server):

    bot = server.agent()
    task, token = bot.task()
    approval = bot.call(task, token, "pay", PAY)["approval"]["id"]
    for path in (f"/console/approvals/{approval}", f"/v1/approvals/{approval}", f"/v1/approvals/{approval}/answer"):
        for method in ("GET", "HEAD", "POST"):
            assert httpx.request(method, server.url + path).status_code in (303, 401, 403, 404, 405), (method, path)
    assert server.http("frank").get(f"/v1/approvals/{approval}").json()["state"] == "pending"

"""From the end of a task to its event at a receiver, and what a status list costs as tokens grow.

The receiver is a thread of this process on loopback; the clock is one and the same.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from measure import ONLY, emit, timed

sys.path.insert(0, str(Path(__file__).parents[1]))
import httpx
import jwt
from tests.receiver import Inbox
from tests.server import process
from tests.web.test_ssf import PUSH, REVOKED, end, held, set_up

ENDS = 200
TOKENS = (100, 1000)


def pushed(server, inbox) -> None:
    """Each end by itself: when the answer to whoever ended it came, until the event was taken."""
    said = {"delivery": {"method": PUSH, "endpoint_url": inbox.url}, "events_requested": [REVOKED]}
    server.http("rs").post("/ssf/streams", json=said).raise_for_status()
    agent, samples = server.agent(), []
    for _ in range(ENDS):
        one, seen = held(server, agent), len(inbox.taken)
        started = time.time()
        end(one)
        while len(inbox.taken) < seen + 2:
            time.sleep(0.001)
        samples.append(inbox.at[seen] - started)
    emit("signal.push", "remit", 1, samples, note="from the request that ends a task to its session-revoked")


def lists(server) -> None:
    """How long a fresh list takes when so many of its tokens live; one reading at a time, nothing kept."""
    agent, texts = server.agent(), []
    agent.http = httpx.Client(timeout=30)
    for n in TOKENS:
        while len(texts) < n:
            texts.append(held(server, agent)[3])
        uris = [jwt.decode(text, options={"verify_signature": False})["status"]["status_list"]["uri"] for text in texts]
        uri = max(set(uris), key=uris.count)
        time.sleep(2)
        size = len(httpx.get(uri).content)
        samples = []
        for _ in range(5):
            samples += timed(lambda: httpx.get(uri, timeout=60).raise_for_status(), 1)
            time.sleep(3)
        emit("status.list", "remit", uris.count(uri), samples, value=size, unit="bytes")


with tempfile.TemporaryDirectory() as folder, Inbox() as inbox, process(Path(folder) / "data") as running:
    server = set_up(running)
    if "signal.push".startswith(ONLY) or ONLY.startswith("signal"):
        pushed(server, inbox)
    if "status.list".startswith(ONLY) or ONLY.startswith("status"):
        lists(server)

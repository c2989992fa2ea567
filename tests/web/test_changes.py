"""The stream of what changed: to whom it says what, how many may listen, and when it ends."""

from __future__ import annotations

import httpx

from tests.server import furnished, process

from .test_sessions import signed_in


def test_the_stream_says_what_kind_of_thing_changed_to_who_may_see_it(server):
    import threading

    heard = {"olga": [], "dana": []}
    streams = []

    def listen(who):
        http = signed_in(server, who)
        with http.stream("GET", "/console/changes", headers={"Accept": "text/event-stream"}, timeout=3) as answer:
            streams.append(answer)
            try:
                for line in answer.iter_lines():
                    heard[who].append(line)
            except httpx.HTTPError:
                pass

    threads = [threading.Thread(target=listen, args=(who,)) for who in heard]
    for thread in threads:
        thread.start()
    while len(streams) < 2:
        threading.Event().wait(0.02)
    bot = server.agent()
    bot.task()
    for thread in threads:
        thread.join()
    assert any(line.startswith("data:") and "Task" in line for line in heard["olga"])
    assert not any(line.startswith("data:") and "Task" in line for line in heard["dana"])


def test_streams_are_bounded_and_a_server_that_stops_lets_them_go(tmp_path):
    import time
    from contextlib import ExitStack

    with process(tmp_path / "data") as running:
        server = furnished(running)
        http = signed_in(server, "olga")
        with ExitStack() as stack:
            asks = {"headers": {"Accept": "text/event-stream"}, "timeout": 5}
            streams = [stack.enter_context(http.stream("GET", "/console/changes", **asks)) for _ in range(12)]
            assert {one.status_code for one in streams} == {200}
            assert http.get("/console/changes", **asks).status_code == 429
            streams.pop().close()
            time.sleep(0.3)
            streams.append(stack.enter_context(http.stream("GET", "/console/changes", **asks)))
            assert streams[-1].status_code == 200
            assert http.get("/console/changes").status_code == 400  # not asked for as a stream
            started = time.monotonic()
            running.child.terminate()
            running.child.wait(20)
            assert time.monotonic() - started < 3


def test_a_stream_ends_with_its_session(server):
    http = signed_in(server, "frank")
    with http.stream("GET", "/console/changes", headers={"Accept": "text/event-stream"}, timeout=5) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "retry: 1000"
        for one in server.http("frank").get("/v1/sessions").json()["items"]:
            assert server.http("frank").post(f"/v1/sessions/{one['id']}/end", json={}).is_success
        assert not any(line.startswith("data") for line in lines)  # and it comes to an end

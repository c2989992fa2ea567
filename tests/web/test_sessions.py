"""A browser's session over HTTP: what its cookie may do, from which page, and for how long."""

from __future__ import annotations

import os
import pty
import re
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from remit.domain.caller import CallerKind
from remit.web.routes import ROUTES
from remit.web.sessions import ours
from tests.server import REMIT, furnished, process

OURS = {"Sec-Fetch-Site": "same-origin", "Accept": "text/html"}


def link(server, name="", *roles, by="operator"):
    answer = server.http(by).post("/v1/sessions/links", json={"name": name, "roles": list(roles)})
    assert answer.status_code == 201, answer.text
    return answer.json()["url"]


def by_name(server):
    """Where people go."""
    return server.url.replace("127.0.0.1", "localhost")


def signed_in(server, name="frank", *roles):
    """A browser as far as HTTP shows one."""
    http = httpx.Client(base_url=by_name(server), headers=OURS, trust_env=False, timeout=20)
    answer = http.post(link(server, name, *roles))
    assert (answer.status_code, answer.headers["location"]) == (303, "/console")
    return http


def token(http):
    return re.search(r'name="form_token" value="([0-9a-f]+)"', http.get("/console").text)[1]


def test_the_cookie_is_ours_alone_and_only_its_digest_is_kept(server):
    http = httpx.Client(base_url=by_name(server), headers=OURS, trust_env=False)
    http.cookies.set(name := f"remit-{server.url.rpartition(':')[2]}", "ses_chosen-by-somebody-else")
    answer = http.post(link(server, "frank"))
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{name}=ses_") and "chosen" not in cookie  # fixation: always a new one
    assert {"httponly", "path=/", "samesite=lax", "max-age=43200"} <= {p.strip().lower() for p in cookie.split(";")}
    assert "domain" not in cookie.lower()
    text = cookie.partition("=")[2].partition(";")[0]
    for path in (server.data / "remit.db", server.data / "remit.db-wal"):
        assert text.encode() not in path.read_bytes()
    assert text not in server.http("anna").get("/v1/log/entries").text


def test_behind_tls_the_cookie_is_this_hosts_alone(tmp_path):
    """`__Host-`: no sibling host or port can set or read it, and it never travels in the clear."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with process(tmp_path / "data", "--port", str(port), "--public-url", "https://remit.example") as running:
        here = f"http://127.0.0.1:{port}"
        key = {"Authorization": f"Bearer {running.keys['operator']}"}
        url = httpx.post(f"{here}/v1/sessions/links", json={}, headers=key).json()["url"]
        assert url.startswith("https://remit.example/sign-in/link/link_")
        path = url.removeprefix("https://remit.example")
        for origin, status in ((here, 403), ("https://remit.example.evil", 403), ("https://remit.example", 303)):
            answer = httpx.post(here + path, headers={"Origin": origin})
            assert answer.status_code == status, origin
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-remit=ses_") and "domain" not in cookie.lower()
        assert {"secure", "httponly", "path=/", "samesite=lax"} <= {p.strip().lower() for p in cookie.split(";")}


def test_a_link_is_printed_on_a_terminal_and_nowhere_else(tmp_path):
    """What is not a terminal may be a service's log, and who reads it would be the operator for ten minutes."""
    told = {}
    for where in ("terminal", "file"):
        master, slave = pty.openpty() if where == "terminal" else os.pipe()
        command = [REMIT, "up", "--data", str(tmp_path / where), "--port", "0"]
        env = {k: v for k, v in os.environ.items() if not k.startswith("REMIT_")}
        child = subprocess.Popen(command, stdout=slave, stderr=subprocess.DEVNULL, env=env)
        os.close(slave)
        told[where] = b""
        while b"\nnext " not in told[where]:
            told[where] += os.read(master, 4096)
        child.terminate()
        assert child.wait(20) == 0
        os.close(master)
    assert b"/sign-in/link/link_" in told["terminal"]
    assert b"/sign-in/" not in told["file"] and b"remit session link" in told["file"]


def test_looking_at_a_link_uses_nothing_up_and_of_twenty_who_press_one_is_let_in(server):
    url = link(server, "frank")
    for _ in range(5):
        shown = httpx.get(url, headers={"Accept": "text/html"})
        assert shown.status_code == 200 and "Sign in as frank" in shown.text and "set-cookie" not in shown.headers
    assert httpx.head(url).status_code == 200
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: httpx.post(url, headers=OURS).status_code, range(20)))
    assert sorted(answers) == [303, *[401] * 19]
    assert httpx.get(url).status_code == 401


def test_another_site_cannot_sign_anybody_in(server):
    """Login CSRF: the victim would then work in the attacker's name."""
    url = link(server, "frank")
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": server.url.replace("127.0.0.1", "127.0.0.2")},
        {"Origin": server.url + ".evil.example"},
        {},
    ):
        refused = httpx.post(url, headers=headers)
        assert refused.status_code == 403 and refused.json()["code"] == "RMT-3004", headers
    assert httpx.post(url, headers={"Origin": server.url}).status_code == 303


def test_what_changes_needs_our_page_and_the_sessions_own_token(server):
    http, other = signed_in(server), signed_in(server, "dana")
    good = token(http)
    for headers, data in (
        ({}, {}),
        ({}, {"form_token": "0" * 32}),
        ({}, {"form_token": token(other)}),
        ({"Sec-Fetch-Site": "cross-site"}, {"form_token": good}),
        ({"Sec-Fetch-Site": "same-site", "Origin": server.url}, {"form_token": good}),
    ):
        assert http.post("/sign-out", data=data, headers=headers).status_code == 403, (headers, data)
    assert http.get("/console").status_code == 200
    twice = http.post("/sign-out", content=f"form_token={good}&form_token={good}", headers={"Content-Type": "application/x-www-form-urlencoded"})  # fmt: skip
    assert twice.status_code == 400
    done = http.post("/sign-out", data={"form_token": good})
    assert (done.status_code, done.headers["location"]) == (303, "/sign-in")


def test_a_session_is_over_when_it_is_ended_whoever_has_the_cookie(server):
    http = signed_in(server)
    kept = dict(http.cookies)
    assert http.post("/sign-out", data={"form_token": token(http)}).status_code == 303
    assert httpx.get(f"{server.url}/console", cookies=kept).status_code == 401
    http = signed_in(server, "frank")
    listed = server.http("operator").get("/v1/sessions").json()["items"]
    mine = [one for one in listed if one["name"] == "frank"]
    assert ["person"] in [one["roles"] for one in mine]
    assert server.http("dana").get("/v1/sessions").json()["items"] == [one for one in listed if one["name"] == "dana"]
    assert server.http("dana").post(f"/v1/sessions/{mine[0]['id']}/end", json={}).status_code == 404
    for one in mine:
        assert server.http("operator").post(f"/v1/sessions/{one['id']}/end", json={"reason": "left"}).status_code == 200
    assert http.get("/console").status_code == 401


def test_a_cookie_opens_pages_and_nothing_else(server):
    """No route that takes keys takes a session, and no page takes an agent."""
    http = signed_in(server, "frank", "person", "operator", "auditor")
    for route in ROUTES:
        if route.browser or CallerKind.ANYONE in route.callers:
            continue
        path = re.sub(r"\{[a-z]+(:path)?\}", "x", route.path)
        assert http.request(route.method, path).status_code == 401, path
    for route in ROUTES:
        if route.browser and CallerKind.ANYONE not in route.callers:
            assert not route.callers & {CallerKind.AGENT, CallerKind.ENFORCER}, route.path


def test_signing_in_again_ends_what_was_there(server):
    http = signed_in(server)
    before = dict(http.cookies)
    assert http.post(link(server, "dana")).status_code == 303
    assert "dana" in http.get("/console").text
    assert httpx.get(f"{server.url}/console", cookies=before).status_code == 401


def test_who_left_the_catalogue_is_out_at_once(tmp_path):
    from tests.server import CATALOGUE

    with process(tmp_path / "data") as running:
        server = furnished(running)
        http = signed_in(server, "dana")
        assert http.get("/console").status_code == 200
        gone = CATALOGUE["remit.toml"].replace('[people.dana]\ngroups = ["billing"]\n', "")
        assert (
            server.http("operator").post("/v1/catalogue", json={"files": {**CATALOGUE, "remit.toml": gone}}).is_success
        )
        assert http.get("/console").status_code == 401


def test_hours_later_the_session_is_over(tmp_path):
    data = tmp_path / "data"
    with process(data) as running:
        server = furnished(running)
        http = signed_in(server, "dana")
        cookies = {name.partition("-")[0]: value for name, value in http.cookies.items()}
    with process(data, ahead=3500) as later:
        name = f"remit-{later.url.rpartition(':')[2]}"
        assert httpx.get(f"{later.url}/console", cookies={name: cookies["remit"]}).status_code == 200
    with process(data, ahead=3500 + 3601) as later:
        name = f"remit-{later.url.rpartition(':')[2]}"
        assert httpx.get(f"{later.url}/console", cookies={name: cookies["remit"]}).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example",
        "https://evil.example/console",
        "/\\evil.example",
        "/console/..//evil.example",
        "/console//evil.example",
        "javascript:alert(1)",
        "/console\r\nSet-Cookie: a=b",
        "/console/\tx",
        "/consolex",
        "/v1/whoami",
        "/console/" + "x" * 2000,
        "/console/\u202e",
        "",
    ],
)
def test_one_goes_on_to_our_own_pages_only(path):
    assert ours(path) == "/console"
    assert ours("/console/tasks?state=open&q=a%20b") == "/console/tasks?state=open&q=a%20b"


def test_pages_are_given_to_browsers_and_json_to_everything_else(server):
    http = signed_in(server, "frank", "person", "operator")
    page, twin = http.get("/console/tasks"), http.get("/console/tasks.json")
    assert page.headers["content-type"].startswith("text/html") and "items" in twin.json()
    by_key = server.http("frank").get("/console/tasks.json")
    assert by_key.status_code == 200 and set(by_key.json()) == set(twin.json())
    for path in ("/console/nothing", "/console/tasks/tsk_none", "/console/tasks?state=odd", "/console/nothing.json"):
        answer = http.get(path)
        kind = "application/problem+json" if path.endswith(".json") else "text/html; charset=utf-8"
        assert (answer.status_code, answer.headers["content-type"]) == (400 if "odd" in path else 404, kind)
        assert answer.headers["x-content-type-options"] == "nosniff" and "set-cookie" not in answer.headers
    by_address = httpx.get(f"{server.url}/console/tasks?q=x", headers={"Accept": "text/html"})
    name = by_name(server)
    assert (by_address.status_code, by_address.headers["location"]) == (303, f"{name}/console/tasks?q=x")
    stranger = httpx.get(by_address.headers["location"], headers={"Accept": "text/html"})
    assert stranger.status_code == 401 and "Sign in" in stranger.text
    assert httpx.get(f"{server.url}/console/tasks").json()["code"] == "RMT-2001"


def test_every_page_keeps_others_out_and_is_small(server):
    http = signed_in(server, "olga", "person", "operator")
    paths = [
        r.path for r in ROUTES if r.browser and r.method == "GET" and "{" not in r.path and r.path != "/console/changes"
    ]
    for path in [*paths, "/console/approvals/none", "/console/none"]:
        answer = http.get(path)
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-store"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy, path
        if path.endswith((".json", "/diff")):  # to be taken away, and not shown
            continue
        assert answer.status_code == 303 or answer.headers["x-frame-options"] == "DENY", path
        assert "<style" not in answer.text and " style=" not in answer.text and " onclick" not in answer.text
        assert len(re.findall(r"<script", answer.text)) <= 1
    page = http.get("/console").text
    weighs = len(page) + sum(
        len(http.get(p).content) for p in re.findall(r'(?:href|src)="(/console/static/[^"]+)"', page)
    )
    assert weighs < 100 * 1024
    script = next(p for p in re.findall(r'src="([^"]+)"', page))
    assert http.get(script).text.count("\n") <= 300


def test_files_are_kept_for_ever_under_the_name_of_what_is_in_them(server):
    page = httpx.get(f"{server.url}/sign-in").text
    for path in re.findall(r'(?:href|src)="(/console/static/[^"]+)"', page):
        answer = httpx.get(server.url + path)
        assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]
        assert httpx.get(server.url + path[:-6] + "x.css").status_code == 404
    assert httpx.get(f"{server.url}/console/static/..%2f..%2fpage.py").status_code == 404


def test_what_a_person_may_not_see_is_not_said(server):
    """Law 11: dana sees no task of others, in the list, by its address, or in the stream."""
    bot = server.agent()
    task, _ = bot.task()
    dana = signed_in(server, "dana")
    assert task not in [one["id"] for one in dana.get("/console/tasks.json").json()["items"]]
    hidden, absent = dana.get(f"/console/tasks/{task}"), dana.get(f"/console/tasks/{'tsk_' + '0' * 32}")
    assert (hidden.status_code, hidden.text) == (404, re.sub(r'data-now="\d+"', re.search(r'data-now="\d+"', hidden.text)[0], absent.text))  # fmt: skip
    assert signed_in(server, "olga").get(f"/console/tasks/{task}").status_code == 200  # she answers for the agent


def test_the_command_line_makes_links_lists_and_ends(server):
    made = server.cli("session", "link")
    assert made.returncode == 0 and "/sign-in/link/link_" in made.stdout and "operator" in made.stderr
    signed_in(server, "frank")
    listed = server.cli("--json", "session", "list").stdout
    assert '"frank"' in listed
    found = re.findall(r'"id": "([0-9a-f]{64})"', listed)
    assert server.cli("session", "end", found[0], "--reason", "test").returncode == 0
    assert server.cli("session", "link", "nobody").returncode == 6

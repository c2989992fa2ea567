"""`POST /v1/hooks/claude-code` with the very JSON that Claude Code posts, and what a hook key is not good for."""

from __future__ import annotations

import json
import time

import httpx
import pytest

from tests.server import CATALOGUE, furnished, process

FILES = {
    **CATALOGUE,
    "purposes/pay.toml": CATALOGUE["purposes/pay.toml"]
    + '[[grants]]\ntool = "claude-code.bash"\nresource = "host/bash"\n'
    + '[[grants]]\ntool = "shop.pay"\nresource = "customer/{customer}/*"\n'
    + '[[grants]]\ntool = "claude-code.edit"\nresource = "host/edit"\n',
    "tools/claude-code.bash.toml": 'effect = "read"\nresource = "host/bash"\noutput_trust = "trusted"\n'
    '[arguments.command]\ntype = "text"\n',
    "tools/claude-code.edit.toml": 'effect = "write"\nresource = "host/edit"\n[arguments.file_path]\ntype = "text"\n',
    "tools/shop.pay.toml": CATALOGUE["tools/pay.toml"],
    "policies/more.cedar": (
        '@id("rule-77") @control("ASI77") forbid (principal, action in Remit::Action::"call", resource) '
        'when { resource.effect == "write" };\n'
    ),
}
PAY = {"customer": "acme", "invoice": 17, "amount": "120.00"}
HOOK = "/v1/hooks/claude-code"


@pytest.fixture(scope="module")
def hooked(tmp_path_factory):
    with process(tmp_path_factory.mktemp("hooks") / "data") as running:
        yield furnished(running, FILES)


@pytest.fixture
def bot(hooked):
    agent = hooked.agent()
    agent.task_id, agent.access = agent.task()
    agent.key_text = agent.send("POST", f"/v1/tasks/{agent.task_id}/hook-keys", agent.access, {}).json()["hook_key"]
    return agent


def event(kind="PreToolUse", tool="Bash", given=None, **more):
    """As Claude Code 2.1 sends it."""
    return {
        "session_id": "8e81e90d",
        "transcript_path": "/home/dana/.claude/projects/x/8e81e90d.jsonl",
        "cwd": "/home/dana/x",
        "permission_mode": "default",
        "hook_event_name": kind,
        "tool_name": tool,
        "tool_input": {"command": "ls"} if given is None else given,
        "tool_use_id": "toolu_01",
        **more,
    }


def post(server, key, body, query="", **headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}", **headers}
    return httpx.post(f"{server.url}{HOOK}{query}", content=content, headers=headers, timeout=40)


def said(answer):
    assert answer.status_code == 200, answer.text
    found = answer.json()["hookSpecificOutput"]
    assert found["hookEventName"] == "PreToolUse"
    return found["permissionDecision"], found["permissionDecisionReason"]


def spent(server, bot):
    return server.http("operator").get(f"/v1/tasks/{bot.task_id}").json()["calls"]


def test_permitted_denied_unknown(hooked, bot):
    assert said(post(hooked, bot.key_text, event()))[0] == "allow"
    word, why = said(post(hooked, bot.key_text, event(given={"command": 7})))
    assert word == "deny" and "command" in why and "Nothing was done." in why
    for tool in ("WebFetch", "bash", "claude-code.bash", "mcp__claude-code__bash", "mcp__other__x", "?"):
        word, why = said(post(hooked, bot.key_text, event(tool=tool)))
        assert word == "deny" and "reviewed" in why, tool
    assert spent(hooked, bot) == 1


def test_a_denial_names_no_policy(hooked, bot):
    word, why = said(post(hooked, bot.key_text, event(tool="Edit", given={"file_path": "/x"})))
    assert word == "deny" and why == "Denied: The rules here do not allow it. Nothing was done."


def test_a_held_call_says_who_and_where_and_never_asks_whoever_sits_there(hooked, bot):
    asked = event(tool="mcp__shop__pay", given=PAY)
    word, why = said(post(hooked, bot.key_text, asked))
    assert word == "deny" and "finance must agree first" in why and "/console/approvals/apv_" in why
    assert said(post(hooked, bot.key_text, asked, "?held=defer"))[0] == "defer"
    http = hooked.http("frank")
    shown = http.get("/v1/approvals/" + why.partition("/console/approvals/")[2].split()[0]).json()
    answer = http.post(f"/v1/approvals/{shown['id']}/answer", json={"digest": shown["digest"], "yes": True})
    assert answer.status_code == 200
    edited = event(tool="mcp__shop__pay", given={**PAY, "amount": "999.00"})
    assert said(post(hooked, bot.key_text, edited))[0] == "deny"
    assert said(post(hooked, bot.key_text, asked)) == ("allow", "frank agreed.")
    assert said(post(hooked, bot.key_text, asked))[0] == "deny"  # once
    assert spent(hooked, bot) == 1


def test_it_can_wait_for_the_person(hooked, bot):
    from concurrent.futures import ThreadPoolExecutor

    asked = event(tool="mcp__shop__pay", given={**PAY, "invoice": 18})
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(post, hooked, bot.key_text, asked, "?wait=20")
        http = hooked.http("frank")
        while not (
            items := http.get("/v1/approvals", params={"state": "pending", "limit": 500}).json()["items"]
        ) or not (mine := [one for one in items if one["task"] == bot.task_id]):
            time.sleep(0.05)
        http.post(f"/v1/approvals/{mine[0]['id']}/answer", json={"digest": mine[0]["digest"], "yes": False})
        word, why = said(waiting.result())
    assert word == "deny" and "said no" in why
    started = time.monotonic()
    assert (
        said(post(hooked, bot.key_text, event(tool="mcp__shop__pay", given={**PAY, "invoice": 19}), "?wait=1"))[0]
        == "deny"
    )
    assert 0.9 < time.monotonic() - started < 5


def test_results_are_observed_or_withheld(hooked, bot):
    after = event("PostToolUse", tool_response={"stdout": "hello", "stderr": "", "interrupted": False})
    answer = post(hooked, bot.key_text, after)
    assert (answer.status_code, answer.json()) == (200, {})
    failed = event("PostToolUseFailure", error="exit 1", is_interrupt=False)
    assert post(hooked, bot.key_text, failed).json() == {}
    assert hooked.http("operator").get(f"/v1/tasks/{bot.task_id}").json()["state"] == "open"
    bot.send("POST", f"/v1/tasks/{bot.task_id}/end", bot.access, {"reason": "done"})
    found = post(hooked, bot.key_text, after).json()
    assert found["continue"] is False and "withheld" in found["stopReason"]
    shape = found["hookSpecificOutput"]["updatedToolOutput"]
    assert "hello" not in json.dumps(found) and shape["interrupted"] is False and "withheld" in shape["stdout"]


def test_when_the_task_is_over_the_key_permits_nothing(hooked, bot):
    bot.send("POST", f"/v1/tasks/{bot.task_id}/end", bot.access, {"reason": "done"})
    word, why = said(post(hooked, bot.key_text, event()))
    assert word == "deny" and "closed" in why
    refused = bot.send("POST", f"/v1/tasks/{bot.task_id}/hook-keys", bot.access, {})
    assert refused.status_code == 400


def test_a_hook_key_is_good_for_this_route_alone(hooked, bot):
    """What a thief of one can do: ask. Nothing that leads to a credential, a token, or another task takes it."""
    bearer = {"Authorization": f"Bearer {bot.key_text}"}
    for method, path in (
        ("POST", f"/v1/tasks/{bot.task_id}/calls"),
        ("POST", f"/v1/tasks/{bot.task_id}/credentials"),
        ("POST", f"/v1/tasks/{bot.task_id}/observations"),
        ("POST", f"/v1/tasks/{bot.task_id}/hook-keys"),
        ("POST", f"/v1/tasks/{bot.task_id}/end"),
        ("GET", f"/v1/tasks/{bot.task_id}"),
        ("GET", "/v1/whoami"),
        ("GET", "/v1/agents"),
    ):
        assert httpx.request(method, hooked.url + path, headers=bearer, json={}).status_code == 401, path
    assert bot.send("POST", f"/v1/tasks/{bot.task_id}/calls", bot.key_text, {"tool": "list"}).status_code == 401
    exchange = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": bot.key_text,
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "audience": "https://rs.example",
    }
    assert bot.token(**exchange).status_code == 400 or bot.token(**exchange).status_code == 401


def test_what_is_no_hook_key_is_refused(hooked, bot):
    _, other = hooked.agent("bot").task()
    for key in (
        bot.access,
        other,
        hooked.keys["operator"],
        hooked.keys["gate"],
        "a.b.c",
        bot.key_text[:-4] + "AAAA",
    ):
        assert post(hooked, key, event()).status_code in (401, 403), key[:12]
    assert httpx.post(hooked.url + HOOK, json=event()).status_code == 401
    thief = hooked.agent("other")
    assert thief.send("POST", f"/v1/tasks/{bot.task_id}/hook-keys", bot.access, {}).status_code == 401
    another = hooked.agent()
    _, theirs = another.task()
    assert another.send("POST", f"/v1/tasks/{bot.task_id}/hook-keys", theirs, {}).status_code == 404


def test_an_agents_own_token_asks_here_too(hooked, bot):
    answer = bot.send("POST", HOOK, bot.access, event())
    assert said(answer)[0] == "allow"
    without = bot.token().json()["access_token"]
    assert bot.send("POST", HOOK, without, event()).status_code == 404


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'"x"', b"{}", json.dumps(event("Stop")).encode(), json.dumps(event("PostToolUse")).encode(),
     json.dumps({**event(), "tool_input": []}).encode(), json.dumps({**event(), "tool_name": 1}).encode()],
)  # fmt: skip
def test_what_is_no_event_is_an_error_that_blocks(hooked, bot, body):
    assert post(hooked, bot.key_text, body).status_code == 400


def test_limits(hooked, bot):
    assert post(hooked, bot.key_text, event(), "?held=ask").status_code == 400
    assert post(hooked, bot.key_text, event(), "?wait=26").status_code == 400
    assert post(hooked, bot.key_text, b" " * (1088 * 1024 + 1)).status_code == 413
    big = event("PostToolUse", tool_response={"stdout": "x" * (1024 * 1024)})
    assert post(hooked, bot.key_text, big).status_code == 200

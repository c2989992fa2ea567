"""The conversation without a network: whatever a server says, only a permit is a permit, and nothing secret is shown."""

from __future__ import annotations

import base64
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import remit_client as remit
from remit_client.dpop import safe_origin
from remit_client.protocol import Agent, Work, _Token
from remit_client.wire import Answer, Reading

KEY = remit.AgentKey.generate()
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
members = ("decision", "why", "approval", "access_token", "expires_in", "authorization_details", "agent", "parts")
members += ("state", "deadline", "code", "sentence", "id", "url", "approvers", "reasons", "detail", "error")
words = st.sampled_from(["permit", "hold", "deny", "Permit", "open", "pending", "expired", "closed", ""])
answers = st.builds(
    Answer,
    st.sampled_from([200, 201, 204, 299, 302, 400, 401, 403, 404, 409, 429, 500, 503]),
    json_values | st.dictionaries(st.sampled_from(members), words | json_values, max_size=6),
)


def working():
    agent = Agent("https://remit.example", KEY, name="bot")
    return Work(agent, "pay", "g", {"customer": "acme"}, "tsk_1", _Token("t", time.monotonic() + 100))


def drive(talk, given_answers):
    """The value the conversation ends with; None when it asks more than there are answers."""
    try:
        next(talk)
        for answer in given_answers:
            talk.send(answer)
    except StopIteration as done:
        return done.value
    talk.close()
    return None


@given(st.lists(answers, min_size=1, max_size=4))
def test_whatever_is_answered_only_a_permit_is_a_permit(given_answers):
    try:
        found = drive(working().call("list", {"customer": "acme"}, wait=5), given_answers)
    except remit.RemitError:
        return
    if found is not None:
        permitted = [a for a in given_answers if a.status < 300 and isinstance(a.body, dict)]
        assert any(a.body.get("decision") == "permit" for a in permitted)


@given(
    st.lists(answers, min_size=1, max_size=4), st.sampled_from(["open", "credential", "token_for", "end", "wait_for"])
)
def test_whatever_is_answered_is_a_value_or_our_error(given_answers, which):
    work = working()
    talk = {
        "open": lambda: work.open("subject", 60, 3),
        "credential": lambda: work.credential("db"),
        "token_for": lambda: work.token_for("https://rs.example"),
        "end": lambda: work.end("done", settled=True),
        "wait_for": lambda: work.wait_for("apv_1", 5),
    }[which]()
    try:
        drive(talk, given_answers)
    except remit.RemitError as error:
        assert str(error)


@pytest.mark.parametrize(
    "body", [{"decision": True}, {"decision": "PERMIT"}, {"decision": ["permit"]}, {"permit": True}]
)
def test_almost_a_permit_is_none(body):
    with pytest.raises(remit.RemitError):
        drive(working().call("list", {}, wait=0), [Answer(200, {"why": [], **body})])


def test_a_federated_token_proves_once_a_process_and_again_when_refused():
    agent = Agent("https://remit.example", KEY, oidc_token="evidence", name="bot")
    asked = []

    def conversation(replies):
        talk = agent.credentials(None)
        send = next(talk)
        for reply in replies:
            asked.append(send.url.rpartition("/")[2])
            try:
                send = talk.send(reply)
            except StopIteration as done:
                return done.value
        raise AssertionError(f"asked for more: {send}")

    proved, token = Answer(201, {"agent": "bot"}), Answer(200, {"access_token": "t"})
    assert conversation([proved, token]) == {"access_token": "t"}
    assert conversation([token]) == {"access_token": "t"}
    assert conversation([Answer(401, {}), proved, token]) == {"access_token": "t"}
    assert asked == ["attest", "token", "token", "token", "attest", "token"]
    with pytest.raises(remit.NotAuthenticated):
        conversation([Answer(401, {}), proved, Answer(401, {})])


def test_nothing_secret_is_in_any_repr():
    canary = "canary-5e1f"
    agent = Agent("https://remit.example", KEY, join_token=canary, oidc_token=canary)
    work = Work(agent, "pay", "g", {}, "tsk_1", _Token(canary, time.monotonic() + 9), {"a": _Token(canary, 9.0)})
    send = next(agent.prove())
    assert canary.encode() in send.body
    shown = [repr(thing) for thing in (agent, work, send, work._token, Answer(200, {"parts": canary}), KEY)]
    assert canary not in " ".join(shown)


def test_a_denial_says_the_next_step():
    why = [{"code": "out_of_scope", "sentence": "Outside this task: customer/globex."}]
    with pytest.raises(remit.Denied) as denied:
        drive(working().call("list", {}, wait=0), [Answer(200, {"decision": "deny", "why": why})])
    assert denied.value.message == "Outside this task: customer/globex."
    assert "ask for a task that covers this" in denied.value.next_step and denied.value.next_step in str(denied.value)


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://remit.example", True),
        ("http://127.0.0.1:7450", True),
        ("http://[::1]:7450", True),
        ("http://localhost", True),
        ("http://remit.example", False),
        ("http://localhost.example", False),
        ("http://127.0.0.1.example", False),
        ("http://127.0.0.1@remit.example", False),
        ("ftp://127.0.0.1", False),
        ("billing-api", False),
        ("https://", False),
        ("https://remit.example:port", False),
    ],
)
def test_secrets_go_over_tls_or_stay_on_this_machine(url, safe, tmp_path):
    if safe:
        assert safe_origin(url)
        return
    with pytest.raises(remit.RemitError):
        remit.DPoPAuth(KEY, lambda: "t", url)
    with pytest.raises(remit.RemitError):
        remit.Remit(url, agent_dir=tmp_path / "agent")
    assert not (tmp_path / "agent").exists()


def test_an_answer_is_bounded():
    reading = Reading(5)
    reading.add(b"x" * 1024 * 1024 * 4)
    with pytest.raises(ValueError, match="more than"):
        reading.add(b"x")
    late = Reading(-10)
    with pytest.raises(ValueError, match="too slow"):
        late.add(b"{}")


def test_a_proof_names_method_url_and_token_and_is_never_the_same_twice():
    first, second = (KEY.proof("GET", "https://rs.example/a?q=1#f", "token") for _ in range(2))
    header, claims, _ = (part + "=" * (-len(part) % 4) for part in first.split("."))
    said = json.loads(base64.urlsafe_b64decode(claims))
    assert (said["htm"], said["htu"]) == ("GET", "https://rs.example/a") and said["ath"]
    assert json.loads(base64.urlsafe_b64decode(header))["jwk"] == dict(KEY.jwk)
    assert first.split(".")[1] != second.split(".")[1]

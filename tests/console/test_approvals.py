"""Approvals in a real browser: found, read, signed by a passkey, refused, and what may not approve."""

from __future__ import annotations

import json
import time

import httpx
import pytest
from playwright.sync_api import expect

from tests.server import CATALOGUE

from .browser import HOSTILE, console, looking

NOTE = """
effect = "write"
resource = "customer/{customer}"
matters = ["text", "to"]
[arguments.customer]
type = "text"
[arguments.to]
type = "text"
[arguments.text]
type = "text"
"""

GRANT = '[[grants]]\ntool = "note"\nresource = "customer/{customer}"\n'


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    files = {
        **CATALOGUE,
        "tools/note.toml": NOTE,
        "purposes/pay.toml": CATALOGUE["purposes/pay.toml"].replace("[[grants]]", GRANT + "[[grants]]", 1),
        "policies/notes.cedar": """@id("hold-notes") @approvers("finance")
forbid (principal, action == Remit::Action::"note", resource) unless { context.approved };""",
    }
    with console(tmp_path_factory.mktemp("console") / "data", files) as running:
        yield running


@pytest.fixture(scope="module")
def dana(server):
    """An agent with a task that dana began."""
    bot = server.agent()
    subject = server.http("dana").post("/v1/subject-tokens", json={"agent": "bot"}).json()["subject_token"]
    fields = {"subject_token": subject, "subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}
    details = {"type": "pay", "goal": "Pay ACME's invoices", "parameters": {"customer": "acme"}}
    answer = bot.token(details, **fields)
    assert answer.status_code == 200, answer.text
    return bot, answer.json()["authorization_details"][0]["task"], answer.json()["access_token"]


def held(dana, tool="pay", **arguments):
    """A call that is held; returns its approval, and how to try again."""
    bot, task, token = dana
    wanted = {"customer": "acme", **arguments}
    found = bot.call(task, token, tool, wanted)
    assert found["decision"] == "hold", found
    return found["approval"]["id"], lambda: bot.call(task, token, tool, wanted)["decision"]


def authenticator(page, verified=True):
    """A passkey device (Chrome DevTools Protocol, WebAuthn domain)."""
    cdp = page.context.new_cdp_session(page)
    cdp.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
    made = cdp.send("WebAuthn.addVirtualAuthenticator", {"options": {**options, "isUserVerified": verified, "automaticPresenceSimulation": True}})  # fmt: skip
    return cdp, made["authenticatorId"]


def registered(look):
    """With a passkey registered by its page."""
    device = authenticator(look.page)
    look.go("/console/passkeys")
    name = f"laptop {device[1]}"
    look.page.get_by_label("Name").fill(name)
    look.page.get_by_role("button", name="Register a passkey").click()
    expect(look.page.get_by_role("cell", name=name)).to_be_visible()
    return device


def test_approved_by_keyboard_and_passkey_in_seconds_and_the_log_keeps_the_signature(browser, server, dana):
    approval, again = held(dana, invoice=17, amount="120.00")
    with looking(browser, server) as look:
        page = look.sign_in("frank", "person").page
        look.go("/console/passkeys")
        look.fit()
        registered(look)
        look.fit()
        look.go("/console")
        page.keyboard.press("g")
        page.keyboard.press("a")
        page.wait_for_url("**/console/approvals")
        look.fit()
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/console/approvals/{approval}")
        heading = page.get_by_role("heading", level=1)
        expect(heading).to_contain_text("bot, for dana, asks: pay")
        look.fit()
        page.keyboard.press("y")  # at once: too hasty for what cannot be undone
        time.sleep(0.3)
        assert server.http("frank").get(f"/v1/approvals/{approval}").json()["state"] == "pending"
        expect(page.get_by_role("button", name="Approve with passkey")).to_be_enabled()
        started = time.monotonic()
        page.keyboard.press("y")
        expect(heading).to_contain_text("granted")
        print(f"\napproved {1000 * (time.monotonic() - started):.0f} ms after the key was pressed")
        look.fit()
    (answer,) = server.http("frank").get(f"/v1/approvals/{approval}").json()["answers"]
    assert answer["evidence"] == "passkey" and answer["yes"]
    assert (again(), again()) == ("permit", "hold")


def test_a_device_that_does_not_know_who_touched_it_approves_nothing(browser, server, dana):
    approval, _ = held(dana, invoice=18, amount="1.00")
    with looking(browser, server) as look:
        page = look.sign_in("frank", "person").page
        cdp, device = registered(look)
        cdp.send("WebAuthn.setUserVerified", {"authenticatorId": device, "isUserVerified": False})
        look.go(f"/console/approvals/{approval}")
        page.get_by_role("button", name="Approve with passkey").click()
        expect(page.get_by_role("alert")).to_have_text("Your passkey did not sign. Nothing has happened.")
    assert server.http("frank").get(f"/v1/approvals/{approval}").json()["state"] == "pending"


def test_a_signature_for_one_approves_no_other(browser, server, dana):
    """What frank's passkey signed for one request, sent to another from frank's own session."""
    first, _ = held(dana, invoice=19, amount="1.00")
    second, _ = held(dana, invoice=20, amount="900.00")
    with looking(browser, server) as look:
        page = look.sign_in("frank", "person").page
        registered(look)
        look.go(f"/console/approvals/{first}")
        sent = []
        page.route(f"**/console/approvals/{first}/answer", lambda route: (sent.append(route.request.post_data), route.abort()))  # fmt: skip
        page.get_by_role("button", name="Approve with passkey").click()
        page.wait_for_timeout(600)
        look.go(f"/console/approvals/{second}")
        digest = server.http("frank").get(f"/v1/approvals/{second}").json()["digest"]
        forged = dict(httpx.QueryParams(sent[0])) | {"digest": digest}
        answer = page.request.post(f"{look.url}/console/approvals/{second}/answer", form=forged, headers={"Sec-Fetch-Site": "same-origin"})  # fmt: skip
        assert answer.status == 403 and "not what was asked to be signed" in answer.text()
        look.errors.clear()  # the aborted request
    for one in (first, second):
        assert server.http("frank").get(f"/v1/approvals/{one}").json()["state"] == "pending"


def test_without_a_script_and_without_a_passkey_a_yes_is_asked_for_twice(browser, server, dana):
    approval, again = held(dana, invoice=21, amount="2.00")
    with looking(browser, server, java_script_enabled=False) as look:
        page = look.sign_in("frank", "person").page
        look.go(f"/console/approvals/{approval}")
        page.get_by_role("button", name="Approve").click()
        expect(page.get_by_text("No passkey signs this yes")).to_be_visible()
        assert server.http("frank").get(f"/v1/approvals/{approval}").json()["state"] == "pending"
        page.get_by_role("button", name="Yes, exactly this").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("granted")
    assert again() == "permit"


def test_a_no_says_why_by_keyboard(browser, server, dana):
    approval, _ = held(dana, invoice=22, amount="3.00")
    with looking(browser, server) as look:
        page = look.sign_in("frank", "person").page
        look.go(f"/console/approvals/{approval}")
        page.keyboard.press("n")
        page.keyboard.type("wrong account")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_contain_text("refused")
        expect(page.get_by_text("wrong account")).to_be_visible()
    assert server.http("frank").get(f"/v1/approvals/{approval}").json()["answers"][0]["note"] == "wrong account"


def test_the_next_few_like_it_are_agreed_to_with_limits(browser, server, dana):
    approval, again = held(dana, "note", to="kim", text="hello")
    with looking(browser, server) as look:
        page = look.sign_in("frank", "person").page
        registered(look)
        look.go(f"/console/approvals/{approval}")
        summary = page.get_by_text("And the next few like it")
        summary.click()
        page.get_by_label("How many").fill("2")
        look.fit()
        page.get_by_role("button", name="Approve with passkey").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("granted")
    assert [again() for _ in range(4)] == ["permit"] * 3 + ["hold"]


def test_who_may_not_answer_is_shown_no_button_and_refused_all_the_same(browser, server, dana):
    approval, _ = held(dana, invoice=23, amount="4.00")
    with looking(browser, server) as look:
        page = look.sign_in("dana", "person").page  # she began it
        look.go(f"/console/approvals/{approval}")
        expect(page.get_by_text("Waits for frank")).to_be_visible()
        expect(page.get_by_role("button", name="Approve")).to_have_count(0)
        look.fit()
        token = page.locator("input[name=form_token]").first.get_attribute("value")
        digest = server.http("dana").get(f"/v1/approvals/{approval}").json()["digest"]
        said = {"form_token": token, "answer": "yes", "digest": digest, "confirmed": digest}
        for more, status in (
            ({}, 403),
            ({"digest": "sha256:0"}, 400),
            ({"form_token": "x"}, 403),
            ({"answer": "maybe"}, 400),
        ):
            answer = page.request.post(f"{look.url}/console/approvals/{approval}/answer", form={**said, **more}, headers={"Sec-Fetch-Site": "same-origin"})  # fmt: skip
            assert answer.status == status, (more, answer.text())
    with looking(browser, server) as look:
        page = look.sign_in("", "operator").page  # an operator looks on, and is nobody who is asked
        look.go(f"/console/approvals/{approval}")
        expect(page.get_by_role("button", name="Approve")).to_have_count(0)


@pytest.mark.parametrize("size", [{"width": 375, "height": 740}, {"width": 1280, "height": 900}], ids=["phone", "wide"])
def test_hostile_values_are_read_and_never_run(browser, server, dana, size):
    asked = [held(dana, "note", to=one, text="x" * 400 + one)[0] for one in HOSTILE]
    with looking(browser, server, viewport=size) as look:
        page = look.sign_in("frank", "person").page
        for approval, value in zip(asked, HOSTILE, strict=True):
            look.go(f"/console/approvals/{approval}")
            shown = value.replace("\u202e", "\\u202e").replace("\u200b", "\\u200b")
            assert shown in page.locator("dl.arguments").inner_text(), value
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), value
        look.go("/console/approvals")
        look.fit()
        look.go("/console")
        look.fit()
        twin = json.loads(page.request.get(f"{look.url}/console/approvals/{asked[0]}.json").text())
        assert {one["name"]: one["value"] for one in twin["arguments"]}["to"] == HOSTILE[0]


def test_what_people_write_is_read_and_never_run(browser, server, dana):
    """Questions, notes, reasons of a freeze, and the names of passkeys."""
    approval, _ = held(dana, invoice=25, amount="6.00")
    for text in HOSTILE[:7]:
        assert server.http("frank").post(f"/v1/approvals/{approval}/questions", json={"text": text}).is_success
    digest = server.http("frank").get(f"/v1/approvals/{approval}").json()["digest"]
    note = "".join(HOSTILE)
    server.http("frank").post(f"/v1/approvals/{approval}/answer", json={"digest": digest, "yes": False, "note": note})
    for purpose, reason in zip(("whole", "part"), HOSTILE[1:3], strict=True):
        body = {"reach": "purpose", "name": purpose, "reason": reason}
        assert server.http("operator").post("/v1/freezes", json=body).is_success
    with looking(browser, server) as look:
        page = look.sign_in("frank", "person", "operator").page
        device = authenticator(page)
        look.go("/console/passkeys")
        page.get_by_label("Name").fill(HOSTILE[2])
        page.get_by_role("button", name="Register a passkey").click()
        expect(page.get_by_role("cell", name=HOSTILE[2])).to_be_visible()
        assert device
        for path, said in (
            (f"/console/approvals/{approval}", note),
            ("/console/freeze", HOSTILE[1]),
            ("/console", HOSTILE[2]),
        ):
            look.go(path)
            look.fit()
            shown = said.replace("\u202e", "\\u202e").replace("\u200b", "\\u200b")
            assert shown in page.locator("main").inner_text(), path


def test_what_somebody_else_answered_is_gone_at_once_and_what_is_being_written_stays(browser, server, dana):
    approval, _ = held(dana, invoice=24, amount="5.00")
    with looking(browser, server) as look:
        page = look.sign_in("frank", "person").page
        look.go(f"/console/approvals/{approval}")
        time.sleep(0.3)
        page.get_by_placeholder("Why not?").fill("I am not sure")
        server.http("frank").post(f"/v1/approvals/{approval}/questions", json={"text": "which invoice?"})
        time.sleep(0.5)
        assert page.get_by_placeholder("Why not?").input_value() == "I am not sure"
        digest = server.http("frank").get(f"/v1/approvals/{approval}").json()["digest"]
        server.http("frank").post(
            f"/v1/approvals/{approval}/answer", json={"digest": digest, "yes": False, "note": "n"}
        )
        expect(page.get_by_role("heading", level=1)).to_contain_text("refused")
        expect(page.get_by_role("button", name="Deny")).to_have_count(0)

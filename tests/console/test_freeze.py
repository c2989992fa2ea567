"""The red button, in a real browser: what it stops, and how it counts down to zero."""

from __future__ import annotations

from playwright.sync_api import expect

from .browser import looking


def test_an_operator_freezes_an_agent_and_sees_it_reach_everything(browser, server):
    bot = server.agent()
    task, token = bot.task()
    assert bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "rs"}).status_code == 201
    with looking(browser, server) as look:
        page = look.sign_in("", "operator").page
        page.keyboard.press("g")
        page.keyboard.press("f")
        page.wait_for_url("**/console/freeze")
        look.fit()
        page.get_by_label("What").select_option("agent bot")
        page.get_by_label("Why", exact=True).fill("it acts strangely")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="agent bot")).to_be_visible()
        refused = bot.send(
            "POST", f"/v1/tasks/{task}/calls", token, {"tool": "list", "arguments": {"customer": "acme"}}
        )
        assert refused.status_code != 200 or refused.json()["decision"] == "deny"
        expect(page.locator(".countdown b")).to_have_text("0")
        expect(page.get_by_text("Nothing lived any more")).to_be_visible(timeout=10_000)
        print("\n" + page.locator(".freeze").inner_text())
        look.fit()
        look.go("/console")
        expect(page.locator("#frozen")).to_contain_text("agent bot")
        look.go("/console/freeze")
        page.get_by_role("button", name="Let it act again").click()
        expect(page.get_by_text("Nothing is frozen.")).to_be_visible()
    assert bot.token({"type": "pay", "goal": "g", "parameters": {"customer": "acme"}}).status_code == 200


def test_a_person_freezes_what_they_answer_for_and_nothing_else(browser, server):
    with looking(browser, server) as look:
        page = look.sign_in("olga").page
        look.go("/console/freeze")
        options = page.get_by_label("What").locator("option").all_inner_texts()
        assert "everything" not in options and "bot" in options and "olga" in options and "dana" not in options
        token = page.locator("input[name=form_token]").first.get_attribute("value")
        for what, status in (("owner dana", 404), ("everything", 404), ("agent nobody", 404), ("x", 400), ("", 400)):
            form = {"form_token": token, "what": what, "reason": "r"}
            answer = page.request.post(
                look.url + "/console/freeze", form=form, headers={"Sec-Fetch-Site": "same-origin"}
            )
            assert answer.status == status, what
    with looking(browser, server) as look:
        page = look.sign_in("dana").page
        look.go("/console/freeze")
        expect(page.get_by_text("You answer for nothing")).to_be_visible()
        look.fit()

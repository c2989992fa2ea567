"""Signing in through a provider that is not ours (`oidc-provider-mock`, on Authlib's server), in a real browser."""

from __future__ import annotations

import pytest
from oidc_provider_mock import User, run_server_in_thread
from playwright.sync_api import expect

from tests.server import CATALOGUE

from .browser import console, looking

pytestmark = pytest.mark.filterwarnings("ignore:get_jwt_config")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    people = [User(sub="dana", claims={"groups": ["admins"]}), User(sub="eve", claims={})]
    with run_server_in_thread(user_claims=people, require_nonce=True) as provider:
        entry = f"""
[sign_in.company]
issuer = "http://localhost:{provider.server_port}"
client_id = "remit"
client_secret_env = "COMPANY_SECRET"
person = "sub"
title = "Company"
allow_private_network = true
[sign_in.company.roles]
operator = ["admins"]
"""
        files = {**CATALOGUE, "remit.toml": CATALOGUE["remit.toml"] + entry}
        with console(tmp_path_factory.mktemp("console") / "data", files, COMPANY_SECRET="s3cret") as running:
            yield running


def test_one_signs_in_at_the_provider_and_comes_back_to_the_page_one_wanted(browser, server):
    with looking(browser, server) as look:
        page = look.page
        page.goto(look.url + "/console/tasks?state=open")
        page.get_by_role("link", name="Sign in with Company").click()
        page.get_by_role("button", name="dana").click()
        page.wait_for_url("**/console/tasks?state=open")
        expect(page.get_by_text("dana operator, person")).to_be_visible()
        look.errors.clear()  # the 401 that offered to sign in, and what the provider's page says


def test_who_has_no_part_here_is_told_so(browser, server):
    with looking(browser, server) as look:
        page = look.page
        page.goto(look.url + "/sign-in")
        look.fit()
        page.get_by_role("link", name="Sign in with Company").click()
        page.get_by_role("button", name="eve").click()
        expect(page.get_by_role("alert")).to_contain_text("have no part here")
        look.fit()
        look.errors.clear()

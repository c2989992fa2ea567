"""The credentials of one run, in memory: asked for once while fresh, not handed out when it is over."""

from __future__ import annotations

import threading
import time

import pytest

from remit_client.answers import Secret
from remit_client.errors import RemitError
from remit_client.running.vault import Vault

FAR = 4_000_000_000_000


def test_the_vault_asks_once_while_it_is_fresh():
    asked = []

    def issue(name):
        asked.append(name)
        time.sleep(0.05)
        secret = Secret(value=f"v{len(asked)}")
        secret.lasts = 2.0
        return secret

    vault = Vault(issue, FAR)
    threads = [threading.Thread(target=vault.get, args=("a",)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked == ["a"] and vault.get("a").parts == {"value": "v1"}
    assert "v1" not in repr(vault) + repr(vault.get("a"))
    time.sleep(1.7)  # a fifth of its life before its end
    assert vault.get("a").parts == {"value": "v2"}
    vault.close()
    with pytest.raises(RemitError, match="over"):
        vault.get("a")


def test_near_the_end_there_is_nothing_to_renew_to():
    """Each new credential would live until the deadline as well: asking again would only be asking faster."""
    asked = []

    def issue(name):
        asked.append(name)
        secret = Secret(value="v")
        secret.lasts, secret.expires_at = (1.5, 1000) if name == "last" else (0.0, 500)
        return secret

    vault = Vault(issue, 1000)
    vault.get("last")
    time.sleep(1.3)
    vault.get("last")
    assert asked == ["last"] and vault.stale_in("last") < 0.3
    for _ in range(10):
        vault.get("dead on arrival")
    assert asked == ["last", "dead on arrival"]


def test_what_is_being_issued_when_it_closes_is_not_handed_out():
    asked, go = threading.Event(), threading.Event()

    def issue(name):
        asked.set()
        go.wait(10)
        return Secret(value="late")

    vault, seen = Vault(issue, FAR), list[str]()

    def ask():
        try:
            seen.append(vault.get("a"))
        except RemitError as refused:
            seen.append(str(refused))

    thread = threading.Thread(target=ask)
    thread.start()
    asked.wait(10)
    vault.close()  # does not wait for it
    go.set()
    thread.join()
    assert seen == ["The task is over. Start the command again with `remit run`."]


def test_a_refusal_is_not_asked_for_again_at_once():
    asked = []

    def issue(name):
        asked.append(name)
        raise RemitError("no")

    vault = Vault(issue, FAR)
    for _ in range(5):
        with pytest.raises(RemitError, match="no"):
            vault.get("a")
    assert asked == ["a"]

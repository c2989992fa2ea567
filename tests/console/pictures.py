"""`make pictures`: the console with a quarter's close in it, as docs/images shows it to people who decide whether to look."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from remit.cli.catalogue import read_folder
from tests.web.test_delegation import accept, opened

from .browser import chromium, console, looking

ROOT = Path(__file__).parents[2]
CUSTOMER = {"customer": "acme"}
PAY = {**CUSTOMER, "invoice": 17, "amount": "120.00"}


def quarter(server):
    """Dana asks the lead, which hands the payments to another agent; one waits for Frank. Returns (task, approval)."""
    lead, payer = server.agent("lead"), server.agent("payer")
    subject = server.http("dana").post("/v1/subject-tokens", json={"agent": "lead"}).json()["subject_token"]
    details = {"type": "close-quarter", "goal": "Close ACME's third quarter; invoice 17 is due", "parameters": CUSTOMER}
    more = {"subject_token": subject, "subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}
    task, token = opened(lead.token(details, **more))
    lead.call(task, token, "invoices.list", CUSTOMER)
    body = {"agent": "payer", "purpose": "settle", "goal": "Pay what is overdue", "parameters": CUSTOMER}
    handed = lead.send("POST", f"/v1/tasks/{task}/delegations", token, body).json()
    child, below = opened(accept(payer, handed["delegation_token"]))
    payer.call(child, below, "invoices.list", CUSTOMER)
    payer.send("POST", f"/v1/tasks/{child}/credentials", below, {"credential": "bank"})
    payer.call(child, below, "ledger.close", CUSTOMER)
    held = payer.call(child, below, "payments.send", PAY)
    frank = server.http("frank")
    shown = frank.get(f"/v1/approvals/{held['approval']['id']}").json()
    time.sleep(1.5)
    frank.post(f"/v1/approvals/{shown['id']}/answer", json={"digest": shown["digest"], "yes": True})
    payer.call(child, below, "payments.send", PAY)
    lead.call(task, token, "payer.ask", {"message": "And invoice 18?"})
    time.sleep(1)
    waits = payer.call(child, below, "payments.send", {**PAY, "invoice": 18, "amount": "480.50"})
    return task, waits["approval"]["id"]


def main() -> None:
    """Write every picture into the folder that is named, or docs/images."""
    folder = Path(sys.argv[1]) if sys.argv[1:] else ROOT / "docs" / "images"
    folder.mkdir(exist_ok=True)
    files = read_folder(ROOT / "examples" / "handoff")
    with tempfile.TemporaryDirectory() as data, console(Path(data) / "data", files) as server, chromium() as browser:
        task, approval = quarter(server)
        pages = {
            "approval": f"/console/approvals/{approval}",
            "now": "/console",
            "task": f"/console/tasks/{task}",
            "agents": "/console/agents",
            "log": "/console/log",
            "playground": "/console/playground",
        }
        for scheme in ("light", "dark"):
            with looking(browser, server, viewport={"width": 1180, "height": 760}, color_scheme=scheme) as look:
                look.sign_in("frank", "person", "operator")
                for name, path in pages.items():
                    page = look.go(path)
                    page.wait_for_timeout(1800)
                    page.screenshot(path=folder / f"{name}{'' if scheme == 'light' else '-dark'}.png")
        with looking(browser, server, viewport={"width": 360, "height": 740}, color_scheme="light") as look:
            look.sign_in("frank", "person")
            look.go(pages["approval"]).screenshot(path=folder / "approval-phone.png")


if __name__ == "__main__":
    main()

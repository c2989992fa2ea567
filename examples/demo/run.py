"""The main job, from start to end, on this machine: nothing is simulated but the agent's choices.

Starts Remit and a PostgreSQL, plays the operator, lets an agent process work, plays the approver (or, with
--human, waits for you), and then shows that nothing is left. Every timeline line is an event of Remit's own log.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg

from remit.testing.postgres import NoPostgres, PostgresServer
from remit_client import AgentKey

HERE = Path(__file__).resolve().parent
REMIT = str(Path(sys.executable).parent / "remit")
COLOUR = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

DATA = """
CREATE TABLE customers (name text PRIMARY KEY, iban text NOT NULL);
CREATE TABLE invoices (id int PRIMARY KEY, customer text REFERENCES customers, amount numeric(10,2), due date,
  paid bool);
CREATE TABLE payments (id int GENERATED ALWAYS AS IDENTITY, invoice int REFERENCES invoices, amount numeric(10,2));
CREATE TABLE salaries (employee text, amount numeric(10,2));
INSERT INTO customers VALUES ('acme', 'DE02120300000000202051'), ('globex', 'DE02500105170137075030');
INSERT INTO invoices VALUES (16, 'acme', 80.00, '2026-01-10', true), (17, 'acme', 120.00, '2026-02-01', false),
  (18, 'acme', 310.50, '2099-01-01', false), (19, 'globex', 990.00, '2026-02-01', false);
INSERT INTO salaries VALUES ('frank', 5200.00);
CREATE ROLE remit_admin LOGIN CREATEROLE PASSWORD 'demo-admin';
GRANT CONNECT ON DATABASE postgres TO remit_admin WITH GRANT OPTION;
GRANT USAGE ON SCHEMA public TO remit_admin WITH GRANT OPTION;
GRANT SELECT ON customers, invoices TO remit_admin WITH GRANT OPTION;
CREATE ROLE payments_service LOGIN PASSWORD 'demo-payments';
GRANT SELECT, UPDATE ON invoices TO payments_service;
GRANT SELECT, INSERT ON payments TO payments_service;
"""

WORDS = {
    "CatalogueApplied": lambda d: f"the reviewed catalogue is in force ({len(d['summary'])} changes)",
    "JoinTokenCreated": lambda d: f"{d['agent']} may prove itself once",
    "AccessKeyCreated": lambda d: f"{d['kind']} {d['name']} has a key",
    "AgentProved": lambda d: f"{d['agent']} proved itself by {d['method']}: {d['spiffe_id']}",
    "TaskProposed": lambda d: f"{d['agent']} opened a task for {d['initiator']}, purpose {d['purpose']}",
    "TokenIssued": lambda d: (
        f"a token left, bound to the agent's key {d['jkt'][:8]}…" if d["jkt"] else "dana asked invoice-bot"
    ),
    "LeaseReserved": lambda d: f"a lease stands before its credential exists: role {d['handle'][:14]}…",
    "LeaseMinted": lambda d: "the database role exists, for this task alone",
    "AccessDecided": lambda d: f"{d['decision'].upper():<6} {d['tool']} ({', '.join(d['reasons'])})",
    "ApprovalAnswered": lambda d: f"{d['person']} said {'yes' if d['yes'] else 'no'} to exactly {d['digest'][7:19]}…",
    "ResultObserved": lambda d: f"it read what {d['tool']} said: {d['trust']}, {d['values']} values to know again",
    "ObservationsForgotten": lambda d: "what it read is forgotten",
    "TaskWaits": lambda d: "its last credential is not confirmed dead yet",
    "TaskEnded": lambda d: f"the task is {d['how']}: no permit after this",
    "LeaseEnding": lambda d: f"its credential must die ({d['reason']})",
    "LeaseEnded": lambda d: "the database confirmed: the role is dead",
    "TaskSettled": lambda d: f"nothing is left of the task ({d['leases']} credentials, all dead)",
}


def paint(text: str, code: str) -> str:
    """Colour on a terminal only."""
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def note(text: str) -> None:
    """What the demo itself does or sees."""
    print(paint(f"          {text}", "2"), flush=True)


class Timeline(threading.Thread):
    """Prints the log's own events as they are sequenced."""

    def __init__(self, url: str, key: str) -> None:
        super().__init__(daemon=True)
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, trust_env=False)
        self.seen = 0
        self._began = 0
        self._over = threading.Event()

    def run(self) -> None:
        """Poll the sequenced log."""
        while not self._over.is_set():
            self.catch_up()
            time.sleep(0.05)

    def catch_up(self) -> None:
        """Print what is new."""
        body = self._http.get("/v1/log/entries", params={"start": self.seen}).content
        for line in body.split(b"\n")[:-1]:
            self.seen += 1
            event = json.loads(line)
            self._began = self._began or event["at"]
            said = WORDS.get(event["type"], lambda d: "")(event["data"]) or event["type"]
            mark = {"HOLD": "33", "DENY": "31", "PERMIT": "32"}.get(said.split(" ")[0], "0")
            print(
                f"{(event['at'] - self._began) / 1000:>7.3f} s {event['by']:<20} {paint(said, mark)}",
                flush=True,
            )

    def settle(self) -> None:
        """Wait until everything committed has been sequenced and printed."""
        quiet = 0
        while quiet < 5:
            before = self.seen
            time.sleep(0.06)
            quiet = quiet + 1 if self.seen == before else 0

    def stop(self) -> None:
        """Print the rest, then stop."""
        self.settle()
        self._over.set()
        self.join()


def cli(env: dict[str, str], *words: str) -> str:
    """Run the CLI as a person at a terminal would."""
    done = subprocess.run([REMIT, *words], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"remit {' '.join(words)} failed:\n{done.stderr}")
    return done.stdout.strip()


@contextmanager
def server(env: dict[str, str]) -> Iterator[str]:
    """`remit up` on a free port; what the server says of itself goes to a file."""
    log = (Path(env["REMIT_DATA"]).parent / "server.log").open("w")
    command = [REMIT, "up", "--port", "0", "--json"]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"Remit did not start:\n{Path(log.name).read_text()}")
        yield json.loads(line)["url"]
    finally:
        process.terminate()
        process.wait(15)
        log.close()


def review(env: dict[str, str], folder: Path) -> None:
    """The operator: look at what the payments server offers, pin it, put the catalogue in force."""
    shutil.copytree(HERE.parent / "billing", folder)
    offered = cli(
        env,
        "tool",
        "pin",
        "--json",
        "--server",
        "payments",
        "--",
        sys.executable,
        str(HERE / "payments_server.py"),
    )
    pin = json.loads(offered.splitlines()[0])["pin"]
    tool = folder / "tools" / "payments.send.toml"
    tool.write_text(f'server = "payments"\npin = "{pin}"\n' + tool.read_text())
    cli(env, "apply", str(folder))


def approve(env: dict[str, str], done: threading.Event, human: bool) -> None:
    """The approver: read what is shown, answer it. With --human, that is you."""
    told: set[str] = set()
    while not done.wait(0.2):
        waiting = cli(env, "approval", "list", "--as", "frank", "--json")
        for line in waiting.splitlines():
            found = json.loads(line)
            if found["id"] in told:
                continue
            told.add(found["id"])
            note(f"frank reads: {found['shown']['sentence']}")
            if human:
                data = env["REMIT_DATA"]
                print(
                    f"\n  Your turn:  REMIT_DATA={data} {REMIT} approve {found['id']} --as frank\n",
                    flush=True,
                )
            else:
                cli(env, "approve", found["id"], "--as", "frank", "--digest", found["digest"])


def act(env: dict[str, str]) -> tuple[str, str]:
    """The agent process; returns its last token and the role it used."""
    agent = subprocess.Popen([sys.executable, str(HERE / "agent.py")], env=env, stdout=subprocess.PIPE, text=True)
    assert agent.stdout is not None
    token = role = ""
    for line in agent.stdout:
        said: dict[str, Any] = json.loads(line)
        token, role = said.pop("token", token), said.get("role", role)
        for what, value in said.items():
            if what != "role":
                note(f"agent: {what.replace('_', ' ')}: {', '.join(value) if isinstance(value, list) else value}")
    if agent.wait():
        raise SystemExit("the agent failed")
    return token, role


def aftermath(env: dict[str, str], url: str, admin: str, token: str, role: str) -> None:
    """Nothing is left, and it can be proved to somebody who trusts nobody here."""
    with psycopg.connect(admin) as db:
        left = db.execute(
            "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'remit\\_%' AND rolname <> 'remit_admin'"
        ).fetchone()
        paid = db.execute("SELECT invoice, amount FROM payments").fetchall()
    assert left == (0,), f"{left} roles are left"
    note(f"database: {paid[0][1]} EUR paid for invoice {paid[0][0]}; role {role[:14]}… is gone, none is left")
    for whose, key in (
        ("another key", AgentKey.generate()),
        ("its own key", AgentKey.load_or_create(Path(env["REMIT_AGENT_DIR"]))),
    ):
        path = f"{url}/oauth/introspect"
        body = httpx.post(path, data={"token": token}, headers={"Authorization": f"Bearer {operator_key(env)}"})
        assert body.json() == {"active": False}, body.text
        target = f"{url}/v1/tasks/{claims(token)['txn']}/calls"
        headers = {"Authorization": f"DPoP {token}", "DPoP": key.proof("POST", target, token)}
        answer = httpx.post(target, json={"tool": "invoices.list", "arguments": {"customer": "acme"}}, headers=headers)
        said = answer.json()
        assert said.get("decision") == "deny" or answer.status_code == 401, said
        note(f"the old token with {whose}: {said.get('detail') or said['why'][0]['sentence']}")


def operator_key(env: dict[str, str]) -> str:
    """The key of the person at this machine."""
    return (Path(env["REMIT_DATA"]) / "operator.key").read_text().strip()


def claims(token: str) -> dict[str, Any]:
    """A token's claims, unverified."""
    import base64

    part = token.split(".")[1]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return decoded


def main() -> None:
    """Set up, play, prove."""
    human = "--human" in sys.argv[1:]
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="remit-demo-"))
    try:
        with PostgresServer() as postgres:
            with psycopg.connect(postgres.dsn(), autocommit=True) as db:
                db.execute(DATA)
            env = {
                **os.environ,
                "REMIT_DATA": str(folder / "data"),
                "REMIT_AGENT_DIR": str(folder / "agent"),
                "BILLING_ADMIN_DSN": postgres.dsn("remit_admin", "demo-admin"),
                "PAYMENTS_DSN": postgres.dsn("payments_service", "demo-payments"),
            }
            for name in ("REMIT_URL", "REMIT_KEY", "REMIT_JOIN_TOKEN"):
                env.pop(name, None)
            with server(env) as url:
                note(f"Remit is up at {url} on embedded SQLite; PostgreSQL is on port {postgres.port}")
                timeline = Timeline(url, operator_key(env))
                timeline.start()
                review(env, folder / "catalogue")
                env |= {"REMIT_URL": url, "REMIT_JOIN_TOKEN": cli(env, "agent", "invite", "invoice-bot")}
                for person in ("dana", "frank"):
                    cli(env, "key", "create", "person", person, "--save")
                env["SUBJECT_TOKEN"] = cli(env, "ask", "invoice-bot", "--as", "dana")
                done = threading.Event()
                approver = threading.Thread(target=approve, args=(env, done, human))
                approver.start()
                try:
                    token, role = act(env)
                finally:
                    done.set()
                    approver.join()
                timeline.settle()
                aftermath(env, url, postgres.dsn(), token, role)
                timeline.stop()
                log = folder / "log.jsonl"
                cli(env, "log", "export", str(log))
                key = cli(env, "log", "key")
            # The server is down: what follows needs only the file and the public key.
            note(cli(env, "log", "verify", str(log), "--key", key))
            text = log.read_text().replace('"decision":"hold"', '"decision":"permit"', 1)
            log.write_text(text)
            tampered = subprocess.run(
                [REMIT, "log", "verify", str(log), "--key", key], capture_output=True, text=True, check=False
            )
            assert tampered.returncode == 1, "a changed log verified"
            note(f"one word changed in the log: {tampered.stderr.strip().removeprefix('remit: ')}")
    except NoPostgres as missing:
        raise SystemExit(f"The demo needs a PostgreSQL server: {missing}") from missing
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\nDone in {time.monotonic() - started:.1f} s. Next: the README does the same by hand.")


main()

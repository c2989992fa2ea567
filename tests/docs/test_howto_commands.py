"""How-to pages are done as they say: their commands in a shell, their configuration in the servers it is for."""

from __future__ import annotations

import asyncio
import os
import pwd
import subprocess
import sys
from pathlib import Path

import httpx
import psycopg
import pytest

from remit.formats.catalogue import parse
from remit_client import AgentKey
from tests.issuers import servers
from tests.issuers.conftest import database, openbao  # noqa: F401 - fixtures
from tests.issuers.rigs import lease, needs
from tests.issuers.rigs import x509 as x509_rig
from tests.server import CATALOGUE, Server, eventually, furnished, process

from .howtos import catalogues, fenced, whole

EVERYTHING = {"policies/all.cedar": '@id("all") permit (principal, action, resource);'}


def shell(script: str, folder: Path, **env: str) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, capture_output=True, text=True,
                          env={"HOME": str(folder), "PATH": path, **env}, timeout=60)  # fmt: skip
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


def grants_of(page: str, issuer: str):
    for files in catalogues(page):
        catalogue = parse(whole(files))
        if issuer in catalogue.issuers:
            (purpose,) = catalogue.purposes.values()
            return purpose.credentials[0].grants
    raise AssertionError(issuer)


def live(folder: Path, page: str, issuer: str, *replace: tuple[str, str]):
    """A server with the page's catalogue in it, as `replace` puts this machine in the place of the page's."""
    files = whole(next(files for files in catalogues(page) if f"[issuers.{issuer}]" in files["remit.toml"]))
    for name in files:
        for old, new in replace:
            files[name] = files[name].replace(old, new)
    files["remit.toml"] += "\n[people.dana]\n[people.frank]\n"
    return process(folder / "data"), {**files, **EVERYTHING}


# --- certificates ---


def test_sshd_lets_in_and_out_as_the_page_says(tmp_path):
    """Authority and list fetched as it says, sshd told as it says, and its grants at a real login."""
    needs(Path("/usr/sbin/sshd").exists(), "no sshd here: apt-get install openssh-server")
    there = tmp_path / "remit"
    (there / "principals").mkdir(parents=True)
    me = pwd.getpwuid(os.getuid()).pw_name
    (there / "principals" / me).write_text("deploy\n")
    running, files = live(tmp_path, "certificates.md", "hosts", ("/etc/ssh/remit/krl", str(there / "krl")),
                          ("/usr/local/bin/deploy", "/usr/bin/id -u"), ('source_address = "10.0.0.0/8,192.0.2.7"', ""))  # fmt: skip
    with running as server:
        furnished(server, files)
        fetch = fenced("certificates.md", "sh")[0].replace("/etc/ssh/remit", str(there))
        shell(fetch, tmp_path, REMIT_URL=server.url)
        port = servers.free_port()
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "host")], check=True)
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        conf = tmp_path / "sshd_config"
        conf.write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host\nPidFile {tmp_path}/pid\nUsePAM no\n"
            "AuthorizedKeysFile none\nPasswordAuthentication no\nStrictModes no\nPermitRootLogin yes\n"
            + fenced("certificates.md", "sshd")[0].replace("/etc/ssh/remit", str(there))
        )
        sshd = servers.Running(tmp_path, port, ["/usr/sbin/sshd", "-D", "-e", "-f", str(conf)])
        try:
            agent = server.agent()
            task, token = agent.task(type="deploy-site", parameters={})
            minted = agent.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "deploy"}).json()
            (tmp_path / "id").write_text(minted["parts"]["private_key"])
            (tmp_path / "id").chmod(0o600)
            (tmp_path / "id-cert.pub").write_text(minted["parts"]["certificate"])
            login = ["ssh", "-F", "none", "-p", str(port), "-i", str(tmp_path / "id"), "-o", "StrictHostKeyChecking=no", "-o",
                     f"UserKnownHostsFile={tmp_path}/known", "-o", "BatchMode=yes", "-o", "IdentityAgent=none", f"{me}@127.0.0.1"]  # fmt: skip
            done = subprocess.run(login, capture_output=True, text=True, timeout=30)
            assert done.stdout == f"{os.getuid()}\n", done.stderr
            ended(server, task)
            assert subprocess.run(login, capture_output=True, timeout=30).returncode == 255
        finally:
            sshd.stop()


def ended(server: Server, task: str):
    """`remit task end`, which watches until nothing is left."""
    done = server.cli("task", "end", task)
    assert done.returncode == 0, done.stderr


def test_openssl_agrees_with_the_page(tmp_path):
    async def main():
        made = await x509_rig.issuer(str(tmp_path / "crl.pem"))
        of = lease("remit_1", grants_of("certificates.md", "certs"))
        (tmp_path / "tls.crt").write_text((await made.mint(of)).parts["certificate"])
        (tmp_path / "ca.pem").write_bytes((await made.published("ca.pem"))[1])
        verify = fenced("certificates.md", "sh")[2]
        assert "OK" in shell(verify, tmp_path)
        await made.kill(of)
        with pytest.raises(AssertionError, match="revoked"):
            shell(verify, tmp_path)

    asyncio.run(main())


# --- OpenBao ---


def test_openbao_is_set_up_as_the_page_says(openbao, database, tmp_path):  # noqa: F811
    """Its commands in a shell, its catalogue at a real server, a role at a real database, dead when the task is."""
    address = f"http://127.0.0.1:{openbao.port}"
    url = f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{database.port}/postgres?sslmode=disable"
    running, files = live(
        tmp_path, "openbao.md", "bao", ('address = "https://bao.example.com"', f'address = "{address}"')
    )
    with psycopg.connect(database.dsn(), autocommit=True) as db:
        db.execute("DROP TABLE IF EXISTS invoices")
        db.execute("CREATE TABLE invoices (id int)")
        for statement in ("DROP OWNED BY bao", "DROP ROLE bao"):
            if db.execute("SELECT FROM pg_roles WHERE rolname = 'bao'").fetchall():
                db.execute(statement)
        db.execute("CREATE ROLE bao SUPERUSER LOGIN PASSWORD 'bao-password'")
        with running as server:
            furnished(server, files)
            env = {"BAO_ADDR": address, "BAO_TOKEN": "root", "REMIT_URL": server.url, "BILLING_URL": url,
                   "BILLING_PASSWORD": "bao-password"}  # fmt: skip
            for block in fenced("openbao.md", "sh"):
                shell(block, tmp_path, **env)
            agent = server.agent()
            task, token = agent.task(type="read-invoices", parameters={})
            answer = agent.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "billing-db"})
            assert answer.status_code in (200, 201), answer.text + server.data.with_suffix(".log").read_text()[-2000:]
            parts = answer.json()["parts"]
            there = {"host": "127.0.0.1", "port": database.port, "dbname": "postgres", "user": parts["username"]}
            with psycopg.connect(**there, password=parts["password"]) as own:
                assert own.execute("SELECT count(*) FROM invoices").fetchone() == (0,)
            ended(server, task)
            assert not db.execute("SELECT FROM pg_roles WHERE rolname = %s", [parts["username"]]).fetchall()
        db.execute("DROP TABLE invoices")


# --- SPIFFE ---


def test_a_workload_gets_its_svid_and_begins_a_task_as_the_page_says(tmp_path):
    exe = os.path.realpath(sys.executable)
    (issued, foreign), (fetch, use) = catalogues("spiffe.md"), fenced("spiffe.md", "python")
    parse(whole(foreign))
    here = {"unix:user:payer": f"unix:uid:{os.getuid()}", "/opt/payer/bin/python3.11": exe}
    agent = issued["agents/payer.toml"]
    for old, new in here.items():
        agent = agent.replace(old, new)
    purpose = 'owner = "olga"\nagents = ["payer"]\nmax_duration = "5m"\nmax_calls = 9\n[parameters.customer]\n[[grants]]\ntool = "invoices.list"\n'
    files = {
        "remit.toml": "[people.olga]\n[people.dana]\n[people.frank]\n",
        "agents/payer.toml": agent,
        "purposes/pay-invoices.toml": purpose,
        "tools/invoices.list.toml": 'effect = "read"\n[arguments.customer]\ntype = "text"\n',
        **EVERYTHING,
    }
    socket = tmp_path / "workload.sock"
    words = ("--trust-domain", "agents.example.com", "--workload-api", str(socket))
    with process(tmp_path / "data", *words) as server:
        furnished(server, files)
        env = {**server.env(), "SPIFFE_ENDPOINT_SOCKET": f"unix://{socket}", "REMIT_URL": server.url,
               "REMIT_AGENT_DIR": str(tmp_path / "agent")}  # fmt: skip

        def run(program: str) -> str:
            done = subprocess.run([exe, "-c", f"import site; site.addsitedir({site()!r})\n{program}"], env=env,
                                  capture_output=True, text=True, timeout=60)  # fmt: skip
            assert done.returncode == 0, done.stderr
            return done.stdout

        assert run(fetch) == "spiffe://agents.example.com/agent/payer\n"
        run(use + "    print('called')\n")
        assert httpx.get(f"{server.url}/spiffe/bundle").json()["spiffe_refresh_hint"] <= 60
        token = run("import spiffe\nwith spiffe.WorkloadApiClient() as w:\n"
                    f"    print(w.fetch_jwt_svid({{{server.url!r}}}).token)").strip()  # fmt: skip
        at = f"{server.url}/oauth/token"
        script = f'curl -sf {at} -H "DPoP: $PROOF" -d grant_type=client_credentials -d client_assertion="$SVID" ' \
                 "-d client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"  # fmt: skip
        assert "access_token" in shell(script, tmp_path, SVID=token, PROOF=AgentKey.generate().proof("POST", at))


def site() -> str:
    return next(path for path in sys.path if path.endswith("site-packages"))


# --- where the log goes ---


def test_a_sink_is_looked_after_and_its_file_checked_as_the_page_says(tmp_path):
    with process(tmp_path / "remit-data") as server:
        furnished(server, {**CATALOGUE, "remit.toml": CATALOGUE["remit.toml"] + '[out.disk]\nkind = "file"\n'})
        eventually(lambda: server.http("operator").get("/v1/out/disk").json(), lambda one: not one["behind"])
        looked, checked = fenced("siem.md", "console")
        assert "running" in shell(looked, tmp_path)
        eventually(lambda: server.http("operator").get("/v1/out/disk").json(), lambda one: not one["behind"])
        assert "are exactly those that were signed" in shell(checked, tmp_path)

"""Credential helpers with the programs they are for: botocore, git, kubectl, Docker."""

from __future__ import annotations

import base64
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from remit_client import cred
from remit_client.answers import Secret
from remit_client.errors import RemitError
from remit_client.helpers import Unfit, aws, docker, git, k8s
from remit_client.running.door import Door
from remit_client.running.offers import Offers, helper
from remit_client.running.vault import Vault
from remit_client.shapes import Private, ShapeError, Wanted
from tests.client.parts import EXPIRES, NASTY, PARTS, ran


@contextmanager
def offered(tmp_path, parts, *texts, lasts=600.0):
    """What `remit run` offers a command, with credentials made here: yields (environment, names that were issued)."""
    asked = []

    def issue(name):
        asked.append(name)
        if name not in parts:
            raise RemitError("No.", next_step="Ask somebody.")
        kind, found = parts[name]
        secret = Secret(found)
        secret.kind, secret.lasts, secret.expires_at = kind, lasts, int((time.time() + lasts) * 1000)
        return secret

    private, vault = Private(tmp_path), Vault(issue, 4_000_000_000_000)
    offers = Offers([Wanted.parse(text) for text in texts], vault, private)
    door = Door(private.path / "socket", offers.answer)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "GIT_", "KUBE"))}
    clean |= {"HOME": str(tmp_path), "PATH": f"/usr/bin:/bin:{Path(shutil.which('docker') or '/x/y').parent}"}
    try:
        offers.prepare()
        door.open()
        yield offers.environment(clean, REMIT_SOCKET=str(door.path)), asked
    finally:
        offers.stop()
        door.close()
        private.remove()


CRED = helper()[0]


def test_botocore_takes_it_and_asks_again(tmp_path):
    session = pytest.importorskip("botocore.session")
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text("[default]\naws_access_key_id=standing\naws_secret_access_key=x\n")
    with offered(tmp_path, {"cloud": ("aws", PARTS["aws"])}, "cloud") as (env, asked):
        code = f"""
import {session.__name__} as s
found = s.Session().get_credentials()
frozen = found.get_frozen_credentials()
print(found.method, *frozen[:3], found._expiry_time.isoformat() > "2026")
"""
        done = ran(env, sys.executable, "-c", code)
        assert done.stdout == "custom-process AKIA s/+ t True\n", done.stderr
        assert ran(env, sys.executable, "-c", code).stdout and asked == ["cloud"]
        said = json.loads(ran(env, CRED, "aws", "--credential", "cloud").stdout)
    assert list(said) == ["Version", "AccessKeyId", "SecretAccessKey", "Expiration", "SessionToken"]
    assert said["Version"] == 1 and said["Expiration"].endswith("Z")


class Recorder(BaseHTTPRequestHandler):
    """Answers 401 until the right Authorization comes, and what the test wants then."""

    def do_GET(self):
        right = self.headers.get("Authorization", "") == self.server.wanted
        self.server.seen.append((self.path, self.headers.get("Authorization", "")))
        body = self.server.bodies.get(self.path.partition("?")[0], b"{}") if right else b""
        self.send_response(200 if right else 401)
        if not right:
            self.send_header("WWW-Authenticate", 'Basic realm="here"')
        kind = "application/x-git-upload-pack-advertisement" if "info/refs" in self.path else self.server.media
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *args):
        pass


@contextmanager
def serving(wanted, bodies, media="application/json", context=None):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    server.wanted, server.bodies, server.media, server.seen = wanted, bodies, media, []
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_git_asks_us_and_only_for_the_host_it_is_for(tmp_path):
    standing = tmp_path / "standing"
    standing.write_text("#!/bin/sh\necho username=standing; echo password=standing\n")
    standing.chmod(0o755)
    (tmp_path / ".gitconfig").write_text(f'[credential]\n\thelper = "!{standing}"\n')
    parts = {"forge": ("github", {"access_token": "ghs_x"}), "lab": ("static", {"value": "glpat"})}
    with offered(tmp_path, parts, "forge=git", "lab=git:gitlab.example:8443") as (env, asked):
        env = {**env, "GIT_TERMINAL_PROMPT": "0"}

        def fill(*lines):
            return ran(env, "git", "credential", "fill", stdin="\n".join(lines) + "\n\n").stdout

        assert asked == ["forge"]
        got = fill("protocol=https", "host=github.com")
        assert "username=x-access-token\npassword=ghs_x\n" in got
        assert "password=glpat" in fill("protocol=https", "host=gitlab.example:8443")
        assert asked == ["forge", "lab"]
        for lines in (
            ("protocol=https", "host=github.com.evil.example"),
            ("protocol=http", "host=github.com"),
            ("protocol=https", "host=github.com:444"),
            ("protocol=https", "host=gitlab.example"),
        ):
            assert "standing" in fill(*lines) and "ghs_x" not in fill(*lines)
        # Asked directly, past git's own matching:
        words = (CRED, "git", "--credential", "forge", "get")
        assert ran(env, *words, stdin="protocol=https\nhost=evil.example\n\n").stdout == ""
        assert ran(env, *words, stdin="protocol=http\nhost=github.com\n\n").stdout == ""
        assert ran(env, *words, stdin="protocol=https\nhost=github.com\nusername=other\n\n").stdout == ""
        answered = ran(env, *words, stdin="protocol=https\nhost=GitHub.com\n\n").stdout
        assert abs(int(answered.rpartition("password_expiry_utc=")[2]) - time.time() - 600) < 30
        for action in ("store", "erase", "wonder"):
            done = ran(env, CRED, "git", "--credential", "forge", action, stdin="protocol=https\nhost=github.com\n\n")
            assert (done.returncode, done.stdout) == (0, "")
        assert asked == ["forge", "lab"]


def test_git_really_reads_from_a_server(tmp_path):
    refs = b"001e# service=git-upload-pack\n0000" + _pkt(b"1" * 40 + b" refs/heads/main\0agent=x\n") + b"0000"
    with serving(basic("oauth2", "tok"), {"/repo.git/info/refs": refs}) as server:
        at = f"http://127.0.0.1:{server.server_port}"
        with offered(tmp_path, {"lab": ("static", {"value": "tok"})}, f"lab=git:{at}") as (env, _):
            done = ran(env, "git", "-c", "protocol.version=0", "ls-remote", f"{at}/repo.git")
        assert done.stdout == "1" * 40 + "\trefs/heads/main\n", done.stderr
        assert server.seen[0][1] == "" and server.seen[-1][1] == basic("oauth2", "tok")


def _pkt(data):
    return f"{len(data) + 4:04x}".encode() + data


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """A certificate for loopback: (server context, its PEM)."""
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    words = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=k -keyout {key} -out {cert}".split()
    subprocess.run([*words, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context, cert.read_text()


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not here")
def test_kubectl_takes_it(tmp_path, tls):
    context, ca = tls
    with serving("Bearer tok", {"/version": b'{"major":"1"}'}, context=context) as server:
        url = f"https://127.0.0.1:{server.server_port}"
        parts = {"server": url, "ca": ca, "token": "tok", "namespace": "ns"}
        with offered(tmp_path, {"cluster": ("kubernetes", parts)}, "cluster") as (env, asked):
            done = ran(env, "kubectl", "get", "--raw", "/version")
            assert done.stdout == '{"major":"1"}', done.stderr
            assert asked == ["cluster"]
            other = json.dumps({"apiVersion": k8s.VERSION, "spec": {"cluster": {"server": "https://evil.example"}}})
            done = ran({**env, "KUBERNETES_EXEC_INFO": other}, CRED, "k8s", "--credential", "cluster")
            assert done.returncode == 1 and "not for https://evil.example" in done.stderr and not done.stdout


@pytest.mark.skipif(not shutil.which("docker"), reason="Docker's client is not here")
def test_dockers_client_takes_it(tmp_path, tls):
    manifest = {"schemaVersion": 2, "mediaType": (media := "application/vnd.docker.distribution.manifest.v2+json")}
    manifest |= {"config": {"mediaType": "x", "size": 1, "digest": "sha256:" + "1" * 64}, "layers": []}
    bodies = {"/v2/": b"{}", "/v2/thing/manifests/1": json.dumps(manifest).encode()}
    with serving(basic("u", "tok"), bodies, media, tls[0]) as server:
        registry = f"127.0.0.1:{server.server_port}"
        parts = {"images": ("", {"user": "u", "password": "tok"})}
        with offered(tmp_path, parts, f"images=docker:{registry}") as (env, asked):
            assert asked == []
            done = ran(env, "docker", "manifest", "inspect", "--insecure", f"{registry}/thing:1")
            assert any(seen == basic("u", "tok") for _, seen in server.seen), (done.stderr, server.seen)
            assert asked == ["images"]


def test_dockers_protocol(tmp_path):
    with offered(tmp_path, {"images": ("", {"password": "tok"})}, "images=docker:registry.example") as (env, asked):
        assert json.loads(ran(env, CRED, "docker", "list").stdout) == {"registry.example": "remit"}
        done = ran(env, CRED, "docker", "get", stdin="evil.example")
        assert (done.returncode, done.stdout.strip()) == (1, docker.NOT_FOUND)
        done = ran(env, CRED, "docker", "--credential", "other", "get", stdin="registry.example")
        assert done.stdout.strip() == docker.NOT_FOUND and asked == []
        done = ran(env, "docker-credential-remit", "get", stdin="https://Registry.example/v1/")
        wanted = {"ServerURL": "https://Registry.example/v1/", "Username": "oauth2", "Secret": "tok"}
        assert json.loads(done.stdout) == wanted
        assert ran(env, CRED, "docker", "store", stdin="{}").returncode == 1
        assert ran(env, CRED, "docker", "erase", stdin="registry.example").returncode == 0


def test_the_command_for_everything_else(tmp_path):
    with offered(tmp_path, {"box": ("static", {"value": NASTY})}, "box=exec", "gone=exec") as (env, asked):
        assert ran(env, CRED, "show", "--credential", "box", "--part", "value").stdout == NASTY + "\n"
        assert json.loads(ran(env, CRED, "show", "--credential=box").stdout)["parts"] == {"value": NASTY}
        assert asked == ["box"]
        done = ran(env, CRED, "show", "--credential", "box", "--part", "password")
        assert (done.returncode, done.stdout) == (1, "") and "box has no password." in done.stderr
        done = ran(env, CRED, "aws", "--credential", "box")
        assert done.returncode == 1 and "box has no access_key_id." in done.stderr and NASTY not in done.stderr
        assert "No. Ask somebody." in ran(env, CRED, "show", "--credential", "gone").stderr
        assert "offers no such credential" in ran(env, CRED, "show", "--credential", "nothing").stderr
        socket_path = env.pop("REMIT_SOCKET")
        assert "Start the command with `remit run`" in ran(env, CRED, "show", "--credential", "box").stderr
        assert ran(env, CRED, "show", "--credential", "box", "--socket", socket_path).returncode == 0
    assert "ended?" in ran(env, CRED, "show", "--credential", "box", "--socket", socket_path).stderr
    for words in (["aws"], ["what"], ["docker"], ["aws", "--credential", "x", "extra"], ["docker", "sing"]):
        assert ran(env, CRED, *words).returncode == 2
    assert ran(env, CRED, "--help").stdout == ran(env, CRED).stdout == cred.USAGE


def test_a_helper_starts_fast():
    code = (
        "import sys; import remit_client.cred, remit_client.helpers.git, remit_client.helpers.aws; print(*sys.modules)"
    )
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split())
    assert not loaded & {"click", "rich", "httpx", "cryptography", "dataclasses", "asyncio", "argparse", "remit"}
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        subprocess.run([CRED, "--help"], capture_output=True, check=True)
        with_us = time.perf_counter()
        subprocess.run([sys.executable, "-c", ""], check=True)
        times.append((with_us - begun) - (time.perf_counter() - with_us))
    assert min(times) < 0.08


def test_formats_refuse_what_would_break_out_of_them():
    answer = {"name": "x", "kind": "", "parts": {"value": "a\nhost=evil"}, "expires_at": EXPIRES, "at": ""}
    attributes = {"protocol": "https", "host": "h"}
    with pytest.raises(Unfit) as unfit:
        git.output(attributes, answer, "https://h")
    assert "evil" not in str(unfit.value)
    for text in ("protocol\n", "host=a\r\n", "host=a\0b\n", "x" * 70_000):
        with pytest.raises(Unfit):
            git.asked(text)
    for text in (
        "{",
        "[]",
        '{"apiVersion": 1}',
        '{"apiVersion": "client.authentication.k8s.io/v1beta1"}',
        '{"spec": {}}',
    ):
        with pytest.raises(Unfit):
            k8s.output({**answer, "parts": {"token": "t"}}, text)
    pair = json.loads(k8s.output({**answer, "parts": {"certificate": "c", "private_key": "k"}}, ""))
    assert pair["status"] == {
        "expirationTimestamp": "2030-03-17T17:46:40Z",
        "clientCertificateData": "c",
        "clientKeyData": "k",
    }
    said = json.loads(aws.output({**answer, "parts": {"access_key_id": "a", "secret_access_key": "b"}}))
    assert "SessionToken" not in said


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("github.com", "https://github.com"),
        ("https://GitHub.com/", "https://github.com"),
        ("h.example:8443", "https://h.example:8443"),
        ("http://localhost:1", "http://localhost:1"),
        ("http://[::1]:1", "http://[::1]:1"),
        ("http://h.example", ""),
        ("https://h.example/path", ""),
        ("https://user@h.example", ""),
        ("ftp://h", ""),
        ("h example", ""),
        ("h\nx", ""),
        ("h\n", ""),
        ("*.example", ""),
        ("", ""),
    ],
)
def test_a_place_is_a_scheme_and_a_host(text, wanted):
    assert git.place(text) == wanted


def test_two_that_want_one_variable_are_refused(tmp_path):
    parts = {"a": ("github", {"access_token": "1"}), "b": ("github", {"access_token": "2"})}
    with (
        pytest.raises(ShapeError, match="two credentials want the variable GITHUB_TOKEN"),
        offered(tmp_path, parts, "a", "b"),
    ):
        pass
    with offered(tmp_path, parts, "a", "b=env:OTHER") as (env, _):
        assert (env["GITHUB_TOKEN"], env["OTHER"]) == ("1", "2")


def test_git_settings_that_are_there_are_kept(tmp_path, monkeypatch):
    with offered(tmp_path, {"a": ("static", {"value": "1"})}, "a=git:h.example"):
        offers = Offers([Wanted.parse("a=git:h.example")], Vault(lambda name: Secret(), 0), Private(tmp_path))
        offers.prepare()
        env = offers.environment({"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "a.b", "GIT_CONFIG_VALUE_0": "c"})
    assert env["GIT_CONFIG_COUNT"] == "3" and env["GIT_CONFIG_KEY_0"] == "a.b"
    assert env["GIT_CONFIG_VALUE_1"] == "" and env["GIT_CONFIG_KEY_2"] == "credential.https://h.example.helper"

"""The Workload API, asked by an unmodified third-party client (`spiffe`), from processes of several kinds."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
import spiffe
import spiffetls
from cryptography.hazmat.primitives.serialization import Encoding
from spiffe.errors import PySpiffeError
from spiffetls.tlsconfig.authorize import authorize_id

from remit_client import AgentKey
from tests.server import CATALOGUE, Agent, furnished, process

EXE = os.path.realpath(sys.executable)
HASH = sha256(Path(EXE).read_bytes()).hexdigest()
MINE = f'["unix:uid:{os.getuid()}", "unix:path:{EXE}", "unix:sha256:{HASH}"]'
BUNDLED = """
[trust_domains."other.example"]
bundle_url = "https://127.0.0.1:1/bundle"
profile = "https_web"
allow_private_network = true
"""


def agent_file(selectors: str, more: str = "") -> str:
    return f'owner = "olga"\n{more}\n[[attestations]]\nmethod = "unix"\nselectors = {selectors}\n'


FILES = {
    **CATALOGUE,
    "agents/bot.toml": agent_file(MINE),
    "agents/shell.toml": agent_file(f'["unix:uid:{os.getuid()}", "unix:path:/usr/bin/nothing"]'),
}


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """(server, socket path), with the workload API open."""
    folder = tmp_path_factory.mktemp("wl")
    path = folder / "api.sock"
    options = ("--workload-api", str(path), "--trust-domain", "remit.test")
    with process(folder / "data", *options) as running:
        yield furnished(running, FILES), path


@pytest.fixture
def client(house):
    """The `spiffe` package's own client."""
    with spiffe.WorkloadApiClient(f"unix://{house[1]}") as found:
        yield found


def apply(server, files):
    assert server.http("operator").post("/v1/catalogue", json={"files": files}).status_code == 200


def test_a_workload_gets_its_svids_and_they_validate(client):
    svid = client.fetch_x509_svid()
    assert str(svid.spiffe_id) == "spiffe://remit.test/agent/bot"
    context = client.fetch_x509_context()
    bundle = context.x509_bundle_set.get_bundle_for_trust_domain(spiffe.TrustDomain("remit.test"))
    svid.leaf.verify_directly_issued_by(next(iter(bundle.x509_authorities)))
    token = client.fetch_jwt_svid({"audience-a"})
    assert str(token.spiffe_id) == "spiffe://remit.test/agent/bot"
    jwt_bundle = client.fetch_jwt_bundles().get_bundle_for_trust_domain(spiffe.TrustDomain("remit.test"))
    assert spiffe.JwtSvid.parse_and_validate(token.token, jwt_bundle, {"audience-a"}).spiffe_id == token.spiffe_id
    assert client.validate_jwt_svid(token.token, "audience-a").spiffe_id == token.spiffe_id
    with pytest.raises(PySpiffeError):
        client.validate_jwt_svid(token.token, "audience-b")
    named = client.fetch_jwt_svid({"audience-a", "audience-b"}, spiffe.SpiffeId("spiffe://remit.test/agent/bot"))
    assert client.validate_jwt_svid(named.token, "audience-b").spiffe_id == token.spiffe_id
    with pytest.raises(PySpiffeError):
        client.fetch_jwt_svid({"audience-a"}, spiffe.SpiffeId("spiffe://remit.test/agent/shell"))


def test_the_bundle_endpoint_says_the_same(house, client):
    server, _ = house
    answer = httpx.get(f"{server.url}/spiffe/bundle")
    assert answer.headers["content-type"] == "application/json" and answer.json()["spiffe_refresh_hint"] == 60
    jwt_keys = [key for key in answer.json()["keys"] if key["use"] == "jwt-svid"]
    bundle = spiffe.JwtBundle.parse(spiffe.TrustDomain("remit.test"), json.dumps({"keys": jwt_keys}).encode())
    token = client.fetch_jwt_svid({"a"})
    assert spiffe.JwtSvid.parse_and_validate(token.token, bundle, {"a"}).spiffe_id == token.spiffe_id
    authority = next(key for key in answer.json()["keys"] if key["use"] == "x509-svid")
    assert "kid" not in authority and len(authority["x5c"]) == 1
    held = client.fetch_x509_bundles().get_bundle_for_trust_domain(spiffe.TrustDomain("remit.test"))
    assert base64.b64decode(authority["x5c"][0]) in [der(found) for found in held.x509_authorities]


def der(certificate):
    return certificate.public_bytes(Encoding.DER)


PROGRAM = "import spiffe,sys\nprint(spiffe.WorkloadApiClient('unix://'+sys.argv[1]).fetch_x509_svid().spiffe_id)"


def as_somebody(path, *, user=None, executable=None):
    site = next(p for p in sys.path if p.endswith("site-packages"))
    words = [executable or EXE, "-c", PROGRAM, str(path)]
    env = {"PYTHONPATH": site, "PATH": "/usr/bin:/bin", "HOME": "/"}
    return subprocess.run(words, capture_output=True, text=True, user=user, env=env, timeout=60, cwd="/")


def test_another_user_or_another_program_is_nobody(house, tmp_path_factory):
    _, path = house
    assert "agent/bot" in as_somebody(path).stdout
    copy = tmp_path_factory.mktemp("copied") / "python"
    copy.write_bytes(Path(EXE).read_bytes() + b"\0")
    copy.chmod(0o755)
    refused = as_somebody(path, executable=str(copy))
    assert "agent" not in refused.stdout and refused.returncode != 0 and "no identity issued" in refused.stderr
    # The operator's log says which selector failed; the caller was told nothing.
    log = house[0].data.with_suffix(".log").read_text()
    assert "bot wants unix:" in log and "unix:" not in refused.stderr.split("no identity issued")[1]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else: run as root")
def test_another_uid_is_nobody(house):
    _, path = house
    for folder in (path.parent, *path.parents):
        if folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    source = (
        "import os,sys;sys.path[:0]=[sys.argv[2]];import spiffe;os.setresuid(65534,65534,65534);"
        "print(spiffe.WorkloadApiClient('unix://'+sys.argv[1]).fetch_x509_svid().spiffe_id)"
    )
    site = next(p for p in sys.path if p.endswith("site-packages"))
    done = subprocess.run([EXE, "-c", source, str(path), site], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "no identity issued" in done.stderr


def test_without_the_header_nothing_is_said(house):
    import grpc
    from spiffe._proto import workload_pb2, workload_pb2_grpc

    for metadata in ((), (("workload.spiffe.io", "false"),), (("workload.spiffe.io", "true"),) * 2):
        with grpc.insecure_channel(f"unix://{house[1]}") as channel:
            stub = workload_pb2_grpc.SpiffeWorkloadAPIStub(channel)
            with pytest.raises(grpc.RpcError) as refused:
                stub.FetchJWTSVID(workload_pb2.JWTSVIDRequest(audience=["a"]), metadata=metadata)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            with pytest.raises(grpc.RpcError) as refused:
                next(stub.FetchX509SVID(workload_pb2.X509SVIDRequest(), metadata=metadata))
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_stream_is_told_when_the_rule_changes_and_ends_when_it_is_nobody(house):
    server, path = house
    seen, ended = [], threading.Event()
    with spiffe.WorkloadApiClient(f"unix://{path}") as watching:
        handle = watching.stream_x509_contexts(
            lambda context: seen.append(context.default_svid.leaf.serial_number),
            lambda error: ended.set(),
            retry_connect=False,
        )
        wait(lambda: len(seen) == 1)
        more = agent_file(MINE.replace("]", f', "unix:gid:{os.getgid()}"]'))
        apply(server, {**FILES, "agents/bot.toml": more})
        wait(lambda: len(seen) == 2)
        assert seen[0] != seen[1]
        token = watching.fetch_jwt_svid({server.url}).token
        frozen = {"reach": "agent", "name": "bot", "reason": "off"}
        assert server.http("operator").post("/v1/freezes", json=frozen).status_code == 201
        try:
            wait(ended.is_set)
            with pytest.raises(PySpiffeError):
                watching.fetch_jwt_svid({"a"})
        finally:
            server.http("operator").post("/v1/freezes/end", json=frozen)
            apply(server, FILES)
        # What was issued by the rule that was is nothing now.
        answer = by_svid(server, token, AgentKey.generate())
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        handle.cancel()


def wait(done, seconds=15.0):
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until
        time.sleep(0.05)


def by_svid(server, token, key, **fields):
    """The token endpoint with a JWT-SVID as the client's assertion."""
    agent = Agent(server.url, "bot", key)
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"
    return agent.token({"type": "pay", "goal": "g", "parameters": {"customer": "acme"}},
                       client_assertion_type=kind, client_assertion=token, **fields)  # fmt: skip


def test_an_svid_is_all_an_agent_needs_to_begin_a_task(house, client):
    server, _ = house
    key = AgentKey.generate()
    token = client.fetch_jwt_svid({server.url}).token
    answer = by_svid(server, token, key, client_id="spiffe://remit.test/agent/bot")
    assert answer.status_code == 200, answer.text
    agent = Agent(server.url, "bot", key)
    task = answer.json()["authorization_details"][0]["task"]
    assert agent.call(task, answer.json()["access_token"])["decision"] == "permit"
    shown = server.http("operator").get("/v1/agents/bot").json()
    assert any(proved["method"] == "unix" and proved["jkt"] == key.jkt for proved in shown["identities"])
    # Whoever copies the SVID has another key, and it proves one key only.
    assert by_svid(server, token, AgentKey.generate()).status_code == 401
    # For another audience, or said to be somebody else's, it is nothing.
    elsewhere = client.fetch_jwt_svid({"https://elsewhere"}).token
    assert by_svid(server, elsewhere, AgentKey.generate()).status_code == 401
    both = client.fetch_jwt_svid({server.url, "https://elsewhere"}).token
    assert by_svid(server, both, AgentKey.generate()).status_code == 401
    fresh = client.fetch_jwt_svid({server.url}).token
    assert by_svid(server, fresh, AgentKey.generate(), client_id="spiffe://remit.test/agent/shell").status_code == 401


def test_svids_are_rotated_while_a_stream_is_open_and_two_agents_meet_by_mutual_tls(tmp_path):
    options = ("--workload-api", str(tmp_path / "api.sock"), "--trust-domain", "remit.test", "--svid-ttl", "4")
    with process(tmp_path / "data", *options) as running:
        furnished(running, FILES)
        with spiffe.X509Source(socket_path=f"unix://{tmp_path}/api.sock") as source:
            seen = {source.get_x509_context().default_svid.leaf.serial_number}
            source.subscribe_for_updates(lambda: seen.add(source.get_x509_context().default_svid.leaf.serial_number))
            wait(lambda: len(seen) >= 3)
            program = tmp_path / "listener.py"
            program.write_text(LISTENER)
            child = subprocess.Popen(
                [EXE, str(program), f"unix://{tmp_path}/api.sock", next(p for p in sys.path if "site-packages" in p)],
                stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            try:
                port = int(child.stdout.readline())
                other = str(source.get_x509_context().default_svid.spiffe_id)
                connection = spiffetls.dial(
                    f"127.0.0.1:{port}", source, spiffetls.ClientTlsMode.TLS, authorize_id(spiffe.SpiffeId(other))
                )
                connection.send(b"hello")
                assert connection.recv(100) == b"hello, spiffe://remit.test/agent/bot"
                connection.close()
                with pytest.raises(Exception, match="TLS connection failed"):
                    wrong = authorize_id(spiffe.SpiffeId("spiffe://remit.test/agent/shell"))
                    spiffetls.dial(f"127.0.0.1:{port}", source, spiffetls.ClientTlsMode.TLS, wrong).send(b"x")
            finally:
                child.kill()
                child.wait()


LISTENER = """
import sys
sys.path[:0] = [sys.argv[2]]
import spiffe, spiffetls
from spiffetls.tlsconfig.authorize import authorize_any
source = spiffe.X509Source(socket_path=sys.argv[1])
options = spiffetls.ListenOptions(tls_mode=spiffetls.ServerTlsMode.MTLS, authorize_fn=authorize_any())
import socket
listener = spiffetls.listen("127.0.0.1:0", source, options)
print(listener.getsockname()[1], flush=True)
while True:
    try:
        connection, _ = listener.accept()
        connection.do_handshake()
        said = connection.recv(100)
        leaf = connection.get_peer_certificate().to_cryptography()
        from cryptography import x509
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        who = names.get_values_for_type(x509.UniformResourceIdentifier)[0]
        connection.send(said + b", " + who.encode())
    except Exception as error:
        print(repr(error), file=sys.stderr)
"""

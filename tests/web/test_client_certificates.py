"""An X.509-SVID as the client certificate: at a real TLS server, with a foreign domain behind a real bundle endpoint."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from remit.domain.identity import SpiffeId
from remit.formats import signing_key, spiffe, x509_svid
from remit_client import AgentKey, Remit, svid
from tests.server import CATALOGUE, process

TD = "other.example"


class Domain:
    """A foreign trust domain: an authority, leaves, and its bundle served by https_spiffe."""

    def __init__(self, folder, name=TD):
        now = int(time.time() * 1000)
        self.folder, self.name, self.requests = folder, name, 0
        self.roll(now)
        self.endpoint_id = f"spiffe://{name}/bundles"
        self.server = HTTPServer(("127.0.0.1", 0), self.handler())
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*self.leaf("/bundles", "endpoint"))
        self.server.socket = self.context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def roll(self, now):
        key = signing_key.generate("ES256")
        self.held, self.jwt = signing_key.HeldKey(key.public, key.sign), signing_key.generate("ES256")
        self.authority = x509_svid.authority(self.name, self.held, now, now + 86_400_000)
        self.authorities = [self.authority]

    def document(self):
        bundle = spiffe.TrustBundle(self.name, (self.jwt.public,), tuple(self.authorities), 1, 1)
        return json.dumps(spiffe.encode_bundle(bundle))

    def leaf(self, path, name):
        now, pair = int(time.time() * 1000), x509_svid.generate()
        id = SpiffeId(self.name, path)
        der = x509_svid.leaf(id, pair.public, self.authority, self.held, now + 3_600_000, now, x509_svid.Proof())
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        cert.write_text(ssl.DER_cert_to_PEM_cert(der))
        private = serialization.load_der_private_key(pair.pkcs8, None)
        pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        key.write_bytes(private.private_bytes(*pem))
        return cert, key

    def handler(domain):  # noqa: N805 - of the class below
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                domain.requests += 1
                body = domain.document().encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words):
                pass

        return Handler

    def toml(self, endpoint_id=""):
        return f"""
[trust_domains."{self.name}"]
bundle_url = "https://127.0.0.1:{self.server.server_port}/bundle"
profile = "https_spiffe"
endpoint_spiffe_id = "{endpoint_id or self.endpoint_id}"
bootstrap_bundle = '''{self.document()}'''
allow_private_network = true
"""


def certificate(folder):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    from datetime import UTC, datetime, timedelta
    from ipaddress import ip_address

    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(datetime.now(UTC)).not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )  # fmt: skip
    (folder / "tls.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "tls.key").write_bytes(key.private_bytes(*pem))
    return folder / "tls.pem", folder / "tls.key"


@pytest.fixture
def house(tmp_path):
    """(server, foreign domain, how to trust the server)."""
    cert, key = certificate(tmp_path)
    domain = Domain(tmp_path)
    with process(tmp_path / "data", "--tls-cert", str(cert), "--tls-key", str(key)) as server:
        apply(server, domain, cert)
        yield server, domain, cert
    domain.server.shutdown()


def apply(server, domain, cert, **more):
    agent = f'owner = "olga"\n[[attestations]]\nmethod = "spiffe"\nspiffe_id = "spiffe://{TD}/bot"\n'
    files = {**CATALOGUE, "remit.toml": CATALOGUE["remit.toml"] + domain.toml(**more), "agents/bot.toml": agent}
    bearer = {"Authorization": f"Bearer {server.keys['operator']}"}
    url, trusted = f"{server.url}/v1/catalogue", ssl.create_default_context(cafile=cert)
    answer = httpx.post(url, json={"files": files}, headers=bearer, verify=trusted)
    assert answer.status_code == 200, answer.text


def token(server, cert, leaf=None, **fields):
    """The token endpoint, with a client certificate or none."""
    context = ssl.create_default_context(cafile=cert)
    if leaf:
        context.load_cert_chain(*leaf)
    details = json.dumps([{"type": "pay", "goal": "g", "parameters": {"customer": "acme"}}])
    form = {"grant_type": "client_credentials", "authorization_details": details, **fields}
    proof = AgentKey.generate().proof("POST", f"{server.url}/oauth/token")
    with httpx.Client(verify=context, trust_env=False) as client:
        return client.post(f"{server.url}/oauth/token", data=form, headers={"DPoP": proof})


def until_trusted(*words, **fields):
    """TLS accepts a domain's certificates once its bundle has been loaded: a few seconds after it was configured."""
    for _ in range(200):
        try:
            return token(*words, **fields)
        except (httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError, httpx.WriteError):
            time.sleep(0.1)
    raise AssertionError("never trusted")


def test_a_foreign_svid_as_client_certificate_begins_a_task(house):
    server, domain, cert = house
    answer = until_trusted(server, cert, domain.leaf("/bot", "bot"), client_id=f"spiffe://{TD}/bot")
    assert answer.status_code == 200, answer.text
    assert answer.json()["token_type"] == "DPoP" and domain.requests
    # Another workload of that domain; a client_id that is not the certificate's; no certificate.
    assert token(server, cert, domain.leaf("/eve", "eve")).json()["error"] == "invalid_client"
    wrong = token(server, cert, domain.leaf("/bot", "bot"), client_id=f"spiffe://{TD}/eve")
    assert wrong.status_code == 401
    assert token(server, cert).json()["error"] == "invalid_request"
    # A header is no certificate.
    spoofed = base64.b64encode(domain.authority).decode()
    assert httpx.post(
        f"{server.url}/v1/attest", json={"x509_svid": True}, verify=ssl.create_default_context(cafile=cert),
        headers={"X-Client-Cert": spoofed, "DPoP": AgentKey.generate().proof("POST", f"{server.url}/v1/attest")},
    ).json()["code"] == "RMT-2001"  # fmt: skip


@pytest.mark.soak
def test_a_bundle_that_rolls_or_empties_is_followed(house):
    server, domain, cert = house
    old = domain.leaf("/bot", "old")
    assert until_trusted(server, cert, old).status_code == 200
    before = domain.authority
    domain.roll(int(time.time() * 1000))
    domain.authorities = [domain.authority, before]  # both, for a while
    new = domain.leaf("/bot", "new")
    assert until_trusted(server, cert, new).status_code == 200
    assert until_trusted(server, cert, old).status_code == 200
    time.sleep(6)  # its bundle is known, so its endpoint may show a certificate of the new authority
    domain.context.load_cert_chain(*domain.leaf("/bundles", "endpoint"))
    domain.authorities = [domain.authority]
    eventually(lambda: token(server, cert, old).status_code == 401)  # TLS still takes it; the bundle does not
    domain.authorities = []
    eventually(lambda: token(server, cert, new).status_code == 401)


def eventually(true):
    for _ in range(400):
        if true():
            return
        time.sleep(0.1)
    raise AssertionError("never")


def test_an_endpoint_that_is_somebody_else_is_not_believed(house):
    server, domain, cert = house
    apply(server, domain, cert, endpoint_id=f"spiffe://{TD}/somebody-else")
    for _ in range(300):
        if "not spiffe://other.example/somebody-else" in server.data.with_suffix(".log").read_text():
            break
        time.sleep(0.1)
    else:
        pytest.fail("the log does not say who the endpoint is")
    with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError, httpx.WriteError)):
        token(server, cert, Domain(domain.folder).leaf("/bot", "forged"))


def test_the_python_client_proves_itself_by_the_certificate_it_shows(house, tmp_path):
    server, domain, cert = house
    leaf = domain.leaf("/bot", "bot")
    assert until_trusted(server, cert, leaf).status_code == 200
    context = ssl.create_default_context(cafile=cert)
    context.load_cert_chain(*leaf)
    remit = Remit(server.url, agent_dir=tmp_path / "agent", http=httpx.Client(verify=context, trust_env=False))
    assert svid.prove(remit) == "bot"
    with remit.task("pay", goal="g", customer="acme") as task:
        task.call("list", customer="acme")

"""People's own MCP clients: the documents they are known by, at a real https server, and a person in a browser's place."""

from __future__ import annotations

import http.server
import ipaddress
import json
import re
import ssl
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from remit.formats import base64url

VERIFIER = "v" * 43
CHALLENGE = base64url.encode(sha256(VERIFIER.encode()).digest())
BACK = "http://127.0.0.1:7999/callback"


class Documents:
    """An https server for client documents; `trust` is what a process's environment needs to believe it."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "clients")])
        names = x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        )
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(names, False)
            .add_extension(x509.BasicConstraints(True, None), True)
            .sign(key, hashes.SHA256())
        )
        pem = folder / "clients.pem"
        pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / "clients.key").write_bytes(secret)
        (folder / "sitecustomize.py").write_text(f"import certifi\ncertifi.where = lambda: {str(pem)!r}\n")
        self.trust = {"PYTHONPATH": str(folder)}
        self.bodies: dict[str, bytes] = {}
        self.fetched: list[str] = []
        documents = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                documents.fetched.append(self.path)
                if self.path == "/slow.json":
                    time.sleep(7)
                moved = self.path == "/moved.json"
                body = documents.bodies.get(self.path, b"")
                self.send_response(302 if moved else 200 if body else 404)
                if moved:
                    self.send_header("Location", "/ide.json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem, folder / "clients.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}"

    def put(self, path: str, **more: object) -> str:
        """A document at this path; its client id."""
        said = {
            "client_id": self.url + path,
            "client_name": "Example IDE",
            "redirect_uris": [BACK, "https://ide.example/back"],
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code"],
            **more,
        }
        self.bodies[path] = json.dumps(said).encode()
        return self.url + path

    @contextmanager
    def running(self):
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[dict[str, str]] = []

    def handle_starttag(self, tag, attrs):
        said = dict(attrs)
        if tag == "form":
            self.forms.append({})
        if tag in ("input", "textarea") and said.get("name"):
            self.forms[-1][said["name"]] = said.get("value") or ""


class Person:
    """Somebody signed in, as far as HTTP shows a browser."""

    def __init__(self, server, name: str) -> None:
        self.http = httpx.Client(
            base_url=server.url.replace("127.0.0.1", "localhost"),
            headers={"Sec-Fetch-Site": "same-origin", "Accept": "text/html"},
            trust_env=False,
            timeout=20,
        )
        if name:
            link = server.http("operator").post("/v1/sessions/links", json={"name": name, "roles": []}).json()["url"]
            assert self.http.post(link).status_code == 303

    def looks(self, **asked: str | None) -> httpx.Response:
        """Go where a client sends the browser."""
        return self.http.get("/oauth/authorize?" + urlencode({n: v for n, v in asked.items() if v is not None}))

    def answers(self, page: httpx.Response, answer: str = "yes", purpose: str = "work", **more: str) -> httpx.Response:
        """Fill in the form for this purpose, and press the button."""
        assert page.status_code == 200, page.text
        found = _Forms()
        found.feed(page.text)
        form = next(one for one in found.forms if one.get("purpose") == purpose)
        return self.http.post("/oauth/authorize", data={**form, "goal": "tidy up", "answer": answer, **more})


def said(answer: httpx.Response) -> dict[str, str]:
    """What the address that the browser was sent to says."""
    assert answer.status_code == 303, answer.text
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


def heading(answer: httpx.Response) -> str:
    """What a page says first."""
    return re.sub(r"<[^>]*>", "", re.search(r"<h1>(.*?)</h1>", answer.text, re.S)[1])

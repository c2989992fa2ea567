"""A local Shared Signals transmitter: its configuration, its keys, and events to push or to be polled (RFC 8936)."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from remit.domain.signal import CAEP

REVOKED = CAEP + "session-revoked"
BEARER = "Bearer canary-transmitter-key"


class Transmitter:
    """Signs with somebody else's library. `waiting` are events until they are acknowledged or found wrong."""

    def __init__(self):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.waiting, self.acked, self.wrong, self.asked, self.count = {}, [], {}, [], 0

    def __enter__(self):
        mine = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.answer(200, mine.document(self.path))

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if self.headers.get("authorization") != BEARER:
                    return self.answer(401, {})
                return self.answer(200, mine.polled(body))

            def answer(self, status, body):
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def document(self, path):
        if path == "/keys":
            jwk = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
            return {"keys": [{**jwk, "kid": "k1", "use": "sig", "alg": "RS256"}]}
        assert path == "/.well-known/ssf-configuration", path
        return {"spec_version": "1_0", "issuer": self.url, "jwks_uri": f"{self.url}/keys"}

    def polled(self, body):
        self.asked.append(body)
        for jti in body.get("ack", []):
            self.acked.append(jti)
            self.waiting.pop(jti, None)
        for jti, why in body.get("setErrs", {}).items():
            self.wrong[jti] = why["err"]
            self.waiting.pop(jti, None)
        some = dict(list(self.waiting.items())[: body.get("maxEvents", 100)])
        return {"sets": some, "moreAvailable": len(self.waiting) > len(some)}

    def event(self, sub, audience, kind=REVOKED, jti="", typ="secevent+jwt", key=None, **claims):
        self.count += 1
        payload = {
            "iss": self.url,
            "aud": audience,
            "iat": int(time.time()),
            "jti": jti or f"j{self.count}",
            "sub_id": {"format": "iss_sub", "iss": self.url, "sub": sub},
            "events": {kind: {"initiating_entity": "admin", "reason_admin": {"en": "left"}}},
            **claims,
        }
        return jwt.encode(payload, key or self.key, "RS256", {"kid": "k1", "typ": typ})

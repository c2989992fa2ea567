"""A local receiver of pushed events (RFC 8935): keeps what it took, and fails as it is told to."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import jwt


class Inbox:
    """`answers` are used up one a request: a status, (status, body), or seconds to be slow for; then it is 202."""

    def __init__(self):
        self.answers, self.came, self.taken, self.headers, self.at = [], [], [], [], []

    def __enter__(self):
        mine = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                text = self.rfile.read(int(self.headers["content-length"])).decode()
                mine.headers.append({name.lower(): value for name, value in self.headers.items()})
                mine.came.append(text)
                answer = mine.answers.pop(0) if mine.answers else 202
                if isinstance(answer, float):
                    time.sleep(answer)
                    answer = 202
                status, body = answer if isinstance(answer, tuple) else (answer, None)
                if status == 202:
                    mine.taken.append(text)
                    mine.at.append(time.time())
                data = json.dumps(body).encode() if body else b""
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", mine.url + "/elsewhere")
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


def verified(issuer, text, audience):
    """The claims, checked by somebody else's library with the keys that the transmitter's configuration names."""
    told = httpx.get(f"{issuer}/.well-known/ssf-configuration").json()
    assert told["issuer"] == issuer and told["spec_version"] == "1_0"
    key = jwt.PyJWKClient(told["jwks_uri"]).get_signing_key_from_jwt(text)
    header = jwt.get_unverified_header(text)
    assert header["typ"] == "secevent+jwt" and header["alg"] == "RS256"
    claims = jwt.decode(text, key, ["RS256"], audience=audience, issuer=issuer)
    assert not {"sub", "exp"} & claims.keys() and len(claims["events"]) == 1 and claims["txn"]
    return claims

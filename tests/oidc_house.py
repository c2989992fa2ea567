"""A local identity provider: OpenID Connect Core's code flow, and CIBA's backchannel in poll mode."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import msgspec

from remit.formats import signing_key
from remit.formats.jws import SigningKey, sign

SECRET = "canary-client-secret/+%"
BASIC = "Basic " + base64.b64encode(b"remit:canary-client-secret%2F%2B%25").decode()
CIBA = "urn:openid:params:grant-type:ciba"


class Provider:
    """A provider (OpenID Connect Core 3.1) that keeps to the protocol, but for what `flaws` says."""

    def __init__(self):
        self.key = signing_key.generate("ES256")
        self.codes, self.claims, self.flaws, self.posts = {}, {}, {}, []
        self.clock = time.time

    def __enter__(self):
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                provider.answer(self, provider.document(self.path))

            def do_POST(self):
                form = self.rfile.read(int(self.headers["content-length"])).decode()
                provider.posts.append((self.headers.get("authorization", ""), form))
                fields = {k: v[0] for k, v in parse_qs(form).items()}
                provider.respond(self, self.path, fields, self.headers.get("authorization", ""))

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def respond(self, request, path, fields, authorization):
        status, body = self.token(fields, authorization)
        self.answer(request, body, status)

    def answer(self, request, body, status=200):
        data = json.dumps(body).encode()
        request.send_response(status)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    def document(self, path):
        if path == "/keys":
            return {"keys": [{**self.key.public.jwk, "kid": self.key.public.kid, "use": "sig"}]}
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize?tenant=1",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "authorization_response_iss_parameter_supported": True,
        }

    def consents(self, address, **claims):
        """What the browser is sent back with when somebody signs in at this address."""
        asked = {name: value[0] for name, value in parse_qs(urlsplit(address).query).items()}
        assert asked["response_type"] == "code" and asked["code_challenge_method"] == "S256" and asked["tenant"] == "1"
        code = secrets.token_urlsafe(16)
        self.codes[code] = (asked, claims)
        return {"code": code, "state": asked["state"], "iss": self.url}

    def token(self, form, authorization):
        asked, claims = self.codes.pop(form.get("code"), (None, None))  # a code is good once
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest()).rstrip(b"=")  # fmt: skip
        if asked is None or authorization != BASIC or challenge.decode() != asked["code_challenge"] or form["redirect_uri"] != asked["redirect_uri"]:  # fmt: skip
            return 400, {"error": "invalid_grant"}
        return 200, {
            "access_token": "at",
            "token_type": "Bearer",
            "id_token": self.signed(nonce=asked["nonce"], **claims),
        }

    def signed(self, **claims):
        """An ID token."""
        now = int(self.clock())
        body = {"iss": self.url, "aud": "remit", "sub": "1", "iat": now, "exp": now + 300}
        body |= {"preferred_username": "dana", **claims, **self.flaws}
        key = self.flaws.get("_key", self.key)
        body = {name: value for name, value in body.items() if value is not None and name != "_key"}
        return sign(msgspec.json.encode(body), typ="JWT", key=SigningKey(key.public.kid, "ES256", key.sign))


class AppProvider(Provider):
    """The same with the backchannel (CIBA Core 1.0 sections 7, 10, 11): `asked` has what each app shows, by its id.

    `shows` is the longest binding message it takes. A `trick` answers in place of a path: it is given the request.
    """

    def __init__(self, interval=5, shows=1000):
        super().__init__()
        self.begin(interval, shows)

    def begin(self, interval=5, shows=1000):
        """As if nobody had been asked anything."""
        self.interval, self.shows, self.flaws, self.posts = interval, shows, {}, []
        self.asked, self.said, self.polls, self.tricks, self.says = {}, {}, [], {}, {}

    def document(self, path):
        found = super().document(path)
        if path == "/keys":
            return found
        more = {"backchannel_authentication_endpoint": f"{self.url}/backchannel"}
        return {**found, **more, "backchannel_token_delivery_modes_supported": ["poll", "ping"], **self.says}

    def respond(self, request, path, fields, authorization):
        if path in self.tricks:
            self.tricks[path](request)
        elif path == "/backchannel":
            status, body = self.authenticate(fields, authorization)
            self.answer(request, body, status)
        elif fields.get("grant_type") == CIBA:
            status, body = self.poll(fields, authorization)
            self.answer(request, body, status)
        else:
            super().respond(request, path, fields, authorization)

    def authenticate(self, fields, authorization):
        hints = [name for name in ("login_hint", "login_hint_token", "id_token_hint") if name in fields]
        if authorization != BASIC:
            return 401, {"error": "invalid_client"}
        if len(hints) != 1 or "openid" not in fields.get("scope", "").split() or int(fields["requested_expiry"]) < 1:
            return 400, {"error": "invalid_request"}
        if "@" not in fields["login_hint"]:
            return 400, {"error": "unknown_user_id"}
        if len(fields["binding_message"]) > self.shows:
            return 400, {"error": "invalid_binding_message"}
        name = secrets.token_urlsafe(16)
        lasts = min(int(fields["requested_expiry"]), 300)
        self.asked[name] = {**fields, "until": self.clock() + lasts, "polled": self.clock()}
        return 200, {"auth_req_id": name, "expires_in": lasts, "interval": self.interval}

    def poll(self, fields, authorization):
        self.polls.append((self.clock(), fields["auth_req_id"]))
        asked = self.asked.get(fields["auth_req_id"])
        if authorization != BASIC:
            return 401, {"error": "invalid_client"}
        if asked is None:
            return 400, {"error": "invalid_grant"}
        early = self.clock() - asked["polled"] < self.interval
        asked["polled"] = self.clock()
        if early:
            return 400, {"error": "slow_down"}
        if self.clock() >= asked["until"]:
            return 400, {"error": "expired_token"}
        if fields["auth_req_id"] not in self.said:
            return 400, {"error": "authorization_pending"}
        yes, claims = self.said[fields["auth_req_id"]]
        del self.asked[fields["auth_req_id"]]  # an answer is given once
        if not yes:
            return 400, {"error": "access_denied"}
        token = (
            claims if isinstance(claims, str) else self.signed(**{"preferred_username": asked["login_hint"], **claims})
        )
        return 200, {"access_token": "at", "token_type": "Bearer", "expires_in": 300, "id_token": token}

    def answers(self, hint="frank@idp", yes=True, claims=None, of=-1):
        """What this person does in their app, to the newest they are asked there; returns its id."""
        name = [name for name, asked in self.asked.items() if asked["login_hint"] == hint][of]
        self.said[name] = (yes, claims or {})
        return name

"""Stand-ins for clouds that cannot run here, faithful to what their documents say is checked; they refuse as those do.

Tokens are verified by a third party's library (PyJWT) with the keys that Remit publishes. `use(…)` is what the holder of
a credential would get.
"""

from __future__ import annotations

import json
import re
import secrets
import socket
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

ISSUER = "https://remit.test"
SUB = "agent:bot:purpose:pay"


def iso(seconds):
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Cloud:
    """A server; `said` are the requests it got. `answer` may be replaced to make it hostile.

    `stop` drops every connection, with answers still owed on them, and `start` is again at the same address: a cloud
    keeps what it knows. `live(now)` counts the credentials that it would still take at `now` (seconds).
    """

    issuer, sub, port = ISSUER, SUB, 0

    def __init__(self, jwks):
        self.jwks, self.said, self.sessions, self.hostile = jwks, deque(maxlen=1000), {}, None
        self._open, cloud = set(), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                cloud._open.add(self.connection)

            def finish(self):
                cloud._open.discard(self.connection)
                super().finish()

            def serve(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                cloud.said.append((self.command, self.path, dict(self.headers), body))
                try:
                    status, media, answer = (cloud.hostile or cloud.answer)(self.command, self.path, self.headers, body)
                except Refused as refused:
                    status, media, answer = refused.status, "application/json", json.dumps(refused.body)
                data = answer if isinstance(answer, bytes) else answer.encode()
                self.send_response(status)
                self.send_header("Content-Type", media)
                self.send_header("Content-Length", str(len(data)))
                if status in (301, 302, 307):
                    self.send_header("Location", answer)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = serve  # noqa: N815

            def log_message(self, *words):
                pass

        self._handler = Handler
        self.start()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self):
        self.server = Listener(("127.0.0.1", self.port), self._handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def stop(self):
        self.close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def live(self, now):
        return sum(now < session[1] for session in list(self.sessions.values()))

    def verified(self, token, audience):
        """The claims, as a cloud that trusts exactly one subject of exactly this issuer would take them."""
        try:
            kid = jwt.get_unverified_header(token)["kid"]
            key = next(jwt.PyJWK(one) for one in self.jwks() if one["kid"] == kid)
            wanted = ["iss", "sub", "aud", "exp", "iat"]
            claims = jwt.decode(
                token, key.key, ["RS256"], audience=audience, issuer=self.issuer, options={"require": wanted}
            )
        except (jwt.PyJWTError, StopIteration, KeyError) as flaw:
            raise Refused(400, {"error": "invalid_grant", "error_description": str(flaw)}) from flaw
        if claims["sub"] != self.sub or isinstance(claims["aud"], list):
            raise Refused(403, {"error": "unauthorized_client"})
        return claims

    def one(self, body, **wanted):
        """A form, each field once; those named must be as given."""
        fields = {name: values[0] for name, values in parse_qs(body.decode(), strict_parsing=True).items()}
        for name, value in wanted.items():
            if fields.get(name) != value:
                raise Refused(400, {"error": "invalid_request", "error_description": name})
        return fields


class Listener(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Refused(Exception):
    def __init__(self, status, body):
        self.status, self.body = status, body


class Sts(Cloud):
    """AWS STS, AssumeRoleWithWebIdentity."""

    def answer(self, method, path, headers, body):
        fields = self.one(body, Action="AssumeRoleWithWebIdentity", Version="2011-06-15")
        claims = self.verified(fields["WebIdentityToken"], "sts.amazonaws.com")
        assert (method, path) == ("POST", "/") and "Authorization" not in headers
        seconds, name = int(fields["DurationSeconds"]), fields["RoleSessionName"]
        if not 900 <= seconds <= 43_200 or not re.fullmatch(r"[\w+=,.@-]{2,64}", name):
            raise Refused(400, {"Error": "ValidationError"})
        policy = json.loads(fields["Policy"])
        if len(fields["Policy"]) > 2048 or policy["Version"] != "2012-10-17":
            raise Refused(400, {"Error": "PackedPolicyTooLarge"})
        assert set(claims["https://aws.amazon.com/tags"]) == {"principal_tags", "transitive_tag_keys"}
        token, ends = secrets.token_urlsafe(32), time.time() + seconds
        self.sessions[token] = (policy, ends, fields["RoleArn"], name)
        credentials = "".join(
            f"<{tag}>{text}</{tag}>"
            for tag, text in (("AccessKeyId", "ASIA" + "X" * 16), ("SecretAccessKey", secrets.token_urlsafe(30)),
                              ("SessionToken", token), ("Expiration", iso(ends)))
        )  # fmt: skip
        xml = (
            '<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
            f"<AssumeRoleWithWebIdentityResult><Credentials>{credentials}</Credentials>"
            "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        )
        return 200, "text/xml", xml

    def use(self, minted, action="s3:GetObject", resource="arn:aws:s3:::reports/acme/1"):
        """Whether the session may do that now, as IAM reads its session policy."""
        policy, ends, _, _ = self.sessions[minted.parts["session_token"]]
        if time.time() >= ends:
            return False
        return any(
            any(like(pattern, action) for pattern in statement["Action"])
            and any(like(pattern, resource) for pattern in statement["Resource"])
            and iso(time.time()) < statement["Condition"]["DateLessThan"]["aws:CurrentTime"]
            for statement in policy["Statement"]
        )

    def live(self, now):
        """A session whose own policy allows nothing any more is none."""
        return sum(
            now < ends
            and any(iso(now) < one["Condition"]["DateLessThan"]["aws:CurrentTime"] for one in policy["Statement"])
            for policy, ends, _, _ in list(self.sessions.values())
        )


def like(pattern, text):
    """IAM's wildcards; `${*}`, `${?}` and `${$}` are those characters themselves."""
    parts = re.split(r"(\$\{[*?$]\}|[*?])", pattern)
    shape = "".join(
        ".*" if p == "*" else "." if p == "?" else re.escape(p[2] if p.startswith("${") else p) for p in parts
    )
    return re.fullmatch(shape, text, re.DOTALL) is not None


class Google(Cloud):
    """Google STS and IAM credentials."""

    provider = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/agents/providers/remit"
    account = "billing@project.iam.gserviceaccount.com"

    def answer(self, method, path, headers, body):
        if (method, path) == ("POST", "/v1/token"):
            fields = self.one(body, grant_type="urn:ietf:params:oauth:grant-type:token-exchange",
                              requested_token_type="urn:ietf:params:oauth:token-type:access_token")  # fmt: skip
            made = secrets.token_urlsafe(20)
            if fields["subject_token_type"].endswith(":jwt"):
                self.one(body, audience=self.provider)
                self.verified(fields["subject_token"], self.provider)
                self.sessions[made] = ("federated", time.time() + 3600, None)
                answer = {"access_token": made, "expires_in": 3600}
            else:
                kind, ends, _ = self.sessions[fields["subject_token"]]
                assert kind == "account"
                rules = json.loads(fields["options"])["accessBoundary"]["accessBoundaryRules"]
                self.sessions[made] = ("account", ends, rules)
                answer = {"access_token": made}
            told = {
                **answer,
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "token_type": "Bearer",
            }
            return 200, "application/json", json.dumps(told)
        wanted = f"/v1/projects/-/serviceAccounts/{self.account}:generateAccessToken"
        bearer = headers.get("Authorization", "").removeprefix("Bearer ")
        if (method, unquote(path)) != ("POST", wanted) or self.sessions.get(bearer, ("",))[0] != "federated":
            raise Refused(403, {"error": {"code": 403, "status": "PERMISSION_DENIED"}})
        asked = json.loads(body)
        lifetime = int(asked["lifetime"].removesuffix("s"))
        if not 0 < lifetime <= 3600 or not asked["scope"]:
            raise Refused(400, {"error": {"code": 400}})
        made = secrets.token_urlsafe(20)
        self.sessions[made] = ("account", time.time() + lifetime, None)
        return 200, "application/json", json.dumps({"accessToken": made, "expireTime": iso(time.time() + lifetime)})

    def use(self, minted):
        kind, ends, _ = self.sessions[minted.parts["access_token"]]
        return kind == "account" and time.time() < ends

    def live(self, now):
        """What was handed over is bounded; what led to it is nowhere but here."""
        return sum(now < ends for _, ends, rules in list(self.sessions.values()) if rules)


class Entra(Cloud):
    """Microsoft Entra's token endpoint, with a federated credential."""

    tenant, client = "11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000"

    def answer(self, method, path, headers, body):
        if (method, path) != ("POST", f"/{self.tenant}/oauth2/v2.0/token"):
            raise Refused(404, {"error": "invalid_tenant"})
        fields = self.one(body, grant_type="client_credentials", client_id=self.client,
                          client_assertion_type="urn:ietf:params:oauth:client-assertion-type:jwt-bearer")  # fmt: skip
        self.verified(fields["client_assertion"], "api://AzureADTokenExchange")
        made = secrets.token_urlsafe(20)
        self.sessions[made] = (fields["scope"], time.time() + 3599)
        told = {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": made}
        return 200, "application/json", json.dumps(told)

    def use(self, minted):
        return time.time() < self.sessions[minted.parts["access_token"]][1]


class Cluster(Cloud):
    """A Kubernetes API server: service accounts, roles, bindings, bound tokens, and RBAC over them."""

    own_token = "projected-token-of-remit"

    def __init__(self, jwks=None):
        self.objects = {}
        super().__init__(jwks)

    def answer(self, method, path, headers, body):
        if headers.get("Authorization") != f"Bearer {self.own_token}":
            return self.status(401, "Unauthorized")
        kinds = "serviceaccounts|roles|rolebindings"
        found = re.fullmatch(
            rf"/(?:api/v1|apis/rbac.authorization.k8s.io/v1)/namespaces/([a-z0-9-]+)/({kinds})(?:/([a-z0-9-]+)(/token)?)?",
            path,
        )
        if not found:
            return self.status(404, "NotFound")
        namespace, kind, name, token = found.groups()
        if (kind == "serviceaccounts") is not path.startswith("/api/v1/"):
            return self.status(404, "NotFound")
        if namespace != "billing":
            return self.status(403, "Forbidden")
        asked = json.loads(body) if body else {}
        if method == "POST" and token:
            if (kind, name) not in self.objects:
                return self.status(404, "NotFound")
            seconds = asked["spec"]["expirationSeconds"]
            if seconds < 600:
                return self.status(422, "Invalid")
            made = secrets.token_urlsafe(20)
            self.sessions[made] = (name, time.time() + seconds)
            told = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": asked["spec"],
                    "status": {"token": made, "expirationTimestamp": iso(time.time() + seconds)}}  # fmt: skip
            return 201, "application/json", json.dumps(told)
        if method == "POST":
            name = asked["metadata"]["name"]
            if not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name) or asked["metadata"]["namespace"] != namespace:
                return self.status(422, "Invalid")
            if (kind, name) in self.objects:
                return self.status(409, "AlreadyExists")
            self.objects[(kind, name)] = asked
            return 201, "application/json", json.dumps(asked)
        if (kind, name) not in self.objects:
            return self.status(404, "NotFound")
        gone = self.objects.pop((kind, name)) if method == "DELETE" else self.objects[(kind, name)]
        return 200, "application/json", json.dumps(gone)

    def status(self, code, reason):
        told = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}
        return code, "application/json", json.dumps(told)

    def may(self, minted, verb, resource, name="", group=""):
        """What RBAC answers for the token, as long as its account is there."""
        account, ends = self.sessions.get(minted.parts["token"], ("", 0))
        if time.time() >= ends or ("serviceaccounts", account) not in self.objects:
            return False
        bound = self.objects.get(("rolebindings", account), {})
        if {"kind": "ServiceAccount", "name": account, "namespace": "billing"} not in bound.get("subjects", []):
            return False
        role = self.objects.get(("roles", bound["roleRef"]["name"]), {})
        return any(
            group in rule["apiGroups"] and resource in rule["resources"] and verb in rule["verbs"]
            and ("resourceNames" not in rule or name in rule["resourceNames"])
            for rule in role.get("rules", [])
        )  # fmt: skip

    def use(self, minted):
        return self.may(minted, "get", "pods")

    def live(self, now):
        """Accounts, roles and bindings: without them no token is good."""
        return len(self.objects)


class GitHub(Cloud):
    """The App endpoints: installation tokens, and their end."""

    def __init__(self):
        key = rsa.generate_private_key(65537, 2048)
        self.pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        self.public = key.public_key()
        super().__init__(None)

    def answer(self, method, path, headers, body):
        bearer = headers.get("Authorization", "").removeprefix("Bearer ")
        if headers.get("X-GitHub-Api-Version") != "2022-11-28":
            raise Refused(400, {"message": "version"})
        if (method, path) == ("DELETE", "/installation/token"):
            if bearer not in self.sessions:
                raise Refused(401, {"message": "Bad credentials"})
            del self.sessions[bearer]
            return 204, "application/json", ""
        if (method, path) != ("POST", "/app/installations/77/access_tokens"):
            raise Refused(404, {"message": "Not Found"})
        try:
            claims = jwt.decode(
                bearer, self.public, ["RS256"], issuer="Iv1", options={"require": ["iat", "exp", "iss"]}
            )
        except jwt.PyJWTError as flaw:
            raise Refused(401, {"message": "A JSON web token could not be decoded"}) from flaw
        if claims["exp"] - time.time() > 600:
            raise Refused(401, {"message": "'Expiration time' claim ('exp') is too far in the future"})
        asked = json.loads(body)
        if "gone" in asked["repositories"]:
            raise Refused(422, {"message": "no such repository"})
        made = "ghs_" + secrets.token_hex(18)
        self.sessions[made] = (asked, time.time() + 3600)
        told = {"token": made, "expires_at": iso(time.time() + 3600), "repository_selection": "selected",
                "permissions": {**asked["permissions"], "metadata": "read"},
                "repositories": [{"name": name} for name in asked["repositories"]]}  # fmt: skip
        return 201, "application/json", json.dumps(told)

    def use(self, minted):
        return minted.parts["access_token"] in self.sessions

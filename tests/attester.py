"""A client attester and its client's instances, that sign whatever a test wants signed."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from typing import Any

import httpx

from remit.formats import base64url, signing_key
from remit_client import AgentKey

CLIENT, ISSUER = "https://client.example/bot", "https://attester.example"
RULE = 'owner = "olga"\n[[attestations]]\nmethod = "client_attestation"\nattester = "acme"\n'
AGENT = f'{RULE}client = "{CLIENT}"\n'


def jwt(header: dict[str, Any], claims: dict[str, Any], sign: Any) -> str:
    """Any header and any claims at all; those that are None are left out."""
    kept = ({k: v for k, v in part.items() if v is not None} for part in (header, claims))
    text = ".".join(base64url.encode(json.dumps(part).encode()) for part in kept)
    return f"{text}.{base64url.encode(sign(text.encode()))}"


class Attester:
    """Its `key` signs; `document` is the JWK set it publishes."""

    def __init__(self, algorithm: str = "ES256"):
        self.algorithm, self.key = algorithm, signing_key.generate(algorithm)

    @property
    def jwk(self) -> dict[str, str]:
        return {**self.key.public.jwk, "kid": self.key.public.kid, "alg": self.algorithm}

    def toml(self, name: str = "acme", *others: Attester, issuer: str = ISSUER) -> str:
        document = json.dumps({"keys": [self.jwk, *(other.jwk for other in others)]})
        return f"[attesters.{name}]\nissuer = \"{issuer}\"\nkeys = '''{document}'''\n"

    def attest(self, key: AgentKey, now: int = 0, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """`now` in ms; claims and header members that are None are left out."""
        at = (now or int(time.time() * 1000)) // 1000
        said = {"typ": "oauth-client-attestation+jwt", "alg": self.algorithm, "kid": self.key.public.kid}
        body = {"iss": ISSUER, "sub": CLIENT, "iat": at, "exp": at + 600, "cnf": {"jwk": dict(key.jwk)}}
        return jwt(said | (header or {}), body | claims, self.key.sign)

    def mac(self, key: AgentKey, algorithm: str = "HS256") -> str:
        """Signed with what everybody knows: the attester's public key."""
        secret = json.dumps(self.jwk).encode()
        text = self.attest(key, header={"alg": algorithm}).rpartition(".")[0]
        return f"{text}.{base64url.encode(hmac.digest(secret, text.encode(), hashlib.sha256))}"


class Instance:
    """A client instance at one server, and the two ways it proves that it holds the attested key."""

    def __init__(self, url: str, attester: Attester):
        self.url, self.attester, self.key = url, attester, AgentKey.generate()

    def challenge(self) -> str:
        answer = httpx.post(f"{self.url}/oauth/challenge")
        assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
        return str(answer.json()["attestation_challenge"])

    def pop(self, key: AgentKey | None = None, header: dict[str, Any] | None = None, **claims: Any) -> str:
        at = int(time.time())
        said = {"typ": "oauth-client-attestation-pop+jwt", "alg": "ES256", **(header or {})}
        body = {"aud": self.url, "jti": secrets.token_urlsafe(16), "iat": at}
        body |= claims if "challenge" in claims else {"challenge": self.challenge(), **claims}
        kept = ({k: v for k, v in part.items() if v is not None} for part in (said, body))
        return (key or self.key).sign(*kept)

    def dpop(self, key: AgentKey | None = None, nonce: str | None = None) -> str:
        given = self.challenge() if nonce is None else nonce
        return (key or self.key).proof("POST", f"{self.url}/oauth/token", nonce=given)

    def combined(self, attestation: str = "", **changes: Any) -> httpx.Headers:
        return httpx.Headers(
            {"OAuth-Client-Attestation": attestation or self.attester.attest(self.key), "DPoP": self.dpop(**changes)}
        )

    def headers(self, attestation: str = "", pop: str = "", dpop: str = "") -> httpx.Headers:
        return httpx.Headers(
            {
                "OAuth-Client-Attestation": attestation or self.attester.attest(self.key),
                "OAuth-Client-Attestation-PoP": pop or self.pop(),
                "DPoP": dpop or self.dpop(nonce=""),
            }
        )

    def token(self, headers: httpx.Headers | None = None, **fields: str) -> httpx.Response:
        """POST /oauth/token: a proposal, unless told otherwise."""
        details = json.dumps([{"type": "pay", "goal": "g", "parameters": {"customer": "acme"}}])
        form = {"grant_type": "client_credentials", "authorization_details": details, **fields}
        sent = self.headers() if headers is None else headers
        return httpx.post(f"{self.url}/oauth/token", data=form, headers=sent, timeout=40)

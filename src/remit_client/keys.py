"""The agent's own key: made here, kept here (0600 in a 0700 directory), never sent anywhere."""

from __future__ import annotations

import base64
import json
import os
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from .errors import RemitError

_POSIX = os.name == "posix"
_ANEW = "Remove it and invite the agent again."


def b64(data: bytes) -> str:
    """Base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class AgentKey:
    """An ES256 key pair. `jkt` is its RFC 7638 thumbprint, the name Remit knows it by."""

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self._private = private
        point = private.public_key().public_numbers()
        x, y = (b64(n.to_bytes(32, "big")) for n in (point.x, point.y))
        self.jwk: Mapping[str, str] = {"crv": "P-256", "kty": "EC", "x": x, "y": y}
        canonical = json.dumps(self.jwk, separators=(",", ":"), sort_keys=True)
        self.jkt = b64(sha256(canonical.encode()).digest())

    def __repr__(self) -> str:
        return f"AgentKey({self.jkt})"

    @classmethod
    def generate(cls) -> AgentKey:
        """A key for this process only."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def load_or_create(cls, directory: Path) -> AgentKey:
        """The key in `directory/key.pem`, made if there is none; a file others can read is refused."""
        path = directory / "key.pem"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _POSIX and directory.stat().st_mode & 0o022:
            raise RemitError(f"{directory} can be written by others.", next_step=f"chmod 700 {directory}")
        if not path.exists():
            cls.generate()._store(path)
        if _POSIX and path.stat().st_mode & 0o077:
            raise RemitError(f"{path} can be read by others.", next_step=f"chmod 600 {path}")
        try:
            private = load_pem_private_key(path.read_bytes(), None)
        except (ValueError, TypeError) as bad:
            raise RemitError(f"{path} is not a private key.", next_step=_ANEW) from bad
        if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name != "secp256r1":
            raise RemitError(f"{path} is not a P-256 private key.", next_step=_ANEW)
        return cls(private)

    def _store(self, path: Path) -> None:
        """The whole key or none; when two processes start at once, the first one's key is everybody's."""
        pem = self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        draft = path.with_name(f".key-{secrets.token_hex(8)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
        try:
            with suppress(FileExistsError):
                os.link(draft, path)
        finally:
            draft.unlink()

    @property
    def private(self) -> ec.EllipticCurvePrivateKey:
        """The key itself, for a library that signs with it in this process."""
        return self._private

    def sign(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
        """A compact JWS (RFC 7515) with ES256."""
        parts = [b64(json.dumps(p, separators=(",", ":")).encode()) for p in ({"alg": "ES256", **header}, claims)]
        signing_input = ".".join(parts)
        r, s = decode_dss_signature(self._private.sign(signing_input.encode(), ec.ECDSA(SHA256())))
        return f"{signing_input}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def proof(self, method: str, url: str, access_token: str = "", nonce: str = "") -> str:
        """A DPoP proof for one request (RFC 9449 section 4.2); `nonce` is a challenge of the server's."""
        parts = urlsplit(url)
        htu = urlunsplit((parts.scheme, parts.netloc, parts.path or "/", "", ""))
        claims: dict[str, Any] = {
            "jti": secrets.token_urlsafe(16),
            "htm": method,
            "htu": htu,
            "iat": int(time.time()),
        }
        if access_token:
            claims["ath"] = b64(sha256(access_token.encode()).digest())
        if nonce:
            claims["nonce"] = nonce
        return self.sign({"typ": "dpop+jwt", "jwk": dict(self.jwk)}, claims)

    def assertion(self, client: str, audience: str) -> str:
        """A client assertion (RFC 7523 section 3), good for a minute, once."""
        now = int(time.time())
        claims = {
            "iss": client,
            "sub": client,
            "aud": audience,
            "iat": now,
            "exp": now + 60,
            "jti": secrets.token_urlsafe(16),
        }
        return self.sign({"typ": "JWT", "kid": self.jkt}, claims)


def remember(directory: Path, jkt: str, name: str) -> None:
    """Keep, beside the key, the name the server knows it by."""
    draft = directory / f".agent-{jkt}-{os.getpid()}"
    draft.write_text(json.dumps({"agent": name, "jkt": jkt}))
    draft.replace(directory / "agent.json")


def remembered(directory: Path, jkt: str) -> str:
    """The name this very key was given before; empty when there is none to trust."""
    try:
        known = json.loads((directory / "agent.json").read_text())
    except (OSError, ValueError):
        return ""
    return str(known.get("agent", "")) if isinstance(known, dict) and known.get("jkt") == jkt else ""

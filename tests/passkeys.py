"""A device that makes passkeys and signs with them: WebAuthn's authenticator side and the browser's, in software."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from remit.formats import base64url

UP, UV, BE, BS, AT = 1, 4, 8, 16, 64


@dataclass
class Device:
    """One credential. `flags`, `origin` and `rp_id` can be set to what an honest browser would not say."""

    origin: str
    flags: int = UP | UV
    rp_id: str = ""
    count: int = 0
    key: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    id: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    def make(self, options: dict[str, Any], fmt: str = "none") -> dict[str, Any]:
        """`navigator.credentials.create()`: a RegistrationResponseJSON."""
        public = self.key.public_key().public_numbers()
        x, y = (number.to_bytes(32, "big") for number in (public.x, public.y))
        cose = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: x, -3: y})
        held = b"\0" * 16 + len(self.id).to_bytes(2, "big") + self.id + cose
        data = self._data(options["rp"]["id"], AT) + held
        statement = (
            {} if fmt == "none" else {"alg": -7, "sig": self._sign(data, self._client("webauthn.create", options))}
        )
        attestation = cbor2.dumps({"fmt": fmt, "attStmt": statement, "authData": data})
        client = self._client("webauthn.create", options)
        return self._credential(clientDataJSON=client, attestationObject=attestation)

    def sign(self, options: dict[str, Any], kind: str = "webauthn.get") -> dict[str, Any]:
        """`navigator.credentials.get()`: an AuthenticationResponseJSON."""
        data, client = self._data(options["rpId"]), self._client(kind, options)
        return self._credential(authenticatorData=data, clientDataJSON=client, signature=self._sign(data, client))

    def signed(self, asked: dict[str, Any], **more: Any) -> dict[str, Any]:
        """What goes to `/answer`, for what `/challenge` said."""
        response = self.sign(asked["publicKey"], **more)["response"]
        return {
            "passkey": base64url.encode(self.id),
            "authenticator_data": response["authenticatorData"],
            "client_data": response["clientDataJSON"],
            "signature": response["signature"],
            "nonce": asked["nonce"],
            "expires_at": asked["expires_at"],
        }

    def _data(self, rp_id: str, more: int = 0) -> bytes:
        digest = sha256((self.rp_id or rp_id).encode()).digest()
        return digest + bytes([self.flags | more]) + self.count.to_bytes(4, "big")

    def _client(self, kind: str, options: dict[str, Any]) -> bytes:
        said = {"type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": False}
        return json.dumps(said).encode()

    def _sign(self, data: bytes, client: bytes) -> bytes:
        return self.key.sign(data + sha256(client).digest(), ec.ECDSA(hashes.SHA256()))

    def _credential(self, **response: bytes) -> dict[str, Any]:
        me = base64url.encode(self.id)
        parts = {name: base64url.encode(value) for name, value in response.items()}
        return {"id": me, "rawId": me, "type": "public-key", "response": parts, "clientExtensionResults": {}}

"""Passkeys: a person's own key, kept by their device, that signs an answer to exactly what was shown.

The public half is in the log when it is registered, and what it signed is in the event of each answer, so anybody who
has the log can check who agreed to what without asking us. Binary values are unpadded base64url.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Passkey:
    """Row: a WebAuthn credential, keyed by its id. `public_key` is a COSE key, `rp_id` the domain it was made for.

    `sign_count` stays 0 where the device does not count; `synced` says that it is backed up, so more than one device
    may have it. `removed_at` 0: it may answer.
    """

    id: str
    person: str
    public_key: str
    rp_id: str
    title: str
    synced: bool
    sign_count: int
    registered_at: int
    used_at: int = 0
    removed_at: int = 0
    version: int = 0

    @property
    def key(self) -> str:
        return self.id

    def used(self, sign_count: int, now: int) -> Passkey:
        """After one more signature."""
        return replace(self, sign_count=sign_count, used_at=now)

    def removed(self, now: int) -> Passkey:
        """It answers nothing from now on; what it signed before can still be checked."""
        return replace(self, removed_at=now)


@dataclass(frozen=True, slots=True)
class Signed:
    """A WebAuthn assertion (Web Authentication Level 3, section 5.2.2), and the terms its challenge was made with."""

    passkey: str = ""
    authenticator_data: str = ""
    client_data: str = ""
    signature: str = ""
    nonce: str = ""
    expires_at: int = 0

    def __bool__(self) -> bool:
        return bool(self.passkey)


UNSIGNED = Signed()

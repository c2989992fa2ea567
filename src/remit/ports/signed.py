"""Whose passkey signed an answer."""

from __future__ import annotations

from remit.domain.errors import BadPasskey
from remit.domain.passkey import Passkey, Signed
from remit.formats import webauthn

from .env import Env


async def signed_by(env: Env, person: str, statement: webauthn.Statement, signed: Signed, now: int) -> Passkey:
    """This person's passkey, after one more use, that signed exactly this statement; its challenge is spent.

    `BadPasskey` when it did not, or is not theirs, or answered with this before.
    """
    party = webauthn.relying_party(env.issuer_url)
    webauthn.asked(env.passkey_secret, statement, now)
    key = await env.store.get(Passkey, signed.passkey)
    if key is None or key.removed_at or (key.person, key.rp_id) != (person, party.id):
        raise BadPasskey("This passkey is not yours, or not here.", inside=signed.passkey[:100])
    count = webauthn.signed_by(party, statement, signed, key.public_key, key.sign_count)
    if not await env.store.spend(f"passkey:{signed.nonce}", signed.expires_at):
        raise BadPasskey("This signature was used before.", next_step="Sign a fresh challenge.")
    return key.used(count, now)

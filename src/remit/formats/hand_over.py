"""What is handed over in a link: sealed by the sender, opened by the recipient; the server sees neither value nor key.

The link is `https://server/handover/<id>#<key>`: what is behind `#` is never sent to a server (RFC 3986 section 3.5).
From those 32 random bytes, HKDF-SHA256 (RFC 5869, no salt) derives two keys by `info`: `remit hand-over seal v1` wraps
an envelope (see `sealed`, context `remit hand-over v1`), and `remit hand-over proof v1` is what an opener shows. The
server has its SHA-256: who was not given the link cannot open, nor spend, what it stands for.
"""

from __future__ import annotations

import os
import re
from hashlib import sha256
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from remit.domain.errors import BadField, BadToken

from . import base64url, sealed

LIMIT = 65_536
ENVELOPE_LIMIT = 4 * (LIMIT + 256) // 3
_CONTEXT = b"remit hand-over v1"
_PATH = re.compile(r"/handover/(hov_[0-9a-f]{32})\Z")
_PROOF = re.compile(r"[A-Za-z0-9_-]{43}\Z")


def new_key() -> bytes:
    """What only the link will have."""
    return os.urandom(32)


def close(plaintext: bytes, key: bytes) -> str:
    """Seal 1 byte to 64 KiB under the link's key."""
    if not 0 < len(plaintext) <= LIMIT:
        raise BadField("value", f"must be 1 to {LIMIT} bytes")
    return sealed.seal(plaintext, root_key=_derived(key, b"seal"), context=_CONTEXT)


def open_(envelope: str, key: bytes) -> bytes:
    """The value; another key or a changed byte raises `BadToken`."""
    return sealed.unseal(envelope, root_key=_derived(key, b"seal"), context=_CONTEXT)


def proof(key: bytes) -> str:
    """What shows that its holder has the link, without the link's key."""
    return base64url.encode(_derived(key, b"proof"))


def digest_of(text: str) -> str:
    """What the server keeps of a proof: SHA-256, hex. What is not a proof has a digest that none has."""
    return sha256(text.encode()).hexdigest() if _PROOF.match(text) else ""


def checked_envelope(text: str) -> bytes:
    """An envelope of a size that may be; what is in it only the link's holder can tell."""
    if not 0 < len(text) <= ENVELOPE_LIMIT:
        raise BadField("envelope", f"must be 1 to {ENVELOPE_LIMIT} characters of base64url")
    try:
        base64url.decode(text)
    except BadToken as bad:
        raise BadField("envelope", "must be base64url without padding") from bad
    return text.encode()


def link(url: str, id_: str, key: bytes) -> str:
    """The link to hand over."""
    return f"{url}/handover/{id_}#{base64url.encode(key)}"


def parse_link(text: str) -> tuple[str, str, bytes]:
    """(server, id, key); anything else raises `BadField` that does not quote it."""
    try:
        parts = urlsplit(text.strip())
        found, key = _PATH.search(parts.path), base64url.decode(parts.fragment)
        port = f":{parts.port}" if parts.port else ""
    except (ValueError, BadToken) as bad:
        raise BadField("link", "is not one that `remit secret send` printed, whole") from bad
    plain = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.username)
    if not plain or found is None or len(key) != 32:
        raise BadField("link", "is not one that `remit secret send` printed, whole")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{port}{parts.path[: found.start()]}", found.group(1), key


def _derived(key: bytes, use: bytes) -> bytes:
    return HKDF(SHA256(), 32, None, b"remit hand-over " + use + b" v1").derive(key)

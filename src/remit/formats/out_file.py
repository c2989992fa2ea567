"""`[out.NAME]` and `[witness.NAME]` in `remit.toml`: where the log goes, and who cosigns it."""

from __future__ import annotations

import re
import ssl
from urllib.parse import urlsplit

from remit.domain.errors import ProofInvalid
from remit.domain.out import Form, Sink, SinkKind, Witness

from . import tlog
from .toml_source import Section

MEGABYTE = 1 << 20
_URL = re.compile(r"[a-z]+://[^\s?#@\\]+\Z")
_SCHEMES = {
    SinkKind.HTTP: ("https", "http"),
    SinkKind.OTLP: ("https", "http"),
    SinkKind.SYSLOG: ("tls", "tcp", "udp"),
}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# Which variables may be sent away is not for whoever writes the catalogue to say: the root key is one too.
VARIABLE = re.compile(r"REMIT_OUT_[A-Z0-9_]{1,64}\Z")


def sink(name: str, s: Section) -> Sink:
    """The entry; a key missing, wrong or unknown is a `BadCatalogue` with its line."""
    kind = SinkKind(s.word("kind", [one.value for one in SinkKind]))
    form = Form(s.word("format", [one.value for one in Form], Form.OCSF.value))
    late = s.word("from", ("beginning", "now"), "beginning") == "now"
    batch = s.whole("batch", 256, least=1, most=1000)
    if kind is SinkKind.FILE:
        rotate, keep = s.whole("rotate_mb", 100, least=1, most=100_000), s.whole("keep", 0, most=100_000)
        return Sink(name, kind, form, batch=batch, rotate=rotate * MEGABYTE, keep=keep, late=late)
    private, authority = s.flag("allow_private_network", False), _authority(s)
    found = Sink(
        name,
        kind,
        form,
        _address(s, _SCHEMES[kind], private=private),
        s.text("secret", "", limit=64),
        s.text("token_env", "", limit=100),
        s.text("scheme", "Bearer", limit=32),
        authority,
        private,
        batch,
        late=late,
    )
    if found.variable and not VARIABLE.match(found.variable):
        s.fail("token_env", "'token_env' must name a variable that begins with REMIT_OUT_")
    if found.secret and found.variable:
        s.fail("secret", "say one of 'secret' and 'token_env'")
    if kind is SinkKind.SYSLOG and (found.secret or found.variable):
        s.fail("secret" if found.secret else "token_env", "syslog has no place for a token")
    if not re.match(r"[A-Za-z0-9-]+\Z", found.scheme):
        s.fail("scheme", "'scheme' is a word such as Bearer")
    return found


def witness(name: str, s: Section) -> Witness:
    """The entry; likewise."""
    private = s.flag("allow_private_network", False)
    found = Witness(name, _address(s, ("https", "http"), private=private), s.text("key"), _authority(s), private)
    try:
        tlog.NoteKey.parse(found.key, tlog.COSIGNATURE)
    except ProofInvalid as bad:
        s.fail("key", f"'key' must be the verifier key of a witness (Ed25519, cosignature/v1): {bad}")
    return found


def _address(s: Section, schemes: tuple[str, ...], *, private: bool) -> str:
    url = s.text("url", limit=2048)
    try:
        parts = urlsplit(url)
        good = bool(_URL.match(url) and parts.hostname and parts.scheme in schemes and parts.port != 0)
    except ValueError:
        good = False
    if not good:
        s.fail("url", f"'url' must be {' or '.join(f'{one}://' for one in schemes)} and a host, nothing secret in it")
    clear = parts.scheme in ("http", "tcp", "udp")
    if clear and not (private and parts.hostname in _LOOPBACK):
        s.fail("url", f"{parts.scheme}:// is only for this host itself, with allow_private_network = true")
    if parts.scheme in ("tls", "tcp", "udp") and (not parts.port or parts.path not in ("", "/")):
        s.fail("url", "'url' of syslog is a host and a port, and nothing more")
    return url


def _authority(s: Section) -> str:
    pem = s.text("authority", "", limit=100_000)
    if pem:
        try:
            ssl.create_default_context(cadata=pem)
        except (ssl.SSLError, ValueError):
            s.fail("authority", "'authority' must be certificates as PEM")
    return pem

"""`[signals.NAME]` in `remit.toml`: a Shared Signals transmitter that is heard, and what its events end here."""

from __future__ import annotations

import re
from collections.abc import Mapping

from remit.domain.session import Provider
from remit.domain.signal import KINDS, Effect, Transmitter

from .toml_source import Section

_HTTPS = re.compile(r"https://[^\s?#@]+\Z")
_LOOPBACK = re.compile(r"http://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?(/[^\s?#@]*)?\Z")
_READS = {"sub": "iss_sub", "email": "email"}


def read(name: str, s: Section, providers: Mapping[str, Provider]) -> Transmitter:
    """The entry; a key missing, wrong or unknown is a `BadCatalogue` with its line."""
    private = s.flag("allow_private_network", False)

    def address(key: str, *default: str) -> str:
        found = s.text(key, *default, limit=2048)
        if found and not _HTTPS.match(found) and not (private and _LOOPBACK.match(found)):
            s.fail(key, f"{key!r} must be an https:// URL")
        return found

    issuer, audience = address("issuer"), s.text("audience", limit=2048)
    people, by, effects = s.table("people"), s.text("sign_in", "", limit=64), s.table("effects")
    table = {key: people.text(key, limit=256) for key in sorted(people.keys())}
    provider = providers.get(by)
    if by and provider is None:
        s.fail("sign_in", f"there is no sign-in provider {by!r}")
    reads = ""
    if provider and not table:
        # Another claim than these is in no subject identifier (RFC 9493), and `sub` may be somebody else's name.
        reads = _READS.get(provider.person, "")
        if not reads:
            s.fail("sign_in", f"people of {by!r} are known by {provider.person}, which no event has: say 'people' here")
        table = dict(provider.people)
    elif not table:
        s.fail("people", "say who is who: 'people', or 'sign_in' with a provider that knows people by sub or email")
    if len(set(table.values())) < len(table):
        s.fail("people", "two people have the same value")
    for key in sorted(effects.keys() - KINDS.keys()):
        effects.fail(key, f"there is no such event; known: {', '.join(sorted(KINDS))}")
    words = [effect.value for effect in Effect]
    given = {KINDS[key]: effects.texts(key) for key in sorted(effects.keys())}
    for found in given.values():
        if not set(found) <= set(words):
            s.fail("effects", f"effects are some of: {', '.join(words)}")
    people.done()
    effects.done()
    return Transmitter(
        name,
        issuer,
        audience,
        table,
        reads,
        provider.issuer if provider else "",
        address("jwks_uri", ""),
        address("poll_url", ""),
        s.text("secret", "", limit=64),
        {kind: tuple(effect for effect in Effect if effect.value in found) for kind, found in given.items()},
        private,
    )

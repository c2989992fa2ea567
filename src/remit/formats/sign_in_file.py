"""`[sign_in.NAME]` in `remit.toml`: an OpenID Connect provider that people sign in with, and what its claims mean."""

from __future__ import annotations

import dataclasses
import re

from remit.domain.session import ROLES, Provider

from .toml_source import Section, revision

_ISSUER = re.compile(r"https://[^\s?#@]+\Z")
_LOOPBACK = re.compile(r"http://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?(/[^\s?#@]*)?\Z")


def read(name: str, s: Section) -> Provider:
    """The entry; a key missing, wrong or unknown is a `BadCatalogue` with its line."""
    private = s.flag("allow_private_network", False)
    issuer = s.text("issuer", limit=2048)
    if not _ISSUER.match(issuer) and not (private and _LOOPBACK.match(issuer)):
        s.fail("issuer", "'issuer' must be an https:// URL")
    people, roles, approvers = s.table("people"), s.table("roles"), s.table("approvers")
    provider = Provider(
        name,
        issuer,
        s.text("client_id", limit=256),
        s.text("person", "preferred_username", limit=256),
        s.text("groups", "groups", limit=256),
        {key: people.text(key, limit=256) for key in sorted(people.keys())},
        {role.value: roles.texts(role.value, ()) for role in ROLES[:2]},
        {key: approvers.texts(key) for key in sorted(approvers.keys())},
        s.texts("scopes", ("openid", "profile", "email", "groups")),
        s.text("client_secret_env", "", limit=256),
        s.text("client_secret_file", "", limit=4096),
        s.text("title", "", limit=100),
        private,
        s.flag("ciba", False),
    )
    for table in (people, roles, approvers):
        table.done()
    if provider.secret_env and provider.secret_file:
        s.fail("client_secret_file", "say client_secret_env or client_secret_file, not both")
    if provider.ciba and not (provider.secret_env or provider.secret_file):
        s.fail("ciba", "the provider must know who asks: say client_secret_env or client_secret_file (CIBA section 7)")
    if "openid" not in provider.scopes:
        s.fail("scopes", "'scopes' must have \"openid\" among them")
    if len(set(provider.people.values())) < len(provider.people):
        s.fail("people", "two people have the same value")
    return dataclasses.replace(provider, revision=revision(provider))

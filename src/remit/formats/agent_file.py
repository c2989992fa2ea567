"""`agents/NAME.toml`: who answers for an agent, and how it may prove that it is the agent."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from remit.domain.errors import BadField
from remit.domain.identity import Agent, Attestation, Attester, Federation, SpiffeId, Tier

from . import aws_caller, claim_conditions, client_attestation, client_id_metadata, oidc_providers
from .accountability_file import review_every
from .toml_source import Section, revision

_SELECTORS = (
    "unix:uid:N",
    "unix:gid:N",
    "unix:user:NAME",
    "unix:group:NAME",
    "unix:path:/PATH",
    "unix:sha256:HEX",
    "systemd:id:UNIT",
    "container:id:HEX",
)
_SELECTOR = re.compile(
    r"unix:[ug]id:\d{1,10}\Z|unix:(user|group):[^\s:]{1,64}\Z|unix:path:/[^\x00]{1,1000}\Z|unix:sha256:[0-9a-f]{64}\Z"
    r"|systemd:id:[A-Za-z0-9:_.\\@-]{1,255}\Z|container:id:[0-9a-f]{64}\Z"
)
_WHO = ("unix:uid:", "unix:user:", "systemd:id:", "container:id:")
_NEEDS: Mapping[str, str] = {
    "join_token": "nothing else",
    "oidc": "'federation' and at least one condition in [attestations.claims]",
    "client_attestation": "'attester' and 'client', the client id it must name",
    "client_metadata": "'client_id', the address of its document, and 'gateways'",
    "aws": "[attestations.claims] with account, and id, role or user",
    "spiffe": "'spiffe_id', of a trust domain in remit.toml",
    "unix": '\'selectors\', such as ["unix:uid:1000", "unix:path:/usr/bin/agent"]',
}


def read(name: str, s: Section, federations: Mapping[str, Federation], attesters: Mapping[str, Attester]) -> Agent:
    """The entry; a key missing, wrong or unknown is a `BadCatalogue` with its line."""
    written = (_attestation(a, federations) for a in s.tables("attestations"))
    attestations = tuple(r for w in written for r in client_attestation.rules(w, attesters.get(w.attester)))
    if not attestations:
        s.fail("", "an agent needs at least one [[attestations]]: how may it prove itself?")
    tier = Tier(s.word("tier", [t.value for t in Tier], "assistant"))
    return Agent(
        name,
        s.text("owner"),
        s.texts("escalation", ()),
        tier,
        s.text("title", ""),
        attestations,
        s.flag("latest_only", False),
        s.texts("federates_with", ()),
        s.text("deputy", "", limit=64),
        review_every(s),
    )


def _attestation(s: Section, federations: Mapping[str, Federation]) -> Attestation:
    method = s.word("method", _NEEDS)
    if method == "client_metadata":
        attestation = client_id_metadata.read(s)
        s.done()
        return dataclasses.replace(attestation, rule=revision(attestation))
    federation, claims = s.text("federation", ""), claim_conditions.read(s.table("claims"))
    spiffe_id, selectors = s.text("spiffe_id", "", limit=2048), s.texts("selectors", ())
    attester, client = s.text("attester", ""), s.text("client", "", limit=2048)
    said = tuple(map(bool, (federation, claims, spiffe_id, selectors, attester, client)))
    attested = method == "client_attestation"
    wanted = (method == "oidc", method in ("oidc", "aws"), method == "spiffe", method == "unix", attested, attested)
    if said != wanted:
        s.fail("method", f"{method} needs {_NEEDS[method]}, and takes neither more nor less")
    if method == "aws":
        _refuse(s.table("claims"), aws_caller.flaw(claims))
    if federation in federations and federations[federation].provider:
        _refuse(s.table("claims"), oidc_providers.flaw(federations[federation].provider, claims))
    if spiffe_id:
        try:
            spiffe_id = str(SpiffeId.parse(spiffe_id))
        except BadField as bad:
            s.fail("spiffe_id", bad.problem)
    _check_selectors(s, selectors)
    s.done()
    attestation = Attestation(method, federation, claims, spiffe_id, selectors, attester, client)
    return dataclasses.replace(attestation, rule=revision(attestation))


def _refuse(s: Section, flaw: tuple[tuple[str, ...], str] | None) -> None:
    if flaw:
        path, problem = flaw
        for name in path[:-1]:
            s = s.table(name)
        s.fail(path[-1] if path else "", problem)


def _check_selectors(s: Section, selectors: tuple[str, ...]) -> None:
    for selector in selectors:
        if not _SELECTOR.match(selector):
            s.fail("selectors", f"{selector!r} is no selector; known: {', '.join(_SELECTORS)}")
    if selectors and not any(selector.startswith(_WHO) for selector in selectors):
        # A program's path or hash alone: anybody on the host may run it.
        s.fail("selectors", f"say who runs it too: one of {', '.join(_WHO)}")

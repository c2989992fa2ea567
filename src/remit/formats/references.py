"""Every name a catalogue mentions must be there; a dangling one is an error with file, line and the nearest name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import NoReturn

from remit.domain.catalogue import Catalogue, ServerConfig
from remit.domain.errors import BadCatalogue
from remit.domain.identity import Agent, SpiffeId
from remit.domain.origin import BY_INITIATOR
from remit.domain.purpose import GrantRule, Purpose
from remit.domain.tool import Tool
from remit.domain.transaction import TransactionRule

from .http_tool import check_apart

_HOLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?:\.\.\.)?\}")


class _File:
    """One file's text, to point into."""

    def __init__(self, path: str, files: Mapping[str, str]) -> None:
        self.path = path
        self._lines = files.get(path, "").splitlines()

    def fail(self, mention: str, problem: str) -> NoReturn:
        quoted = (f'"{mention}"', f"'{mention}'", mention)
        line = next((i for q in quoted for i, text in enumerate(self._lines, 1) if q in text), 1)
        raise BadCatalogue(self.path, line, problem)

    def need(self, noun: str, name: str, known: Iterable[str]) -> None:
        names = list(known)
        if name in names:
            return
        near = get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(names)[:20]) or 'none'}"
        self.fail(name, f"there is no {noun} {name!r}; {hint}")


def check_references(catalogue: Catalogue, files: Mapping[str, str]) -> None:
    """Raise `BadCatalogue` for the first mention of something that is not there."""
    for tool in catalogue.tools.values():
        _check_tool(tool, _File(f"tools/{tool.name}.toml", files))
    for edge in catalogue.edges.values():
        at = _File("remit.toml", files)
        at.need("person", edge.owner, catalogue.people)
        for name in edge.purposes:
            at.need("purpose", name, catalogue.purposes)
    clients: set[str] = set()
    for agent in catalogue.agents.values():
        at = _File(f"agents/{agent.name}.toml", files)
        _check_answering(catalogue, agent, at)
        for domain in agent.federates_with:
            at.need("trust domain", domain, catalogue.trust_domains)
        for attestation in agent.attestations:
            if attestation.federation:
                at.need("federation", attestation.federation, catalogue.federations)
            if attestation.method == "client_metadata":
                if attestation.client in clients:
                    at.fail(attestation.client, f"client {attestation.client!r} is named twice; it acts as one agent")
                clients.add(attestation.client)
            if attestation.attester:
                at.need("attester", attestation.attester, catalogue.attesters)
            if attestation.spiffe_id:
                at.need("trust domain", SpiffeId.parse(attestation.spiffe_id).trust_domain, catalogue.trust_domains)
    for purpose in catalogue.purposes.values():
        at = _File(f"purposes/{purpose.name}.toml", files)
        _check_purpose(catalogue, purpose, at)
        _check_servers(catalogue, purpose, at)
        _check_http(catalogue, purpose, at)
    groups = {group for person in catalogue.people.values() for group in person.groups}
    told = [name for route in catalogue.notifications.values() for name in route.whom]
    for name in (*told, *catalogue.undoers):
        _File("remit.toml", files).need("person or group", name, {*catalogue.people, *groups})
    check_apart(catalogue.tools)
    both = sorted(catalogue.people.keys() & catalogue.agents.keys())
    if both:
        raise BadCatalogue("remit.toml", 1, f"{both[0]!r} is both a person and an agent; names must differ")


def _check_tool(tool: Tool, at: _File) -> None:
    properties, required = tool.schema.get("properties", {}), tool.schema.get("required", ())
    known = properties if isinstance(properties, Mapping) else {}
    for hole in _HOLE.findall(tool.resource):
        at.need("argument", hole, known)
        if not isinstance(required, list | tuple) or hole not in required:
            at.fail(hole, f"argument {hole!r} names the resource, so it must be required")
    for name in (*tool.told, *(tool.matters if tool.matters != ("*",) else ())):
        at.need("argument", name, known)
    rest = _HOLE.sub("x", tool.resource)
    if "{" in rest or "}" in rest or "*" in rest or any(part in ("", ".", "..") for part in rest.split("/")):
        at.fail(tool.resource, f"resource {tool.resource!r} is not a path such as invoice/{{invoice}}")


def _check_answering(catalogue: Catalogue, thing: Agent | Purpose, at: _File) -> None:
    at.need("person", thing.owner, catalogue.people)
    if thing.deputy:
        at.need("person", thing.deputy, catalogue.people)
    if thing.deputy == thing.owner:
        at.fail(thing.deputy, "'deputy' is the owner; name somebody else, or nobody")
    groups = {group for person in catalogue.people.values() for group in person.groups}
    for name in thing.escalation:
        at.need("person or group", name, {*catalogue.people, *groups})


def _check_purpose(catalogue: Catalogue, purpose: Purpose, at: _File) -> None:
    _check_answering(catalogue, purpose, at)
    for agent in purpose.agents:
        at.need("agent", agent, catalogue.agents)
    offered = {a.kind for agent in purpose.agents for a in catalogue.agents[agent].attestations}
    for kind in purpose.attested_by:
        at.need("kind of proof that its agents have", kind, {*offered, *(known.partition(":")[0] for known in offered)})
    groups = {group for person in catalogue.people.values() for group in person.groups}
    for name in purpose.initiators:
        at.need("person or group", name, {*catalogue.people, *groups})
    parameters = {parameter.name for parameter in purpose.parameters}
    for rule in purpose.grants:
        at.need("tool", rule.tool, catalogue.tools)
        _check_grant(rule, catalogue.tools[rule.tool], parameters, at)
        for source in {source for sources in rule.sources.values() for source in sources} - {BY_INITIATOR}:
            at.need("tool", source, catalogue.tools)
    for delegation in purpose.delegations:
        for name in delegation.purposes:
            at.need("purpose", name, catalogue.purposes)
        for name in delegation.agents:
            at.need("agent", name, catalogue.agents)
            if not any(name in catalogue.purposes[child].agents for child in delegation.purposes):
                at.fail(name, f"{name!r} is an agent of none of {', '.join(delegation.purposes)}")
    names = [rule.name for rule in purpose.credentials]
    for credential in purpose.credentials:
        at.need("issuer", credential.issuer, catalogue.issuers)
        if names.count(credential.name) > 1:
            at.fail(credential.name, f"credential {credential.name!r} is there twice")
        for name in TransactionRule.named(credential.grants):
            at.need("agent", name, catalogue.agents)


def _check_servers(catalogue: Catalogue, purpose: Purpose, at: _File) -> None:
    """A purpose that grants a server's tool offers the credential which that server needs."""
    offered = {credential.name for credential in purpose.credentials}
    for rule in purpose.grants:
        server = catalogue.servers.get(rule.tool.partition(".")[0])
        if server is not None and server.url:
            _check_resource(catalogue, purpose, server, at)
        if server is not None and server.credential and server.credential not in offered:
            at.fail(
                rule.tool, f"{rule.tool!r} needs its server's credential {server.credential!r}, which is not offered"
            )


def _check_resource(catalogue: Catalogue, purpose: Purpose, server: ServerConfig, at: _File) -> None:
    """A token that is for one resource goes to that one: its issuer's `resource` is the server's `url`, to the byte."""
    resource = _resource_of(catalogue, purpose, server.credential)
    if resource is not None and resource != server.url:
        said = f"credential {server.credential!r} is for {resource}, and server {server.name!r} is at {server.url}"
        at.fail(server.credential, said)


def _resource_of(catalogue: Catalogue, purpose: Purpose, credential: str) -> str | None:
    """What a credential's tokens are for, if they are for one resource (RFC 8707)."""
    issuer = next((catalogue.issuers[c.issuer] for c in purpose.credentials if c.name == credential), None)
    return str(issuer.settings.get("resource")) if issuer is not None and issuer.kind == "oauth" else None


def _check_http(catalogue: Catalogue, purpose: Purpose, at: _File) -> None:
    """A purpose that grants an HTTP tool offers the credential which that tool needs."""
    offered = {credential.name for credential in purpose.credentials}
    for rule in purpose.grants:
        route = catalogue.tools[rule.tool].http
        if route is not None and route.credential and route.credential not in offered:
            at.fail(rule.tool, f"{rule.tool!r} needs the credential {route.credential!r}, which is not offered")
        resource = _resource_of(catalogue, purpose, route.credential) if route is not None else None
        if route is not None and resource is not None and not f"{resource}/".startswith(f"{route.origin}/"):
            at.fail(route.credential, f"credential {route.credential!r} is for {resource}, not for {route.origin}")


def _check_grant(rule: GrantRule, tool: Tool, parameters: set[str], at: _File) -> None:
    texts = [rule.resource, *(text for texts in rule.one_of.values() for text in texts)]
    for hole in {hole for text in texts for hole in _HOLE.findall(text)}:
        at.need("parameter", hole, parameters)
    properties = tool.schema.get("properties", {})
    for argument in {*rule.one_of, *rule.between, *rule.matching, *rule.sources}:
        at.need(f"argument of {tool.name}", argument, properties if isinstance(properties, Mapping) else {})

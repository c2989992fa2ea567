"""The catalogue as files: `remit.toml`, `agents/*.toml`, `purposes/*.toml`, `tools/*.toml`, `policies/*.cedar`.

One entry a file, named by the file. Whatever is wrong is a `BadCatalogue` with file, line, and the nearest
thing that would be right; nothing is ever half-read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256

from remit.domain.catalogue import Catalogue, IssuerConfig
from remit.domain.errors import BadCatalogue, Refusal
from remit.domain.finding import Severity
from remit.domain.identity import NAME, Agent, Federation, Person, SpiffeId, TrustDomain
from remit.domain.notice import Route
from remit.domain.purpose import Purpose
from remit.domain.tool import Tool

from . import (
    accountability_file,
    agent_file,
    client_attestation,
    estate_file,
    mcp_server,
    oidc_providers,
    out_file,
    purpose_file,
    receivers_file,
    sign_in_file,
    signals_file,
    spiffe,
    tool_file,
)
from .references import check_references
from .toml_source import Section

FILE_LIMIT, TOTAL_LIMIT, COUNT_LIMIT = 256 * 1024, 4 * 1024 * 1024, 2048
_PATH = re.compile(r"(agents|purposes|tools)/([^/]+)\.toml\Z|policies/[^/]+\.cedar\Z|remit\.toml\Z")


def digest(files: Mapping[str, str]) -> str:
    """`sha256:<hex>` of the files, whatever order they come in."""
    return "sha256:" + sha256(json.dumps(sorted(files.items())).encode("utf-8", "surrogatepass")).hexdigest()


def parse(files: Mapping[str, str]) -> Catalogue:
    """Parse a whole catalogue and check every reference in it."""
    _check_sizes(files)
    agents: dict[str, Agent] = {}
    purposes: dict[str, Purpose] = {}
    tools: dict[str, Tool] = {}
    settings = Section.read("remit.toml", files.get("remit.toml", ""))
    federations = {n: _federation(n, s) for n, s in _entries(settings, "federations")}
    attesters = {n: client_attestation.read(n, s) for n, s in _entries(settings, "attesters")}
    for path in sorted(files):
        match = _PATH.match(path)
        if match is None:
            raise BadCatalogue(path[:200], 1, "is not a catalogue file; those are remit.toml, agents/NAME.toml, …")
        if match[1] is None:
            continue
        section, name = Section.read(path, files[path]), match[2]
        if not NAME.match(name):
            section.fail("", f"{name!r} is not a name: a-z, 0-9, '.', '_' and '-', at most 64")
        if section.text("name", name) != name:
            section.fail("name", f"the file is called {name}.toml, so 'name' must be {name!r} or be left out")
        match match[1]:
            case "agents":
                agents[name] = agent_file.read(name, section, federations, attesters)
            case "purposes":
                purposes[name] = purpose_file.read(name, section)
            case "tools":
                tools[name] = tool_file.read(name, section)
        section.done()
    people = {n: Person(n, s.texts("groups", ()), s.text("title", "")) for n, s in _entries(settings, "people")}
    domains = {n: _trust_domain(n, s) for n, s in _entries(settings, "trust_domains")}
    issuers = {n: IssuerConfig(n, s.text("kind"), s.rest()) for n, s in _entries(settings, "issuers")}
    servers = {n: mcp_server.read(n, s) for n, s in _entries(settings, "servers")}
    providers = {n: sign_in_file.read(n, s) for n, s in _entries(settings, "sign_in")}
    routes = {n: Route(n, s.text("secret"), s.texts("for", ())) for n, s in _entries(settings, "notifications")}
    edges = {n: estate_file.read(n, s) for n, s in _entries(settings, "edges")}
    stop, undoers = _findings(settings.table("findings"))
    transmitters = {n: signals_file.read(n, s, providers) for n, s in _entries(settings, "signals")}
    receivers = {n: receivers_file.read(n, s) for n, s in _entries(settings, "receivers")}
    sinks = {n: out_file.sink(n, s) for n, s in _entries(settings, "out")}
    witnesses = {n: out_file.witness(n, s) for n, s in _entries(settings, "witness")}
    terms = accountability_file.read(settings.table("accountability"), settings.table("reviews"))
    directories = {n: accountability_file.directory(n, s) for n, s in _entries(settings, "directories")}
    settings.table("server").rest()
    settings.done()
    policies = {path: text for path, text in files.items() if path.startswith("policies/")}
    systems = (federations, issuers, policies, domains, attesters, servers, providers, routes, edges)
    seen = (stop, transmitters, receivers, undoers, sinks, witnesses, terms, directories)
    catalogue = Catalogue(agents, purposes, tools, people, *systems, *seen)
    check_references(catalogue, files)
    return catalogue


def _findings(s: Section) -> tuple[tuple[Severity, ...], tuple[str, ...]]:
    names = s.texts("stop", ("high", "critical"))
    known = {severity.word: severity for severity in Severity}
    for name in names:
        if name not in known:
            s.fail("stop", f"'stop' cannot have {name!r}; known: {', '.join(known)}")
    undoers = s.texts("approvers", ())
    s.done()
    return tuple(known[name] for name in names), undoers


def _check_sizes(files: Mapping[str, str]) -> None:
    if len(files) > COUNT_LIMIT:
        raise BadCatalogue("(all files)", 1, f"more than {COUNT_LIMIT} files")
    for path, text in files.items():
        limit = TOTAL_LIMIT if path.endswith(".cedar") else FILE_LIMIT
        if len(text) > limit:
            raise BadCatalogue(path[:200], 1, f"longer than {limit} characters")
        if "\x00" in text or any("\ud800" <= c <= "\udfff" for c in text if not c.isascii()):
            raise BadCatalogue(path[:200], 1, "has a NUL or half a surrogate pair")
    if sum(map(len, files.values())) > TOTAL_LIMIT:
        raise BadCatalogue("(all files)", 1, f"over {TOTAL_LIMIT} characters in all")


def _entries(settings: Section, noun: str) -> Iterable[tuple[str, Section]]:
    for name, section in settings.table(noun).named():
        if not NAME.match(name):
            section.fail("", f"{name!r} is not a name: a-z, 0-9, '.', '_' and '-', at most 64")
        yield name, section
        section.done()


def _federation(name: str, s: Section) -> Federation:
    issuer = s.text("issuer")
    if not re.match(r"https://[^\s?#@]+\Z", issuer) and not s.flag("allow_private_network", False):
        s.fail("issuer", "'issuer' must be an https:// URL")
    s.knows("provider")
    provider = s.word("provider", oidc_providers.PROVIDERS) if "provider" in s else ""
    if provider and not oidc_providers.PROVIDERS[provider].issuer.fullmatch(issuer):
        s.fail("issuer", f"tokens of {provider} are issued by {oidc_providers.PROVIDERS[provider].issuers}")
    private = s.flag("allow_private_network", False)
    return Federation(name, issuer, s.text("audience"), s.text("jwks_uri", ""), private, provider)


def _trust_domain(name: str, s: Section) -> TrustDomain:
    """Nothing is inferred: the URL and the profile are said (SPIFFE Federation section 5.1)."""
    domain = TrustDomain(
        name,
        s.text("bundle_url", limit=2048),
        s.word("profile", ("https_web", "https_spiffe")),
        s.text("endpoint_spiffe_id", "", limit=2048),
        s.text("bootstrap_bundle", "", limit=200_000),
        s.flag("allow_private_network", False),
    )
    if not re.match(r"https://[^\s#@]+\Z", domain.bundle_url):
        s.fail("bundle_url", "'bundle_url' must be an https:// URL without user information")
    needs = domain.profile == "https_spiffe"
    if bool(domain.endpoint_id) is not needs or bool(domain.bootstrap) is not needs:
        s.fail("profile", "https_spiffe needs 'endpoint_spiffe_id' and 'bootstrap_bundle'; https_web takes neither")
    if needs:
        try:
            SpiffeId.parse(domain.endpoint_id)
            usable = spiffe.parse_bundle(name, domain.bootstrap.encode()).authorities
        except Refusal as bad:
            s.fail("bootstrap_bundle", f"{bad.message} {bad.inside}")
        if not usable:
            s.fail("bootstrap_bundle", "'bootstrap_bundle' has no x509-svid key")
    return domain

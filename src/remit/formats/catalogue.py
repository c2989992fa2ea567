"""The catalogue as files: `remit.toml`, `agents/*.toml`, `purposes/*.toml`, `tools/*.toml`, `policies/*.cedar`.

One entry a file, named by the file. Whatever is wrong is a `BadCatalogue` with file, line, and the nearest
thing that would be right; nothing is ever half-read.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from hashlib import sha256
from typing import Any

from remit.domain.catalogue import Catalogue, IssuerConfig
from remit.domain.errors import BadCatalogue, BadField, Refusal
from remit.domain.flow import Sensitivity, Trust
from remit.domain.identity import NAME, Agent, Attestation, Attester, Federation, Person, SpiffeId, Tier, TrustDomain
from remit.domain.origin import BY_INITIATOR
from remit.domain.purpose import CredentialRule, DelegationRule, GrantRule, Parameter, Profile, Purpose
from remit.domain.scope import Pattern
from remit.domain.tool import Effect, Tool, as_decimal

from . import (
    aws_caller,
    claim_conditions,
    client_attestation,
    http_tool,
    mcp_server,
    oidc_providers,
    spiffe,
)
from .arguments import ArgumentSchema
from .content import FORMATS
from .references import check_references
from .toml_source import Section

FILE_LIMIT, TOTAL_LIMIT, COUNT_LIMIT = 256 * 1024, 4 * 1024 * 1024, 2048
_PATH = re.compile(r"(agents|purposes|tools)/([^/]+)\.toml\Z|policies/[^/]+\.cedar\Z|remit\.toml\Z")
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
_BOUNDS = ("equals", "one_of", "between", "matching", "from")
_LIMITS = ("maxLength", "minLength", "minimum", "maximum")
_TYPES: Mapping[str, Mapping[str, Any]] = {
    "text": {"type": "string"},
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "decimal": {"type": "string", "format": "decimal", "pattern": r"^-?[0-9]{1,14}(\.[0-9]{1,4})?$"},
    "texts": {"type": "array", "items": {"type": "string"}},
}


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
                agents[name] = _agent(name, section, federations, attesters)
            case "purposes":
                purposes[name] = _purpose(name, section)
            case "tools":
                tools[name] = _tool(name, section)
        section.done()
    people = {n: Person(n, s.texts("groups", ()), s.text("title", "")) for n, s in _entries(settings, "people")}
    domains = {n: _trust_domain(n, s) for n, s in _entries(settings, "trust_domains")}
    issuers = {n: IssuerConfig(n, s.text("kind"), s.rest()) for n, s in _entries(settings, "issuers")}
    servers = {n: mcp_server.read(n, s) for n, s in _entries(settings, "servers")}
    settings.table("server").rest()
    settings.done()
    policies = {path: text for path, text in files.items() if path.startswith("policies/")}
    catalogue = Catalogue(agents, purposes, tools, people, federations, issuers, policies, domains, attesters, servers)
    check_references(catalogue, files)
    return catalogue


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


def _agent(name: str, s: Section, federations: Mapping[str, Federation], attesters: Mapping[str, Attester]) -> Agent:
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
    )


_NEEDS: Mapping[str, str] = {
    "join_token": "nothing else",
    "oidc": "'federation' and at least one condition in [attestations.claims]",
    "client_attestation": "'attester' and 'client', the client id it must name",
    "aws": "[attestations.claims] with account, and id, role or user",
    "spiffe": "'spiffe_id', of a trust domain in remit.toml",
    "unix": '\'selectors\', such as ["unix:uid:1000", "unix:path:/usr/bin/agent"]',
}


def _attestation(s: Section, federations: Mapping[str, Federation]) -> Attestation:
    method = s.word("method", _NEEDS)
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
    return dataclasses.replace(attestation, rule=_revision(attestation))


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


def _tool(name: str, s: Section) -> Tool:
    reviewed = s.text("reviewed", "", limit=131_072)
    schema = mcp_server.input_schema(s, reviewed) if reviewed and not {"schema", "arguments"} & s.keys() else _schema(s)
    try:
        ArgumentSchema.compile(schema)
    except BadField as bad:
        s.fail("schema", bad.message)
    tool = Tool(
        name=name,
        title=s.text("title", ""),
        effect=s.enum("effect", Effect),
        sensitivity=s.enum("sensitivity", Sensitivity, Sensitivity.INTERNAL),
        environment=s.text("environment", "production", limit=64),
        resource=s.text("resource", name, limit=1024),
        server=s.text("server", "", limit=64),
        egress=s.flag("egress", False),
        output_trust=s.enum("output_trust", Trust, Trust.UNTRUSTED),
        output_sensitivity=s.enum("output_sensitivity", Sensitivity, Sensitivity.INTERNAL),
        schema=schema,
        matters=s.texts("matters", ("*",)),
        words=s.texts("words", ()),
        output_format=s.word("output_format", FORMATS) if "output_format" in s else "",
        output_fields={name: Trust[word.upper()] for name, word in _output_fields(s.table("output_fields"))},
        pin=s.text("pin", "", limit=71),
        reviewed=reviewed,
    )
    if name == BY_INITIATOR:
        s.fail("", f"a tool cannot be called {name!r}: purposes say it of what the initiator stated")
    if tool.pin and not re.fullmatch(r"sha256:[0-9a-f]{64}", tool.pin):
        s.fail("pin", "'pin' must be sha256: and 64 hex digits; `remit tool pin` prints it")
    if "http" in s:
        if tool.pin or reviewed or tool.server:
            s.fail("http", "a tool is an MCP server's or has an [http] table, not both")
        route = http_tool.read(s.table("http"), schema)
        tool = dataclasses.replace(tool, http=route, pin=http_tool.pin(route))
    s.knows("http")
    if reviewed and mcp_server.pin_of(s, reviewed) != tool.pin:
        s.fail("pin", "'pin' is not that of 'reviewed'; both come from `remit tool import` or `remit tool pin`")
    return dataclasses.replace(tool, revision=_revision(tool))


def _output_fields(s: Section) -> Iterable[tuple[str, str]]:
    for name in s.rest():
        yield name, s.word(name, [trust.word for trust in Trust])


def _schema(s: Section) -> dict[str, Any]:
    if "schema" in s:
        if "arguments" in s:
            s.fail("schema", "say either 'schema' or [arguments], not both")
        try:
            schema = json.loads(s.text("schema", limit=65_536))
        except (ValueError, RecursionError):
            s.fail("schema", "'schema' is not JSON")
        if not isinstance(schema, dict):
            s.fail("schema", "'schema' must be a JSON object")
        return schema
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, argument in s.table("arguments").named():
        properties[name] = dict(_TYPES[argument.word("type", _TYPES)])
        argument.knows(*_LIMITS, "pattern", "enum")
        for limit in _LIMITS:
            if limit in argument:
                properties[name][limit] = argument.whole(limit, least=-(2**53))
        if "pattern" in argument:
            properties[name]["pattern"] = argument.text("pattern")
        if "enum" in argument:
            properties[name]["enum"] = list(argument.texts("enum"))
        properties[name]["description"] = argument.text("title", name)
        if argument.flag("required", True):
            required.append(name)
        argument.done()
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _purpose(name: str, s: Section) -> Purpose:
    purpose = Purpose(
        name=name,
        title=s.text("title", ""),
        owner=s.text("owner"),
        agents=s.texts("agents"),
        grants=tuple(_grant(g) for g in s.tables("grants")),
        sensitivity=s.enum("max_sensitivity", Sensitivity, Sensitivity.INTERNAL),
        environments=s.texts("environments", ("production",)),
        max_duration=s.duration("max_duration"),
        max_calls=s.whole("max_calls", least=1, most=1_000_000),
        parameters=tuple(_parameter(n, p) for n, p in s.table("parameters").named()),
        credentials=tuple(_credential(c) for c in s.tables("credentials")),
        initiators=s.texts("initiators", ()),
        approval_ttl=s.duration("approval_ttl", 3_600_000),
        identity_max_age=s.duration("identity_max_age", 0),
        attested_by=s.texts("attested_by", ()),
        max_depth=s.whole("max_depth", 0, most=16),
        profile=Profile(s.word("profile", [p.value for p in Profile if p.value]) if "profile" in s else ""),
        delegations=tuple(_delegation(d) for d in s.tables("delegations")),
    )
    if bool(purpose.delegations) is not bool(purpose.max_depth):
        s.fail("max_depth", "'max_depth' and [[delegations]] go together: how far down, and to whom")
    if not 1000 <= purpose.max_duration <= 30 * 86_400_000:
        s.fail("max_duration", "'max_duration' must be one second to 30 days")
    return dataclasses.replace(purpose, revision=_revision(purpose))


def _parameter(name: str, s: Section) -> Parameter:
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,63}", name):
        s.fail("", f"parameter {name!r} must be a-z, 0-9 and '_'")
    pattern = s.text("pattern", ".{1,200}", limit=500)
    _check_regex(s, "pattern", pattern)
    parameter = Parameter(name, pattern, s.flag("required", True), s.text("title", ""))
    s.done()
    return parameter


def _grant(s: Section) -> GrantRule:
    one_of: dict[str, tuple[str, ...]] = {}
    between: dict[str, tuple[Decimal, Decimal]] = {}
    matching: dict[str, str] = {}
    sources: dict[str, tuple[str, ...]] = {}
    for argument, bound in s.table("where").named():
        if sum(word in bound for word in _BOUNDS) != 1:
            bound.fail("", f"where.{argument} needs one of: {', '.join(_BOUNDS)}")
        if "equals" in bound:
            one_of[argument] = (bound.text("equals"),)
        elif "one_of" in bound:
            one_of[argument] = bound.texts("one_of")
        elif "between" in bound:
            numbers = [as_decimal(text) for text in bound.texts("between")]
            least, most = numbers if len(numbers) == 2 else (None, None)
            if least is None or most is None or least > most:
                bound.fail("between", 'between needs two decimals as texts, such as ["0", "500"]')
            between[argument] = (least, most)
        elif "from" in bound:
            sources[argument] = bound.texts("from")
        else:
            matching[argument] = bound.text("matching", limit=500)
            _check_regex(bound, "matching", matching[argument])
        bound.done()
    rule = GrantRule(s.text("tool"), s.text("resource", "**", limit=1024), one_of, between, matching, sources)
    try:
        Pattern.parse(re.sub(r"\{[a-z_][a-z0-9_]*\}", "x", rule.resource))
    except BadField as bad:
        s.fail("resource", bad.problem)
    s.done()
    return rule


def _delegation(s: Section) -> DelegationRule:
    rule = DelegationRule(
        s.texts("agents"),
        s.texts("purposes"),
        s.whole("max_calls", 0, most=1_000_000),
        s.duration("max_duration", 0),
        s.whole("fan_out", 8, least=1, most=10_000),
        s.flag("again", False),
    )
    s.done()
    return rule


def _credential(s: Section) -> CredentialRule:
    rule = CredentialRule(
        s.text("name", limit=64),
        s.text("issuer"),
        s.duration("ttl"),
        s.table("grants").rest(),
        s.flag("reveal", False),
        s.text("environment", "production", limit=64),
        s.enum("sensitivity", Sensitivity, Sensitivity.INTERNAL),
    )
    if not NAME.match(rule.name) or not 1000 <= rule.ttl <= 7 * 86_400_000:
        s.fail("ttl", "a credential needs a plain name and a ttl of one second to 7 days")
    s.done()
    return rule


def _check_regex(s: Section, key: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as bad:
        s.fail(key, f"{key!r} is not a regular expression: {bad}")


def _revision(entry: Any) -> str:
    return sha256(json.dumps(dataclasses.asdict(entry), sort_keys=True, default=str).encode()).hexdigest()[:16]

"""What has been reviewed: the agents, purposes, tools, people and systems in force, as one value.

The catalogue is files in git; one digest names one whole revision.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256

from .accountability import Directory, Terms
from .caller import Caller
from .chain import Principal, PrincipalKind
from .estate import Edge
from .finding import Severity
from .flow import Json
from .identity import Agent, Attestation, Attester, Federation, Person, TrustDomain
from .notice import Route
from .out import Sink, Witness
from .purpose import Purpose
from .session import Provider
from .signal import Transmitter
from .stream import Receiver
from .tool import Tool


@dataclass(frozen=True, slots=True)
class IssuerConfig:
    """A configured system that mints credentials: `kind` names the issuer module, `settings` are its own."""

    name: str
    kind: str
    settings: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """An MCP server behind a gateway: a `command` the gateway starts, or the `url` of one that runs.

    `credential` is the purpose's name for what is injected: into `variable` of the process it starts, or as
    `Authorization: Bearer` at the URL. `asks` is what it may ask the agent's side for: `elicitation`, `sampling`,
    `roots`.
    """

    name: str
    command: tuple[str, ...] = ()
    url: str = ""
    credential: str = ""
    variable: str = ""
    asks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Catalogue:
    """One revision, parsed. `policies` maps file names to Cedar text; findings of a severity in `stop` stop what they
    are about, and `undoers` are the people and groups who agree to what a containment cannot take back.
    """

    agents: Mapping[str, Agent] = field(default_factory=dict)
    purposes: Mapping[str, Purpose] = field(default_factory=dict)
    tools: Mapping[str, Tool] = field(default_factory=dict)
    people: Mapping[str, Person] = field(default_factory=dict)
    federations: Mapping[str, Federation] = field(default_factory=dict)
    issuers: Mapping[str, IssuerConfig] = field(default_factory=dict)
    policies: Mapping[str, str] = field(default_factory=dict)
    trust_domains: Mapping[str, TrustDomain] = field(default_factory=dict)
    attesters: Mapping[str, Attester] = field(default_factory=dict)
    servers: Mapping[str, ServerConfig] = field(default_factory=dict)
    providers: Mapping[str, Provider] = field(default_factory=dict)
    notifications: Mapping[str, Route] = field(default_factory=dict)
    edges: Mapping[str, Edge] = field(default_factory=dict)
    stop: tuple[Severity, ...] = (Severity.HIGH, Severity.CRITICAL)
    transmitters: Mapping[str, Transmitter] = field(default_factory=dict)
    receivers: Mapping[str, Receiver] = field(default_factory=dict)
    undoers: tuple[str, ...] = ()
    sinks: Mapping[str, Sink] = field(default_factory=dict)
    witnesses: Mapping[str, Witness] = field(default_factory=dict)
    terms: Terms = field(default_factory=Terms)
    directories: Mapping[str, Directory] = field(default_factory=dict)

    def may_begin(self, purpose: Purpose, begun_by: Principal) -> bool:
        """Whether the purpose lets this person, or anybody, ask for it."""
        if not purpose.initiators:
            return True
        person = self.people.get(begun_by.name) if begun_by.kind is PrincipalKind.PERSON else None
        return person is not None and not {person.name, *person.groups}.isdisjoint(purpose.initiators)

    def using(self, secret: str) -> list[Purpose]:
        """The purposes whose tasks may be given this static secret."""
        return [purpose for purpose in self.purposes.values() if secret in purpose.secrets]

    @property
    def things(self) -> Iterable[Agent | Purpose]:
        """Everything that somebody answers for."""
        return (*self.agents.values(), *self.purposes.values())

    @property
    def environments(self) -> frozenset[str]:
        """Everywhere that something may be done, or a credential be for."""
        credentials = (rule.environment for purpose in self.purposes.values() for rule in purpose.credentials)
        return frozenset((*(tool.environment for tool in self.tools.values()), *credentials))

    def client(self, client_id: str) -> tuple[Agent, Attestation] | None:
        """The agent as which this client acts, and the rule that says so; no catalogue names one twice."""
        for agent in self.agents.values():
            for rule in agent.attestations:
                if rule.method == "client_metadata" and rule.client == client_id:
                    return agent, rule
        return None

    @property
    def bearer_gateways(self) -> tuple[str, ...]:
        """Where some person's client may come with a token that is bound to no key."""
        rules = [rule for agent in self.agents.values() for rule in agent.attestations if rule.bearer]
        return tuple(sorted({gateway for rule in rules for gateway in rule.gateways}))

    @property
    def tells(self) -> bool:
        """Whether anybody is told that they are asked."""
        return bool(self.notifications) or any(provider.ciba for provider in self.providers.values())

    def person(self, caller: Caller) -> Person | None:
        """The person who calls, with the groups that their identity provider gave them besides."""
        found = self.people.get(caller.name)
        return found and replace(found, groups=tuple(sorted({*found.groups, *caller.groups})))


@dataclass(frozen=True, slots=True)
class CatalogueFiles:
    """Row: the text of every file of one revision, keyed by the revision's digest. Never changes."""

    digest: str
    files: tuple[tuple[str, str], ...]
    version: int = 0

    @property
    def key(self) -> str:
        return self.digest


@dataclass(frozen=True, slots=True)
class CatalogueHead:
    """Row: which revision is in force. There is one, keyed `head`; every change of it has the next `number`.

    While a revision is rolled out, `share` % of the edges have `rollout` in force instead, chosen by their names alone:
    whoever is among 10 % is among 20 %.
    """

    digest: str
    number: int
    applied_at: int
    applied_by: str
    rollout: str = ""
    share: int = 0
    version: int = 0

    @property
    def key(self) -> str:
        return "head"

    def at(self, place: str) -> str:
        """The revision in force there: at an edge, or, if empty, at the centre."""
        return self.rollout if self.share and place and self._lot(place) < self.share else self.digest

    def _lot(self, place: str) -> int:
        return int.from_bytes(sha256(f"{self.rollout} {place}".encode()).digest()[:8], "big") % 100


def differences(old: Catalogue, new: Catalogue) -> tuple[str, ...]:
    """Say in words what `new` would change, one line a thing, in a stable order."""
    lines: list[str] = []
    for noun, before, after in (
        ("agent", old.agents, new.agents),
        ("purpose", old.purposes, new.purposes),
        ("tool", old.tools, new.tools),
        ("person", old.people, new.people),
        ("federation", old.federations, new.federations),
        ("issuer", old.issuers, new.issuers),
        ("server", old.servers, new.servers),
        ("sign-in provider", old.providers, new.providers),
        ("notification", old.notifications, new.notifications),
        ("edge", old.edges, new.edges),
        ("transmitter of signals", old.transmitters, new.transmitters),
        ("receiver of signals", old.receivers, new.receivers),
        ("sink of the log", old.sinks, new.sinks),
        ("witness of the log", old.witnesses, new.witnesses),
        ("directory", old.directories, new.directories),
        ("policy file", old.policies, new.policies),
    ):
        lines += [f"+ {noun} {name}" for name in sorted(after.keys() - before.keys())]
        lines += [f"- {noun} {name}" for name in sorted(before.keys() - after.keys())]
        for name in sorted(before.keys() & after.keys()):
            if before[name] != after[name]:
                lines.append(f"~ {noun} {name}{_changed(before[name], after[name])}")
    if old.terms != new.terms:
        lines.append(f"~ accountability{_changed(old.terms, new.terms)}")
    return tuple(lines)


def changed_fields(before: object, after: object) -> list[str]:
    """Which fields of an entry differ."""
    names = [n for n in getattr(after, "__dataclass_fields__", {}) if n != "revision"]
    return [n for n in names if getattr(before, n) != getattr(after, n)]


def _changed(before: object, after: object) -> str:
    changed = changed_fields(before, after)
    return f": {', '.join(changed)}" if changed else ""

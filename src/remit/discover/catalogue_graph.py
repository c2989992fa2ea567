"""The catalogue as steps: people begin tasks, agents propose them, tasks use tools, are issued credentials, which reach
into clouds, clusters and databases, and are handed on.

    person:NAME, group:NAME, agent:NAME, purpose:NAME, tool:NAME, credential:PURPOSE/NAME
    aws-session:ROLE/PURPOSE/NAME         a role, as far as the credential's session policy lets it be used
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from remit.domain.catalogue import Catalogue, IssuerConfig
from remit.domain.flow import Json
from remit.domain.purpose import CredentialRule, Purpose
from remit.domain.reach import Graph, Step

from .aws_paths import WAYS

EVERYBODY = "group:*"
KINDS = frozenset({"person", "group", "agent", "purpose", "tool", "credential", "secret", "system", "aws-session"})
_NEEDS = {way.id: way.needs for way in WAYS} | {"aws-assume-role": ("sts:AssumeRole",), "aws-administrator": ("*",)}


def joined(catalogue: Catalogue, estate: Graph) -> Graph:
    """The catalogue's steps before those of an estate, which is not changed."""
    graph = Graph({node: [*out] for node, out in estate.out.items()}, {n: [*into] for n, into in estate.into.items()})
    return graph.add(own(catalogue, estate))


def own(catalogue: Catalogue, estate: Graph) -> Iterator[Step]:
    """Every step that the catalogue allows, and what its credentials can do of what they are at an estate."""
    yield from steps(catalogue)
    yield from _sessions(catalogue, estate)


def steps(catalogue: Catalogue) -> Iterator[Step]:
    """Every step that the catalogue allows."""
    for person in catalogue.people.values():
        yield Step(f"person:{person.name}", EVERYBODY, "in-group")
        yield from (Step(f"person:{person.name}", f"group:{group}", "in-group") for group in person.groups)
    for purpose in catalogue.purposes.values():
        node, by = f"purpose:{purpose.name}", f"with {', '.join(purpose.agents[:4])}"
        yield from (Step(f"agent:{agent}", node, "may-propose") for agent in purpose.agents)
        for who in purpose.initiators:
            yield Step(f"person:{who}" if who in catalogue.people else f"group:{who}", node, "may-begin", by)
        if not purpose.initiators and purpose.agents:
            yield Step(EVERYBODY, node, "may-begin", by)
        yield from (Step(node, f"tool:{grant.tool}", "grants", grant.resource) for grant in purpose.grants)
        for rule in purpose.credentials:
            yield from _credential(purpose, rule, catalogue.issuers.get(rule.issuer))
        for handed in purpose.delegations:
            for name in handed.purposes:
                to = ", ".join(agent for agent in handed.agents[:4])
                yield Step(node, f"purpose:{name}", "hands-on", f"to {to}")


def _credential(purpose: Purpose, rule: CredentialRule, issuer: IssuerConfig | None) -> Iterator[Step]:
    node = f"credential:{purpose.name}/{rule.name}"
    yield Step(f"purpose:{purpose.name}", node, "issues", rule.issuer)
    for target in _opened(issuer.kind if issuer else "", rule, purpose.name):
        yield Step(node, target, "opens", rule.issuer)


def _opened(kind: str, rule: CredentialRule, purpose: str) -> Iterator[str]:
    """What a credential of this kind is; what it is in is shown, and by name."""
    grants = rule.grants
    match kind:
        case "aws":
            yield _session(purpose, rule)
        case "postgres":
            yield from (f"pg-table:{table}" for table in _tables(grants))
            yield from (f"pg-role:{role}" for role in _texts(grants.get("roles")))
        case "kubernetes":
            yield f"k8s-namespace:{grants.get('namespace', '')}"
        case "static":
            yield f"secret:{grants.get('secret', rule.issuer)}"
        case _:
            yield f"system:{rule.issuer}"


def _session(purpose: str, rule: CredentialRule) -> str:
    return f"aws-session:{str(rule.grants.get('role_arn', '')).rpartition('/')[2]}/{purpose}/{rule.name}"


def _sessions(catalogue: Catalogue, estate: Graph) -> Iterator[Step]:
    """What the role of each AWS credential can do, as far as the actions of its session policy let it (IAM User Guide,
    Session policies): everything that a step needs has to be among them.
    """
    for purpose in catalogue.purposes.values():
        for rule in purpose.credentials:
            allowed = [action.lower() for action in _texts(rule.grants.get("actions"))]
            for step in estate.out.get(f"aws-role:{rule.grants.get('role_arn', '')}", ()):
                needs = _NEEDS.get(step.how) or (step.detail,)
                if all(any(fnmatchcase(need.lower(), one) for one in allowed) for need in needs):
                    yield Step(_session(purpose.name, rule), step.target, step.how, step.detail)


def _tables(grants: Mapping[str, Json]) -> Iterator[str]:
    tables = grants.get("tables")
    for one in tables if isinstance(tables, list) else tables.keys() if isinstance(tables, dict) else ():
        name = one.get("name", "") if isinstance(one, dict) else str(one)
        yield str(name) if "." in str(name) else f"public.{name}"


def _texts(value: Json) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []

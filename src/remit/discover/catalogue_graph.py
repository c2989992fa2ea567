"""The catalogue as steps: people begin tasks of agents, which use tools and are issued credentials, which reach into
clouds, clusters and databases.

    person:NAME, agent:NAME, purpose:NAME, tool:NAME, credential:PURPOSE/NAME
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from remit.domain.catalogue import Catalogue, IssuerConfig
from remit.domain.flow import Json
from remit.domain.purpose import CredentialRule, Purpose
from remit.domain.reach import Step


def steps(catalogue: Catalogue) -> Iterator[Step]:
    """Every step that the catalogue allows."""
    for purpose in catalogue.purposes.values():
        node = f"purpose:{purpose.name}"
        yield from (Step(f"agent:{agent}", node, "may-propose") for agent in purpose.agents)
        for person in catalogue.people.values():
            if not purpose.initiators or {person.name, *person.groups} & set(purpose.initiators):
                yield from (
                    Step(f"person:{person.name}", f"agent:{a}", "may-ask", purpose.name) for a in purpose.agents
                )
        yield from (Step(node, f"tool:{grant.tool}", "grants", grant.resource) for grant in purpose.grants)
        for rule in purpose.credentials:
            yield from _credential(purpose, rule, catalogue.issuers.get(rule.issuer))
        for handed in purpose.delegations:
            for agent in handed.agents:
                yield from (Step(node, f"purpose:{name}", "hands-on", f"to {agent}") for name in handed.purposes)


def _credential(purpose: Purpose, rule: CredentialRule, issuer: IssuerConfig | None) -> Iterator[Step]:
    node = f"credential:{purpose.name}/{rule.name}"
    yield Step(f"purpose:{purpose.name}", node, "issues", rule.issuer)
    for target in _opened(issuer.kind if issuer else "", rule.grants, rule.issuer):
        yield Step(node, target, "opens", rule.issuer)


def _opened(kind: str, grants: Mapping[str, Json], issuer: str) -> Iterator[str]:
    """What a credential of this kind is. Session policies and grants narrow it; what it is in is shown, and by name."""
    match kind:
        case "aws":
            yield f"aws-role:{grants.get('role_arn', '')}"
        case "postgres":
            yield from (f"pg-table:{table}" for table in _tables(grants))
            yield from (f"pg-role:{role}" for role in _texts(grants.get("roles")))
        case "kubernetes":
            yield f"k8s-namespace:{grants.get('namespace', '')}"
        case "static":
            yield f"secret:{grants.get('secret', issuer)}"
        case _:
            yield f"system:{issuer}"


def _tables(grants: Mapping[str, Json]) -> Iterator[str]:
    tables = grants.get("tables")
    for one in tables if isinstance(tables, list) else tables.keys() if isinstance(tables, dict) else ():
        name = one.get("name", "") if isinstance(one, dict) else str(one)
        yield str(name) if "." in str(name) else f"public.{name}"


def _texts(value: Json) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []

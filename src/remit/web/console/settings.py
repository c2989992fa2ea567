"""Settings, to be looked at: each says the command, or the file, that changes it."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from remit.domain.caller import Call
from remit.domain.keys import SIGNS
from remit.domain.session import Session
from remit.verbs.rotate import listed
from remit.web import api_sessions, shapes
from remit.web.house import Asked, House

PAGE = 100


async def read(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """How people sign in, what mints credentials, what signs, and who is signed in."""
    _, force = await house.env.in_force()
    catalogue = force.catalogue
    providers = [
        {"name": p.name, "title": p.title, "issuer": p.issuer, "client_id": p.client_id, "person": p.person}
        | {"roles": {ours: list(theirs) for ours, theirs in sorted(p.roles.items())}}
        for _, p in sorted(catalogue.providers.items())
    ]
    federations = [
        {"name": f.name, "issuer": f.issuer, "audience": f.audience} for _, f in sorted(catalogue.federations.items())
    ]
    return {
        "server": {
            "url": house.url,
            "version": version("remit"),
            "trust_domain": house.env.trust_domain,
            "log": house.log_name,
        },
        "edges": len(catalogue.edges),
        "providers": providers,
        "federations": federations,
        "issuers": [{"name": one.name, "kind": one.kind} for _, one in sorted(catalogue.issuers.items())],
        "notifications": [{"name": n, "whom": list(r.whom)} for n, r in sorted(catalogue.notifications.items())],
        "keys": [
            {**shapes.signing_key(row), "signs": SIGNS[row.use]} for row in await listed(house.env) if row.published
        ],
        "sessions": await _sessions(house, call),
    }


async def _sessions(house: House, call: Call) -> list[dict[str, Any]]:
    _, force = await house.env.in_force()
    rows = await house.env.store.find(Session, {"state": "open"}, limit=PAGE)
    good = [row for row in rows if row.good_at(call.now) and row.stands(force.catalogue)]
    return [api_sessions.shown(row) for row in sorted(good, key=lambda row: -row.seen_at)]

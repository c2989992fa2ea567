"""Which well-known MCP servers read private data, bring in what strangers write, or carry data out: data.

A server is known by a word of its command, package, image or address. What is not here counts as nothing, so what is
flagged is there, and what is not flagged may still be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from remit.domain.trifecta import Leg, smallest

_P, _U, _O = Leg.PRIVATE, Leg.UNTRUSTED, Leg.OUT
KNOWN: Mapping[str, frozenset[Leg]] = {
    # Issues and pull requests of strangers, private repositories, and public places to write to.
    "github": frozenset({_P, _U, _O}),
    "gitlab": frozenset({_P, _U, _O}),
    # Mail and chat: anybody can write to them, and they to anybody.
    "gmail": frozenset({_P, _U, _O}),
    "outlook": frozenset({_P, _U, _O}),
    "imap": frozenset({_P, _U}),
    "smtp": frozenset({_O}),
    "resend": frozenset({_O}),
    "sendgrid": frozenset({_O}),
    "twilio": frozenset({_O}),
    "slack": frozenset({_P, _U, _O}),
    "discord": frozenset({_U, _O}),
    "telegram": frozenset({_U, _O}),
    # The web: a page is somebody's text, and a request to it says something to its owner.
    "fetch": frozenset({_U, _O}),
    "puppeteer": frozenset({_U, _O}),
    "playwright": frozenset({_U, _O}),
    "browserbase": frozenset({_U, _O}),
    "firecrawl": frozenset({_U, _O}),
    "exa": frozenset({_U}),
    "tavily": frozenset({_U}),
    "brave-search": frozenset({_U}),
    # Tickets and pages that customers write.
    "zendesk": frozenset({_P, _U, _O}),
    "intercom": frozenset({_P, _U, _O}),
    "jira": frozenset({_P, _U}),
    "atlassian": frozenset({_P, _U}),
    "linear": frozenset({_P, _U}),
    "sentry": frozenset({_P, _U}),
    "notion": frozenset({_P}),
    # Files and databases.
    "filesystem": frozenset({_P}),
    "gdrive": frozenset({_P}),
    "google-drive": frozenset({_P}),
    "postgres": frozenset({_P}),
    "mysql": frozenset({_P}),
    "sqlite": frozenset({_P}),
    "mongodb": frozenset({_P}),
    "redis": frozenset({_P}),
    "snowflake": frozenset({_P}),
    "bigquery": frozenset({_P}),
    "supabase": frozenset({_P}),
    "salesforce": frozenset({_P}),
    "hubspot": frozenset({_P}),
    "stripe": frozenset({_P}),
    "s3": frozenset({_P, _O}),
}
_WORD = re.compile(r"[a-z0-9]+")


def legs_of(said: Iterable[str]) -> frozenset[Leg]:
    """What a server is known for, by everything that its configuration says of what it is."""
    words = " " + " ".join(word for text in said for word in _WORD.findall(text.lower()[:2000])) + " "
    found = (legs for name, legs in KNOWN.items() if f" {name.replace('-', ' ')} " in words)
    return frozenset(leg for legs in found for leg in legs)


def together(servers: Mapping[str, frozenset[Leg]]) -> tuple[Mapping[Leg, tuple[str, ...]], tuple[str, ...]]:
    """Which servers have which of the three, and the fewest without which one is missing; none if one is already."""
    legs = {leg: tuple(sorted(name for name, has in servers.items() if leg in has)) for leg in Leg}
    return legs, smallest(legs)

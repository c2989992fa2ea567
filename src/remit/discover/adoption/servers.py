"""The MCP servers of a client's configuration: entries of `[servers]`, their tools, and the client as an agent."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from remit.domain.discovery import Place
from remit.domain.errors import BadCatalogue
from remit.domain.flow import Sensitivity
from remit.formats import mcp_proposal, mcp_server
from remit.formats.toml_source import Section

from ..agent_configs import command_of, given_to, secrets_in, servers_of, url_of, without_secrets
from ..files import File
from ..values import in_url, is_reference, names_a_secret
from .draft import MOST, SEALED, Credential, Draft, Refused, Wanted, slug

_ALLOWED = ("alwaysAllow", "autoApprove", "autoAllow", "allowedTools", "enabled_tools", "includeTools")
_MOST_SERVERS = 50


def tables(
    file: File, chosen: Collection[str]
) -> Iterator[tuple[str, str, dict[str, Any], list[Credential], list[str]]]:
    """(name in the file, plain name, its `[servers]` entry, credentials, what is left out) of each chosen server.

    The entry is empty when there can be none.
    """
    taken: set[str] = set()
    for name, entry in servers_of(file)[2][:_MOST_SERVERS]:
        if name not in chosen:
            continue
        plain = slug(name, "server", taken)
        taken.add(plain)
        table, credentials, left = _entry(plain, entry)
        try:
            mcp_server.read(plain, Section("remit.toml", "", table))
        except BadCatalogue as bad:
            table, left = {}, [*left, f"{name}: {bad.problem}"]
        yield name, plain, table, credentials, left


def _entry(name: str, entry: Mapping[str, Any]) -> tuple[dict[str, Any], list[Credential], list[str]]:
    (program, arguments), url, (env, headers) = command_of(entry), url_of(entry), given_to(entry)
    words, left = [program, *arguments] if program else [], []
    if any(secrets_in(arguments)) or without_secrets(arguments) != arguments or any(map(in_url, words)):
        return {}, [], [f"{name}: a secret is on its command line; have it read it from a variable"]
    if not all(word.isprintable() and 0 < len(word) <= 1024 for word in words):
        return {}, [], [f"{name}: its command is not plain text"]
    if not program and (in_url(url) or "@" in url.partition("?")[0]):
        return {}, [], [f"{name}: a secret is in its URL; it must take it as Authorization: Bearer"]
    given = env if program else headers
    wanted = [key for key, value in given.items() if _secret(key, value)]
    fits = [key for key in wanted if program or key.lower() == "authorization"]
    table: dict[str, Any] = {"command": words} if program else {"url": url}
    credentials = []
    if fits:
        secret = slug(f"{name} {fits[0]}", name)
        table["credential"] = name
        table |= {"variable": fits[0]} if program else {}
        credentials.append(Credential(name, secret))
    for key in given:
        if key not in fits[:1]:
            why = "one secret a server is put in" if key in fits else "its value is not copied"
            left.append(f"{name}: {key} is left out; {why}")
    return table, credentials, left


def _secret(key: str, value: str) -> bool:
    """A reference counts as one: what it refers to is not ours to know."""
    return names_a_secret(key) or key.lower() == "authorization" or is_reference(value)


def draft(file: File, chosen: Collection[str], wanted: Wanted, described: Mapping[str, Any]) -> Draft:
    """The client as an agent, with these servers. What was not asked of its tools has none yet."""
    client, whole, listed = servers_of(file)
    entries = dict(listed)
    found: dict[str, Mapping[str, Any]] = {}
    credentials: list[Credential] = []
    left: list[str] = []
    tools: dict[str, str] = {}
    worst = Sensitivity.INTERNAL
    for name, plain, table, secret, missing in tables(file, chosen):
        left += missing
        if not table:
            continue
        found[f"servers.{plain}"] = table
        credentials += secret
        named = _named(name, entries[name], whole)
        if name not in described:
            left.append(f"{name}: its tools are not known; --start runs it and asks")
        for tool, told, pin in list(described.get(name, ()))[:MOST]:
            text = mcp_proposal.draft(tool, told, pin)
            if not text:
                left.append(f"{tool[:80]}: its name cannot be a catalogue name, or it cannot be pinned")
            elif not named or str(told.get("name", "")) in named:
                tools[tool] = text
                worst = max(worst, mcp_proposal.sensitivity(told))
    if not found:
        raise Refused("; ".join(left) or f"{file.path} has no such server")
    if credentials:
        found[f"issuers.{SEALED}"] = {"kind": "static"}
    if wanted.gateway:
        found["issuers.tokens"] = {"kind": "jwt"}
    name = slug(client, "agent")
    return Draft(
        name=name,
        title=f"{client}, with the servers of its configuration",
        place=Place(file.path, 1),
        attestation={"method": "join_token"},
        tools=tools,
        grants=tuple(tool for tool in tools if wanted.only is None or tool in wanted.only),
        tables=found,
        credentials=tuple(credentials),
        audience=wanted.gateway,
        max_sensitivity=worst.word,
        left=tuple(left),
        steps=(f"In {file.path}, put what `remit mcp` or `remit gateway` gives in the servers' place.",),
    )


def _named(name: str, entry: Mapping[str, Any], whole: Mapping[str, Any]) -> set[str]:
    """The tools that the configuration lets run; none: it names none."""
    lists = [entry[key] for key in _ALLOWED if isinstance(entry.get(key), list)]
    permissions = whole.get("permissions")
    allowed = permissions.get("allow") if isinstance(permissions, dict) else None
    begins = f"mcp__{re.sub(r'[^A-Za-z0-9_-]', '_', name)}__"
    by_name = [str(one)[len(begins) :] for one in allowed or () if str(one).startswith(begins)]
    said = {str(one) for found in lists for one in found} | set(by_name)
    return set() if any("*" in one for one in said) else said

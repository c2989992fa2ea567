"""Docker: a credential helper (docker/docker-credential-helpers): get, list, store, erase; JSON on standard output."""

from __future__ import annotations

import json
from collections.abc import Iterable

from . import Answer, part

# Docker's own words; its client takes exactly these for "there is none", and anything else for a failure.
NOT_FOUND = "credentials not found in native keychain"
_USERS = {"google": "oauth2accesstoken", "aws": "AWS", "azure": "00000000-0000-0000-0000-000000000000"}
_LIMIT = 4096


def registry(text: str) -> str:
    """HOST[:PORT] of what Docker asks for, which may be written as an address."""
    return text.strip()[:_LIMIT].removeprefix("https://").partition("/")[0].lower()


def output(answer: Answer, server: str) -> str:
    """What `get` prints."""
    user = answer["parts"].get("user") or _USERS.get(answer["kind"], "oauth2")
    secret = part(answer, "password", "access_token", "token", "value")
    return json.dumps({"ServerURL": server, "Username": user, "Secret": secret})


def listing(offers: Iterable[Answer]) -> str:
    """What `list` prints: registry → user; who the user is nobody knows before a credential exists."""
    return json.dumps({offer["at"]: "remit" for offer in offers})

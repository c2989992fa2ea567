"""git: a credential helper (gitcredentials(7), git-credential(1)): `get` answers, `store` and `erase` do nothing.

Nothing is kept that git could store or erase: Remit's lease is what ends a credential.
"""

from __future__ import annotations

import re

from . import Answer, Unfit, part

_HOST = re.compile(r"(?:(https?)://)?([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[::1\])(:[0-9]{1,5})?/?\Z")
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
# What forges want as the user beside a token; others take any.
_USERS = {"github": "x-access-token", "google": "oauth2accesstoken"}
_LIMIT = 64 * 1024


def place(text: str) -> str:
    """`https://host[:port]`, from that or from a bare host; empty for anything else. http is for loopback only."""
    found = _HOST.match(text.lower())
    if not found:
        return ""
    scheme, host, port = found[1] or "https", found[2], found[3] or ""
    return f"{scheme}://{host}{port}" if scheme == "https" or host in _LOOPBACK else ""


def asked(text: str) -> dict[str, str]:
    """The attributes git sends; a line that is none is `Unfit`."""
    if len(text) > _LIMIT:
        raise Unfit("git asked for too much.")
    found: dict[str, str] = {}
    for line in text.split("\n"):
        if not line:
            break
        key, sep, value = line.partition("=")
        if not sep or "\x00" in line or "\r" in line:
            raise Unfit("git asked for something that cannot be read.")
        found[key] = value
    return found


def is_for(attributes: dict[str, str], at: str) -> bool:
    """Whether this very protocol, host and port is what the credential is for."""
    return bool(at) and f"{attributes.get('protocol', '')}://{attributes.get('host', '')}".lower() == at


def output(attributes: dict[str, str], answer: Answer, at: str) -> str:
    """Empty when git asks for another place, or as another user: then it goes on without us."""
    user = answer["parts"].get("user") or _USERS.get(answer["kind"], "oauth2")
    if not is_for(attributes, at) or attributes.get("username", user) != user:
        return ""
    said = {
        "username": user,
        "password": part(answer, "password", "access_token", "token", "value"),
        "password_expiry_utc": str(answer["expires_at"] // 1000),
    }
    if any(set("\n\r\x00") & set(value) for value in said.values()):
        raise Unfit(f"{answer['name']} cannot be given to git.")
    return "".join(f"{key}={value}\n" for key, value in said.items())

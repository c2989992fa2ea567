"""Files that exist to hold credentials, by name: whatever stands in the place of one is one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from .data import parsed

Secret = tuple[str, str]  # what it is, and the secret


def _git(text: str) -> Iterator[Secret]:
    """A password may have in it what no URL may; git takes everything up to the last `@`."""
    for match in re.finditer(r"^\w+://[^:\s]*:(\S+)@[^@\s]+$", text, re.MULTILINE):
        yield "a password for a git host", match[1]


def _netrc(text: str) -> Iterator[Secret]:
    for match in re.finditer(r"\bpassword\s+(\"[^\"]*\"|\S+)", text):
        yield "a password for a machine", match[1].strip('"')


def _pgpass(text: str) -> Iterator[Secret]:
    for line in text.splitlines():
        fields = re.split(r"(?<!\\):", line)
        if len(fields) >= 5 and not line.startswith("#"):
            yield f"the password of {fields[3]} at {fields[0]}", ":".join(fields[4:])


def _htpasswd(text: str) -> Iterator[Secret]:
    for line in text.splitlines():
        user, colon, digest = line.partition(":")
        if colon and len(digest) >= 8 and re.match(r"[\w.@-]+\Z", user):
            yield f"the password hash of {user}", digest.split(":")[0]


def _shadow(text: str) -> Iterator[Secret]:
    for line in text.splitlines():
        fields = line.split(":")
        if (len(fields) >= 2 and fields[1].startswith(("$", "_"))) or (len(fields) > 2 and len(fields[1]) >= 13):
            yield f"the password hash of {fields[0]}", fields[1]


def _npmrc(text: str) -> Iterator[Secret]:
    for line in text.splitlines():
        name, eq, value = line.partition("=")
        if eq and re.search(r"_auth|_authToken|_password|token", name, re.IGNORECASE):
            yield f"{name.strip()[-40:]}", value.strip().strip('"')


def _master_key(text: str) -> Iterator[Secret]:
    if re.fullmatch(r"\s*[0-9a-f]{32,}\s*", text):
        yield "a key that opens an application's credentials", text.strip()


def docker(text: str) -> Iterator[Secret]:
    """`config.json` and the older `.dockercfg`."""
    whole = parsed(text, ".json")
    auths = whole.get("auths", whole) if isinstance(whole, dict) else {}
    for host, entry in auths.items() if isinstance(auths, dict) else ():
        if isinstance(entry, dict) and isinstance(entry.get("auth"), str):
            yield f"the credentials for {host}", entry["auth"]


BY_NAME: Mapping[str, Callable[[str], Iterator[Secret]]] = {
    ".netrc": _netrc,
    "_netrc": _netrc,
    ".pgpass": _pgpass,
    "pgpass.conf": _pgpass,
    ".git-credentials": _git,
    ".npmrc": _npmrc,
    ".htpasswd": _htpasswd,
    "proftpdpasswd": _htpasswd,
    "shadow": _shadow,
    "master.key": _master_key,
    ".dockercfg": docker,
    ".dockerconfigjson": docker,
}
# There a word such as `password` may well be the password.
HOLDING = (_netrc, _pgpass, _npmrc, _git, docker)

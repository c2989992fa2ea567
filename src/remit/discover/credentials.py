"""Secrets by where they stand: files that exist to hold them, and assignments whose name says what the value is.

A reader for each shape of file, none for shapes of secrets: whatever stands in the password field of a `.netrc` is one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from .credential_files import BY_NAME, HOLDING, Secret, docker
from .data import parsed
from .files import File
from .found import Found
from .values import in_url, is_reference, looks_random, names_a_secret, refers

LONGEST_LINE = 8192
_KEY_BLOCK = re.compile(
    r"-----BEGIN (?P<of>(?:[A-Z0-9 ]+ )?PRIVATE KEY(?: BLOCK)?)-----(?:[^-]{0,20000}-----END (?P=of)-----)?|"
    r"PuTTY-User-Key-File-\d[^\n]*[\s\S]*?Private-Lines: \d+"
)
_ASSIGNED = re.compile(
    r"""(?:^|[\s;,{(<?])(?:export\s+|set\s+|define\s*\(\s*|const\s+|let\s+|var\s+|static\s+)?
        ["'$@:]?(?P<name>[A-Za-z_][\w.\-\[\]'"]{0,80}?)["'\]]{0,2}(?:[ \t]*(?:=>|:=|==?|:|,)[ \t]*|[ \t]+(?=["']))
        (?:[rbuf]{0,2}(?P<q>["'`])(?P<quoted>(?:(?!(?P=q))[^\n]){1,4096})(?P=q)|(?P<bare>(?:\$\{[^}\s]*\}|[^\s"'`;,#&|(){}<>]){1,4096}))""",
    re.VERBOSE | re.MULTILINE,
)
PROGRAM = frozenset(
    [
        ".c",
        ".cc",
        ".cjs",
        ".cpp",
        ".cs",
        ".go",
        ".h",
        ".hpp",
        ".java",
        ".js",
        ".jsx",
        ".kt",
        ".lua",
        ".mjs",
        ".pl",
        ".py",
        ".pyi",
        ".rb",
        ".rs",
        ".scala",
        ".swift",
        ".ts",
        ".tsx",
    ]
)
_SETTING = frozenset(
    [
        ".bash",
        ".bat",
        ".cfg",
        ".cmd",
        ".cnf",
        ".conf",
        ".config",
        ".credentials",
        ".dockerfile",
        ".env",
        ".envrc",
        ".fish",
        ".hcl",
        ".ini",
        ".php",
        ".plist",
        ".profile",
        ".properties",
        ".ps1",
        ".rc",
        ".reg",
        ".sh",
        ".tf",
        ".tfvars",
        ".toml",
        ".zsh",
    ]
)
_SETTING_NAMES = re.compile(
    r"\.?(?:env(?:rc)?(?:\..+)?|bash(?:rc|_profile|_aliases)|zshrc|zprofile|profile|npmrc|yarnrc|pypirc|s3cfg|boto|"
    r"credentials|my\.cnf|pgpass|esmtprc|msmtprc|tugboat|gitconfig|config|dockerfile|.*rc|\.credentials|.*\.env)",
    re.IGNORECASE,
)


def read(file: File) -> Found | None:
    """Secrets in this file, by its shape."""
    text = file.text
    if text is None or not text:
        return None
    found = Found()
    for match in _KEY_BLOCK.finditer(text):
        rule = "private-key-in-file"
        found.secret(rule, file, match[0].replace("\\n", "\n"), "a private key")
    reader = _reader(file)
    holds = reader in HOLDING or file.name.lower() in _HOLDS or file.name.lower().startswith(".env")
    text = re.sub(
        rf"[^\n]{{{LONGEST_LINE},}}", "", text
    )  # nobody wrote that, and it would cost the square of its length
    for what, secret in reader(text) if reader else ():
        if not (refers if holds else is_reference)(secret):
            found.secret("secret-in-file", file, secret, what)
    return found if found.secrets else None


_LOCKS = re.compile(r"(?:package-lock\.json|pnpm-lock\.yaml|go\.sum|.+\.lock)")


def _reader(file: File) -> Callable[[str], Iterator[Secret]] | None:
    name = file.name.lower()
    if _LOCKS.fullmatch(name):
        return None
    if name in BY_NAME:
        return BY_NAME[name]
    if file.path.endswith(".docker/config.json"):
        return docker
    if file.suffix in (".json", ".jsonc", ".ipynb", ".tfstate"):
        return _json
    if file.suffix in (".yaml", ".yml"):
        return _yaml
    if file.suffix in (".xml", ".config", ".csproj"):
        return _xml
    if file.suffix == ".sql":
        return _sql
    if file.suffix in PROGRAM:
        return _program
    if file.suffix in _SETTING or _SETTING_NAMES.fullmatch(name):
        return _settings
    if not file.suffix:  # it says of itself what it is
        return _yaml if file.data.startswith(b"---") else _json if file.data.lstrip().startswith(b"{") else None
    return None


def _urls(text: str) -> Iterator[Secret]:
    for match in re.finditer(r"[a-z][a-z0-9+.-]{1,20}://[^\s\"'<>`]+", text):
        yield from ((f"a {name} in a URL", secret) for name, secret in in_url(match[0]))


def _settings(text: str) -> Iterator[Secret]:
    yield from _urls(text)
    for match in _ASSIGNED.finditer(text):
        value = match["quoted"] or match["bare"] or ""
        plain = _plain(value) and not (match["quoted"] and len(value) >= 20)
        if _comment(text, match.start("name")) or not names_a_secret(match["name"]) or plain:
            continue
        yield match["name"].strip("'\"[]$"), value
    for match in re.finditer(r"(?:^|\s)(?:-u|--user)\s*[=\s]\s*[\"']?[\w.@-]+:([^\s\"'$]{4,})", text):
        yield "a password given to a command", match[1]


def _program(text: str) -> Iterator[Secret]:
    """In a program only what is quoted counts, and only where nobody would write a word there."""
    yield from _urls(text)
    for match in _ASSIGNED.finditer(text):
        value = match["quoted"]
        if value is None or _comment(text, match.start("name")) or not names_a_secret(match["name"]):
            continue
        strong = looks_random(value) or bool(re.search(r"pass|pwd|secret", match["name"], re.IGNORECASE))
        words = re.search(r"\s|%s|\.\.\.", value) or (re.search(r"[(){}]", value) and len(value) < 20)
        strong = strong and not re.fullmatch(r"[a-z]+(?:[-_. ][a-z]+)*|[A-Z_]+", value)
        if strong and len(value) >= 6 and not words and not (_plain(value) and len(value) < 20):
            yield match["name"].strip("'\"[]$"), value


_BEARER = re.compile(r"\b(?:Bearer|Basic|DPoP|token)[ \t]+(?P<value>[A-Za-z0-9._~+/=-]{16,2048})")
_TOLD = re.compile(
    r"""(?:pass|pwd|secret|token|api_?key|credential)[\w.\-]{0,24}["'\]]{0,2}[ \t]*(?:=>|:=|=|:)[ \t]*
        (?:(?P<q>["'`])(?P<quoted>(?:(?!(?P=q))[^\n]){8,4096})(?P=q)|(?P<bare>[^\s"'`;,&|(){}<>]{8,4096}))""",
    re.VERBOSE | re.IGNORECASE,
)


def in_talk(text: str) -> Iterator[Secret]:
    """In what somebody said or a program wrote: URLs, headers, keys, and `password=…` where the value is no word."""
    yield from _urls(text)
    for match in _KEY_BLOCK.finditer(text):
        yield "a private key", match[0]
    for match in _BEARER.finditer(text):
        if re.search(r"\d", match["value"]):
            yield "a token in a header", match["value"]
    for match in _TOLD.finditer(text):
        before = re.search(r"[\w.\-]*\Z", text[max(0, match.start() - 40) : match.start()])
        said = re.match(r"[\w.\-]+", match[0])
        name, value = (before[0] if before else "") + (said[0] if said else ""), match["quoted"] or match["bare"]
        words = re.fullmatch(r"[A-Za-z]+[.,:;!?]?|\W+", value) or re.search(r"\s\S+\s", value)
        if not words and names_a_secret(name) and not is_reference(value) and not _plain(value):
            yield name, value


def _comment(text: str, at: int) -> bool:
    line = text[text.rfind("\n", 0, at) + 1 : at + 1].lstrip()
    return line.startswith(("#", "//", "*", "<!--")) and not line.startswith("#!")


def _plain(value: str) -> bool:
    """A word of a programming language, a path, a number or a version, and no secret."""
    return bool(
        re.fullmatch(
            r"\d{1,5}|(?:~|\.{0,2})/[\w./-]*|true|false|yes|no|on|off|v?\d+\.\d+[\w.]*|[A-Za-z_]\w*\(.*|"
            r"process\.env.*|os\.(?:environ|getenv).*|ENV\b.*|getenv.*|config\..*|self\..*|this\..*",
            value,
        )
    )


def _json(text: str) -> Iterator[Secret]:
    yield from _urls(text)
    whole = parsed(text, ".json")
    yield from _settings(text) if whole is None else _leaves(whole, "")


def _yaml(text: str) -> Iterator[Secret]:
    yield from _urls(text)
    whole = parsed(text, ".yaml")
    if isinstance(whole, dict | list):
        yield from _leaves(whole, "")
    else:
        yield from _settings(text)


def _leaves(value: Any, name: str) -> Iterator[Secret]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves(part, str(key))
    elif isinstance(value, list):
        for part in value:
            yield from _leaves(part, name)
    elif (
        isinstance(value, str)
        and _named(name)
        and not _plain(value)
        and not in_url(value)
        and not re.search(r"\s\S+\s", value)
    ):
        yield name, value


def _named(name: str) -> bool:
    return ("." not in name and names_a_secret(name)) or name.lower() in (
        "auth",
        "encryptedusername",
        "encryptedpassword",
    )


def _xml(text: str) -> Iterator[Secret]:
    yield from _urls(text)
    for match in re.finditer(r"<(?P<tag>[\w:.-]+)(?P<rest>[^<>]*)>(?P<body>[^<>]{1,4096})</(?P=tag)>", text):
        if names_a_secret(match["tag"].rpartition(":")[2]) and not _plain(match["body"].strip()):
            yield match["tag"], match["body"].strip()
    for match in re.finditer(r"([\w:.-]+)\s*=\s*(?:\"([^\"<>]{3,4096})\"|'([^'<>]{3,4096})')", text):
        value = match[2] or match[3]
        if names_a_secret(match[1].rpartition(":")[2]) and not _plain(value):
            yield match[1], value


def _sql(text: str) -> Iterator[Secret]:
    for match in re.finditer(r"(?:IDENTIFIED\s+BY|PASSWORD)\s*=?\s*'([^'\n]{4,})'", text, re.IGNORECASE):
        yield "a password in a statement", match[1]
    for match in re.finditer(
        r"'(\$(?:2[aby]|5|6|argon2\w*|P|y)\$[^'\n]{20,}|\{?(?:SSHA|SHA|MD5)\}?[^'\n]{20,})'", text
    ):
        yield "a password hash", match[1]
    for row in re.finditer(
        r"\([^()\n]*'[^'\n]*@[^'\n]*'[^()\n]*\)", text
    ):  # a person's row: what is as long as a digest
        for value in re.findall(r"'([0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{128})'", row[0]):
            yield "a password hash", value


_HOLDS = frozenset(
    [
        ".credentials",
        ".esmtprc",
        ".ftpconfig",
        ".msmtprc",
        ".remote-sync.json",
        ".s3cfg",
        "config",
        "config.php",
        "credentials",
        "data-sources.xml",
        "dbeaver-data-sources.xml",
        "hub",
        "settings.php",
        "sftp-config.json",
        "sftp.json",
        "wp-config.php",
    ]
)

"""What is a secret, what only names one, and what tells two of them apart."""

from __future__ import annotations

import hashlib
import hmac
import math
import re
from collections import Counter
from urllib.parse import parse_qsl, urlsplit

from remit.formats import leak_digest

_REFERENCE = re.compile(
    r"""\s*(?:
      \$\{[^}]*\} | \$\{\{.*\}\} | \$\(.*\) | \$[A-Za-z_]\w* | %[A-Za-z_]\w*% | \{\{.*\}\} | \{[A-Za-z_][\w.]*\}
      | <[^<>]*>
      | (?:op|vault|keychain|keyring|env|file|secret|secrets|ssm|arn|sops|awssm|gcpsm|azurekv|bws|doppler|remit):.*
      | !(?:reference|vault|secret)\b.*
    )\s*""",
    re.VERBOSE | re.DOTALL,
)
_PLACEHOLDER = re.compile(
    r"(?:your|my|the|some|insert|enter|replace|change|put|add)[-_ ][\w -]*|x{3,}|\*{3,}|\.{3,}|-+|0+|"
    r"1234(?:5(?:6(?:7(?:8(?:90?)?)?)?)?)?|todo|tbd|changeme|replaceme|redacted|example|placeholder|none|null|undefined|"
    r"true|false|test|dummy|fake|sample|foo|bar|string|secret|password|token|n/?a",
    re.IGNORECASE,
)
_NAMES_A_SECRET = re.compile(
    r"(?<![a-z])(?:db_?|my_?|user_?)?(?:pass(?:wd|word|phrase|code)?|pwd|psw|secret|token|credential|cred|auth|"
    r"authorization|(?:api|access|private|account|master|signing|encryption|service|license)?_?key|apikey|pat|dsn|"
    r"conn(?:ection)?_?str(?:ing)?|bearer|webhook|jwt|sas|salt)s?"
    r"(?:_?(?:value|text|string|raw|plain|b64|base64|base|hash|prod|dev|staging|test|old|new|\d+))*\Z",
    re.IGNORECASE,
)
_NOT_ONE = re.compile(
    r"public|author(?!iz)|key_?ring|keyboard|monkey|donkey|max_?tokens?|num_?tokens?|n_?tokens|id_tokens?|js_tokens?|"
    r"(?:primary|foreign|sort|partition|cache|dict|path|object|lookup|group|unique|index|config|json|event|metric|label)"
    r"_?keys?",
    re.IGNORECASE,
)


def is_reference(value: str) -> bool:
    """Whether it names where the value is, or stands for one that somebody is to fill in."""
    text = value.strip().strip("'\"")
    return refers(text) or bool(_PLACEHOLDER.fullmatch(text))


def refers(value: str) -> bool:
    """Whether it names where the value is. In a file that is there to hold a password, `password` may well be it."""
    return not value.strip() or bool(_REFERENCE.fullmatch(value))


def names_a_secret(name: str) -> bool:
    """Whether a setting of this name holds one."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).replace("-", "_")
    return bool(_NAMES_A_SECRET.search(words)) and not _NOT_ONE.search(words)


def looks_random(value: str) -> bool:
    """Whether no person chose it: long, of one piece, with much in it."""
    text = value.strip()
    if not 20 <= len(text) <= 4096 or re.search(r"\s", text) or text.startswith(("/", "./", "~", "http")):
        return False
    if (
        not (re.search(r"\d", text) and re.search(r"[A-Za-z]", text))
        or re.fullmatch(r"[\w.]+(?:[-/][\w.]+)*", text) is None
    ):
        return False
    counts = Counter(text)
    entropy = -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values())
    return entropy >= (3.0 if re.fullmatch(r"[0-9a-fA-F-]+", text) else 3.6)


def in_url(value: str) -> list[tuple[str, str]]:
    """(name, secret) of what a URL carries: the password before its host, and secrets in its query."""
    if "://" not in value[:64]:
        return []
    try:
        parts = urlsplit(value.strip())
        password = parts.password or ""
    except ValueError:
        return []
    found = [("password", password)] if password else []
    found += [(name, text) for name, text in parse_qsl(parts.query) if names_a_secret(name) or looks_random(text)]
    return [(name, text) for name, text in found if not is_reference(text)]


class Fingerprints:
    """Keyed, so that a report tells nobody which of a list of likely secrets it was; equal ones look equal.

    With a server's `scan_key`, `digests` has what that server may know each fingerprint's secret by.
    """

    def __init__(self, key: bytes, scan_key: bytes = b"") -> None:
        self._key = key
        self._scan_key = scan_key
        self.digests: dict[str, set[str]] = {}

    def of(self, secret: str) -> str:
        """16 hexadecimal digits."""
        found = self._of(secret)
        if self._scan_key:
            texts = (secret, *(text for _, text in in_url(secret)))
            self.digests.setdefault(found, set()).update(leak_digest.seen(self._scan_key, text) for text in texts)
        return found

    def _of(self, secret: str) -> str:
        digest = hmac.new(self._key, secret.strip().encode("utf-8", "surrogatepass"), hashlib.sha256)
        return digest.hexdigest()[:16]

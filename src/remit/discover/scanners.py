"""Other people's secret scanners behind one reader: kingfisher knows issuers' shapes, detect-secrets finds the rest.

Both are extras (`pip install 'remit[scan]'`). Neither is ever let ask an issuer whether a secret is live: that would
send it there. kingfisher prints what it found, so that stays in memory and is never written down.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OUTPUT_LIMIT = 64 * 1024 * 1024
DEADLINE = 300
BUDGET = 15.0
_QUIET = ("--no-validate", "--no-update-check", "--format", "json", "--confidence", "medium")


@dataclass(frozen=True)
class Hit:
    """One secret that a scanner saw; `commit` is empty for the working tree."""

    path: str
    line: int
    what: str
    secret: str
    commit: str = ""


class NoScanner(Exception):
    """It is not installed, or did not finish; the message says what to do."""


def kingfisher(root: Path, *, history: bool) -> list[Hit]:
    """All of a tree, and with `history` every commit of its repository."""
    program = shutil.which("kingfisher") or shutil.which("kingfisher", path=str(Path(sys.executable).parent))
    if program is None:
        raise NoScanner("kingfisher is not installed: pip install 'remit[scan]'")
    git = "full" if history else "none"
    try:
        done = subprocess.run(  # noqa: S603 - our own words, and a path
            [program, "scan", str(root), *_QUIET, "--git-history", git],
            capture_output=True, timeout=DEADLINE, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired as slow:
        raise NoScanner(f"kingfisher did not finish within {DEADLINE} s") from slow
    found = [hit for record in _records(done.stdout[:OUTPUT_LIMIT]) if (hit := _hit(record, root)) is not None]
    if done.returncode not in (0, 200, 205) and not found:
        raise NoScanner(f"kingfisher stopped with {done.returncode}")
    return found


def _records(output: bytes) -> Iterator[Mapping[str, Any]]:
    decoder, text, at = json.JSONDecoder(), output.decode("utf-8", "replace"), 0
    while (start := text.find("{", at)) >= 0:
        try:
            value, at = decoder.raw_decode(text, start)
        except ValueError:
            return
        records = value.get("findings") if isinstance(value, dict) else None
        yield from records if isinstance(records, list) else ()


def _hit(record: Mapping[str, Any], root: Path) -> Hit | None:
    rule, finding = record.get("rule", {}), record.get("finding", {})
    secret, path = finding.get("snippet"), str(finding.get("path", ""))
    if not isinstance(secret, str) or not secret:
        return None
    with suppress(ValueError):
        path = Path(path).resolve().relative_to(root.resolve()).as_posix() if Path(path).is_absolute() else path
    commit = finding.get("git_metadata", {}).get("commit", {}).get("id", "")
    named = re.sub(r"\s*=>.*", "", str(rule.get("name") or rule.get("title") or "a secret"))
    return Hit(path.removeprefix("./"), int(finding.get("line", 0) or 0), named, secret.strip("\"'"), str(commit))


def detect_secrets(root: Path, paths: Sequence[str], budget: float = BUDGET) -> tuple[list[Hit], int]:
    """These files in their order, by its plugins for shapes, without those that go by randomness alone. It takes 20 ms
    a file, so it stops after `budget` seconds; returns how many files it did not come to as well.
    """
    until = time.monotonic() + budget
    try:
        from detect_secrets.core.scan import scan_file
        from detect_secrets.settings import transient_settings
    except ImportError as missing:
        raise NoScanner("detect-secrets is not installed: pip install 'remit[scan]'") from missing
    found: list[Hit] = []
    with transient_settings({"plugins_used": [{"name": name} for name in _PLUGINS]}):
        for done, path in enumerate(paths):
            if time.monotonic() > until:
                return found, len(paths) - done
            for secret in scan_file(str(root / path)):
                if secret.secret_value:
                    found.append(Hit(path, secret.line_number, secret.type, secret.secret_value))
    return found, 0


_PLUGINS = (
    "ArtifactoryDetector",
    "AWSKeyDetector",
    "AzureStorageKeyDetector",
    "BasicAuthDetector",
    "CloudantDetector",
    "DiscordBotTokenDetector",
    "GitHubTokenDetector",
    "GitLabTokenDetector",
    "IbmCloudIamDetector",
    "IbmCosHmacDetector",
    "JwtTokenDetector",
    "MailchimpDetector",
    "NpmDetector",
    "OpenAIDetector",
    "PrivateKeyDetector",
    "PypiTokenDetector",
    "SendGridDetector",
    "SlackDetector",
    "SoftlayerDetector",
    "SquareOAuthDetector",
    "StripeDetector",
    "TelegramBotTokenDetector",
    "TwilioKeyDetector",
)

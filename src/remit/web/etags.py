"""Entity tags of the catalogue, and what a change is made against (RFC 9110 sections 8.8.3 and 13.1.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from remit.domain.errors import BadField

_LIST = re.compile(r'[ \t]*(?:W/)?"[\x21\x23-\x7e]*"[ \t]*(?:,[ \t]*(?:W/)?"[\x21\x23-\x7e]*"[ \t]*){0,15}\Z')
_STRONG = re.compile(r'(?:^|[ \t,])"([\x21\x23-\x7e]*)"')
NEVER = "\0"


def etag(digest: str) -> dict[str, str]:
    """The header; a revision's digest is its tag, and there is none before the first."""
    return {"ETag": f'"{digest}"'} if digest else {}


def if_match(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The digests that a change may be made over; empty when it was not asked for. Weak tags match nothing."""
    text = headers.get("if-match", "")
    if not text or text.strip() == "*":
        return ()
    if not _LIST.match(text):
        raise BadField("If-Match", "must be entity tags, such as the one that a plan came with")
    return tuple(_STRONG.findall(text)) or (NEVER,)

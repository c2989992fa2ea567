"""OAuth request bodies (RFC 6749 section 3.2): form fields, each at most once.

Only `resource` and `audience` may repeat (RFC 8693 section 2.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from remit.domain.errors import BadField, Malformed, TooLarge

LIMIT = 65_536
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - a name, not a secret
ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105
JWT_TYPE = "urn:ietf:params:oauth:token-type:jwt"
Fields = Mapping[str, tuple[str, ...]]
_MAY_REPEAT = frozenset({"resource", "audience"})


def parse(body: bytes) -> Fields:
    """Fields by name; a repeated field that may not repeat raises `BadField` (RFC 6749 section 3.1)."""
    if len(body) > LIMIT:
        raise TooLarge(f"The body is over {LIMIT} bytes.")
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            max_num_fields=40,
            errors="strict",
        )
    except (UnicodeDecodeError, ValueError) as bad:
        raise Malformed("The body is not application/x-www-form-urlencoded.") from bad
    fields: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        if "\x00" in value or "\x00" in name:
            raise BadField(name.replace("\x00", "")[:100], "has a NUL character")
        if name in fields and name not in _MAY_REPEAT:
            raise BadField(name[:100], "appears more than once")
        fields[name] = (*fields.get(name, ()), value)
    return fields


def one(fields: Fields, name: str, *, required: bool = True) -> str:
    """The value of a field; an absent or empty required one raises `BadField`."""
    value = fields.get(name, ("",))[0]
    if required and not value:
        raise BadField(name, "is required")
    return value

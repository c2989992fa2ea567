"""What directories say of accounts (SCIM 2.0): kept for them to read again; of people here, it has its effect."""

from __future__ import annotations

from dataclasses import dataclass

SAID = 1000  # characters of each text that is kept


@dataclass(frozen=True, slots=True)
class Account:
    """What a directory says that an account is."""

    user_name: str
    active: bool = True
    external_id: str = ""
    display_name: str = ""


@dataclass(frozen=True, slots=True)
class DirectoryUser:
    """Row, keyed by the directory and its user's id. Nothing else that a directory says of an account is kept.

    `deleted_at` (ms) is when it said that there is none any more; 0: there is.
    """

    id: str
    directory: str
    account: Account
    created_at: int
    changed_at: int
    deleted_at: int = 0
    version: int = 0

    @property
    def key(self) -> str:
        return f"{self.directory}/{self.id}"

    @property
    def folded(self) -> str:
        """The userName, as it compares (RFC 7643 section 4.1.1), of one that is there; else nothing."""
        return "" if self.deleted_at else self.account.user_name.casefold()

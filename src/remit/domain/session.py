"""How people sign in to the console: one-time links, identity providers, and the sessions that either begins.

    link:  made ──► used, once; or over after minutes
    session:  OPEN ──► ENDED    signed out, or ended by somebody
                   └─► over     idle for an hour, twelve hours old, or no longer vouched for by the catalogue

A session may carry several roles of one human being; each route takes the one that it is for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .caller import Caller, CallerKind
from .errors import BadToken, WrongState
from .flow import Json
from .identity import NAME

if TYPE_CHECKING:
    from .catalogue import Catalogue

LINK_LIFE = 10 * 60_000
SESSION_LIFE = 12 * 3_600_000
IDLE = 3_600_000
KEPT_EVERY = 300_000
ROLES = (CallerKind.OPERATOR, CallerKind.AUDITOR, CallerKind.PERSON)
CLAIMED_GROUPS = 1000


@dataclass(frozen=True, slots=True)
class Provider:
    """An OpenID Connect provider that people sign in with, and what its claims make them here.

    `person` is the claim that says who it is; `people` maps our names to its values, and empty means that the value is
    the name. `groups` is the claim with the groups; `roles` and `approvers` map our roles and approving groups to
    them. The client's secret is in the variable `secret_env` or the file `secret_file`; without either the client is a
    public one. With `ciba` it asks people in its own app too. `revision` is a digest of all that: a session counts only
    while its provider is written like this.
    """

    name: str
    issuer: str
    client_id: str
    person: str = "preferred_username"
    groups: str = "groups"
    people: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    approvers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scopes: tuple[str, ...] = ("openid", "profile", "email", "groups")
    secret_env: str = ""
    secret_file: str = ""
    title: str = ""
    allow_private_network: bool = False
    ciba: bool = False
    revision: str = ""

    @property
    def way(self) -> str:
        """What a session that came by it remembers."""
        return f"oidc:{self.name}:{self.revision}"

    def admits(
        self, claims: Mapping[str, Json], people: Iterable[str]
    ) -> tuple[str, tuple[CallerKind, ...], tuple[str, ...]]:
        """Who these verified claims are here: name, roles and approving groups; `BadToken` when nobody."""
        name = self._name(claims)
        listed = claims.get(self.groups)
        held = {g for g in listed[:CLAIMED_GROUPS] if isinstance(g, str)} if isinstance(listed, list | tuple) else set()
        given = [role for role in ROLES if held & set(self.roles.get(role.value, ()))]
        roles = (*given, CallerKind.PERSON) if name in people else tuple(given)
        if not name or not roles:
            raise BadToken(
                "You are known there, and have no part here.",
                next_step="Ask an operator to add you to the people in the catalogue, or your group to the roles.",
                inside=f"{self.name}: claim {self.person} names nobody here, and no group gives a role",
            )
        return name, roles, tuple(sorted(ours for ours, theirs in self.approvers.items() if held & set(theirs)))

    def hint(self, name: str) -> str:
        """How the provider knows this person, for CIBA's `login_hint`; empty when it does not."""
        return self.people.get(name, "") if self.people else name

    def _name(self, claims: Mapping[str, Json]) -> str:
        value = claims.get(self.person)
        # Whoever may set an address at a provider that does not verify it could be anybody.
        if not isinstance(value, str) or (self.person == "email" and claims.get("email_verified") is not True):
            return ""
        if self.people:
            return next((ours for ours, theirs in self.people.items() if theirs == value), "")
        return value if NAME.match(value) else ""


@dataclass(frozen=True, slots=True)
class SignInLink:
    """Row: a one-time right to begin a session. Keyed by the SHA-256 of what is in the link, which is nowhere else."""

    digest: str
    name: str
    roles: tuple[CallerKind, ...]
    expires_at: int
    used_at: int = 0
    version: int = 0

    @property
    def key(self) -> str:
        return self.digest

    def good_at(self, now: int) -> bool:
        """Unused, and in time."""
        return not self.used_at and now < self.expires_at


@dataclass(frozen=True, slots=True)
class Session:
    """Row: a browser that somebody signed in with. Keyed by the SHA-256 of its cookie, which is nowhere else.

    `way` is `link`, or the provider as it was written then. `groups` are approving groups that the provider gave.
    `seen_at` is when it was last used, to within five minutes. Instants in ms.
    """

    digest: str
    name: str
    roles: tuple[CallerKind, ...]
    way: str
    began_at: int
    expires_at: int
    seen_at: int
    groups: tuple[str, ...] = ()
    ended_at: int = 0
    end_reason: str = ""
    version: int = 0

    @property
    def key(self) -> str:
        return self.digest

    def good_at(self, now: int) -> bool:
        """Not ended, not too old, not idle."""
        return not self.ended_at and now < min(self.expires_at, self.seen_at + IDLE)

    def stands(self, catalogue: Catalogue) -> bool:
        """Whether the catalogue in force still knows this person, and the provider that vouched."""
        known = CallerKind.PERSON not in self.roles or self.name in catalogue.people
        by = next((p for p in catalogue.providers.values() if p.way == self.way), None)
        return known and (self.way == "link" or by is not None)

    def caller(self, wanted: Iterable[CallerKind], groups: tuple[str, ...]) -> Caller | None:
        """Who this is to a route for `wanted`: the role of theirs that sees most; None when it is not for them."""
        kind = next((role for role in ROLES if role in self.roles and role in set(wanted)), None)
        return Caller(kind, self.name, groups=tuple(sorted({*groups, *self.groups}))) if kind else None

    def kept(self, now: int) -> Session:
        """It is still in use."""
        return replace(self, seen_at=now)

    def ended(self, now: int, reason: str) -> Session:
        """Good no more; ending twice raises `WrongState`."""
        if self.ended_at:
            raise WrongState("This session has ended already.")
        return replace(self, ended_at=now, end_reason=reason)

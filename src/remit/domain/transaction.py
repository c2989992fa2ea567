"""One call inside a call graph: what a workload was told of it, and how it is handed to the next.

A replacement only narrows (law 2): who began it, who acts, for which transaction and in which domain never change;
scope, life and assurance never grow; nobody stands in the path twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .decision import Reason, Why
from .errors import BadField
from .flow import Json
from .identity import NAME, Identity

LIFE = 120_000
MAX_HOPS = 8
LONGEST_PATH = 16
_ASSURANCE = {"join_token": 1, "oidc": 2, "client_attestation": 2, "spiffe": 3, "unix": 3, "aws": 3}


def assurance(identity: Identity | None) -> int:
    """How far a proof of identity is from a secret that somebody carries: 0 none, 1 a secret, 2 another party's word,
    3 the word of the platform it runs on.
    """
    return _ASSURANCE.get(identity.method.partition(":")[0], 0) if identity else 0


@dataclass(frozen=True, slots=True)
class TransactionRule:
    """Who may turn a resource server's access token into transaction tokens: `endpoint` first, which is that server,
    then `workloads`, one after the other, at most `max_hops` of them all.
    """

    endpoint: str
    workloads: tuple[str, ...] = ()
    max_hops: int = MAX_HOPS

    @classmethod
    def of(cls, grants: Mapping[str, Json]) -> TransactionRule | None:
        """The rule in a credential's `grants`; None without one, and `BadField` for one that is ill-formed."""
        table = grants.get("transaction")
        if table is None:
            return None
        if not isinstance(table, Mapping):
            raise BadField("grants.transaction", "must be a table")
        for key in table.keys() - {"endpoint", "workloads", "max_hops"}:
            raise BadField(f"grants.transaction.{key}", "is not known here; known: endpoint, workloads, max_hops")
        endpoint, hops = table.get("endpoint"), table.get("max_hops", MAX_HOPS)
        workloads = table.get("workloads", ())
        if not _is_name(endpoint):
            raise BadField("grants.transaction.endpoint", "must be the name of a registered agent")
        if not isinstance(workloads, list | tuple) or len(workloads) > 100 or not all(map(_is_name, workloads)):
            raise BadField("grants.transaction.workloads", "must be at most 100 names of registered agents")
        if not isinstance(hops, int) or isinstance(hops, bool) or not 0 < hops <= LONGEST_PATH:
            raise BadField("grants.transaction.max_hops", f"must be 1 to {LONGEST_PATH}")
        return cls(str(endpoint), tuple(map(str, workloads)), hops)

    @classmethod
    def named(cls, grants: Mapping[str, Json]) -> tuple[str, ...]:
        """Every workload that a rule names; none for a rule that is ill-formed, which its issuer refuses."""
        try:
            rule = cls.of(grants)
        except BadField:
            return ()
        return (rule.endpoint, *rule.workloads) if rule else ()


def _is_name(value: Json) -> bool:
    return isinstance(value, str) and bool(NAME.match(value))


@dataclass(frozen=True, slots=True)
class Transaction:
    """Times in ms. `actors` is the chain, who acts now first; `path` the workloads that asked, the endpoint first.

    `details` and `context` are what the endpoint said of its request: data, and the same for everybody behind it.
    `status` is its place in a status list (`list/index`).
    """

    txn: str
    domain: str
    subject: str
    actors: tuple[str, ...]
    scope: frozenset[str]
    task: str
    lease: str
    purpose: str
    issued_at: int
    expires_at: int
    assurance: int
    path: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Json] = field(default_factory=dict)
    context: Mapping[str, Json] = field(default_factory=dict)
    status: str = ""

    def refusal(self, rule: TransactionRule, workload: str, scope: frozenset[str]) -> Why | None:
        """Why this workload may not carry it on like this, if so."""
        named = rule.workloads if self.path else (rule.endpoint,)
        if workload in self.path:
            return Why(Reason.TRANSACTION_LOOP, f"{workload} has carried this transaction already.")
        if workload not in named:
            return Why(Reason.NOT_ITS_WORKLOAD, f"{workload} may not carry this transaction on.")
        if len(self.path) >= rule.max_hops:
            return Why(Reason.TOO_DEEP, f"This transaction may be carried by {rule.max_hops} workloads.")
        if not scope or not scope <= self.scope:
            words = " ".join(sorted(self.scope)) or "nothing"
            return Why(Reason.OUT_OF_SCOPE, f"The scope of this transaction is {words}, and it only narrows.")
        return None

    def carried(self, workload: str, scope: frozenset[str], level: int, until: int, now: int) -> Transaction:
        """As this workload hands it on. `refusal` has found none."""
        return replace(
            self,
            scope=self.scope & scope,
            issued_at=now,
            expires_at=min(self.expires_at, until),
            assurance=min(self.assurance, level),
            path=(*self.path, workload),
        )

"""Events of the log as OCSF 1.8.0 (Open Cybersecurity Schema Framework): one for each, and none left out.

Decisions are API Activity (6003), credentials User Access Management (3005), tokens Authorize Session (3003), proofs
and sign-ins Authentication (3002), and whatever else changes is Entity Management (3004). `unmapped` has all that the
event says, `raw_data` the bytes that were hashed, `metadata.sequence` its place in the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

VERSION = "1.8.0"
DECISION, ACCESS, SESSION, AUTHENTICATION, ENTITY = 6003, 3005, 3003, 3002, 3004
_parse = msgspec.json.Decoder(dict[str, Any]).decode
_OTHER = 99
# Class, activity_id and activity_name of each event (https://schema.ocsf.io/1.8.0); what is not here is an entity's.
_KNOWN: Mapping[str, tuple[int, int, str]] = {
    "AccessDecided": (DECISION, _OTHER, "Call"),
    "TransactionTokenDenied": (DECISION, _OTHER, "Issue"),
    "DelegationDenied": (DECISION, _OTHER, "Delegate"),
    "IssueDenied": (DECISION, _OTHER, "Issue"),
    "ProposalDenied": (DECISION, _OTHER, "Propose"),
    "LeaseMinted": (ACCESS, 1, "Assign Privileges"),
    "LeaseEnded": (ACCESS, 2, "Revoke Privileges"),
    "TokenIssued": (SESSION, 1, "Assign Privileges"),
    "TransactionTokenIssued": (SESSION, 1, "Assign Privileges"),
    "AgentProved": (AUTHENTICATION, 1, "Logon"),
    "SessionBegan": (AUTHENTICATION, 1, "Logon"),
    "SessionEnded": (AUTHENTICATION, 2, "Logoff"),
    "Froze": (ENTITY, 9, "Disable"),
    "Unfroze": (ENTITY, 8, "Enable"),
    "PasskeyRegistered": (ENTITY, 1, "Create"),
    "PasskeyRemoved": (ENTITY, 4, "Delete"),
    "TaskProposed": (ENTITY, 1, "Create"),
    "TaskDelegated": (ENTITY, 1, "Create"),
    "AccessKeyCreated": (ENTITY, 1, "Create"),
    "AccessKeyEnded": (ENTITY, 4, "Delete"),
    "StreamMade": (ENTITY, 1, "Create"),
    "StreamChanged": (ENTITY, 3, "Update"),
    "SigningKeyCreated": (ENTITY, 1, "Create"),
    "SecretSealed": (ENTITY, 1, "Create"),
    "PersonLeft": (ENTITY, 9, "Disable"),
    "PersonReturned": (ENTITY, 8, "Enable"),
    "FindingReported": (ENTITY, 1, "Create"),
    "FindingContained": (ENTITY, 9, "Disable"),
    "FindingContainmentReached": (ENTITY, 3, "Update"),
    "FindingResolved": (ENTITY, 3, "Update"),
    "ShadowDismissed": (ENTITY, 3, "Update"),
    "ScanTaken": (ENTITY, 1, "Create"),
    "ScanMatched": (ENTITY, 3, "Update"),
    "TasksRedecided": (ENTITY, 3, "Update"),
    "RedecisionReached": (ENTITY, 3, "Update"),
    "CatalogueApplied": (ENTITY, 3, "Update"),
    "ChartImported": (ENTITY, 1, "Create"),
    "ChartRemoved": (ENTITY, 4, "Delete"),
    "RolloutSet": (ENTITY, 3, "Update"),
    "RolloutTakenBack": (ENTITY, 3, "Update"),
    "ReviewOpened": (ENTITY, 3, "Update"),
    "ReviewAnswered": (ENTITY, 3, "Update"),
    "ReviewOverdue": (ENTITY, 3, "Update"),
    "NarrowingOver": (ENTITY, 3, "Update"),
    "SuccessionBegan": (ENTITY, 3, "Update"),
    "SuccessionTaken": (ENTITY, 3, "Update"),
    "SuccessionStopped": (ENTITY, 9, "Disable"),
    "StoreRestored": (ENTITY, 3, "Update"),
    "OutTurned": (ENTITY, 3, "Update"),
    "OutRewound": (ENTITY, 3, "Update"),
    "SecretRetired": (ENTITY, 4, "Delete"),
    "SigningKeyRetired": (ENTITY, 4, "Delete"),
}
_NAMED = (
    "task",
    "agent",
    "approval",
    "lease",
    "issuer",
    "session",
    "hand_over",
    "passkey",
    "redecision",
    "finding",
    "shadow",
    "report",
    "name",
    "reach",
    "use",
    "kid",
    "digest",
    "key",
    "person",
    "stream",
    "transmitter",
    "sink",
    "witness",
    "directory",
)
_CRITICAL = frozenset({"WitnessRefused"})
_STATUS = {"permit": (1, "Success"), "deny": (2, "Failure")}


def event(index: int, leaf: bytes, log_name: str) -> dict[str, Any]:
    """The event at this place of the log."""
    entry = _parse(leaf)
    kind, data = str(entry["type"]), entry["data"]
    uid, activity, name = _KNOWN.get(kind, (ENTITY, _OTHER, kind))
    denied = kind.endswith("Denied") or data.get("decision") == "deny"
    status = _STATUS.get("deny" if denied else data.get("decision", "permit"), (_OTHER, "Held"))
    found: dict[str, Any] = {
        "category_uid": uid // 1000,
        "class_uid": uid,
        "activity_id": activity,
        "activity_name": name,
        "type_uid": uid * 100 + activity,
        "time": entry["at"],
        "severity_id": 5 if kind in _CRITICAL else 2 if denied else 1,
        "status_id": status[0],
        "status": status[1],
        "metadata": {
            "version": VERSION,
            "product": {"name": "Remit", "vendor_name": "Remit"},
            "log_name": log_name,
            "uid": f"{log_name}/{index}",
            "sequence": index,
            "event_code": kind,
            "correlation_uid": str(data.get("task", "")) or str(entry["trace"]) or f"{log_name}/{index}",
        },
        "actor": _actor(entry),
        "unmapped": data,
        "raw_data": leaf.decode(),
    }
    if data.get("reasons"):
        found["status_detail"] = ", ".join(map(str, data["reasons"]))
    return found | _MORE[uid](entry, kind, data)


def _actor(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Who caused it, and the policies that spoke."""
    policies, decision = entry["data"].get("policies", ()), str(entry["data"].get("decision", ""))
    spoke = [
        {"decision": decision or "deny", "policy": {"uid": str(policy), "is_applied": True}} for policy in policies
    ]
    return {"user": _user(str(entry["by"])), **({"authorizations": spoke} if spoke else {})}


def _user(who: str) -> dict[str, Any]:
    kind, _, name = who.rpartition(":")
    types = {"person": (1, "User"), "operator": (2, "Admin"), "auditor": (1, "User"), "system": (3, "System")}
    number, word = types.get(kind, (_OTHER, kind or "agent"))
    return {"name": name, "uid": who, "type_id": number, "type": word}


def _whom(data: Mapping[str, Any]) -> str:
    return f"agent:{data['agent']}" if data.get("agent") else f"person:{data.get('name', '') or 'nobody'}"


def _decision(entry: Mapping[str, Any], kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    what = str(data.get("tool") or data.get("credential") or data.get("purpose") or kind)
    return {
        "api": {"operation": what, "service": {"name": "Remit"}},
        "src_endpoint": {"name": str(data.get("agent", "")) or str(entry["by"])},
    }


def _access(entry: Mapping[str, Any], kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    held = str(data.get("lease", ""))
    return {"privileges": [held], "user": {"name": held, "uid": f"task:{data.get('task', '')}", "type_id": 0}}


def _session(entry: Mapping[str, Any], kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    ends = {"expiration_time": data["expires_at"]} if data.get("expires_at") else {}
    return {
        "privileges": [str(data.get("audience") or data.get("scope", ""))],
        "user": _user(_whom(data)),
        "session": {"uid": str(data.get("jti", "")), **ends},
    }


def _authentication(entry: Mapping[str, Any], kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    way = str(data.get("method") or data.get("way") or "")
    protocol = {"auth_protocol_id": _OTHER, "auth_protocol": way} if way else {}
    return {"user": _user(_whom(data)), "service": {"name": "Remit"}, **protocol}


def _entity(entry: Mapping[str, Any], kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    named = next(((name, str(data[name])) for name in _NAMED if data.get(name)), ("event", kind))
    return {"entity": {"type": named[0], "uid": named[1], "name": named[1]}}


_MORE = {DECISION: _decision, ACCESS: _access, SESSION: _session, AUTHENTICATION: _authentication, ENTITY: _entity}

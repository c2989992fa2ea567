"""SARIF 2.1.0 (OASIS): what a scan found, as code hosts show it. Fingerprints are stable from run to run."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from remit.domain.discovery import Flaw, Rule, Scan, Severity

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVEL = {
    Severity.NOTE: "note",
    Severity.LOW: "note",
    Severity.MEDIUM: "warning",
    Severity.HIGH: "error",
    Severity.CRITICAL: "error",
}
_SCORE = {
    Severity.NOTE: "0.0",
    Severity.LOW: "2.0",
    Severity.MEDIUM: "5.0",
    Severity.HIGH: "8.0",
    Severity.CRITICAL: "9.5",
}


def encode(found: Scan, rules: Mapping[str, Rule], version: str) -> dict[str, Any]:
    """One run. Every rule that is mentioned is described."""
    used = sorted({flaw.rule for flaw in found.flaws})
    index = {rule: i for i, rule in enumerate(used)}
    driver = {
        "name": "Remit",
        "version": version,
        "rules": [_rule(rules[name]) for name in used],
    }
    results = [_result(flaw, index[flaw.rule]) for flaw in found.flaws]
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "help": {"text": rule.fix},
        "defaultConfiguration": {"level": _LEVEL[rule.severity]},
        "properties": {"security-severity": _SCORE[rule.severity], "tags": ["security", *filter(None, [rule.control])]},
    }


def _result(flaw: Flaw, rule: int) -> dict[str, Any]:
    region = {"region": {"startLine": flaw.place.line}} if flaw.place.line else {}
    where = {"artifactLocation": {"uri": flaw.place.path}, **region}
    told = sha256("\x00".join((flaw.rule, flaw.place.path, flaw.what)).encode()).hexdigest()
    return {
        "ruleId": flaw.rule,
        "ruleIndex": rule,
        "level": _LEVEL[flaw.severity],
        "message": {"text": flaw.what},
        "locations": [{"physicalLocation": where}],
        "partialFingerprints": {"remit/v1": told},
        **({"properties": {"commit": flaw.place.commit}} if flaw.place.commit else {}),
    }

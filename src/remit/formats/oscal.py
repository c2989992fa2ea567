"""Evidence as OSCAL 1.2 assessment results (NIST, Open Security Controls Assessment Language), JSON.

A framework is a result, a control a finding, a mechanism an observation. `satisfied` is what is covered whole; all else
is `not-satisfied`, and says why.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

VERSION = "1.2.1"
_NAMESPACE = UUID("6f2c4c1e-8d2b-5b0e-9a51-3d1c6f0b7a42")
_NO_TOKEN = re.compile(r"[^A-Za-z0-9._-]+")


def assessment_results(found: Mapping[str, Any]) -> dict[str, Any]:
    """The document of a report with its proof. Its UUIDs (RFC 9562 version 5) are of the event that has its digest."""
    report, place = found["report"], found["proof"]["place"]
    of = f"{report['log']}/{place}"
    made = _instant(report["made_at"])
    given = f"The report is event {place} of {report['log']}: `remit evidence verify` checks it against the log's key."
    plan = _uuid(of, "plan")
    return {
        "assessment-results": {
            "uuid": _uuid(of, "results"),
            "metadata": {
                "title": f"Evidence of {report['log']}",
                "last-modified": made,
                "version": str(place),
                "oscal-version": VERSION,
                "remarks": given,
            },
            "import-ap": {"href": f"#{plan}"},
            "results": [_result(of, one, report, made) for one in report["frameworks"]],
            "back-matter": {
                "resources": [
                    {
                        "uuid": plan,
                        "title": "How this is assessed",
                        "description": "Controls name mechanisms. Each is looked at in the running server, its acts "
                        "are counted in a signed log, and there is no other assessment plan.",
                    }
                ]
            },
        }
    }


def _result(of: str, framework: Mapping[str, Any], report: Mapping[str, Any], made: str) -> dict[str, Any]:
    controls, of = framework["controls"], f"{of}/{framework['id']}"
    used = list(dict.fromkeys(name for control in controls for name in control["by"]))
    return {
        "uuid": _uuid(of, "result"),
        "title": framework["name"],
        "description": f"{framework['scope']} Source: {framework['source']}",
        "start": _instant(report["since"]) if report["since"] else made,
        "end": made,
        "reviewed-controls": {
            "control-selections": [{"include-controls": [{"control-id": _token(one["id"])} for one in controls]}]
        },
        "observations": [_observation(of, name, report, made) for name in used],
        "findings": [_finding(of, control) for control in controls],
    }


def _observation(of: str, name: str, report: Mapping[str, Any], made: str) -> dict[str, Any]:
    one = report["mechanisms"][name]
    places = sorted({place for act in one["acts"] for place in act["newest"]}, reverse=True)
    props = [{"name": "state", "value": _token(one["state"])}, {"name": "acted", "value": str(one["acted"])}]
    evidence = [{"description": f"Event {place} of {report['log']}, with its proof in the report."} for place in places]
    overdue = {"remarks": "Overdue: " + "; ".join(one["overdue"])} if one["overdue"] else {}
    return {
        "uuid": _uuid(of, name),
        "title": name,
        "description": f"{one['does']} Now: {one['state']}: {one['says']}. Acted {one['acted']} times.",
        "props": props,
        "methods": ["EXAMINE"],
        "types": ["control-objective"],
        **({"relevant-evidence": evidence} if evidence else {}),
        "collected": made,
        **overdue,
    }


def _finding(of: str, control: Mapping[str, Any]) -> dict[str, Any]:
    covered = control["status"] == "covered"
    why = control["why_not"] or control["remains"]
    related = [{"observation-uuid": _uuid(of, name)} for name in control["by"]]
    return {
        "uuid": _uuid(of, control["id"]),
        "title": control["id"],
        "description": control["title"],
        "target": {
            "type": "objective-id",
            "target-id": _token(control["id"]),
            "status": {
                "state": "satisfied" if covered else "not-satisfied",
                "reason": "pass" if covered else "other" if control["why_not"] else "fail",
                "remarks": control["status"].capitalize() + "." + (f" {why}" if why else ""),
            },
        },
        **({"related-observations": related} if related else {}),
    }


def _uuid(of: str, what: str) -> str:
    return str(uuid5(_NAMESPACE, f"{of}#{what}"))


def _token(text: str) -> str:
    """An OSCAL token: a letter, then letters, digits, dots, hyphens and underscores."""
    return _NO_TOKEN.sub("-", text).lower()


def _instant(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")

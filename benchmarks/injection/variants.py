"""The same suites told differently: verdicts may not depend on what tools are called, nor on the values themselves."""

from __future__ import annotations

import copy
import json
import re
from hashlib import sha256
from typing import Any

_VALUE = re.compile(
    r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+|(?<!\w)[A-Z]{2}\d{2}[A-Z0-9]{8,30}(?!\w)|https?://[^\s\"'<>\\)\]]+|(?<!\w)\d{10,}(?!\w)"
)
_ID = re.compile(r"(id_: '|ID '|\"(?:file|event|email)_id\": \")(\d+)(['\"])")


def renamed(suite: dict[str, Any], described: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Every tool has another name, which says nothing."""
    names = {tool["name"]: f"t{i}" for i, tool in enumerate(suite["tools"])}
    suite, described = copy.deepcopy(suite), copy.deepcopy(described)
    for tool in suite["tools"]:
        tool["name"] = names[tool["name"]]
    for told in (*suite["user_tasks"].values(), *suite["injection_tasks"].values()):
        for call in told["calls"]:
            call["tool"] = names[call["tool"]]
    described["tools"] = {names[name]: entry for name, entry in described["tools"].items()}
    return suite, described


def everything_replaced(suite: dict[str, Any], described: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fresh addresses, accounts, links and ids, the same ones in prompts, results and calls."""
    told = {name: _fresh(suite[name]) for name in ("user_tasks", "injection_tasks")}
    return {**suite, **told}, described


def calls_replaced(suite: dict[str, Any], described: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fresh ones in the calls alone, and only those tasks whose changing calls carry one: nobody gave these values."""
    tasks = copy.deepcopy(suite["user_tasks"])
    kept = {}
    for number, told in tasks.items():
        changed = False
        for call in told["calls"]:
            fresh = _fresh(call["args"])
            changed = changed or (bool(call.get("changed_env")) and fresh != call["args"])
            call["args"] = fresh
        if changed:
            kept[number] = told
    return {**suite, "user_tasks": kept}, described


def _fresh(data: Any) -> Any:
    def value(found: re.Match[str]) -> str:
        old = found[0]
        mark = sha256(old.encode()).hexdigest()[:10]
        if "@" in old:
            return f"u{mark}@d{mark[:5]}.example"
        if old.startswith("http"):
            return f"https://{mark}.example/{mark}"
        digits = str(int(mark, 16)).ljust(len(old), "7")
        return digits[: len(old)] if old.isdigit() else old[:2] + digits[: len(old) - 2]

    def number(found: re.Match[str]) -> str:
        return f"{found[1]}{int(found[2]) + 7000}{found[3]}"

    return json.loads(_ID.sub(number, _VALUE.sub(value, json.dumps(data, ensure_ascii=False))))

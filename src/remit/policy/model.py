"""The typed model policies are validated against, and facts turned into what Cedar wants.

Every tool becomes an action whose `context.arguments` is typed from the tool's JSON Schema. A fact that
is missing, unknown or not of its type is an error here, before Cedar sees it: absent is not "any".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from remit.domain.decision import Facts
from remit.domain.flow import Json
from remit.domain.tool import Tool

_LONG = 2**63
_DECIMAL = re.compile(r"-?[0-9]{1,14}(\.[0-9]{1,4})?\Z", re.ASCII)

MOMENT: Mapping[str, type] = {
    "tier": str,
    "chain_depth": int,
    "initiator_kind": str,
    "trust": str,
    "label_sensitivity": str,
    "label_rank": int,
    "environment": str,
    "calls": int,
    "resource": str,
    "origin": str,
    "carries": str,
    "expected": bool,
    "repeats": int,
    "profile": str,
    "posture": tuple,
    "hour": int,
    "weekday": int,
}
ATTRIBUTES: Mapping[str, Mapping[str, type]] = {
    "Purpose": {"owner": str},
    "Tool": {
        "effect": str,
        "sensitivity": str,
        "sensitivity_rank": int,
        "environment": str,
        "egress": bool,
        "server": str,
    },
    "Credential": {
        "issuer": str,
        "environment": str,
        "sensitivity": str,
        "sensitivity_rank": int,
        "reveal": bool,
    },
}


class Unfit(Exception):
    """A fact is missing, unknown, or not of its type."""


@dataclass(frozen=True)
class Argument:
    """How one argument is typed in Cedar, how its JSON value becomes Cedar's, and some value of that type."""

    cedar: str
    convert: Callable[[Json], Any]
    some: Json
    required: bool


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise Unfit("not text")
    return value


def _long(value: Json) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -_LONG <= value < _LONG:
        raise Unfit("not a 64-bit whole number")
    return value


def _bool(value: Json) -> bool:
    if not isinstance(value, bool):
        raise Unfit("not true or false")
    return value


def _decimal(value: Json) -> dict[str, Any]:
    text = value if isinstance(value, str) else repr(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not _DECIMAL.match(text):
        raise Unfit("not a decimal of at most 14 and 4 digits")
    return {"__extn": {"fn": "decimal", "arg": text if "." in text else text + ".0"}}


def _texts(value: Json) -> list[str]:
    if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
        raise Unfit("not a list of texts")
    return [str(v) for v in value]


def arguments_of(tool: Tool) -> Mapping[str, Argument]:
    """The arguments policies see: those whose schema names one plain type; the others they never see."""
    properties, required = tool.schema.get("properties", {}), tool.schema.get("required", ())
    if not isinstance(properties, Mapping) or not isinstance(required, list | tuple):
        return {}
    found: dict[str, Argument] = {}
    for name, schema in properties.items():
        typed = _typed(schema) if isinstance(schema, Mapping) else None
        if typed is not None:
            found[name] = Argument(*typed, name in required)
    return found


def _typed(schema: Mapping[str, Any]) -> tuple[str, Callable[[Json], Any], Json] | None:
    match schema:
        case {"type": "string", "format": "decimal"} | {"type": "number"}:
            return "decimal", _decimal, "0"
        case {"type": "string"}:
            return "String", _text, ""
        case {"type": "integer"}:
            return "Long", _long, 0
        case {"type": "boolean"}:
            return "Bool", _bool, False
        case {"type": "array", "items": {"type": "string"}}:
            return "Set<String>", _texts, []
    return None


def schema_text(tools: Mapping[str, Tool]) -> str:
    """The whole schema as Cedar text: the fixed part and an action for each tool."""
    fixed = resources.files("remit.policy").joinpath("model.cedarschema").read_text()
    moment = fixed.partition("type Moment = {")[2].partition("};")[0]
    # With no tools at all the group would be empty and no policy about calls could validate.
    actions = [_action("(none)", {}, (), moment)]
    actions += [_action(name, arguments_of(tool), tool.decisive(), moment) for name, tool in sorted(tools.items())]
    return "namespace Remit {\n" + fixed + "\n".join(actions) + "\n}\n"


def _action(name: str, arguments: Mapping[str, Argument], decisive: Iterable[str], moment: str) -> str:
    typed = ", ".join(f"{json.dumps(a)}{'' if t.required else '?'}: {t.cedar}" for a, t in sorted(arguments.items()))
    traced = ", ".join(f"{json.dumps(argument)}?: String" for argument in sorted(set(decisive)))
    context = "{" + moment + "  arguments: {" + typed + "},\n  origins: {" + traced + "}\n}"
    applies = f"principal: [Agent], resource: [Tool], context: {context}"
    return f'action {json.dumps(name)} in [Action::"call"] appliesTo {{ {applies} }};'


def checked(values: Mapping[str, Any], types: Mapping[str, type]) -> None:
    """Exactly these keys, exactly these types."""
    if values.keys() != types.keys():
        raise Unfit(f"facts {sorted(values.keys() ^ types.keys())} are missing or unknown")
    for name, kind in types.items():
        if type(values[name]) is not kind:
            raise Unfit(f"fact {name} is not {kind.__name__}")
        if kind is tuple and not all(type(one) is str for one in values[name]):
            raise Unfit(f"fact {name} is not texts")


def converted(facts: Facts, arguments: Mapping[str, Argument]) -> dict[str, Any]:
    """The call's arguments as Cedar values; a required one that is absent, or one that cannot be said, is `Unfit`."""
    found: dict[str, Any] = {}
    for name, argument in arguments.items():
        if name in facts.arguments:
            try:
                found[name] = argument.convert(facts.arguments[name])
            except Unfit as unfit:
                raise Unfit(f"argument {name} is {unfit}") from unfit
        elif argument.required:
            raise Unfit(f"argument {name} is absent")
    return found

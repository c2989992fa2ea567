"""An agent of a framework, with the tools that its code gives it. Python is read as a syntax tree and never run."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from remit.domain.discovery import Place, Thing
from remit.domain.flow import Sensitivity
from remit.domain.identity import NAME
from remit.formats import mcp_proposal
from remit.formats.toml_text import comment, key, pairs, text

from ..agents_in_code import dotted
from ..files import File
from .draft import MOST, SEALED, Credential, Draft, Wanted, slug

_TYPES: Mapping[str, str] = {
    "str": "text",
    "int": "integer",
    "bool": "boolean",
    "list[str]": "texts",
    "List[str]": "texts",
    "Decimal": "decimal",
}
_GIVES_TOOLS = ("tool", "tool_plain")  # @agent.tool
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def draft(file: File, thing: Thing, wanted: Wanted) -> Draft:
    """The agent. A tool whose function stands elsewhere takes nothing until somebody says what."""
    tree = _tree(file)
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, _Function)} if tree else {}
    tools: dict[str, str] = {}
    left: list[str] = []
    worst = Sensitivity.INTERNAL
    for name in list(dict.fromkeys(_tools(tree, thing)))[:MOST] if tree else ():
        function = functions.get(name)
        if not NAME.match(name):
            left.append(
                f"{name[:80]}: not a catalogue name (a-z, 0-9, '.', '_', '-'); give it one, and guard it by that"
            )
            continue
        if function is None:
            left.append(f"{name}: its function is not in {file.path}; its entry takes no arguments yet")
        properties = _properties(function) if function else {}
        told = {"name": name, "inputSchema": {"properties": properties}}
        worst = max(worst, mcp_proposal.sensitivity(told))
        tools[name] = _entry(
            told, properties, function, Place(file.path, function.lineno if function else thing.place.line)
        )
    if tree is None:
        left.append(f"{file.path} is no Python that can be read: say its tools yourself, in tools/NAME.toml")
    name = slug(thing.name, "agent")
    return Draft(
        name=name,
        title=f"{thing.name[:80]}, {thing.facts.get('framework', 'in code')}",
        place=thing.place,
        attestation={"method": "join_token"},
        tools=tools,
        grants=tuple(tool for tool in tools if wanted.only is None or tool in wanted.only),
        left=tuple(left),
        max_sensitivity=worst.word,
        steps=(f"Guard its tools where {thing.place} makes them: docs/howto/frameworks.md.",),
        **sealed(thing.uses, name, wanted),
    )


def sealed(uses: tuple[str, ...], name: str, wanted: Wanted) -> dict[str, Any]:
    """The secrets that it takes from its environment, as credentials that `remit run` gives it for one task."""
    taken: set[str] = set()
    credentials = []
    for variable in uses[:MOST]:
        plain = slug(variable, "secret", taken)
        taken.add(plain)
        credentials.append(Credential(plain, slug(f"{name} {plain}", plain), reveal=True))
    tables: dict[str, Mapping[str, Any]] = {f"issuers.{SEALED}": {"kind": "static"}} if credentials else {}
    if wanted.gateway:
        tables["issuers.tokens"] = {"kind": "jwt"}
    return {"credentials": tuple(credentials), "tables": tables, "audience": wanted.gateway}


def _tree(file: File) -> ast.Module | None:
    if file.suffix != ".py" or file.text is None or len(file.text) > 1_000_000:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(file.text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _tools(tree: ast.Module, thing: Thing) -> Iterator[str]:
    """What is in `tools=[…]` of the call at its line, and what is decorated with `@agent.tool`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or node.lineno != thing.place.line:
            continue
        for word in node.keywords:
            if word.arg == "tools" and isinstance(word.value, ast.List | ast.Tuple):
                names = (dotted(item.func if isinstance(item, ast.Call) else item) for item in word.value.elts)
                yield from (name.rpartition(".")[2] for name in names if name)
    variables = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and node.value.lineno == thing.place.line
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, _Function):
            for decorator in node.decorator_list:
                of, _, what = dotted(decorator.func if isinstance(decorator, ast.Call) else decorator).partition(".")
                if of in variables and what in _GIVES_TOOLS:
                    yield node.name


def _properties(function: _Function) -> dict[str, dict[str, Any]]:
    given = [*function.args.posonlyargs, *function.args.args]
    first = len(given) - len(function.args.defaults)
    optional = {arg.arg for arg in given[first:]}
    optional |= {
        a.arg for a, d in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True) if d is not None
    }
    found = {}
    for arg in [*given, *function.args.kwonlyargs]:
        kind = ast.unparse(arg.annotation) if arg.annotation else ""
        if arg.arg not in ("self", "cls") and "Context" not in kind:  # a framework's own, not the model's
            found[arg.arg] = {"type": _TYPES.get(kind, ""), "required": arg.arg not in optional}
    return found


def _entry(told: Mapping[str, Any], properties: Mapping[str, Any], function: _Function | None, place: Place) -> str:
    out = comment(f"Proposed from {place}, which proves nothing. Judge it, then remove this line.")
    out += pairs({"effect": mcp_proposal.effect(told).word, "sensitivity": mcp_proposal.sensitivity(told).word})
    out += "egress = true\n" if mcp_proposal.egress(told) else ""
    out += pairs({"matters": list(mcp_proposal.matters(told)), "output_trust": "untrusted"})
    for name, said in properties.items():
        kind = said["type"] or "text"
        out += f"[arguments.{key(name)}]\n" + ("" if said["type"] else comment("Its type is not known; judge it."))
        out += f"type = {text(kind)}\n" + ("" if said["required"] else "required = false\n")
    return out

"""An OpenAPI 3 document as proposals for `tools/NAME.toml`: for a person to read and judge, not to apply as they are.

What a document says of itself lowers nothing: the effect is the method's (RFC 9110 section 9.2), outputs are untrusted,
and every request to somebody else's origin carries data out. What has no one meaning is left out, and said so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from remit.domain.errors import BadCatalogue, BadField
from remit.domain.flow import Sensitivity
from remit.domain.tool import Effect, Tool

from . import catalogue, http_origin
from .http_path import Template
from .http_tool import METHODS, Apart

SIZE_LIMIT = 8 * 1024 * 1024
OPERATIONS_LIMIT = 2000
DEPTH = 12
_KEPT = frozenset(
    {
        *(
            "type",
            "enum",
            "const",
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "exclusiveMaximum",
            "multipleOf",
            "format",
        ),
        *("minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "required"),
    }
)
_BODIES = {"application/json": "json", "application/x-www-form-urlencoded": "form"}


@dataclass(frozen=True, slots=True)
class Proposed:
    """`text` is the file `tools/NAME.toml`; empty when the operation is left out, and `why` says why."""

    name: str
    operation: str
    text: str = ""
    why: str = ""


class _LeftOut(Exception):
    pass


def propose(
    source: str, url: str, *, prefix: str = "", credential: str = "", ours: bool = False, private: bool = False
) -> list[Proposed]:
    """One proposal an operation. `url` is the API's origin, with the path that every operation's begins with."""
    document = _document(source)
    scheme, _, rest = url.partition("://")
    authority, slash, base = rest.partition("/")
    origin = str(http_origin.parse(f"{scheme}://{authority}"))
    more = _Common(document, origin, (slash + base).rstrip("/"), prefix, credential, ours, private)
    found: list[Proposed] = []
    names: set[str] = set()
    apart = Apart()
    for path, method, operation, shared in _operations(document):
        said = f"{method} {path}"
        name = more.name(method, path, operation)
        try:
            text = more.file(name, method, path, operation, shared)
            if name in names:
                raise _LeftOut(f"another operation is called {name} too")
            read = catalogue.parse({f"tools/{name}.toml": text}).tools[name]
            if read.http:
                apart.add(name, read.http)
        except (_LeftOut, BadField, BadCatalogue) as flaw:
            found.append(Proposed(name, said, why=str(flaw)))
            continue
        names.add(name)
        found.append(Proposed(name, said, text))
    return found


def _document(source: str) -> Mapping[str, Any]:
    if len(source) > SIZE_LIMIT:
        raise BadField("openapi", f"is over {SIZE_LIMIT} characters")
    try:
        found = json.loads(source)
    except (ValueError, RecursionError):
        found = _yaml(source)
    version = str(found.get("openapi", "")) if isinstance(found, Mapping) else ""
    if not isinstance(found, Mapping) or not version.startswith("3."):
        raise BadField("openapi", "is not an OpenAPI 3 document")
    return found


def _yaml(source: str) -> Any:
    depth = 0
    try:
        for event in yaml.parse(source, Loader=yaml.CSafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > 64:
                raise BadField("openapi", "has YAML aliases, or is nested too deep")
        return yaml.load(source, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as bad:
        raise BadField("openapi", "is neither JSON nor YAML") from bad


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any], list[Any]]]:
    count = 0
    paths = document.get("paths")
    for path, item in paths.items() if isinstance(paths, Mapping) else ():
        if not isinstance(item, Mapping) or not isinstance(path, str):
            continue
        shared = item.get("parameters", [])
        for method, operation in item.items():
            if str(method).upper() in METHODS and isinstance(operation, Mapping):
                count += 1
                if count > OPERATIONS_LIMIT:
                    raise BadField("openapi", f"has more than {OPERATIONS_LIMIT} operations")
                yield path, str(method).upper(), operation, shared if isinstance(shared, list) else []


@dataclass(frozen=True)
class _Common:
    document: Mapping[str, Any]
    origin: str
    base: str
    prefix: str
    credential: str
    ours: bool
    private: bool

    def name(self, method: str, path: str, operation: Mapping[str, Any]) -> str:
        own = operation.get("operationId")
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", own) if isinstance(own, str) and own else f"{method} {path}"
        plain = re.sub(r"[^a-z0-9]+", "_", words.casefold()).strip("_") or "operation"
        return f"{self.prefix}.{plain}"[:64] if self.prefix else plain[:64]

    def file(self, name: str, method: str, path: str, operation: Mapping[str, Any], shared: list[Any]) -> str:
        properties: dict[str, Any] = {}
        required: list[str] = []
        query: list[str] = []
        holes: dict[str, str] = {}
        for parameter in self._parameters(shared, operation):
            own, place = str(parameter.get("name", "")), parameter.get("in")
            needed = parameter.get("required") is True or place == "path"
            if place in ("header", "cookie"):
                if needed and own.lower() not in ("authorization", "accept", "content-type", "user-agent"):
                    raise _LeftOut(f"it needs the {place} {own!r}, which is not an argument")
                continue
            if place not in ("path", "query") or not own:
                raise _LeftOut("it has a parameter that is in neither path nor query")
            argument = re.sub(r"[^A-Za-z0-9_]", "_", own) if place == "path" else own
            if argument in properties:
                raise _LeftOut(f"{argument!r} is there twice")
            properties[argument] = _in_url(self._schema(parameter.get("schema", {}), 0), parameter)
            if place == "path":
                holes[own] = argument
            else:
                query.append(argument)
            required += [argument] if needed else []
        body = self._body(operation, properties, required)
        full = self.base + re.sub(r"\{([^{}]*)\}", lambda hole: "{" + holes.get(hole[1], "?") + "}", path)
        Template.parse(full)
        schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
        return self._written(name, method, full, operation, schema, query, body)

    def _parameters(self, shared: list[Any], operation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        own = operation.get("parameters", [])
        resolved = [self._resolved(p) for p in [*shared, *(own if isinstance(own, list) else [])]]
        return list({(p.get("in"), p.get("name")): p for p in resolved}.values())

    def _body(self, operation: Mapping[str, Any], properties: dict[str, Any], required: list[str]) -> str:
        if "requestBody" not in operation:
            return ""
        body = self._resolved(operation["requestBody"])
        content = body.get("content")
        media = next((m for m in _BODIES if isinstance(content, Mapping) and m in content), "")
        if not media or not isinstance(content, Mapping):
            raise _LeftOut("its body is neither JSON nor a form")
        schema = self._schema(content[media].get("schema", {}), 0)
        members = schema.get("properties")
        if not isinstance(members, Mapping) or {"oneOf", "anyOf", "allOf"} & schema.keys():
            raise _LeftOut("its body is not a plain object")
        for member, value in members.items():
            if member in properties:
                raise _LeftOut(f"{member!r} is in the body, and in path or query")
            properties[member] = value
        if body.get("required") is True:
            required += [name for name in schema.get("required", ()) if name in members]
        return _BODIES[media]

    def _resolved(self, value: Any) -> Mapping[str, Any]:
        for _ in range(DEPTH):
            if not isinstance(value, Mapping):
                raise _LeftOut("it refers to something that is not there")
            reference = value.get("$ref")
            if reference is None:
                return value
            if not isinstance(reference, str) or not reference.startswith("#/"):
                raise _LeftOut("it refers outside of the document")
            value = self.document
            for part in reference[2:].split("/"):
                value = value.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(value, Mapping) else None
        raise _LeftOut("its references go round")

    def _schema(self, value: Any, depth: int) -> dict[str, Any]:
        """As JSON Schema, with references written out; patterns are left to the reviewer, as engines differ."""
        if depth > DEPTH:
            raise _LeftOut(f"its schema is nested more than {DEPTH} deep")
        source = self._resolved(value)
        found = {name: source[name] for name in source if name in _KEPT}
        for name in ("exclusiveMinimum", "exclusiveMaximum"):
            if isinstance(found.get(name), bool):  # OpenAPI 3.0
                bound = found.pop("minimum" if "Min" in name else "maximum", None) if found.pop(name) else None
                found |= {} if bound is None else {name: bound}
        if source.get("nullable") is True and isinstance(found.get("type"), str):
            found["type"] = [found["type"], "null"]
        if isinstance(source.get("description"), str):
            found["description"] = _plain(source["description"], 200)
        members = source.get("properties")
        if isinstance(members, Mapping):
            found["properties"] = {str(n): self._schema(v, depth + 1) for n, v in members.items()}
        if "items" in source:
            found["items"] = self._schema(source["items"], depth + 1)
        if isinstance(source.get("additionalProperties"), bool):
            found["additionalProperties"] = source["additionalProperties"]
        for name in ("oneOf", "anyOf", "allOf"):
            if isinstance(source.get(name), list):
                found[name] = [self._schema(each, depth + 1) for each in source[name]]
        return found

    def _written(
        self, name: str, method: str, path: str, said: Any, schema: Mapping[str, Any], query: list[str], body: str
    ) -> str:
        effect = {"GET": Effect.READ, "HEAD": Effect.READ, "DELETE": Effect.IRREVERSIBLE}.get(method, Effect.WRITE)
        title = _plain(str(said.get("summary") or f"{method} {path}"), 120)
        bare = Tool(name, title, effect, Sensitivity.INTERNAL, "production", name, schema=schema)
        resource = re.sub(r"[^A-Za-z0-9_{}/.-]", "-", path.strip("/"))
        lines = [
            f"title = {_text(title)}",
            f'effect = "{effect.word}"  # by the method; is what it does worse, or beyond recall?',
            'sensitivity = "internal"',
            f"resource = {_text(resource or name)}",
            f"matters = {_text(list(bare.decisive()))}  # whom, what, how much",
            'output_trust = "untrusted"  # trusted only if nobody else can write what it returns',
            *([] if self.ours else ["egress = true"]),
            f"schema = {_long(schema)}",
            "",
            "[http]",
            f"origin = {_text(self.origin)}",
            f'method = "{method}"',
            f"path = {_text(path)}",
            *([f"query = {_text(query)}"] if query else []),
            *([f'body = "{body}"'] if body else []),
            *([f"credential = {_text(self.credential)}"] if self.credential else []),
            *(["allow_private_network = true"] if self.private else []),
        ]
        return "\n".join(lines) + "\n"


def _in_url(schema: dict[str, Any], parameter: Mapping[str, Any]) -> dict[str, Any]:
    """As it is read there: text, a whole number, true or false, or a list of one of them, each with the name."""
    several = schema.get("type") == "array"
    if several and (parameter.get("explode") is False or parameter.get("style", "form") != "form"):
        raise _LeftOut(f"{parameter.get('name')!r} is a list in one value")
    inner = schema.get("items", {}) if several else schema
    if inner.get("type") == "number":
        inner |= {"type": "string", "pattern": r"^-?[0-9]{1,14}(\.[0-9]{1,14})?$"}
        for name in ("minimum", "maximum", "format", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "enum"):
            inner.pop(name, None)
    if inner.get("type") not in ("string", "integer", "boolean", None):
        raise _LeftOut(f"{parameter.get('name')!r} is an object in a URL")
    return schema


def _plain(text: str, most: int) -> str:
    return "".join(c if c.isprintable() else " " for c in text).strip()[:most]


def _text(value: Any) -> str:
    """TOML's basic strings and arrays are JSON's, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def _long(schema: Mapping[str, Any]) -> str:
    text = json.dumps(schema, ensure_ascii=False, indent=1)
    return f"'''{text}'''" if "'''" not in text and "\x7f" not in text else _text(json.dumps(schema))

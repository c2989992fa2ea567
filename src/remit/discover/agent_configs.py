"""Configurations of agents and of the assistants they live in: which servers they start, with what, and who is asked.

Any value of `env`, `headers` or a URL that is not a reference is reported, whatever it looks like.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from remit.domain.discovery import Noun, Place, Thing
from remit.domain.trifecta import Leg

from .data import parsed
from .files import File
from .found import Found
from .mcp_legs import legs_of, together
from .values import in_url, is_reference, looks_random, names_a_secret

# Client, a path that ends like this, and where the servers are in it. Order matters: the first that fits is it.
CLIENTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Claude Desktop", "claude_desktop_config.json", ("mcpServers",)),
    ("Claude Code", ".claude.json", ("mcpServers",)),
    ("Claude Code", ".claude/settings.json", ("mcpServers",)),
    ("Claude Code", ".claude/settings.local.json", ("mcpServers",)),
    ("Claude Code", "managed-settings.json", ("mcpServers",)),
    ("Claude Code", ".mcp.json", ("mcpServers",)),
    ("Cursor", ".cursor/mcp.json", ("mcpServers",)),
    ("VS Code", ".vscode/mcp.json", ("servers",)),
    ("VS Code", "Code/User/mcp.json", ("servers",)),
    ("VS Code", "Code/User/settings.json", ("mcp", "servers")),
    ("VS Code", ".vscode/settings.json", ("mcp", "servers")),
    ("Windsurf", "windsurf/mcp_config.json", ("mcpServers",)),
    ("Zed", "zed/settings.json", ("context_servers",)),
    ("Zed", ".zed/settings.json", ("context_servers",)),
    ("Cline", "cline_mcp_settings.json", ("mcpServers",)),
    ("Roo Code", ".roo/mcp.json", ("mcpServers",)),
    ("Roo Code", "rooveterinaryinc.roo-cline/settings/mcp_settings.json", ("mcpServers",)),
    ("Kilo Code", ".kilocode/mcp.json", ("mcpServers",)),
    ("Continue", ".continue/config.json", ("mcpServers",)),
    ("Continue", ".continue/config.yaml", ("mcpServers",)),
    ("Gemini CLI", ".gemini/settings.json", ("mcpServers",)),
    ("Qwen Code", ".qwen/settings.json", ("mcpServers",)),
    ("Codex", ".codex/config.toml", ("mcp_servers",)),
    ("Goose", "goose/config.yaml", ("extensions",)),
    ("Amazon Q", "amazonq/mcp.json", ("mcpServers",)),
    ("Kiro", ".kiro/settings/mcp.json", ("mcpServers",)),
    ("Junie", ".junie/mcp/mcp.json", ("mcpServers",)),
    ("LM Studio", ".lmstudio/mcp.json", ("mcpServers",)),
    ("Copilot CLI", ".copilot/mcp-config.json", ("mcpServers",)),
    ("Trae", ".trae/mcp.json", ("mcpServers",)),
    ("OpenCode", "opencode.json", ("mcp",)),
    ("Crush", "crush.json", ("mcp",)),
    ("LibreChat", "librechat.yaml", ("mcpServers",)),
    ("MCP", "mcp.json", ("mcpServers",)),
    ("MCP", "mcp_config.json", ("mcpServers",)),
    ("MCP", "mcp-config.json", ("mcpServers",)),
)
URLS = ("url", "serverUrl", "httpUrl", "uri", "endpoint")
_FOLDERS = (("Continue", ".continue/mcpServers/"),)
_HOME = re.compile(r"(?:/|~|\$HOME|\$\{HOME\}|%USERPROFILE%|[A-Za-z]:\\?|/home/[^/]+|/Users/[^/]+|/root)/?")


def read(file: File) -> Found | None:
    """What this file says, if it is a client's configuration, or has `mcpServers` in it wherever it stands."""
    client, whole, servers = servers_of(file)
    found = Found()
    legs: dict[str, frozenset[Leg]] = {}
    for name, entry in servers:
        _server(file, client, name, entry, found)
        command, arguments = command_of(entry)
        legs[name] = legs_of([command, *arguments, url_of(entry)])
    _together(file, client, legs, found)
    _settings(file, client, whole, found)
    for name, value in _strings(whole.get("env")):
        _value(file, f"{client}'s env", name, value, found)
    return found if found.things or found.flaws else None


def _together(file: File, client: str, servers: Mapping[str, frozenset[Leg]], found: Found) -> None:
    """One agent has all of them: what one brings in can have another's data sent out by a third."""
    legs, breaks = together(servers)
    if breaks:
        said = "; ".join(f"{leg.value}: {', '.join(names)}" for leg, names in legs.items())
        place = Place(file.path, file.line_of(f'"{breaks[0]}"', breaks[0]), file.commit)
        what = f"{client}: {said}. Smallest change that breaks it: without {' and '.join(breaks)}"
        found.flaw("lethal-trifecta", place, what, client)


def servers_of(file: File) -> tuple[str, Mapping[str, Any], list[tuple[str, Mapping[str, Any]]]]:
    """(client, its configuration, name and entry of each server in it); all empty when this is none."""
    client, path = _client(file)
    whole = parsed(file.text or "", file.suffix) if client else None
    return (client, whole, list(_servers(whole, path))) if isinstance(whole, dict) else ("", {}, [])


def _client(file: File) -> tuple[str, tuple[str, ...]]:
    path = "/" + file.path
    for client, end, where in CLIENTS:
        if path.endswith("/" + end):
            return client, where
    for client, folder in _FOLDERS:
        if f"/{folder}" in path and file.suffix in (".json", ".yaml", ".yml"):
            return client, ("mcpServers",)
    if file.suffix in (".json", ".jsonc") and b'"mcpServers"' in file.data:
        return "MCP", ("mcpServers",)
    return "", ()


def _servers(whole: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    places: list[Any] = [_at(whole, path)]
    projects = whole.get("projects")
    if isinstance(projects, dict):  # Claude Code keeps each project's servers in one file
        places += [_at(project, path) for project in projects.values() if isinstance(project, dict)]
    for servers in places:
        if isinstance(servers, dict):
            yield from ((str(name), entry) for name, entry in servers.items() if isinstance(entry, dict))
        elif isinstance(servers, list):
            yield from ((str(e.get("name", "unnamed")), e) for e in servers if isinstance(e, dict))


def _at(whole: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        whole = whole.get(step) if isinstance(whole, dict) else None
    return whole


def _server(file: File, client: str, name: str, entry: Mapping[str, Any], found: Found) -> None:
    (command, arguments), url, (env, headers) = command_of(entry), url_of(entry), given_to(entry)
    line = file.line_of(f'"{name}"', name)
    place = Place(file.path, line, file.commit)
    runs = " ".join([command, *without_secrets(arguments)])[:200]
    facts = {"client": client, "runs": runs} if command else {"client": client, "url": _bare(url)}
    found.things.append(Thing(Noun.MCP_SERVER, name, place, facts, tuple(sorted({*env, *headers}))))
    for key, value in {**env, **headers}.items():
        _value(file, name, key, value, found)
    for key, value in in_url(url):
        found.secret("secret-in-agent-config", file, value, f"{name}: its URL has a {key} in it", name)
    for key, value in secrets_in(arguments):
        found.secret("secret-in-agent-config", file, value, f"{name}: {key} is given on its command line", name)
    _supply(file, name, place, command, arguments, url, found)
    allowed = [key for key in ("alwaysAllow", "autoApprove", "autoAllow", "allowedTools") if entry.get(key)]
    if entry.get("trust") is True or any("*" in entry[key] for key in allowed if isinstance(entry[key], list)):
        found.flaw("tools-approved-for-ever", place, f"{name}: every tool of it runs unasked", name)


def _value(file: File, owner: str, key: str, value: str, found: Found) -> None:
    """One value of an `env` or `headers`. It need not look like a secret."""
    scheme, _, rest = value.strip().partition(" ")
    bare = rest if scheme.lower() in ("bearer", "basic", "token", "dpop") else value
    inside = in_url(value)
    if inside:
        for name, secret in inside:
            found.secret("secret-in-agent-config", file, secret, f"{owner}: {key} has a {name} in it", owner)
    elif not is_reference(bare):
        likely = names_a_secret(key) or bare is rest or looks_random(bare)
        rule = "secret-in-agent-config" if likely else "value-in-agent-config"
        found.secret(rule, file, bare, f"{owner}: {key} is written out, not referred to", owner)


def _supply(file: File, name: str, place: Place, command: str, arguments: list[str], url: str, found: Found) -> None:
    whole = " ".join([command, *arguments])
    if re.search(
        r"\b(?:curl|wget|iwr|Invoke-WebRequest)\b[^|;&]*\|\s*(?:sudo\s+)?(?:ba|z|da)?sh\b|<\(\s*curl\b", whole
    ):
        found.flaw("server-runs-what-it-fetches", place, f"{name}: {command} runs what it fetches", name)
    package = _unpinned(
        PurePosixPath(command.replace("\\", "/")).name.removesuffix(".exe").removesuffix(".cmd"), arguments
    )
    if package:
        found.flaw("server-unpinned", place, f"{name}: {package} at whatever version is newest", name)
    if re.match(r"(?:http|ws)://(?!localhost\b|127\.|\[::1\]|0\.0\.0\.0)", url):
        found.flaw("server-in-the-clear", place, f"{name}: {_bare(url)}", name)
    if "filesystem" in whole and any(_HOME.fullmatch(argument) for argument in arguments):
        found.flaw("server-sees-everything", place, f"{name}: is given a whole home or disk", name)


def _unpinned(runner: str, arguments: list[str]) -> str:
    """The package or image that a runner would fetch without a version; empty when it says one."""
    words = [word for word in arguments if not word.startswith("-")]
    if runner in ("npx", "bunx", "pnpx") and words:
        spec = next((a.partition("=")[2] for a in arguments if a.startswith("--package=")), words[0])
        return "" if re.search(r".@\d+\.\d+\.\d+", spec) or spec.startswith((".", "/")) else spec.split("@latest")[0]
    if runner in ("uvx", "pipx") or (runner == "uv" and "tool" in words[:1]):
        specs = [w for w in words if w not in ("run", "tool")]
        given = next(
            (a.partition("=")[2] or arguments[i + 1] for i, a in enumerate(arguments[:-1]) if a.startswith("--from")),
            specs[0] if specs else "",
        )
        pinned = re.search(r"==\d|@\d|@[0-9a-f]{40}\b", given) or given.startswith((".", "/"))
        return "" if pinned or not given else given
    if runner in ("docker", "podman", "nerdctl") and words[:1] == ["run"]:
        image = _image(arguments[arguments.index("run") + 1 :])
        return "" if not image or "@sha256:" in image else image
    return ""


_TAKES_NONE = re.compile(
    r"-(?:i|t|d|it|ti|-rm|-init|-interactive|-tty|-detach|-read-only|-privileged|-no-healthcheck|-pull=\S+)\Z"
)


def _image(arguments: list[str]) -> str:
    """The first argument of `docker run` that is neither an option nor an option's value."""
    skip = False
    for word in arguments:
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = "=" not in word and not _TAKES_NONE.match(word)
        else:
            return word
    return ""


def _settings(file: File, client: str, whole: Mapping[str, Any], found: Found) -> None:
    place = Place(file.path, 1, file.commit)
    permissions = whole.get("permissions")
    if isinstance(permissions, dict) and permissions.get("defaultMode") == "bypassPermissions":
        at = Place(file.path, file.line_of("bypassPermissions"), file.commit)
        found.flaw("tools-approved-for-ever", at, f"{client}: permission mode bypassPermissions", client)
    allowed = permissions.get("allow") if isinstance(permissions, dict) else None
    for entry in allowed if isinstance(allowed, list) else ():
        if isinstance(entry, str) and re.fullmatch(r"Bash|Bash\(\*+\)|Bash\(:?\*\)|mcp__\*|\*", entry):
            at = Place(file.path, file.line_of(f'"{entry}"'), file.commit)
            found.flaw("tools-approved-for-ever", at, f"{client}: {entry} runs without anybody being asked", client)
    for key in ("enableAllProjectMcpServers", "chat.mcp.autostart"):
        if whole.get(key) is True:
            at = Place(file.path, file.line_of(key), file.commit)
            found.flaw("servers-trusted-unseen", at, f"{client}: {key}", client)
    for key in ("chat.tools.autoApprove", "chat.tools.global.autoApprove"):
        if whole.get(key) is True:
            found.flaw(
                "tools-approved-for-ever", Place(file.path, file.line_of(key), file.commit), f"{client}: {key}", client
            )
    hooks = whole.get("hooks")
    before = hooks.get("PreToolUse") if isinstance(hooks, dict) else None
    for matcher in before if isinstance(before, list) else ():
        for hook in matcher.get("hooks", ()) if isinstance(matcher, dict) else ():
            if isinstance(hook, dict) and hook.get("onFailure") != "block":
                found.flaw("hook-fails-open", place, f"{client}: a PreToolUse hook without onFailure", client)


def url_of(entry: Mapping[str, Any]) -> str:
    """Where a server is that somebody else starts."""
    return next((str(entry[key]) for key in ("url", "serverUrl", "httpUrl", "uri", "endpoint") if entry.get(key)), "")


def given_to(entry: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """(environment, headers)."""
    env = [dict(_strings(entry.get(key))) for key in ("env", "environment", "envs")]
    return env[0] | env[1] | env[2], dict(_strings(entry.get("headers"))) | dict(_strings(entry.get("requestInit", {})))


def command_of(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    """(program, arguments) of a server that the client starts."""
    command = entry.get("command") or entry.get("cmd") or ""
    if isinstance(command, dict):  # Zed: {"path": …, "args": […]}
        entry, command = command, command.get("path", "")
    if isinstance(command, list):
        words = [str(word) for word in command]
        return (words[0], words[1:]) if words else ("", [])
    arguments = entry.get("args")
    given = [str(a) for a in arguments] if isinstance(arguments, list) else str(arguments or "").split()
    if " " in str(command) and not given:
        first, *given = str(command).split()
        return first, given
    return str(command), given


def secrets_in(arguments: list[str]) -> Iterator[tuple[str, str]]:
    """(option, secret) of `--api-key X`, `--token=X`, `-e NAME=X`, `Authorization: Bearer X`, and URLs with one."""
    for i, word in enumerate(arguments):
        name, eq, value = word.partition("=")
        if not eq and word.startswith("-") and i + 1 < len(arguments):
            value = arguments[i + 1]
        header = re.fullmatch(r"([\w-]+):\s*(?:(?:Bearer|Basic|Token)\s+)?(\S.*)", word)
        if header and names_a_secret(header[1]) and not is_reference(header[2]):
            yield header[1], header[2]
        elif names_a_secret(name.lstrip("-")) and value and not is_reference(value) and not value.startswith("-"):
            yield name, value
        else:
            yield from in_url(word)


def without_secrets(arguments: list[str]) -> list[str]:
    """As they may be shown."""
    hidden = {secret for _, secret in secrets_in(arguments)}
    kept = [re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:…@", word) for word in arguments]
    for secret in hidden:
        kept = [word.replace(secret, "…") for word in kept]
    return ["…" if looks_random(word) else word for word in kept]


def _bare(url: str) -> str:
    """Without user information, query and fragment."""
    return re.sub(r"[?#].*", "", re.sub(r"://[^@/]*@", "://", url))[:200]


def _strings(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, text in value.items():
            if isinstance(text, str | int | float) and not isinstance(text, bool):
                yield str(name), str(text)
            elif isinstance(text, dict):
                yield from _strings(text)
    elif isinstance(value, list):
        for text in value:
            if isinstance(text, str) and "=" in text:
                name, _, part = text.partition("=")
                yield name, part

"""From a credential's parts to what a program reads. Pure: nothing is written or asked here.

A value that a format cannot carry is refused, never mangled: half a password would be sent somewhere.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from ..helpers.git import place
from .kinds import kind_of

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
_REGISTRY = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?\Z")
# Variables that load code or decide which code runs.
_NEVER = re.compile(r"(LD_|DYLD_|REMIT_|PYTHON|GIT_|BASH_)|(PATH|IFS|ENV|HOME|SHELL|NODE_OPTIONS|PERL5LIB|RUBYOPT)\Z")


class ShapeError(ValueError):
    """This credential cannot be handed over like that; says which one and why, never what is in it."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A credential as it was issued: `expires_at` in ms since 1970, 0 when the server did not say."""

    name: str
    kind: str
    parts: Mapping[str, str] = field(repr=False)
    expires_at: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """`NAME[=SHAPE[:AT]]`; `at` is a variable (env, file), a host (git) or a registry (docker)."""

    name: str
    shape: str = ""
    at: str = ""

    @classmethod
    def parse(cls, text: str) -> Wanted:
        """Read it; anything unknown is a `ShapeError`."""
        name, _, rest = text.partition("=")
        shape, _, at = rest.partition(":")
        if not _NAME.match(name):
            raise ShapeError(f"{name!r} is no credential's name")
        if ("=" in text and shape not in SHAPES) or (":" in rest and not at):
            raise ShapeError(f"{text!r} wants NAME=SHAPE or NAME=SHAPE:AT; shapes are {', '.join(SHAPES)}")
        if at and shape not in ("env", "file", "git", "docker"):
            raise ShapeError(f"{shape} takes nothing after a colon")
        if at and shape in ("env", "file"):
            _variable(name, at)
        if at and shape == "docker" and not _REGISTRY.match(at):
            raise ShapeError(f"{at!r} is not a registry: write HOST or HOST:PORT")
        return cls(name, shape, _place(name, at) if at and shape == "git" else at)

    @property
    def waits(self) -> bool:
        """Nothing about it need be known before a helper asks."""
        return self.shape in ("exec", "aws") or (self.shape in ("git", "docker") and bool(self.at))


@dataclass(frozen=True, slots=True)
class Shaped:
    """`files` by name in the private directory; `git` are git settings (key, value); `clears` is not inherited."""

    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    clears: Sequence[str] = ()
    git: Sequence[tuple[str, str]] = ()
    at: str = ""


Shape = Callable[[Wanted, Issued, Path, Sequence[str]], Shaped]


def default_shape(kind: str) -> str:
    """What is usual for this kind."""
    return kind_of(kind).shape


def shaped(wanted: Wanted, issued: Issued, directory: Path, helper: Sequence[str]) -> Shaped:
    """`directory` is where the files will be, `helper` the command line of `remit-cred`."""
    for part, value in issued.parts.items():
        if "\x00" in value:
            raise ShapeError(f"{wanted.name}: its {part} holds a NUL, which no program can be handed")
    return SHAPES[wanted.shape or default_shape(issued.kind)](wanted, issued, directory, helper)


def _env(wanted: Wanted, issued: Issued, directory: Path, helper: Sequence[str]) -> Shaped:
    kind, found = kind_of(issued.kind), dict[str, str]()
    parts = _with_url(issued)
    for part, value in parts.items():
        usual = kind.variables.get(part, ()) if not wanted.at else ()
        alone = wanted.at if len(parts) == 1 else ""
        names = usual or (alone or _named(wanted, part),)
        found |= {_variable(wanted.name, name): value for name in names}
    if len(found) < len(parts):
        raise ShapeError(f"{wanted.name}: two of its parts would be one variable")
    return Shaped(found, clears=() if wanted.at else kind.clears)


def _named(wanted: Wanted, *more: str) -> str:
    """`AT` as it is, or in upper case what it, or the credential's name, and `more` make together."""
    return re.sub(r"[^A-Za-z0-9]", "_", "_".join((wanted.at or wanted.name, *more))).upper()


def _variable(name: str, variable: str) -> str:
    if not _VARIABLE.match(variable) or _NEVER.match(variable):
        raise ShapeError(f"{name}: {variable!r} cannot be the variable; say another: {name}=env:VARIABLE")
    return variable


def _with_url(issued: Issued) -> Mapping[str, str]:
    """Redis programs want one URL, whatever parts there are."""
    parts = issued.parts
    if issued.kind != "redis" or "url" in parts or "host" not in parts:
        return parts
    who = quote(parts.get("user", ""), safe="") + ":" + quote(parts.get("password", ""), safe="")
    return {**parts, "url": f"redis://{who}@{parts['host']}:{parts.get('port', '6379')}"}


def _file(wanted: Wanted, issued: Issued, directory: Path, helper: Sequence[str]) -> Shaped:
    """Each part in a file of its own: `NAME_PART_FILE`, or `NAME_FILE` where there is only one."""
    kind, variables, files = kind_of(issued.kind), dict[str, str](), dict[str, str]()
    single = len(issued.parts) == 1
    for part, value in issued.parts.items():
        name = f"{wanted.name}.{kind.files.get(part, re.sub(r'[^A-Za-z0-9_-]', '_', part))}"
        variable = (wanted.at or _named(wanted, "file")) if single else _named(wanted, part, "file")
        variables[_variable(wanted.name, variable)] = str(directory / name)
        files[name] = value
    if len(variables) < len(issued.parts) or len(files) < len(issued.parts):
        raise ShapeError(f"{wanted.name}: two of its parts would be one file")
    return Shaped(variables, files)


def _pgservice(wanted: Wanted, issued: Issued, directory: Path, helper: Sequence[str]) -> Shaped:
    """libpq: a connection service file, and the password in a passfile that holds for this server and role only."""
    parts = _needs(wanted, issued, "host", "user", "password", "dbname")
    service, passfile = f"{wanted.name}.service", f"{wanted.name}.pgpass"
    shown = {key: value for key, value in parts.items() if key in ("host", "port", "dbname", "user", "sslmode")}
    for key, value in shown.items():
        if value != value.strip() or not value.isprintable():
            raise ShapeError(f"{wanted.name}: a libpq service file cannot carry its {key}")
    if "\n" in parts["password"] or "\r" in parts["password"]:
        raise ShapeError(f"{wanted.name}: a libpq passfile cannot carry its password")
    lines = [f"[{wanted.name}]", *(f"{key}={value}" for key, value in shown.items())]
    lines.append(f"passfile={directory / passfile}")
    row = (parts["host"], parts.get("port", "5432"), parts["dbname"], parts["user"], parts["password"])
    secret = ":".join(value.replace("\\", "\\\\").replace(":", "\\:") for value in row)
    files = {service: "\n".join(lines) + "\n", passfile: secret + "\n"}
    return Shaped(
        {"PGSERVICEFILE": str(directory / service), "PGSERVICE": wanted.name}, files, kind_of("postgres").clears
    )


def _mycnf(wanted: Wanted, issued: Issued, directory: Path, helper: Sequence[str]) -> Shaped:
    """An option file whose path is in MYSQL_DEFAULTS_FILE: for `--defaults-file`, or `--defaults-extra-file`.

    After an extra file `~/.my.cnf` is read as well, and wins.
    """
    parts = _needs(wanted, issued, "host", "user", "password")
    lines = ["[client]", *(f"{key}={_quoted(wanted, parts[key])}" for key in ("host", "port", "user") if key in parts)]
    lines.append(f"password={_quoted(wanted, parts['password'])}")
    if parts.get("database"):
        lines += ["[mysql]", f"database={_quoted(wanted, parts['database'])}"]
    name = f"{wanted.name}.cnf"
    variables = {"MYSQL_DEFAULTS_FILE": str(directory / name)}
    return Shaped(variables, {name: "\n".join(lines) + "\n"}, kind_of("mysql").clears)


def _quoted(wanted: Wanted, value: str) -> str:
    """MySQL's option files know these escapes between quotes."""
    if "\n" in value or "\r" in value or ('"' in value and "'" in value):
        raise ShapeError(f"{wanted.name}: an option file cannot carry one of its values")
    quote_mark = "'" if '"' in value else '"'
    return quote_mark + value.replace("\\", "\\\\") + quote_mark


def _creds(wanted: Wanted, issued: Issued, directory: Path, helper: Sequence[str]) -> Shaped:
    """NATS: a credentials file, whose path is in NATS_CREDS as the `nats` command reads it, and what goes with it."""
    parts, kind = _needs(wanted, issued, "creds"), kind_of("nats")
    name = f"{wanted.name}.creds"
    variables = {names[0]: parts[part] for part, names in kind.variables.items() if parts.get(part)}
    return Shaped({**variables, "NATS_CREDS": str(directory / name)}, {name: parts["creds"]}, kind.clears)


def _aws(wanted: Wanted, issued: Issued, directory: Path, helper: Sequence[str]) -> Shaped:
    """The default profile gets its credentials from a process; standing ones on this machine are out of sight."""
    name, none = f"{wanted.name}.aws", f"{wanted.name}.none"
    command = shlex.join([*helper, "aws", "--credential", wanted.name])
    variables = {"AWS_CONFIG_FILE": str(directory / name), "AWS_SHARED_CREDENTIALS_FILE": str(directory / none)}
    files = {name: f"[default]\ncredential_process = {command}\n", none: ""}
    return Shaped(variables, files, kind_of("aws").clears)


def _k8s(wanted: Wanted, issued: Issued, directory: Path, helper: Sequence[str]) -> Shaped:
    """A kubeconfig (JSON is YAML) whose user is an exec plugin."""
    parts = _needs(wanted, issued, "server")
    if not parts["server"].startswith("https://"):
        raise ShapeError(f"{wanted.name}: its server is not an https address")
    cluster: dict[str, str] = {"server": parts["server"]}
    if parts.get("ca"):
        cluster["certificate-authority-data"] = _base64(parts["ca"])
    exec_plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": helper[0],
        "args": [*helper[1:], "k8s", "--credential", wanted.name],
        "interactiveMode": "Never",
        "provideClusterInfo": True,
    }
    context = {"cluster": wanted.name, "user": wanted.name}
    if parts.get("namespace"):
        context["namespace"] = parts["namespace"]
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": wanted.name, "cluster": cluster}],
        "users": [{"name": wanted.name, "user": {"exec": exec_plugin}}],
        "contexts": [{"name": wanted.name, "context": context}],
        "current-context": wanted.name,
    }
    name = f"{wanted.name}.kubeconfig"
    return Shaped({"KUBECONFIG": str(directory / name)}, {name: json.dumps(config)})


def _base64(text: str) -> str:
    from base64 import b64encode

    return b64encode(text.encode()).decode()


def _git(wanted: Wanted, issued: Issued, directory: Path, helper: Sequence[str]) -> Shaped:
    """For one address only, and instead of the helpers that are configured for it."""
    stated = issued.parts.get("url") or issued.parts.get("host") or ("github.com" if issued.kind == "github" else "")
    at = wanted.at or (_place(wanted.name, stated) if stated else "")
    if not at:
        raise ShapeError(f"{wanted.name}: say which host it is for: {wanted.name}=git:HOST")
    if stated and at != _place(wanted.name, stated):
        raise ShapeError(f"{wanted.name}: is not for {at}")
    # git hands the text to a shell when it begins with `!`.
    command = "!" + shlex.join([*helper, "git", "--credential", wanted.name])
    return Shaped(git=((f"credential.{at}.helper", ""), (f"credential.{at}.helper", command)), at=at)


def _place(name: str, text: str) -> str:
    found = place(text)
    if not found:
        raise ShapeError(f"{name}: {text!r} is not HOST, HOST:PORT, or https://HOST (http on loopback only)")
    return found


def _docker(wanted: Wanted, issued: Issued, directory: Path, helper: Sequence[str]) -> Shaped:
    """A configuration of its own, whose only credential helper is ours, for one registry."""
    registry = wanted.at or issued.parts.get("registry", "")
    if not _REGISTRY.match(registry):
        raise ShapeError(f"{wanted.name}: say which registry it is for: {wanted.name}=docker:REGISTRY")
    config = json.dumps({"credHelpers": {registry: "remit"}})
    # Docker looks for config.json in the directory that DOCKER_CONFIG names.
    return Shaped({"DOCKER_CONFIG": str(directory)}, {"config.json": config}, ("DOCKER_AUTH_CONFIG",), at=registry)


def _exec(wanted: Wanted, issued: Issued, directory: Path, helper: Sequence[str]) -> Shaped:
    """Only for `remit-cred`, when it asks."""
    return Shaped()


def _needs(wanted: Wanted, issued: Issued, *names: str) -> Mapping[str, str]:
    missing = [name for name in names if name not in issued.parts]
    if missing:
        raise ShapeError(f"{wanted.name}: has no {', '.join(missing)}, so it cannot be {wanted.shape}")
    return issued.parts


SHAPES: Mapping[str, Shape] = {
    "env": _env,
    "file": _file,
    "pgservice": _pgservice,
    "mycnf": _mycnf,
    "creds": _creds,
    "aws": _aws,
    "k8s": _k8s,
    "git": _git,
    "docker": _docker,
    "exec": _exec,
}

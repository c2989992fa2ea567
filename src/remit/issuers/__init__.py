"""Systems that mint and kill credentials: one port, one conformance suite. `build` turns configuration into one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from time import time_ns
from typing import Any, TypeVar

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField, IssuerUnavailable
from remit.domain.flow import Json
from remit.ports import Answer, Ask, Issuer, Reader, Renew, Sealer, Signer

T = TypeVar("T")


async def _no_ask(*_: object, **__: object) -> Answer:
    raise IssuerUnavailable("Nothing can be asked here.")


async def _no_renew(issuer: str, lease: str, until: int, use: Callable[[Any], Awaitable[tuple[Any, T]]]) -> T:
    raise IssuerUnavailable("No grant is kept here.")


@dataclass(frozen=True)
class Tools:
    """What issuers may need of the house. `environ` resolves settings such as `dsn_env`; `clock` is ms.

    `ask` and `renew` are for those whose addresses strangers name, and whose grants people give.
    """

    reader: Reader
    signer: Signer
    sealer: Sealer
    issuer_url: str
    environ: Mapping[str, str]
    clock: Callable[[], int] = field(default=lambda: time_ns() // 1_000_000)
    ask: Ask = _no_ask
    renew: Renew = _no_renew


# kind → (module, class, settings). A module is imported when the first issuer of its kind is built.
KINDS: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "postgres": (
        "postgres",
        "PostgresIssuer",
        ("dsn_env", "dsn_file", "database", "connection_limit", "statement_timeout", "owner"),
    ),
    "mysql": ("mysql", "MysqlIssuer", ("dsn_env", "dsn_file", "backstop", "require_tls", "connection_limit")),
    "redis": ("redis", "RedisIssuer", ("dsn_env", "dsn_file", "acl_save")),
    "nats": (
        "nats",
        "NatsIssuer",
        (
            "url",
            "account",
            "ca_file",
            "operator_keys",
            "signing_seed_env",
            "signing_seed_file",
            "operator_seed_env",
            "operator_seed_file",
            "system_creds_env",
            "system_creds_file",
        ),
    ),
    "ssh": ("ssh", "SshIssuer", ("list_file",)),
    "x509": ("x509", "X509Issuer", ("list_file",)),
    "google": ("google", "GoogleIssuer", ("audience", "sts_endpoint", "iam_endpoint")),
    "azure": ("azure", "AzureIssuer", ("tenant", "client_id", "login_endpoint")),
    "openbao": ("openbao", "OpenBaoIssuer", ("address", "role", "auth_mount", "audience", "token_file")),
    "github": ("github", "GithubIssuer", ("client_id", "installation", "private_key_file", "api")),
    "kubernetes": ("kubernetes", "KubernetesIssuer", ("server", "token_file", "ca_file")),
    "aws": ("aws", "AwsIssuer", ("region", "endpoint")),
    "oauth": (
        "oauth",
        "OauthIssuer",
        (
            "resource",
            "grant",
            "authorization_server",
            "client_id",
            "client_auth",
            "client_secret_env",
            "client_secret_file",
            "longest_life",
            "revoke",
            "allow_private_network",
        ),
    ),
    "jwt": ("jwt", "JwtIssuer", ()),
    "static": ("static", "StaticIssuer", ()),
}


def build(config: IssuerConfig, tools: Tools) -> Issuer:
    """Build by `config.kind`; an unknown kind or setting raises `BadField` with the nearest known one."""
    if config.kind not in KINDS:
        raise BadField("kind", f"no issuer is of kind {config.kind!r}; {_near(config.kind, tuple(KINDS))}")
    module, name, settings = KINDS[config.kind]
    for key in config.settings:
        if key not in settings:
            raise BadField(key, f"is not a setting of {config.kind}; {_near(key, settings)}")
    try:
        found = import_module(f"{__name__}.{module}")
    except ModuleNotFoundError as missing:
        step = f"pip install 'remit[{config.kind}]'"
        raise BadField("kind", f"{config.kind} needs the package {missing.name}", next_step=step) from missing
    issuer: Issuer = getattr(found, name)(config, tools)
    return issuer


def _near(name: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"


def text_of(grants: Mapping[str, Json], key: str) -> str:
    """A required text of a credential's grants, or `BadField`."""
    value = grants.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= 1024:
        raise BadField(f"grants.{key}", "is required and must be text")
    return value

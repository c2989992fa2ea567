"""Systems that mint and kill credentials: one port, one conformance suite. `build` turns configuration into one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField
from remit.domain.flow import Json
from remit.ports import Issuer, Reader, Sealer, Signer


@dataclass(frozen=True)
class Tools:
    """What issuers may need of the house. `environ` resolves settings such as `dsn_env`."""

    reader: Reader
    signer: Signer
    sealer: Sealer
    issuer_url: str
    environ: Mapping[str, str]


def build(config: IssuerConfig, tools: Tools) -> Issuer:
    """Build by `config.kind`; an unknown kind or setting raises `BadField` with the nearest known one."""
    builders: Mapping[str, tuple[Callable[[IssuerConfig, Tools], Issuer], tuple[str, ...]]] = {
        "postgres": (_postgres, ("dsn_env", "dsn_file", "database", "connection_limit", "statement_timeout", "owner")),
        "jwt": (_jwt, ()),
        "static": (_static, ()),
    }
    if config.kind not in builders:
        raise BadField("kind", f"no issuer is of kind {config.kind!r}; {_near(config.kind, builders)}")
    make, settings = builders[config.kind]
    for key in config.settings:
        if key not in settings:
            raise BadField(key, f"is not a setting of {config.kind}; {_near(key, settings)}")
    return make(config, tools)


def _near(name: str, known: Mapping[str, object] | tuple[str, ...]) -> str:
    near = get_close_matches(name, list(known), 1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"


def _postgres(config: IssuerConfig, tools: Tools) -> Issuer:
    from .postgres import PostgresIssuer

    return PostgresIssuer(config, tools.environ)


def _jwt(config: IssuerConfig, tools: Tools) -> Issuer:
    from .jwt import JwtIssuer

    return JwtIssuer(tools)


def _static(config: IssuerConfig, tools: Tools) -> Issuer:
    from .static import StaticIssuer

    return StaticIssuer(tools)


def text_of(grants: Mapping[str, Json], key: str) -> str:
    """A required text of a credential's grants, or `BadField`."""
    value = grants.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= 1024:
        raise BadField(f"grants.{key}", "is required and must be text")
    return value

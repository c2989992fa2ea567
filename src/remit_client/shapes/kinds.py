"""What is usual for each kind of credential: data, so that a new kind is a new entry and no new code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Kind:
    """`variables`: by part, what programs read it from. A part that is not named goes to `NAME_PART`.

    `clears`: variables that would win over those, or send the secret somewhere else: the child does not inherit them.
    `files`: the names files have where programs look for them by name. `shape` is the usual one.
    """

    variables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    clears: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    shape: str = "env"


_LIBPQ = ("PGSERVICE", "PGSERVICEFILE", "PGPASSFILE", "PGPASSWORD", "PGHOSTADDR", "PGHOST", "PGPORT", "PGUSER")
_AWS = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)

KINDS: Mapping[str, Kind] = {
    "postgres": Kind(
        {
            "host": ("PGHOST",),
            "port": ("PGPORT",),
            "user": ("PGUSER",),
            "password": ("PGPASSWORD",),
            "dbname": ("PGDATABASE",),
            "sslmode": ("PGSSLMODE",),
        },
        (*_LIBPQ, "PGDATABASE", "PGOPTIONS"),
    ),
    "mysql": Kind(
        {
            "host": ("MYSQL_HOST",),
            "port": ("MYSQL_TCP_PORT",),
            "user": ("MYSQL_USER",),
            "password": ("MYSQL_PWD",),
            "database": ("MYSQL_DATABASE",),
        },
        ("MYSQL_UNIX_PORT", "MYSQL_TCP_PORT", "MYSQL_HOST", "MYSQL_PWD"),
    ),
    "redis": Kind(
        {
            "url": ("REDIS_URL",),
            "host": ("REDIS_HOST",),
            "port": ("REDIS_PORT",),
            "user": ("REDIS_USERNAME",),
            "password": ("REDIS_PASSWORD", "REDISCLI_AUTH"),
            "database": ("REDIS_DB",),
        },
    ),
    "nats": Kind(
        {"url": ("NATS_URL",), "inbox_prefix": ("NATS_INBOX_PREFIX",)},
        ("NATS_CREDS", "NATS_NKEY", "NATS_CONTEXT", "NATS_USER", "NATS_PASSWORD", "NATS_TOKEN", "NATS_INBOX_PREFIX"),
        files={"creds": "creds"},
        shape="creds",
    ),
    # OpenSSH finds the certificate of `id_remit` as `id_remit-cert.pub`.
    "ssh": Kind(files={"private_key": "id_remit", "certificate": "id_remit-cert.pub"}, shape="file"),
    "x509": Kind(files={"certificate": "tls.crt", "private_key": "tls.key", "ca": "ca.crt"}, shape="file"),
    "aws": Kind(
        {
            "access_key_id": ("AWS_ACCESS_KEY_ID",),
            "secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
            "session_token": ("AWS_SESSION_TOKEN",),
            "expiration": ("AWS_CREDENTIAL_EXPIRATION",),
            "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
        },
        _AWS,
        shape="aws",
    ),
    "google": Kind(
        {"access_token": ("CLOUDSDK_AUTH_ACCESS_TOKEN", "GOOGLE_OAUTH_ACCESS_TOKEN")},
        ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"),
    ),
    "azure": Kind({"access_token": ("AZURE_ACCESS_TOKEN",)}),
    "github": Kind({"access_token": ("GITHUB_TOKEN", "GH_TOKEN")}, ("GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN")),
    "kubernetes": Kind(shape="k8s"),
    "oauth": Kind({"access_token": ("MCP_SERVER_TOKEN",)}),
}
GENERIC = Kind()


def kind_of(name: str) -> Kind:
    """What is usual for this kind, or nothing in particular."""
    return KINDS.get(name, GENERIC)

"""OAuth 2.0 Authorization Server Metadata (RFC 8414), or OpenID Connect Discovery, which has the same members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from remit.domain.errors import BadField

from . import json_input, oauth_url
from .rfc9728 import scopes

BASIC, POST, KEY, NONE = "client_secret_basic", "client_secret_post", "private_key_jwt", "none"


@dataclass(frozen=True, slots=True)
class AuthorizationServer:
    """What is used of it. `says_issuer`: its answers name it (RFC 9207). `reads_documents`: a client may be the address
    of its own metadata document.
    """

    issuer: str
    token_endpoint: str
    authorization_endpoint: str = ""
    registration_endpoint: str = ""
    revocation_endpoint: str = ""
    methods: tuple[str, ...] = (BASIC,)
    algorithms: tuple[str, ...] = ()
    challenges: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    says_issuer: bool = False
    reads_documents: bool = False

    def takes_our_key(self, algorithm: str) -> bool:
        """Whether a client may prove itself by signing with this algorithm."""
        return KEY in self.methods and (not self.algorithms or algorithm in self.algorithms)


def candidates(issuer: str) -> tuple[str, ...]:
    """Where the metadata of `issuer` may be, in the order in which to look (section 3.1, and section 5 for OpenID)."""
    bare = issuer.rstrip("/")
    found = [oauth_url.inserted(bare, name) for name in ("oauth-authorization-server", "openid-configuration")]
    return tuple(dict.fromkeys((*found, f"{bare}/.well-known/openid-configuration")))


def parse(body: bytes, *, issuer: str, allow_private: bool) -> AuthorizationServer:
    """The metadata; `BadField` unless its issuer is the one that was asked for, to the byte (section 3.3)."""
    document = json_input.parse(body, limit=len(body))
    if not isinstance(document, Mapping):
        raise BadField("authorization server metadata", "is not an object")
    if document.get("issuer") != issuer:
        raise BadField("issuer", f"the metadata of {issuer} names another issuer")

    def address(name: str, *, required: bool = False) -> str:
        value = document.get(name)
        if value is None and not required:
            return ""
        return oauth_url.checked(value, name, allow_private=allow_private)

    return AuthorizationServer(
        issuer,
        address("token_endpoint", required=True),
        address("authorization_endpoint"),
        address("registration_endpoint"),
        address("revocation_endpoint"),
        _words(document, "token_endpoint_auth_methods_supported") or (BASIC,),
        _words(document, "token_endpoint_auth_signing_alg_values_supported"),
        _words(document, "code_challenge_methods_supported"),
        scopes(document.get("scopes_supported"), "scopes_supported"),
        document.get("authorization_response_iss_parameter_supported") is True,
        document.get("client_id_metadata_document_supported") is True,
    )


def _words(document: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = document.get(name, ())
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > 100:
        raise BadField(name, "must be a list of words")
    return tuple(word for word in value if isinstance(word, str) and len(word) <= 100)

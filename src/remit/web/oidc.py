"""Remit as an OpenID Connect provider, as far as clouds need one: discovery and keys, for federation tokens only.

Their keys sign nothing else, so that no other token of ours is ever good at a cloud.
"""

from __future__ import annotations

from starlette.responses import Response

from remit.domain.caller import Call

from .house import Asked, House
from .problems import json_response


async def configuration(house: House, call: Call, asked: Asked) -> Response:
    """GET /.well-known/openid-configuration (OpenID Connect Discovery 1.0 section 3)."""
    at = house.url
    return json_response(
        {
            "issuer": at,
            "jwks_uri": f"{at}/.well-known/federation-jwks.json",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "claims_supported": [
                "iss",
                "sub",
                "aud",
                "exp",
                "iat",
                "nbf",
                "jti",
                "remit_agent",
                "remit_purpose",
                "remit_task",
            ],
        }
    )


async def keys(house: House, call: Call, asked: Asked) -> Response:
    """GET /.well-known/federation-jwks.json (RFC 7517)."""
    found = {"keys": [dict(key) for key in house.env.signer.public("federation")]}
    return json_response(found, headers={"Cache-Control": f"public, max-age={house.env.rotation.cached_for}"})

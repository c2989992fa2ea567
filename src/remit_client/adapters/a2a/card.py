"""Agent cards that say which agent takes hand-offs, signed by its own key (A2A 1.0 section 8.4: JWS over JCS)."""

from __future__ import annotations

import base64
import json
from typing import Any

from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentExtension,
    AgentInterface,
    AgentSkill,
    HTTPAuthSecurityScheme,
    SecurityRequirement,
    SecurityScheme,
    StringList,
)
from a2a.utils.signing import SignatureVerificationError, create_agent_card_signer, create_signature_verifier
from google.protobuf.json_format import MessageToDict
from jwt import PyJWK

from ...dpop import safe_origin
from ...errors import RemitError
from ...protocol import Agent
from ...verify import Key, Unverified

EXTENSION = "urn:remit:a2a:delegation:v1"
PATH = "/a2a"
SIGNATURES = 8


class BadCard(RemitError):
    """This is not the card of that agent at that address; nothing was sent there."""


def card(agent: Agent, url: str, description: str, skills: tuple[AgentSkill, ...] = ()) -> AgentCard:
    """The card of an agent that has proved itself, at `url`, which its givers' purposes name as an audience."""
    safe_origin(url)
    params = {"agent": agent.name, "issuer": agent.url}
    hand_offs = AgentExtension(
        uri=EXTENSION, description="Works in what was handed to it", required=True, params=params
    )
    made = AgentCard(
        name=agent.name,
        description=description,
        version="1",
        supported_interfaces=[
            AgentInterface(url=url.rstrip("/") + PATH, protocol_binding="JSONRPC", protocol_version="1.0")
        ],
        capabilities=AgentCapabilities(streaming=False, extensions=[hand_offs]),
        security_schemes={"remit": SecurityScheme(http_auth_security_scheme=HTTPAuthSecurityScheme(scheme="DPoP"))},
        security_requirements=[SecurityRequirement(schemes={"remit": StringList()})],
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=skills or [AgentSkill(id="work", name="work", description=description, tags=["remit"])],
    )
    header: Any = {"kid": agent.key.jkt, "alg": "ES256", "typ": "JOSE", "jwk": dict(agent.key.jwk)}
    key: Any = agent.key.private  # what PyJWT takes, whatever the signer's types say
    return create_agent_card_signer(key, header)(made)


def signer(found: AgentCard, url: str, agent: str) -> str:
    """The thumbprint of the key that signed it. Whose that is, Remit says when something is to be handed over.

    Raises `BadCard` unless it is this agent's, for exactly this address, and whole.
    """
    named = [one for one in found.capabilities.extensions if one.uri == EXTENSION]
    if len(named) != 1 or MessageToDict(named[0].params).get("agent") != agent:
        raise BadCard(f"The card at {url} is not {agent}'s, or takes no hand-offs.")
    if [one.url for one in found.supported_interfaces] != [url.rstrip("/") + PATH]:
        raise BadCard(f"The card at {url} sends messages elsewhere.")
    for signature in found.signatures[:SIGNATURES]:
        alone = AgentCard()
        alone.CopyFrom(found)
        alone.ClearField("signatures")
        alone.signatures.append(signature)
        try:
            return _signed_by(alone)
        except (
            SignatureVerificationError,
            Unverified,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            RecursionError,
        ):
            continue
    raise BadCard(f"The card at {url} is signed by nobody.", next_step="Sign it with the agent's own key.")


def _signed_by(found: AgentCard) -> str:
    jwk = json.loads(base64.urlsafe_b64decode(found.signatures[0].protected + "=="))["jwk"]
    thumbprint = Key(jwk).thumbprint

    def embedded(kid: str | None, jku: str | None) -> PyJWK:
        return PyJWK(jwk, "ES256")

    create_signature_verifier(embedded, ["ES256"])(found)
    return thumbprint

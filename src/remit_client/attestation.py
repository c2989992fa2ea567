"""Prove by a client attestation (draft-ietf-oauth-attestation-based-client-auth), with DPoP as the proof of possession.

REMIT_CLIENT_ATTESTATION is a file that an attester writes and keeps fresh, for this agent's key
(`python -m remit_client jwk`). It is read whenever the key has to be proved again.
"""

from __future__ import annotations

import os
from pathlib import Path

from .errors import NotAuthenticated
from .wire import Send, Talk, checked, member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .protocol import Agent

LIMIT = 8_192


def configured() -> str:
    """The file's path; empty when there is none."""
    return os.environ.get("REMIT_CLIENT_ATTESTATION", "")


def prove(agent: Agent) -> Talk[None]:
    """Bind the agent's key at the token endpoint; the token that comes back only tells the agent's name."""
    try:
        attestation = Path(configured()).read_text(encoding="ascii").strip()
    except (OSError, ValueError) as flaw:
        step = "REMIT_CLIENT_ATTESTATION must name the file that the attester writes."
        raise NotAuthenticated(
            f"The client attestation cannot be read ({type(flaw).__name__}).", next_step=step
        ) from flaw
    if not 0 < len(attestation) <= LIMIT or not all("!" <= c <= "~" for c in attestation):
        raise NotAuthenticated("The client attestation's file does not hold one.", next_step="It is one compact JWT.")
    found = yield from checked(Send("POST", f"{agent.url}/oauth/challenge", {}))
    challenge, url = member(found, "attestation_challenge", str), f"{agent.url}/oauth/token"
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "OAuth-Client-Attestation": attestation,
        "DPoP": agent.key.proof("POST", url, nonce=challenge),
    }
    answer = yield from checked(Send("POST", url, headers, b"grant_type=client_credentials"))
    me = yield from agent.get("/v1/whoami", member(answer, "access_token", str))
    agent.proved_as(member(me, "name", str))

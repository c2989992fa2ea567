"""What a shell needs to speak for an agent: `python -m remit_client proof|assertion|jkt|jwk`.

    proof METHOD URL [TOKEN]   a DPoP proof for one request (RFC 9449); REMIT_NONCE is the server's challenge
    assertion AGENT ISSUER     a client assertion for the token endpoint (RFC 7523)
    jkt                        the thumbprint of this agent's key
    jwk                        its public half, for an attester to sign for (RFC 7517)

The key is in REMIT_AGENT_DIR, made when there is none. Each proof and assertion is good once, for a minute.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from .keys import AgentKey


def main(words: list[str]) -> int:
    """Print one thing; 2 when asked for something else."""
    key = AgentKey.load_or_create(Path(os.environ.get("REMIT_AGENT_DIR") or Path.home() / ".remit" / "agent"))
    match words:
        case ["proof", method, url, *token] if len(token) <= 1:
            print(key.proof(method, url, "".join(token), os.environ.get("REMIT_NONCE", "")))
        case ["assertion", agent, issuer]:
            print(key.assertion(agent, issuer))
        case ["jkt"]:
            print(key.jkt)
        case ["jwk"]:
            print(json.dumps(dict(key.jwk)))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


sys.exit(main(sys.argv[1:]))

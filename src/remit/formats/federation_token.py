"""What a cloud is shown: an OpenID Connect ID token for one lease (OpenID Connect Core section 2).

`sub` is `agent:NAME:purpose:NAME`, catalogue names only, so that a cloud's trust policy can ask for one whole text.
Nothing in it was written by a model or an initiator.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from .jws import SigningKey, sign

AWS_TAGS = "https://aws.amazon.com/tags"


@dataclass(frozen=True, slots=True)
class FederationToken:
    """For exactly one audience. Instants in ms."""

    issuer: str
    audience: str
    agent: str
    purpose: str
    task: str
    jti: str
    issued_at: int
    expires_at: int

    @property
    def subject(self) -> str:
        """See the module; `remit` when it is Remit that asks, for no lease."""
        return f"agent:{self.agent}:purpose:{self.purpose}" if self.agent else "remit"


def encode(token: FederationToken, key: SigningKey) -> str:
    """Sign one. AWS reads session tags out of it, which its policies can ask for."""
    claims = {
        "iss": token.issuer,
        "sub": token.subject,
        "aud": token.audience,
        "iat": token.issued_at // 1000,
        "nbf": token.issued_at // 1000,
        "exp": token.expires_at // 1000,
        "jti": token.jti,
        "remit_agent": token.agent,
        "remit_purpose": token.purpose,
        "remit_task": token.task,
        AWS_TAGS: {
            "principal_tags": {name: [value] for name, value in _tags(token).items()},
            "transitive_tag_keys": list(_tags(token)),
        },
    }
    return sign(json.dumps(claims).encode(), typ="JWT", key=key)


def _tags(token: FederationToken) -> dict[str, str]:
    return {"remit-agent": token.agent, "remit-purpose": token.purpose, "remit-task": token.task}

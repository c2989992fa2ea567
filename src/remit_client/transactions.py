"""Transaction tokens, as a workload in a call graph asks for them (draft-ietf-oauth-transaction-tokens)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .protocol import ACCESS_TOKEN, EXCHANGE, Agent
from .verify import TXN_TYP, claimed_type
from .wire import Talk, member

TXN_TOKEN = "urn:ietf:params:oauth:token-type:txn_token"  # noqa: S105 - a name


def transaction(agent: Agent, subject: str, domain: str, scope: str, details: Mapping[str, Any] | None) -> Talk[str]:
    """This workload's own token: for an access token that was sent to it, or in place of one of its kind."""
    kind = TXN_TOKEN if claimed_type(subject) == TXN_TYP else ACCESS_TOKEN
    yield from agent.prove()
    fields = {"grant_type": EXCHANGE, "requested_token_type": TXN_TOKEN, "audience": domain, "scope": scope}
    fields |= {"subject_token": subject, "subject_token_type": kind, **agent.client()}
    if details:
        fields["request_details"] = json.dumps(details, allow_nan=False)
    return member((yield from agent.ask_token(fields)), "access_token", str)

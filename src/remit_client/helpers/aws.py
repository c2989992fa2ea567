"""AWS: the JSON of a `credential_process` (AWS SDKs and Tools Reference Guide, "Process credential provider")."""

from __future__ import annotations

import json

from . import Answer, part, rfc3339


def output(answer: Answer) -> str:
    """Version 1. Without `Expiration` an SDK would never ask again, so it is always there."""
    said = {
        "Version": 1,
        "AccessKeyId": part(answer, "access_key_id"),
        "SecretAccessKey": part(answer, "secret_access_key"),
        "Expiration": rfc3339(answer["expires_at"]),
    }
    token = answer["parts"].get("session_token", "")
    return json.dumps({**said, "SessionToken": token} if token else said)

"""Kubernetes: `ExecCredential` of client.authentication.k8s.io/v1 (client-go credential plugins)."""

from __future__ import annotations

import json

from . import Answer, Unfit, part, rfc3339

VERSION = "client.authentication.k8s.io/v1"


def output(answer: Answer, asked: str) -> str:
    """`asked` is KUBERNETES_EXEC_INFO. A client that names its cluster gets the credential of that one only."""
    if asked:
        _same(answer, asked)
    status = {"expirationTimestamp": rfc3339(answer["expires_at"])}
    if answer["parts"].get("certificate"):
        pair = {"clientCertificateData": part(answer, "certificate"), "clientKeyData": part(answer, "private_key")}
        return json.dumps({"apiVersion": VERSION, "kind": "ExecCredential", "status": {**status, **pair}})
    status["token"] = part(answer, "token", "access_token")
    return json.dumps({"apiVersion": VERSION, "kind": "ExecCredential", "status": status})


def _same(answer: Answer, asked: str) -> None:
    try:
        info = json.loads(asked)
        version, spec = info["apiVersion"], info.get("spec") or {}
        server = (spec.get("cluster") or {}).get("server", "")
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Unfit("KUBERNETES_EXEC_INFO is no ExecCredential.") from None
    if version != VERSION:
        raise Unfit(f"The client wants {version}; write {VERSION} into the kubeconfig.")
    own = answer["parts"].get("server", "")
    if server and own and server.rstrip("/") != own.rstrip("/"):
        raise Unfit(f"{answer['name']} is not for {server}.")

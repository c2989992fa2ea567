"""Prove an AWS role: sign a GetCallerIdentity that only this server can use, and only for this key.

    from remit_client import Remit, aws

    remit = Remit("https://remit.example.com")
    aws.prove(remit, region="eu-west-1")

The credentials are those botocore finds: the role of the instance, task or function, a profile, the environment.
They stay here; what is sent proves for five minutes who holds them. The proof lasts an hour: call `prove` again then.
Needs `remit[aws]`.
"""

from __future__ import annotations

from typing import Any

from .errors import NotAuthenticated
from .protocol import Agent
from .sync import Remit

BODY = "Action=GetCallerIdentity&Version=2011-06-15"


def prove(remit: Remit, *, region: str) -> str:
    """Bind this process's key as the AWS role it has; returns the agent's name."""
    remit.run(remit.agent.prove_by(evidence(remit.agent, region=region)))
    return remit.agent.name


def evidence(agent: Agent, *, region: str) -> dict[str, Any]:
    """The signed request, for `Agent.prove_by`. Asks the instance for its credentials, so it may block."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.session import Session

    credentials = Session().get_credentials()
    if credentials is None:
        raise NotAuthenticated("There are no AWS credentials here.", next_step="Give this process a role.")
    host = f"sts.{region}.amazonaws.com"
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Host": host,
        "X-Remit-Server-ID": agent.url,
        "X-Remit-Key": agent.key.jkt,
    }
    request = AWSRequest("POST", f"https://{host}/", headers=headers, data=BODY)
    SigV4Auth(credentials.get_frozen_credentials(), "sts", region).add_auth(request)
    return {"aws_request": {"url": request.url, "headers": dict(request.headers.items()), "body": BODY}}

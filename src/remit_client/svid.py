"""Prove a workload by its SVID, from any SPIFFE Workload API: a JWT-SVID, or the certificate of the connection.

    from remit_client import Remit, svid

    remit = Remit("https://remit.example.com")
    svid.prove(remit, token)        # a JWT-SVID whose one audience is the server's URL

The proof lasts as long as the SVID, an hour at most: call `prove` again with a new one before that.
"""

from __future__ import annotations

from .sync import Remit


def prove(remit: Remit, token: str = "") -> str:
    """Bind this process's key; returns the agent's name.

    Without a token it is the X.509-SVID that `remit`'s own HTTP client shows: `Remit(http=httpx.Client(verify=…))`.
    """
    remit.run(remit.agent.prove_by({"jwt_svid": token} if token else {"x509_svid": True}))
    return remit.agent.name

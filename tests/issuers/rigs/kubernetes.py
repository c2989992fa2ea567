"""An API server as Kubernetes documents it."""

import tempfile
import time
from pathlib import Path

from remit.domain.catalogue import IssuerConfig
from remit.issuers import Tools, build
from tests.issuers.clouds import Cluster

from . import Rig, lease

BACKSTOP = 0  # the API gives tokens no less than ten minutes
SETTINGS = {"server": "https://k.example", "token_file": "/none"}
READ = {"namespace": "billing", "rules": [{"resources": ["pods"], "verbs": ["get", "list"]}]}


def rule(**more):
    return {"namespace": "billing", "rules": [{"resources": ["pods"], "verbs": ["get"], **more}]}


BAD_GRANTS = [
    {},
    {"namespace": "billing"},
    {**READ, "namespace": "../x"},
    {**READ, "rules": []},
    {**READ, "rules": ["all"]},
    {**READ, "audience": 5},
    {**READ, "cluster": True},
    *(rule(verbs=[verb]) for verb in ("*", "escalate", "bind", "impersonate")),
    *(rule(resources=[one]) for one in ("*", "secrets", "pods/exec", "roles", "clusterrolebindings", "nodes/proxy")),
    rule(api_groups=["*"]),
    rule(api_groups="apps"),
    rule(verbs=[]),
    rule(names=[]),
    rule(names=["app-{customer}"]),
    rule(selector="x"),
]
BAD_SETTINGS = [
    ({}, "server"),
    ({"server": "http://k.example", "token_file": "/t"}, "https"),
    ({"server": "https://k.example"}, "token_file"),
    ({"server": "https://k.example", "token_file": "t"}, "token_file"),
    ({"server": "https://k.example", "token_file": "/t", "ca_file": "c"}, "ca_file"),
]


def issuer(url):
    token = Path(tempfile.mkdtemp()) / "token"
    token.write_text(Cluster.own_token + "\n")
    tools = Tools(None, None, None, "https://r", {}, lambda: int(time.time() * 1000))
    return build(IssuerConfig("k", "kubernetes", {"server": url, "token_file": str(token)}), tools)


async def rig(request):
    cluster = Cluster()
    gone = issuer("http://127.0.0.1:1")
    return Rig(issuer(cluster.url), lease(grants=READ), cluster.use, unreachable=gone, close=cluster.close)

"""Entra's token endpoint as Microsoft documents it."""

import time

from remit.domain.catalogue import IssuerConfig
from remit.issuers import Tools, build
from tests.issuers.clouds import ISSUER, Entra
from tests.world import world

from . import Rig, Unreachable, lease

BACKSTOP = 0
SETTINGS = {"tenant": Entra.tenant, "client_id": Entra.client}
READ = {"scope": "https://storage.azure.com/.default"}
BAD_GRANTS = [
    {},
    {"scope": "x"},
    {"scope": "https://a/.default https://b/.default"},
    {"scope": "https://storage.azure.com/"},
    {**READ, "more": 1},
]
BAD_SETTINGS = [
    ({}, "tenant"),
    ({"tenant": "common", "client_id": Entra.client}, "tenant"),
    ({"tenant": Entra.tenant}, "application"),
    ({**SETTINGS, "login_endpoint": "ftp://x"}, "https"),
]


def settings(url):
    return {"tenant": Entra.tenant, "client_id": Entra.client, "login_endpoint": url}


async def issuer(cloud=None, url="http://127.0.0.1:1"):
    w = await world(now=int(time.time() * 1000))
    _, call = await w.proved()
    task = await w.task(call)
    tools = Tools(w.store, w.env.signer, w.env.sealer, ISSUER, {}, lambda: int(time.time() * 1000))
    return build(IssuerConfig("cloud", "azure", settings(cloud.url if cloud else url)), tools), w, task.id


async def rig(request):
    cloud = Entra(lambda: w.env.signer.public("federation"))
    made, w, task = await issuer(cloud)
    gone, _, _ = await issuer()
    wanted = lease(grants=READ, task=task, parameters={"customer": "acme"})
    return Rig(made, wanted, cloud.use, recallable=False, unreachable=Unreachable(gone), close=cloud.close)

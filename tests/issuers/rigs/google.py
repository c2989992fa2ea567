"""STS and IAM credentials as Google documents them."""

import time

from remit.domain.catalogue import IssuerConfig
from remit.issuers import Tools, build
from tests.issuers.clouds import ISSUER, Google
from tests.world import world

from . import Rig, Unreachable, lease

BACKSTOP = 2.0
SETTINGS = {"audience": Google.provider}
READ = {
    "service_account": Google.account,
    "scopes": ["https://www.googleapis.com/auth/devstorage.read_only"],
    "boundary": [{"bucket": "reports", "permissions": ["inRole:roles/storage.objectViewer"], "prefix": "{customer}/"}],
}
BAD_GRANTS = [
    {},
    {**READ, "service_account": "me@example.com"},
    {**READ, "service_account": "a/../b@x.gserviceaccount.com@y.gserviceaccount.com"},
    {**READ, "scopes": []},
    {**READ, "scopes": ["https://evil.example/"]},
    {**READ, "boundary": "all"},
    {**READ, "boundary": ["all"]},
    {**READ, "boundary": [{"bucket": "a/b", "permissions": ["inRole:roles/x"]}]},
    {**READ, "boundary": [{"bucket": "a", "permissions": ["roles/x"]}]},
    {**READ, "boundary": [{"bucket": "a", "permissions": ["inRole:roles/x"], "prefix": 5}]},
    {**READ, "boundary": [{"bucket": "a", "permissions": ["inRole:roles/x"], "when": "x"}]},
    {**READ, "more": 1},
]
BAD_SETTINGS = [
    ({}, "provider"),
    ({"audience": "https://x"}, "provider"),
    ({"audience": Google.provider, "sts_endpoint": "http://x.example"}, "https"),
]


def settings(url):
    return {"audience": Google.provider, "sts_endpoint": url, "iam_endpoint": url}


async def issuer(cloud=None, url="http://127.0.0.1:1"):
    w = await world(now=int(time.time() * 1000))
    _, call = await w.proved()
    task = await w.task(call)
    tools = Tools(w.store, w.env.signer, w.env.sealer, ISSUER, {}, lambda: int(time.time() * 1000))
    return build(IssuerConfig("cloud", "google", settings(cloud.url if cloud else url)), tools), w, task.id


async def rig(request):
    cloud = Google(lambda: w.env.signer.public("federation"))
    made, w, task = await issuer(cloud)
    gone, _, _ = await issuer()
    wanted = lease(grants=READ, task=task, parameters={"customer": "acme"})
    return Rig(made, wanted, cloud.use, recallable=False, unreachable=Unreachable(gone), close=cloud.close)

"""STS as AWS documents it."""

import time

from remit.domain.catalogue import IssuerConfig
from remit.issuers import Tools, build
from tests.issuers.clouds import ISSUER, Sts
from tests.world import world

from . import Rig, Unreachable, lease

BACKSTOP = 2.0
SETTINGS = {"region": "eu-central-1"}
READ = {
    "role_arn": "arn:aws:iam::123456789012:role/billing",
    "actions": ["s3:GetObject"],
    "resources": ["arn:aws:s3:::reports/{customer}/*"],
}
BAD_GRANTS = [
    {},
    {**READ, "role_arn": "billing"},
    {**READ, "actions": []},
    {**READ, "actions": ["*"]},
    {**READ, "actions": ["s3:Get Object"]},
    {**READ, "actions": ["iam:PassRole"]},
    {**READ, "actions": ["sts:AssumeRole"]},
    {**READ, "resources": ["*"]},
    {**READ, "resources": ["{customer}"]},
    {**READ, "resources": ["arn:aws:s3:::${aws:username}/x"]},
    {**READ, "resources": ["arn:aws:s3"]},
    {**READ, "resources": "arn:aws:s3:::x"},
    {**READ, "policy": "{}"},
]
BAD_SETTINGS = [
    ({}, "region"),
    ({"region": "Frankfurt"}, "region"),
    ({"region": "eu-central-1", "endpoint": "http://sts.example"}, "https"),
    ({"region": "eu-central-1", "endpoint": "https://u:p@sts.example"}, "user information"),
    ({"region": "eu-central-1", "endpoint": "https://sts.example/?x"}, "no query"),
    ({"region": "eu-central-1", "endpoint": 5}, "https"),
    ({"regions": "x"}, "did you mean 'region'"),
]


def settings(url):
    return {"region": "eu-central-1", "endpoint": url}


async def issuer(cloud=None, url="http://127.0.0.1:1"):
    w = await world(now=int(time.time() * 1000))
    _, call = await w.proved()
    task = await w.task(call)
    tools = Tools(w.store, w.env.signer, w.env.sealer, ISSUER, {}, lambda: int(time.time() * 1000))
    return build(IssuerConfig("cloud", "aws", settings(cloud.url if cloud else url)), tools), w, task.id


async def rig(request):
    cloud = Sts(lambda: w.env.signer.public("federation"))
    made, w, task = await issuer(cloud)
    gone, _, _ = await issuer()
    wanted = lease(grants=READ, task=task, parameters={"customer": "acme"})
    return Rig(made, wanted, cloud.use, recallable=False, unreachable=Unreachable(gone), close=cloud.close)

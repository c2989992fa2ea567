"""A sealed secret."""

from dataclasses import replace

from remit.domain.caller import CallerKind
from remit.domain.catalogue import IssuerConfig
from remit.issuers import Tools, build
from remit.verbs.seal import seal
from tests.world import world

from . import Rig, lease

BACKSTOP = 0
SETTINGS = {}
BAD_GRANTS = [{}, {"secret": 5}, {"secret": "a", "x": 1}]
BAD_SETTINGS = [({"x": 1}, "known: none")]


async def rig(request):
    w = await world()
    await seal(w.env, w.call(CallerKind.OPERATOR, "op"), "stripe", b"canary")
    tools = Tools(w.store, w.env.signer, w.env.sealer, "https://r", {})
    return Rig(build(IssuerConfig("s", "static"), tools), replace(lease(grants={"secret": "stripe"}), holds="stripe/1"))

"""Access tokens: `alive` is what a resource server checks that asks nobody."""

from remit.domain.catalogue import IssuerConfig
from remit.formats import jwk, rfc9068
from remit.issuers import Tools, build
from tests.world import world

from . import Rig, lease

BACKSTOP = 0
SETTINGS = {}
BAD_GRANTS = [
    {},
    {"audience": "no-uri"},
    {"audience": "https://a#f"},
    {"audience": "https://a", "scope": ["a b"]},
    {"audience": "https://a", "x": 1},
    {"audience": "https://remit.test/"},
    {"audience": "https://a", "scope": ["a"] * 101},
]
BAD_SETTINGS = [({"x": 1}, "known: none")]


async def rig(request):
    w = await world()
    _, call = await w.proved()
    task = await w.task(call)
    keys = [jwk.parse(key) for key in w.env.signer.public("token")]
    tools = Tools(w.store, w.env.signer, w.env.sealer, "https://r", {})
    minting = lease(grants={"audience": "https://rs", "scope": ["a", "b"]}, task=task.id)

    def reads(minted):
        text = minted.parts["access_token"]
        token = rfc9068.parse(text, issuer="https://r", audience="https://rs", keys=keys, now=minting.reserved_at)
        return (token.task, token.jkt, token.scope, token.actor) == (task.id, call.caller.jkt, "a b", ("bot",))

    # Who introspects refuses it from the kill on; who only reads it, as `reads` does, at its `exp`.
    return Rig(build(IssuerConfig("j", "jwt"), tools), minting, reads, introspected=True)

"""The fake that ships with Remit."""

from remit.testing.issuer import FakeIssuer

from . import Rig, lease

BACKSTOP = 0


async def rig(request):
    fake, gone = FakeIssuer(), FakeIssuer(down=True)
    return Rig(fake, lease(), lambda minted: minted.parts["user"] in fake.live, unreachable=gone)

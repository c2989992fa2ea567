"""GitHub's App API as GitHub documents it."""

import time

from remit.domain.catalogue import IssuerConfig
from remit.issuers import Tools, build
from tests.issuers.clouds import GitHub
from tests.world import world

from . import Rig, Unreachable, lease

BACKSTOP = 0  # a token lives an hour
SETTINGS = {"client_id": "Iv1", "installation": "1", "private_key_file": "/none"}
READ = {"repositories": ["site"], "permissions": {"contents": "read"}}
BAD_GRANTS = [
    {},
    {**READ, "repositories": []},
    {**READ, "repositories": ["owner/site"]},
    {**READ, "repositories": ["*"]},
    {**READ, "permissions": {}},
    {**READ, "permissions": {"contents": "admin"}},
    {**READ, "permissions": {"Contents": "read"}},
    {**READ, "permissions": {"administration": "read"}},
    {**READ, "permissions": {"secrets": "write"}},
    {**READ, "owner": "x"},
]
BAD_SETTINGS = [
    ({}, "client id"),
    ({"client_id": "Iv1"}, "number"),
    ({"client_id": "Iv1", "installation": 1}, "number"),
    ({"client_id": "Iv1", "installation": "1"}, "absolute"),
    ({**SETTINGS, "api": "http://api.example"}, "https"),
]


async def issuer(github, folder, url=""):
    w = await world(now=int(time.time() * 1000))
    key = folder / "app.pem"
    key.write_bytes(github.pem)
    settings = {"client_id": "Iv1", "installation": "77", "private_key_file": str(key), "api": url or github.url}
    tools = Tools(w.store, w.env.signer, w.env.sealer, "https://r", {}, lambda: int(time.time() * 1000))
    return build(IssuerConfig("gh", "github", settings), tools)


async def rig(request):
    github, folder = GitHub(), request.getfixturevalue("tmp_path")
    gone = await issuer(github, folder, "http://127.0.0.1:1")
    return Rig(
        await issuer(github, folder), lease(grants=READ), github.use, unreachable=Unreachable(gone), close=github.close
    )

"""A real sshd that trusts our authority and looks at our list."""

import os
import subprocess
import time

from remit.domain.catalogue import IssuerConfig
from remit.issuers import Tools, build
from tests.world import world

from . import Rig, lease

BACKSTOP = 2.0
SETTINGS = {}
READ = {"principals": ["deploy"], "force_command": "echo it is me"}
BAD_GRANTS = [
    {},
    {"principals": []},
    {"principals": "root"},
    {"principals": ["a,b"]},
    {"principals": ["a b"]},
    {"principals": ["a\n"]},
    {"principals": ["x" * 65]},
    {"principals": ["{a}{b}"]},
    {**READ, "extensions": ["permit-everything"]},
    {**READ, "extensions": "permit-pty"},
    {**READ, "force_command": "a\nb"},
    {**READ, "force_command": "x" * 4097},
    {**READ, "force_command": 5},
    {**READ, "source_address": "anywhere"},
    {**READ, "source_address": "10.0.0.1/8"},
    {**READ, "options": 1},
]
BAD_SETTINGS = [({"list_file": "relative"}, "absolute"), ({"list_file": 5}, "absolute"), ({"krl": "x"}, "known")]


async def issuer(list_file="", w=None):
    w = w or await world(now=int(time.time() * 1000))
    settings = {"list_file": list_file} if list_file else {}
    tools = Tools(w.store, w.env.signer, w.env.sealer, "https://r", {}, lambda: int(time.time() * 1000))
    return build(IssuerConfig("hosts", "ssh", settings), tools)


def login(server, minted, *, user="", command="id"):
    """Log in as the holder of the credential would."""
    folder = server.folder / f"client-{os.urandom(4).hex()}"
    folder.mkdir(mode=0o700)
    key, certificate = folder / "key", folder / "key-cert.pub"
    key.write_text(minted.parts["private_key"])
    key.chmod(0o600)
    certificate.write_text(minted.parts["certificate"])
    words = ["ssh", "-F", "none", "-p", str(server.port), "-i", str(key), "-o", f"CertificateFile={certificate}",
             "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={folder}/known", "-o", "IdentitiesOnly=yes",
             "-o", "IdentityAgent=none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", f"{user or server.user}@127.0.0.1", command]  # fmt: skip
    return subprocess.run(words, capture_output=True, text=True, timeout=30)


async def rig(request):
    server = request.getfixturevalue("sshd")
    made = await issuer(str(server.folder / "krl"))
    await made.kill(lease("remit_first"))  # sshd wants its list to be there
    (server.folder / "ca.pub").write_bytes((await made.published("ca.pub"))[1])

    def alive(minted):
        done = login(server, minted)
        return done.returncode == 0 and done.stdout == "it is me\n"

    return Rig(made, lease(grants=READ), alive)

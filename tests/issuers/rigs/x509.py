"""A real TLS server that asks for a client certificate and looks at our list."""

import socket
import ssl
import threading
import time
from contextlib import suppress

from remit.domain.catalogue import IssuerConfig
from remit.issuers import Tools, build
from tests.web.test_client_certificates import certificate
from tests.world import world

from . import Rig, lease

BACKSTOP = 1.5
SETTINGS = {}
BAD_GRANTS = [
    {"common_name": ""},
    {"common_name": "x" * 65},
    {"common_name": "a\n"},
    {"common_name": "{a} {b}"},
    {"dns": "a.example"},
    {"dns": ["A.example"]},
    {"dns": ["*.example"]},
    {"dns": ["a..b"]},
    {"uris": ["no uri"]},
    {"uris": ["spiffe://remit.test/agent/bot"]},
    {"uris": ["SPIFFE://remit.test/agent/bot"]},
    {"uris": ["https://[x"]},
    {"ip": ["127.0.0.1"]},
]
BAD_SETTINGS = [({"list_file": "relative"}, "absolute"), ({"crl": "x"}, "known")]


async def issuer(list_file="", w=None):
    w = w or await world(now=int(time.time() * 1000))
    settings = {"list_file": list_file} if list_file else {}
    tools = Tools(w.store, w.env.signer, w.env.sealer, "https://r", {}, lambda: int(time.time() * 1000))
    return build(IssuerConfig("certs", "x509", settings), tools)


class TlsServer:
    """Says who the client is; reads the CRL anew for every connection."""

    def __init__(self, folder, ca, crl):
        self.folder, self.ca, self.crl, self.port = folder, ca, crl, 0
        self.cert, self.key = certificate(folder)
        self.start()

    def start(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def stop(self):
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # who waits in accept wakes
        self.listener.close()

    def serve(self):
        listener = self.listener
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.cert, self.key)
            context.verify_mode, context.verify_flags = ssl.CERT_REQUIRED, ssl.VERIFY_CRL_CHECK_LEAF
            context.load_verify_locations(self.ca)
            context.load_verify_locations(self.crl)
            try:
                with context.wrap_socket(raw, server_side=True) as tls:
                    names = {k: v for pairs in tls.getpeercert()["subject"] for k, v in pairs}
                    tls.sendall(names["commonName"].encode())
            except (ssl.SSLError, OSError):
                continue

    def ask(self, minted):
        context = ssl.create_default_context(cafile=self.cert)
        both = self.folder / "both.pem"
        both.write_text(minted.parts["private_key"] + minted.parts["certificate"])
        context.load_cert_chain(both)
        raw = socket.create_connection(("127.0.0.1", self.port), 5)
        with raw, context.wrap_socket(raw, server_hostname="127.0.0.1") as tls:
            return tls.recv(100).decode()


async def rig(request):
    folder = request.getfixturevalue("tmp_path")
    made = await issuer(str(folder / "crl.pem"))
    await made.kill(lease("remit_first"))
    (folder / "ca.pem").write_bytes((await made.published("ca.pem"))[1])
    server = TlsServer(folder, folder / "ca.pem", folder / "crl.pem")

    def alive(minted):
        try:
            return server.ask(minted) == "bot"
        except OSError:
            return False

    return Rig(made, lease(grants={"dns": ["bot.example"]}), alive, close=server.listener.close)

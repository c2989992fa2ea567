"""The official SDK's server with our extension, and its client."""

from __future__ import annotations

from mcp import Client
from mcp.server import MCPServer

from remit_client.adapters.mcp import RemitExtension

from . import fastmcp


class Driver(fastmcp.Driver):
    def served(self, guard):
        server = MCPServer("shop", extensions=[RemitExtension(guard)])
        for one in (self.tools.list_invoices, self.tools.pay, self.tools.wipe):
            server.tool()(one)
        return server

    def client(self):
        return Client(self._server)

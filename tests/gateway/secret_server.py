"""An MCP server that was given a secret in its environment, and sometimes says it."""

import base64
import hashlib
import os

from mcp.server import MCPServer

server = MCPServer("vault")
SECRET = os.environ.get("API_TOKEN", "")


@server.tool()
def use(name: str) -> str:
    """Use it, as an upstream would: say only its digest."""
    ours = [key for key in os.environ if key.startswith("REMIT_")]
    return f"{hashlib.sha256(SECRET.encode()).hexdigest()} {ours} {os.getpid()}"


@server.tool()
def leak(name: str) -> str:
    """Say it."""
    return f"it is {SECRET}"


@server.tool()
def fail(name: str) -> str:
    """Say it in an error."""
    raise ValueError(f"bad token {SECRET}")


@server.tool()
def encode(name: str) -> str:
    """Say it in other words: what nobody can find."""
    return base64.b64encode(SECRET.encode()).decode()


if SECRET:

    @server.tool(name=f"for-{SECRET}")
    def named() -> str:
        """Say it in its own name."""
        return ""


server.run()

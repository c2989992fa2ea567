"""One HTTP request: to an API directly, through `remit egress`, and through a plain reverse proxy of the same stack.

The same API, client and machine in one run; n is how many requests are under way at once. Through the egress each is
proved (DPoP), decided, recorded durably, sent anew with the task's credential, observed, and recorded again. The plain
proxy (starlette, uvicorn, httpx) decides and records nothing: what any hop costs here.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path

from measure import emit

sys.path.insert(0, str(Path(__file__).parents[1]))
import httpx
from tests.gateway.egresses import READ, arguments, catalogue, egress, http_table
from tests.gateway.gates import agent_dir, free_port
from tests.server import furnished, process

from remit_client import AsyncRemit

CALLS = 320
API = textwrap.dedent(
    """
    import sys, uvicorn
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b'{"id": "acme", "owes": "12.50"}'})
    uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False, lifespan="off")
    """
)
PROXY = textwrap.dedent(
    """
    import sys, httpx, uvicorn
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route
    http = httpx.AsyncClient(base_url=sys.argv[2], trust_env=False)
    async def pass_on(request):
        answer = await http.request(request.method, request.url.path, content=await request.body())
        return Response(answer.content, answer.status_code, media_type=answer.headers["content-type"])
    app = Starlette(routes=[Route("/{path:path}", pass_on)])
    uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False, lifespan="off")
    """
)


@contextmanager
def running(code: str, port: int, *more: str):
    """A Python process that serves on this port."""
    child = subprocess.Popen([sys.executable, "-c", code, str(port), *more], stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                httpx.get(f"http://127.0.0.1:{port}/", timeout=1)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield
    finally:
        child.terminate()
        child.wait(10)


async def measured(subject: str, http: httpx.AsyncClient, path: str) -> None:
    """One client's figures."""
    for at_once in (1, 16):
        samples: list[float] = []

        async def some() -> None:
            for _ in range(CALLS // at_once):
                began = time.perf_counter()
                answer = await http.get(path)
                samples.append(time.perf_counter() - began)
                assert answer.status_code == 200, answer.text

        await asyncio.gather(*(http.get(path) for _ in range(8)))
        began = time.perf_counter()
        await asyncio.gather(*(some() for _ in range(at_once)))
        emit("egress.call", subject, at_once, samples, len(samples) / (time.perf_counter() - began))


async def through(subject: str, url: str, path: str) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        await measured(subject, http, path)


async def through_remit(server, directory: Path, resource: str, path: str) -> None:
    remit = AsyncRemit(server.url, agent_dir=directory)
    async with remit.task("work", goal="g") as task:
        auth = await task.auth(resource)
        async with httpx.AsyncClient(base_url=resource, auth=auth, trust_env=False, timeout=30) as http:
            await measured("remit", http, path)
    await remit.close()


def main() -> None:
    port, api, proxy = free_port(), free_port(), free_port()
    url, resource = f"http://127.0.0.1:{api}", f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder, running(API, api):
        asyncio.run(through("direct", url, "/customers/acme"))
        with running(PROXY, proxy, url):
            asyncio.run(through("plain proxy", f"http://127.0.0.1:{proxy}", "/customers/acme"))
        with process(Path(folder) / "data") as started:
            tools = {"show": READ + arguments("id") + http_table(url, "GET", "/customers/{id}")}
            server = furnished(started, catalogue(resource, tools))
            with egress(server, Path(folder) / "gate", port):
                directory = agent_dir(server, Path(folder) / "agent")
                asyncio.run(through_remit(server, directory, resource, f"/127.0.0.1:{api}/customers/acme"))


main()

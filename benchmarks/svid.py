"""`svid.issue` in this process; `svid.fetch` by the unmodified `spiffe` client over the Unix socket of a `remit up`.

Each is a fresh key, certificate or token, with its event durable before it leaves. Subjects: `remit` X.509-SVIDs,
`remit-jwt` JWT-SVIDs; n = clients at once, each with a connection that stays.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from house import house, now
from measure import ONLY, emit
from tests.server import process

from remit.verbs.certify import Workload, certify_jwt, certify_x509, entitled

COUNT = 300
EXE = os.path.realpath(sys.executable)
SELECTORS = (f"unix:uid:{os.getuid()}", f"unix:path:{EXE}", f"unix:sha256:{sha256(Path(EXE).read_bytes()).hexdigest()}")
FILES = {
    "remit.toml": "[people.olga]\n",
    "agents/bot.toml": f'owner = "olga"\n[[attestations]]\nmethod = "unix"\nselectors = {list(SELECTORS)!r}\n',
    "policies/default.cedar": '@id("within") permit (principal, action, resource);\n',
}


async def issue(folder: Path) -> None:
    """Rule found, document signed, event durable."""
    workload = Workload(frozenset(SELECTORS), "sha256:" + "0" * 64)
    async with house(folder, FILES, {}) as made:
        env, call = made.env, made.operator()

        async def x509() -> None:
            await certify_x509(env, now(call), workload, (await entitled(env, workload))[0])

        async def jwt() -> None:
            await certify_jwt(env, now(call), workload, (await entitled(env, workload))[0], ["https://rs.example"])

        for subject, one in (("remit", x509), ("remit-jwt", jwt)):
            for at_once in (1, 8):
                await timed_together("svid.issue", subject, at_once, one)


async def timed_together(name: str, subject: str, at_once: int, one: Callable[[], Awaitable[None]]) -> None:
    """`COUNT` calls, `at_once` waiting."""
    samples: list[float] = []

    async def waiter(count: int) -> None:
        for _ in range(count):
            started = time.perf_counter()
            await one()
            samples.append(time.perf_counter() - started)

    await waiter(10)
    samples.clear()
    started = time.perf_counter()
    await asyncio.gather(*(waiter(COUNT // at_once) for _ in range(at_once)))
    emit(name, subject, at_once, samples, len(samples) / (time.perf_counter() - started), "one process, no socket")


def fetch(path: Path) -> None:
    """What a workload waits for."""
    import spiffe

    def client(jwt: bool, count: int) -> list[float]:
        samples = []
        with spiffe.WorkloadApiClient(f"unix://{path}") as asked:
            for _ in range(count + 10):
                started = time.perf_counter()
                if jwt:
                    asked.fetch_jwt_svid({"https://rs.example"})
                else:
                    asked.fetch_x509_svid()
                samples.append(time.perf_counter() - started)
        return samples[10:]  # connected, caches warm

    for subject, jwt in (("remit", False), ("remit-jwt", True)):
        for at_once in (1, 8):
            with ThreadPoolExecutor(at_once) as pool:
                started = time.perf_counter()
                found = list(
                    pool.map(lambda _, jwt=jwt, at_once=at_once: client(jwt, COUNT // at_once), range(at_once))
                )
                elapsed = time.perf_counter() - started
            samples = [sample for one in found for sample in one]
            note = "spiffe client's own parsing and checks included; per_s with connecting"
            emit("svid.fetch", subject, at_once, samples, len(samples) / elapsed, note)


def main() -> None:
    """Both."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "svid.issue".startswith(ONLY):
            asyncio.run(issue(folder))
        if not "svid.fetch".startswith(ONLY):
            return
        if not importlib.util.find_spec("spiffe"):
            emit("svid.fetch", "remit", 0, note="absent: pip install spiffe")
            return
        path = folder / "api.sock"
        with process(folder / "data", "--workload-api", str(path), "--trust-domain", "remit.bench") as running:
            with running.http("operator") as http:
                assert http.post("/v1/catalogue", json={"files": FILES}).status_code == 200
            fetch(path)


main()

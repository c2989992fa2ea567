"""Whether a secret that was found still opens something: only where somebody said that it may be asked.

It is shown to nobody but who stood beside it: the host of the URL it was in, or AWS's own STS by a signature. Nothing
is done there but signing in. Each is asked once, `PATIENCE` seconds long, `MOST` in all; no answer is no word.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from remit.domain.leak import Live

PATIENCE = 5.0
MOST = 50
AT_ONCE = 8
_URL = re.compile(r"\b(?:postgres(?:ql)?|rediss?)(?:\+\w+)?://[^\s\"'<>`\\]+")
_AWS_ID = re.compile(r"\b(AKIA[A-Z0-9]{16})\b")
_AWS_KEY = re.compile(r"(?<![A-Za-z0-9/+])([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])")


class NoVerifier(Exception):
    """What it takes to ask is not installed; the message says what to do."""


@dataclass(frozen=True)
class Door:
    """Where a secret says it is good; `secret` as it was found, which never appears in a repr."""

    kind: str
    secret: str = field(repr=False)
    host: str = ""
    port: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    database: str = ""


def doors(text: str) -> Iterator[Door]:
    """Every door that this text names with its secret. Nothing else of a URL is used: no option reaches a driver."""
    for match in _URL.finditer(text):
        try:
            parts = urlsplit(match[0])
            host, port, secret = parts.hostname or "", parts.port or 0, parts.password or ""
        except ValueError:
            continue
        if not host or not secret:
            continue
        kind = "redis" if parts.scheme.startswith("redis") else "postgres"
        kind = "rediss" if parts.scheme.startswith("rediss") else kind
        port = port or (6379 if kind.startswith("redis") else 5432)
        user, database = unquote(parts.username or ""), unquote(parts.path.strip("/"))
        yield Door(kind, secret, host, port, user, unquote(secret), database)
    ids, keys = _AWS_ID.findall(text), _AWS_KEY.findall(text)
    if len(set(ids)) == 1 and len(set(keys)) == 1:  # of more nobody can tell which belong together
        yield Door("aws", keys[0], user=ids[0], password=keys[0])


def verified(found: Sequence[Door]) -> tuple[Mapping[str, Live], list[str]]:
    """What each secret is, by what was answered; and what could not be asked, and why."""
    without: dict[str, None] = {}
    known: dict[str, Live] = {}
    once = list(dict.fromkeys(found))
    if len(once) > MOST:
        without[f"{len(once) - MOST} secrets were not asked about: no more than {MOST} are"] = None

    async def ask(door: Door, turn: asyncio.Semaphore) -> None:
        async with turn:
            try:
                async with asyncio.timeout(PATIENCE):
                    said = await _ASK[door.kind](door)
            except NoVerifier as missing:
                without[str(missing)] = None
                return
            except Exception:  # whatever a stranger's server does: no answer is no word
                said = Live.UNKNOWN
        if known.get(door.secret) is not Live.YES:  # good at one door is good
            known[door.secret] = said

    async def all_of_them() -> None:
        turn = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(ask(door, turn) for door in once[:MOST]))

    asyncio.run(all_of_them())
    return known, list(without)


async def _postgres(door: Door) -> Live:
    try:
        import asyncpg
    except ImportError as missing:
        raise NoVerifier("PostgreSQL cannot be asked: pip install 'remit[postgres]'") from missing
    # A context of our own: what the user has in ~/.postgresql is for servers that the user chose.
    private = ssl.create_default_context()
    private.check_hostname, private.verify_mode = False, ssl.CERT_NONE
    wrong = (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError)
    for way in (private, False):
        try:
            connection = await asyncpg.connect(
                host=door.host, port=door.port, user=door.user or "postgres", password=door.password,
                database=door.database or door.user or "postgres", timeout=PATIENCE, ssl=way,
            )  # fmt: skip
        except wrong:
            return Live.NO
        except asyncpg.InvalidCatalogNameError:  # signed in, and the database is gone
            return Live.YES
        except ConnectionError:  # it speaks no TLS
            continue
        connection.terminate()
        return Live.YES
    return Live.UNKNOWN


async def _redis(door: Door) -> Live:
    try:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import AuthenticationError
    except ImportError as missing:
        raise NoVerifier("Redis cannot be asked: pip install 'remit[redis]'") from missing
    client = Redis(
        host=door.host, port=door.port, username=door.user or None, password=door.password,
        ssl=door.kind == "rediss", socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE,
        retry=Retry(NoBackoff(), 0),
    )  # fmt: skip
    try:
        await client.ping()
    except AuthenticationError as wrong:
        # A server that wants no password says so, and then this one opens nothing.
        return Live.UNKNOWN if "without any password" in str(wrong) else Live.NO
    finally:
        await client.aclose()
    return Live.YES


async def _aws(door: Door) -> Live:
    """sts:GetCallerIdentity, which no policy can deny; the secret itself is not sent."""
    try:
        from botocore.config import Config
        from botocore.exceptions import ClientError
        from botocore.session import Session
    except ImportError as missing:
        raise NoVerifier("AWS cannot be asked: pip install 'remit[aws]'") from missing

    def ask() -> Live:
        client = Session().create_client(
            "sts", region_name="us-east-1", aws_access_key_id=door.user, aws_secret_access_key=door.password,
            aws_session_token=None,
            config=Config(connect_timeout=PATIENCE, read_timeout=PATIENCE, retries={"max_attempts": 0}),
        )  # fmt: skip
        try:
            client.get_caller_identity()
        except ClientError as refused:
            code = refused.response.get("Error", {}).get("Code")
            return Live.NO if code in ("InvalidClientTokenId", "SignatureDoesNotMatch") else Live.UNKNOWN
        return Live.YES

    return await asyncio.to_thread(ask)


_ASK: Mapping[str, Callable[[Door], Awaitable[Live]]] = {
    "postgres": _postgres,
    "redis": _redis,
    "rediss": _redis,
    "aws": _aws,
}

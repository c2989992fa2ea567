"""Step 0 of every request: who is calling, proved; nothing is decided for somebody unknown."""

from __future__ import annotations

from hashlib import sha256

from remit.domain.caller import Caller, CallerKind
from remit.domain.errors import BadProof, BadToken, NoCredentials
from remit.domain.task import Task
from remit.formats import rfc9068

from .house import Asked, House

NOBODY = Caller(CallerKind.ANYONE, "anyone")
_PEOPLE = (CallerKind.PERSON, CallerKind.OPERATOR, CallerKind.AUDITOR)


async def authenticate(house: House, asked: Asked, now: int, *, hook: bool = False) -> Caller:
    """Return the caller; without an Authorization header that is `NOBODY`. Only with `hook` is a hook key taken.

    Agents present `DPoP <token>` and a proof by the token's key; everybody else a bearer key that we keep
    only the digest of. An agent's token as a bearer token is refused: whoever stole it has no key.
    """
    header = asked.headers.get("authorization", "")
    if not header:
        return NOBODY
    scheme, _, credential = header.partition(" ")
    match scheme.lower():
        case "dpop":
            return await _agent(house, asked, credential.strip(), now)
        case "bearer" if hook and credential.count(".") == 2:
            return await _hook(house, credential.strip(), now)
        case "bearer":
            return await _key(house, credential.strip(), now)
    raise NoCredentials("Use `Authorization: DPoP …` (agents) or `Authorization: Bearer …` (people).")


async def _agent(house: House, asked: Asked, text: str, now: int) -> Caller:
    token = await house.token(text, now)
    proof = await house.proof(asked, now, text)
    if not token.jkt or proof.jkt != token.jkt:
        raise BadProof("The DPoP proof is not valid.", inside="the proof's key is not the token's")
    if not await house.proved(token):
        raise BadToken("The token is not valid.", inside="its key is bound to no agent")
    return Caller(CallerKind.AGENT, token.client, token.task, token.jkt)


async def _hook(house: House, text: str, now: int) -> Caller:
    """The agent a hook key was made for, within that one task; the decision looks at whether it is still open."""
    keys = await house.keys_for(text)
    token = rfc9068.parse(text, issuer=house.url, audience=f"{house.url}/v1/hooks", keys=keys, now=now)
    task = await house.env.store.get(Task, token.task)
    if task is None or task.agent != token.client:
        raise BadToken("The hook key is not valid.", inside=f"no task {token.task} of {token.client}")
    return Caller(CallerKind.AGENT, token.client, task.id, task.jkt)


def key_digest(asked: Asked) -> str:
    """What the bearer key of this request is stored under."""
    return sha256(asked.headers.get("authorization", "").partition(" ")[2].strip().encode()).hexdigest()


async def _key(house: House, text: str, now: int) -> Caller:
    if not text.startswith("key_") or len(text) > 200:
        raise BadToken("The bearer key is not valid.", next_step="Agents use DPoP, not Bearer (RFC 9449 section 7.1).")
    row = await house.access_key(sha256(text.encode()).hexdigest(), now)
    if row is None or now >= row.expires_at:
        raise BadToken("The bearer key is not valid.", next_step="Ask an operator for a new one.")
    groups: tuple[str, ...] = ()
    if row.kind is CallerKind.DIRECTORY:
        _, force = await house.env.in_force()
        if row.name not in force.catalogue.directories:
            raise BadToken("The bearer key is not valid.", inside=f"directory {row.name} is not in the catalogue")
    if row.kind is CallerKind.EDGE:
        _, force = await house.env.in_force()
        edge = force.catalogue.edges.get(row.name)
        if edge is None:
            raise BadToken("The bearer key is not valid.", inside=f"edge {row.name} is not in the catalogue")
        return Caller(row.kind, row.name, purposes=edge.purposes)
    if row.kind in _PEOPLE and (await house.env.departure(row.name)).gone:
        raise BadToken("The bearer key is not valid.", inside=f"{row.name} has left")
    if row.kind is CallerKind.PERSON:
        _, force = await house.env.in_force()
        person = force.catalogue.people.get(row.name)
        if person is None:
            raise BadToken("The bearer key is not valid.", inside=f"{row.name} is no longer in the catalogue")
        groups = person.groups
    return Caller(row.kind, row.name, groups=groups)

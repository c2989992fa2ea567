"""Vouch: an access token that says who an agent is, and which task it acts in (RFC 9068, bound by RFC 9449)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.errors import Denied, NotAttested
from remit.domain.identity import Identity, stale
from remit.domain.task import Task
from remit.formats.rfc9068 import AccessToken
from remit.ports import Env

TOKEN_TTL = 600_000


async def vouch(
    env: Env,
    call: Call,
    identity: Identity,
    task: Task | None = None,
    details: Mapping[str, Any] | None = None,
) -> tuple[str, AccessToken]:
    """Sign a token for Remit's own audience, after the event that says so is durable.

    Without a task it lets the agent propose, and nothing else (law 1).
    """
    _, force = await env.in_force()
    catalogue = force.catalogue
    above = await env.above_of(task) if task else await env.above(())
    purpose = catalogue.purposes.get(task.purpose) if task else None
    frozen = above.frozen.of(catalogue.agents.get(identity.agent), purpose) is not None
    if frozen or call.now >= identity.expires_at:
        raise NotAttested("This agent cannot act now.", next_step="Ask its owner.", inside="frozen or proof expired")
    over = above.flaw(catalogue, call.now)
    if over is not None:
        raise Denied(over.sentence, reasons=(over.reason.value,))
    token = _token(env, call, identity, env.new_id("jti"), task, details)
    because = events.TokenIssued(token.task, identity.agent, token.jti, token.audience, token.jkt, token.expires_at)
    await env.store.commit(Change(because, call).check(above.frozen))
    return env.signed(token), token


def first_token(
    env: Env, call: Call, identity: Identity, task: Task, details: Mapping[str, Any] | None = None
) -> tuple[str, AccessToken]:
    """The token a proposal is answered with; `TaskProposed` is durable and explains it: its `jti` is the task's id."""
    jti = "jti_" + task.id.removeprefix("tsk_")
    token = _token(env, call, identity, jti, task, details)
    return env.signed(token), token


async def hook_key(env: Env, call: Call, identity: Identity, task: Task) -> tuple[str, AccessToken]:
    """A bearer key with which this one task's hooks may ask what it may do, and nothing else (`docs/decisions`).

    It lasts as long as the task, because what holds it cannot renew it; a permit it is told gives nothing away.
    """
    token = AccessToken(
        issuer=env.issuer_url,
        subject=identity.spiffe_id,
        audience=f"{env.issuer_url}/v1/hooks",
        client=identity.agent,
        jti=env.new_id("jti"),
        jkt="",
        issued_at=call.now,
        expires_at=min(task.deadline, identity.expires_at),
        task=task.id,
    )
    because = events.TokenIssued(task.id, identity.agent, token.jti, token.audience, "", token.expires_at)
    await env.store.commit(Change(because, call))
    return env.signed(token), token


def _token(
    env: Env, call: Call, identity: Identity, jti: str, task: Task | None, details: Mapping[str, Any] | None
) -> AccessToken:
    return AccessToken(
        issuer=env.issuer_url,
        subject=str(task.initiator) if task and task.parent else identity.spiffe_id,
        audience=env.issuer_url,
        client=identity.agent,
        jti=jti,
        jkt=identity.jkt,
        issued_at=call.now,
        expires_at=min(call.now + TOKEN_TTL, identity.expires_at, task.deadline if task else call.now + TOKEN_TTL),
        task=task.id if task else "",
        details=({**(details or {}), "type": task.purpose, "task": task.id},) if task else (),
        actor=tuple(hop.agent for hop in reversed(task.chain.hops)) if task and task.parent else (),
    )


async def speak_for(env: Env, call: Call, agent: str) -> tuple[str, AccessToken]:
    """A subject token (RFC 8693 section 2.1): this agent alone may begin one task with it, for the calling person."""
    token = AccessToken(
        issuer=env.issuer_url,
        subject=f"person:{call.caller.name}",
        audience=f"{env.issuer_url}/initiate",
        client=agent,
        jti=env.new_id("jti"),
        jkt="",
        issued_at=call.now,
        expires_at=call.now + TOKEN_TTL,
    )
    because = events.TokenIssued("", agent, token.jti, token.audience, "", token.expires_at)
    await env.store.commit(Change(because, call))
    return env.signed(token), token


async def identify(env: Env, call: Call, jkt: str) -> Identity:
    """The identity a key is bound to, if it still counts."""
    identity = await env.store.get(Identity, jkt)
    _, force = await env.in_force()
    agent = force.catalogue.agents.get(identity.agent) if identity else None
    flaw = stale(identity, agent, call.now) if agent else "no agent of that key is registered"
    if identity is not None and identity.method == "client_metadata":
        flaw = "a person's client acts in the tasks that a person agreed to, and begins none"
    if identity is None or flaw:
        raise NotAttested("This key proves no agent.", next_step="Attest first: POST /v1/attest.", inside=flaw)
    return identity

"""Tend approvals: ask the next of the escalation path when nobody answered, and close what nobody answered in time."""

from __future__ import annotations

from remit.domain import events
from remit.domain.approval import Approval
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.notice import notice
from remit.ports import Env

from .kill_leases import attempt


async def tend_approvals(env: Env, call: Call) -> None:
    """Do what is due: who is asked widens step by step, what is approved never does, and the end is no."""
    for approval in await env.store.due(Approval, call.now):
        if approval.pending_at(call.now):
            await _escalate(env, call, approval)
        else:
            await expire(env, call, approval)


async def _escalate(env: Env, call: Call, approval: Approval) -> None:
    after = approval.escalated(call.now)
    because = events.ApprovalEscalated(approval.id, approval.task, after.asked[-1])
    change = Change(because, call).put(after, was=approval)
    _, force = await env.in_force()
    await attempt(env, change.put(notice(after, call.now), was=None) if force.catalogue.tells else change)


async def expire(env: Env, call: Call, approval: Approval) -> None:
    """Nobody may answer or use it any more."""
    because = events.ApprovalExpired(approval.id, approval.task)
    await attempt(env, Change(because, call).put(approval.expired(), was=approval))

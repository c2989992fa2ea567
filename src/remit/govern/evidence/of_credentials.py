"""Mechanisms of credentials: what is minted for a task, and that it dies with it."""

from __future__ import annotations

from remit.formats.log_words import happened

from .mechanism import HOUR, LATE, Mechanism, Present, Standing, each, for_long, off, on, partly, some


def _leases(p: Present) -> Standing:
    issuers = p.catalogue.issuers
    if not issuers:
        return off("no issuer is configured, so no credential is minted for a task")
    overdue = [
        f"{issuer}: a credential waits to die since {for_long(since, p.now)}"
        for issuer, since in sorted(p.ending.items())
        if p.now - since > HOUR
    ]
    static = [name for name, one in sorted(issuers.items()) if one.kind == "static"]
    if len(static) == len(issuers):
        return off(f"issuers that only hand out what lives on: {', '.join(static)}")
    if static:
        return partly(f"handed out, and living on when a task has ended: what comes of {', '.join(static)}", *overdue)
    return on(f"minted for one task by {', '.join(sorted(issuers))}", *overdue)


def _kills(p: Present) -> Standing:
    if not p.catalogue.issuers:
        return off("no issuer is configured, so there is nothing to kill")
    if late := p.late.get("leases", 0):
        return off(f"{some(late, 'credential')} should have been killed, and nobody did it: the reconcilers do not run")
    silent = [f"{name} (since {for_long(since, p.now)})" for name, since in sorted(p.down.items())]
    return each(silent, len(p.catalogue.issuers), "issuers that confirm no kill", "every issuer confirms kills")


def _revocation(p: Present) -> Standing:
    if late := p.late.get("tasks", 0):
        return off(f"{some(late, 'task')} should have ended or settled, and nobody did it: the reconcilers do not run")
    if p.redeciding_since and p.now - p.redeciding_since > LATE:
        return partly(f"a change has not reached every open task since {for_long(p.redeciding_since, p.now)}")
    return on("no task and no change waits to be carried out")


def _secrets(p: Present) -> Standing:
    if not p.secrets:
        return off("no static secret is kept here")
    overdue = [f"secret {one.name} should have had a newer version" for one in p.secrets if one.reminded_at]
    names = {one.name for one in p.secrets}
    lasting = sorted(names - {one.name for one in p.secrets if one.rotate_after or one.expires_at})
    said = f"{some(len(names), 'secret')} under envelopes"
    found = each(lasting, len(names), "no time is set for a newer version of", said)
    return (partly if lasting else on)(found.says, *overdue)


def _restore(p: Present) -> Standing:
    if p.restored is not None and not p.restored.voided_at:
        return partly("a restored store is being made safe")
    if p.restored is not None and not p.restored.swept_at:
        return partly("after a restore, issuers are still being compared with the leases")
    return on("a store that is put back is stopped, voided and swept before anything acts on it")


MECHANISMS = (
    Mechanism(
        "leases",
        "A credential exists for one task, is on record before it is minted, and ends with the task.",
        tuple(map(happened, ("LeaseMinted", "LeaseEnding", "LeaseEnded"))),
        _leases,
    ),
    Mechanism(
        "kills",
        "A credential counts as dead only when its issuer confirmed it; what was not confirmed is tried again.",
        tuple(map(happened, ("LeaseEnded", "LeaseKillFailed", "LeaseOutlives", "IssuerDown", "IssuerBack"))),
        _kills,
    ),
    Mechanism(
        "revocation",
        "A task that ended is permitted nothing; when something changes, open tasks are decided again.",
        tuple(map(happened, ("TaskEnded", "TaskSettled", "RedecisionReached"))),
        _revocation,
    ),
    Mechanism(
        "secrets",
        "Static secrets are under envelopes, in versions that are replaced in time, and handed over once.",
        tuple(map(happened, ("SecretSealed", "SecretOverdue", "SecretRetired", "EnvelopeRewrapped", "HandOverOpened"))),
        _secrets,
    ),
    Mechanism(
        "restore",
        "A store that was put back to an earlier state brings nothing back to life.",
        tuple(map(happened, ("StoreRestored", "RestoreSafe", "OrphanFound", "RestoreSwept"))),
        _restore,
    ),
)

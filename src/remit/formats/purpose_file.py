"""`purposes/NAME.toml`: what a task may be for, and the most that it may then do."""

from __future__ import annotations

import dataclasses
import re
from decimal import Decimal

from remit.domain.errors import BadField
from remit.domain.flow import Sensitivity
from remit.domain.hours import ALWAYS, Hours
from remit.domain.identity import NAME
from remit.domain.posture import checked_name
from remit.domain.purpose import ApprovalRule, CredentialRule, DelegationRule, GrantRule, Parameter, Profile, Purpose
from remit.domain.scope import Pattern
from remit.domain.standing_yes import MOST
from remit.domain.tool import as_decimal

from .accountability_file import review_every
from .toml_source import Section, revision

_ANSWERING = ("deputy", "escalation", "review_every")
_BOUNDS = ("equals", "one_of", "between", "matching", "from")


def read(name: str, s: Section) -> Purpose:
    """The entry; a key missing, wrong or unknown is a `BadCatalogue` with its line."""
    purpose = Purpose(
        name=name,
        title=s.text("title", ""),
        owner=s.text("owner"),
        agents=s.texts("agents"),
        grants=tuple(_grant(g) for g in s.tables("grants")),
        sensitivity=s.enum("max_sensitivity", Sensitivity, Sensitivity.INTERNAL),
        environments=s.texts("environments", ("production",)),
        max_duration=s.duration("max_duration"),
        max_calls=s.whole("max_calls", least=1, most=1_000_000),
        parameters=tuple(_parameter(n, p) for n, p in s.table("parameters").named()),
        credentials=tuple(_credential(c) for c in s.tables("credentials")),
        initiators=s.texts("initiators", ()),
        approval=_approval(s.table("approval")),
        identity_max_age=s.duration("identity_max_age", 0),
        attested_by=s.texts("attested_by", ()),
        max_depth=s.whole("max_depth", 0, most=16),
        profile=Profile(s.word("profile", [p.value for p in Profile if p.value]) if "profile" in s else ""),
        delegations=tuple(_delegation(d) for d in s.tables("delegations")),
        hours=_hours(s),
        needs=_needs(s.table("needs")),
    )
    if bool(purpose.delegations) is not bool(purpose.max_depth):
        s.fail("max_depth", "'max_depth' and [[delegations]] go together: how far down, and to whom")
    if not 1000 <= purpose.max_duration <= 30 * 86_400_000:
        s.fail("max_duration", "'max_duration' must be one second to 30 days")
    return dataclasses.replace(
        purpose,
        revision=revision(purpose, without=_ANSWERING),
        deputy=s.text("deputy", "", limit=64),
        escalation=s.texts("escalation", ()),
        review_every=review_every(s),
    )


def _hours(s: Section) -> Hours:
    s.knows("hours")
    if "hours" not in s:
        return ALWAYS
    try:
        return Hours.parse(s.text("hours", limit=1000))
    except ValueError as bad:
        s.fail("hours", f"'hours' {bad}")


def _needs(s: Section) -> dict[str, str]:
    names = sorted(s.keys())
    for name in names:
        if not checked_name(name):
            s.fail(name, f"a fact is called by a-z, 0-9 and '_', not {name!r}")
    return {name: s.text(name, limit=128) for name in names}


def _approval(s: Section) -> ApprovalRule:
    rule = ApprovalRule(
        s.duration("ttl", 3_600_000),
        s.flag("passkey", False),
        s.flag("owner_alone", False),
        s.duration("escalate_after", 0),
        s.whole("standing", 10, most=MOST),
        s.duration("standing_for", 3_600_000),
    )
    if rule.escalate_after and not 1000 <= rule.escalate_after < rule.ttl:
        s.fail("escalate_after", "'escalate_after' must be one second at least, and less than 'ttl'")
    s.done()
    return rule


def _parameter(name: str, s: Section) -> Parameter:
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,63}", name):
        s.fail("", f"parameter {name!r} must be a-z, 0-9 and '_'")
    parameter = Parameter(name, s.regex("pattern", ".{1,200}"), s.flag("required", True), s.text("title", ""))
    s.done()
    return parameter


def _grant(s: Section) -> GrantRule:
    one_of: dict[str, tuple[str, ...]] = {}
    between: dict[str, tuple[Decimal, Decimal]] = {}
    matching: dict[str, str] = {}
    sources: dict[str, tuple[str, ...]] = {}
    for argument, bound in s.table("where").named():
        if sum(word in bound for word in _BOUNDS) != 1:
            bound.fail("", f"where.{argument} needs one of: {', '.join(_BOUNDS)}")
        if "equals" in bound:
            one_of[argument] = (bound.text("equals"),)
        elif "one_of" in bound:
            one_of[argument] = bound.texts("one_of")
        elif "between" in bound:
            numbers = [as_decimal(text) for text in bound.texts("between")]
            least, most = numbers if len(numbers) == 2 else (None, None)
            if least is None or most is None or least > most:
                bound.fail("between", 'between needs two decimals as texts, such as ["0", "500"]')
            between[argument] = (least, most)
        elif "from" in bound:
            sources[argument] = bound.texts("from")
        else:
            matching[argument] = bound.regex("matching")
        bound.done()
    rule = GrantRule(s.text("tool"), s.text("resource", "**", limit=1024), one_of, between, matching, sources)
    try:
        Pattern.parse(re.sub(r"\{[a-z_][a-z0-9_]*\}", "x", rule.resource))
    except BadField as bad:
        s.fail("resource", bad.problem)
    s.done()
    return rule


def _delegation(s: Section) -> DelegationRule:
    rule = DelegationRule(
        s.texts("agents"),
        s.texts("purposes"),
        s.whole("max_calls", 0, most=1_000_000),
        s.duration("max_duration", 0),
        s.whole("fan_out", 8, least=1, most=10_000),
        s.flag("again", False),
    )
    s.done()
    return rule


def _credential(s: Section) -> CredentialRule:
    rule = CredentialRule(
        s.text("name", limit=64),
        s.text("issuer"),
        s.duration("ttl"),
        s.table("grants").rest(),
        s.flag("reveal", False),
        s.text("environment", "production", limit=64),
        s.enum("sensitivity", Sensitivity, Sensitivity.INTERNAL),
    )
    if not NAME.match(rule.name) or not 1000 <= rule.ttl <= 7 * 86_400_000:
        s.fail("ttl", "a credential needs a plain name and a ttl of one second to 7 days")
    s.done()
    return rule

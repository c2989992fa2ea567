"""Approvals that mean something: signed by a passkey, by the right people, in time, and for no more than was shown."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from remit.domain.approval import Again, Approval, ApprovalState, Away
from remit.domain.caller import CallerKind
from remit.domain.decision import Access, Hold, word
from remit.domain.errors import (
    Absent,
    BadField,
    BadPasskey,
    Denied,
    Malformed,
    ProofInvalid,
    Unauthenticated,
    WrongState,
)
from remit.domain.freeze import Reach
from remit.domain.passkey import Passkey, Signed
from remit.formats import base64url, webauthn
from remit.formats.approval_proof import prove
from remit.verbs import consult, enrol
from remit.verbs.apply import apply
from remit.verbs.approve import Given, answer, challenge
from remit.verbs.decide import decide
from remit.verbs.freeze import freeze
from remit.verbs.revoke import end_task
from remit.work.end_leases import end_leases
from tests.passkeys import UP, UV, Device
from tests.world import FILES, world

PAY = {"customer": "acme", "invoice": 17, "amount": "120.00"}
ORIGIN = "https://remit.test"


def files(rule="", **more):
    """The small world, whose purpose asks people like this."""
    text = FILES["purposes/pay.toml"].replace('approval = { ttl = "10m" }', "") + f'\n[approval]\nttl = "10m"\n{rule}\n'
    return {**FILES, "purposes/pay.toml": text, **more}


async def held(w, call, task, arguments=PAY, tool="pay"):
    found = await decide(w.env, replace(call, now=w.clock.now), Access(task.id, tool, arguments))
    assert isinstance(found, Hold), found
    return await w.store.get(Approval, found.approval)


async def asked(rule="", **more):
    """A world, its agent's call, its task, and one approval that waits."""
    w = await world(files=files(rule, **more))
    _, call = await w.proved()
    task = await w.task(call)
    return w, call, task, await held(w, call, task)


def test_it_begins_with_what_would_happen_in_the_tools_own_words(run):
    async def main():
        _, _, _, approval = await asked()
        assert approval.shown.sentence.startswith("bot asks: pay (customer=acme")
        said = 'says = "pay {amount} EUR to {customer}"\n' + FILES["tools/pay.toml"]
        _, _, _, approval = await asked(**{"tools/pay.toml": said})
        assert approval.shown.sentence == "bot asks to pay 120.00 EUR to acme, once. This cannot be undone."

    run(main())


async def enrolled(w, name, **more):
    device = Device(ORIGIN, **more)
    invited = await enrol.invitation(w.env, w.person(name))
    made = device.make(invited["publicKey"])
    await enrol.register(w.env, w.person(name), made, invited["nonce"], invited["expires_at"], "phone")
    return device


async def signing(w, device, name, approval, yes=True, **more):
    given = Given(approval.digest, yes, **more)
    said = await challenge(w.env, w.person(name), approval.id, given)
    return replace(given, signed=Signed(**device.signed(said)))


# --- passkeys ---


def test_a_yes_that_is_signed_by_a_passkey_can_be_proved_from_the_log_alone(run):
    async def main():
        w, call, task, approval = await asked("passkey = true")
        with pytest.raises(Denied) as refused:
            await answer(w.env, w.person("frank"), approval.id, Given(approval.digest, True))
        assert refused.value.reasons == ("passkey_wanted",)
        device = await enrolled(w, "frank")
        given = await signing(w, device, "frank", approval, note="as agreed")
        granted = await answer(w.env, w.person("frank"), approval.id, given)
        assert granted.state is ApprovalState.GRANTED
        assert granted.answers[0].passkey == base64url.encode(device.id)
        permit = await decide(w.env, call, Access(task.id, "pay", PAY))
        assert permit.approval == approval.id
        lines = [leaf for leaf, _ in w.store._events]
        proved = prove(lines, approval.id)
        assert (proved.signed, proved.digest, proved.tool, proved.task) == (True, approval.digest, "pay", task.id)
        assert [(a.person, a.yes, a.passkey) for a in proved.answers] == [("frank", True, granted.answers[0].passkey)]
        assert proved.used_at == w.clock.now
        assert proved.digest == approval.digest and "as agreed" not in b"".join(lines).decode()

    run(main())


def unverified(text):
    data = base64url.decode(text)
    return base64url.encode(data[:32] + bytes([data[32] & ~UV]) + data[33:])


SPOILED = {
    "another person": ("ApprovalAnswered", lambda d: d.update(person="gina")),
    "a no made a yes": ("ApprovalAnswered", lambda d: d.update(yes=not d["yes"])),
    "another digest": ("ApprovalAnswered", lambda d: d.update(digest="sha256:" + "0" * 64)),
    "another note": ("ApprovalAnswered", lambda d: d.update(note="sha256:" + "0" * 64)),
    "other terms": ("ApprovalAnswered", lambda d: d["again"].update(count=5)),
    "another nonce": ("ApprovalAnswered", lambda d: d["signed"].update(nonce="x")),
    "a longer challenge": ("ApprovalAnswered", lambda d: d["signed"].update(expires_at=d["signed"]["expires_at"] + 1)),
    "an answer that came late": ("ApprovalAnswered", lambda d: d["signed"].update(expires_at=1)),
    "another signature": ("ApprovalAnswered", lambda d: d["signed"].update(signature=d["signed"]["signature"][:-8] + "AAAAAAAA")),
    "no user verified": ("ApprovalAnswered", lambda d: d["signed"].update(authenticator_data=unverified(d["signed"]["authenticator_data"]))),
    "another passkey": ("ApprovalAnswered", lambda d: d["signed"].update(passkey="AAAA")),
    "another's passkey": ("PasskeyRegistered", lambda d: d.update(person="gina")),
    "another domain": ("PasskeyRegistered", lambda d: d.update(rp_id="evil.test")),
    "another origin": ("PasskeyRegistered", lambda d: d.update(origin="https://evil.test")),
    "another access": ("AccessDecided", lambda d: d.update(access="sha256:" + "0" * 64)),
}  # fmt: skip


@pytest.mark.parametrize("what", SPOILED)
def test_a_log_that_was_changed_proves_nothing(run, what):
    async def main():
        w, call, task, approval = await asked()
        device = await enrolled(w, "frank")
        await answer(w.env, w.person("frank"), approval.id, await signing(w, device, "frank", approval))
        await decide(w.env, call, Access(task.id, "pay", PAY))
        kind, change = SPOILED[what]
        lines = []
        for leaf, _ in w.store._events:
            event = json.loads(leaf)
            if event["type"] == kind:
                change(event["data"])
            lines.append(json.dumps(event, separators=(",", ":")).encode())
        with pytest.raises(ProofInvalid):
            prove(lines, approval.id)

    run(main())


def test_what_a_log_cannot_prove(run):
    async def main():
        w, call, task, approval = await asked()
        device = await enrolled(w, "frank")
        await answer(w.env, w.person("frank"), approval.id, await signing(w, device, "frank", approval))
        await decide(w.env, call, Access(task.id, "pay", PAY))
        lines = [leaf for leaf, _ in w.store._events]

        def of(*kinds):
            return [line for line in lines if json.loads(line)["type"] in kinds]

        registered, answered = of("PasskeyRegistered"), of("ApprovalAnswered")
        hold, permit = of("AccessDecided")
        gone = registered[0].replace(b"PasskeyRegistered", b"PasskeyRemoved")
        assert prove([*registered, hold, *answered, permit], approval.id).signed
        for bad in (
            [],
            [hold, permit],
            [*answered, hold],
            [hold, *answered],
            [*registered, gone, hold, *answered],
            [*registered, hold, *answered, permit, permit],
            [*registered, hold, permit, *answered],
            [*registered, hold, *answered, permit.replace(b'"access":"sha256:', b'"access":"sha256:0')],
            [b'"AccessDecided"', hold],
            [b'{"x":"AccessDecided"}', hold],
        ):
            with pytest.raises(ProofInvalid):
                prove(bad, approval.id)

    run(main())


def test_an_answer_by_a_key_is_said_to_be_no_more_than_that(run):
    async def main():
        w, _, _, approval = await asked()
        await answer(w.env, w.person("frank"), approval.id, Given(approval.digest, True))
        proved = prove([leaf for leaf, _ in w.store._events], approval.id)
        assert not proved.signed and proved.answers[0].passkey == "" and proved.used_at == 0

    run(main())


def tampered(signed, **more):
    return replace(signed, **more)


def test_a_signature_is_for_one_answer_of_one_person_once(run):
    async def main():
        w, call, task, approval = await asked("passkey = true")
        device, other = await enrolled(w, "frank"), await enrolled(w, "gina")
        another = await held(w, call, task, {**PAY, "invoice": 18})
        good = await signing(w, device, "frank", approval)
        yes, no = good, await signing(w, device, "frank", approval, yes=False)
        elsewhere = await signing(w, device, "frank", another)
        for bad in (
            replace(yes, signed=no.signed),
            replace(no, signed=yes.signed),
            replace(yes, signed=elsewhere.signed),
            replace(yes, note="something else"),
            replace(yes, again=Again(1, w.clock.now + 1000)),
            replace(yes, signed=tampered(yes.signed, nonce="chl_mine")),
            replace(yes, signed=tampered(yes.signed, nonce=yes.signed.nonce[:-1] + "é")),
            replace(yes, signed=tampered(yes.signed, expires_at=yes.signed.expires_at + 1)),
            replace(yes, signed=tampered(yes.signed, signature=no.signed.signature)),
            replace(yes, signed=tampered(yes.signed, signature="")),
            replace(yes, signed=tampered(yes.signed, client_data="A" * 20_000)),
            replace(yes, signed=tampered(yes.signed, client_data="{}=")),
            replace(yes, signed=tampered(yes.signed, passkey=base64url.encode(other.id))),
            replace(yes, signed=tampered(yes.signed, passkey="unknown")),
        ):
            with pytest.raises((BadPasskey, BadField)):
                await answer(w.env, w.person("frank"), approval.id, bad)
        with pytest.raises(BadPasskey):  # gina signs with her own device what frank was asked
            await answer(w.env, w.person("gina"), approval.id, good)
        said = await challenge(w.env, w.person("frank"), approval.id, Given(approval.digest, True))
        theirs = Given(approval.digest, True, signed=Signed(**other.signed(said)))
        with pytest.raises(BadPasskey, match="not yours"):  # a genuine signature by another's passkey
            await answer(w.env, w.person("frank"), approval.id, theirs)
        assert (await w.store.get(Approval, approval.id)).answers == ()
        await answer(w.env, w.person("frank"), approval.id, good)
        row = await w.store.get(Passkey, base64url.encode(device.id))
        assert row.used_at == w.clock.now
        assert not await w.store.spend(f"passkey:{good.signed.nonce}", good.signed.expires_at)

    run(main())


def test_a_signature_that_was_used_is_refused_when_it_comes_again(run):
    async def main():
        w, _, _, approval = await asked("passkey = true")
        device = await enrolled(w, "frank")
        good = await signing(w, device, "frank", approval)
        assert await w.store.spend(f"passkey:{good.signed.nonce}", good.signed.expires_at)
        with pytest.raises(BadPasskey, match="used before"):
            await answer(w.env, w.person("frank"), approval.id, good)

    run(main())


@pytest.mark.parametrize(
    "wrong",
    [
        {"flags": UP},
        {"flags": UV},
        {"flags": 0},
        {"origin": "https://remit.test.evil"},
        {"origin": "http://remit.test"},
        {"rp_id": "evil.test"},
    ],
)
def test_a_device_that_verified_nobody_or_was_elsewhere_signs_nothing(run, wrong):
    async def main():
        w, _, _, approval = await asked("passkey = true")
        device = await enrolled(w, "frank")
        for name, value in wrong.items():
            setattr(device, name, value)
        given = await signing(w, device, "frank", approval)
        with pytest.raises(BadPasskey):
            await answer(w.env, w.person("frank"), approval.id, given)
        fresh = Device(ORIGIN, **{k: v for k, v in wrong.items() if k != "origin"})
        fresh.origin = wrong.get("origin", ORIGIN)
        invited = await enrol.invitation(w.env, w.person("gina"))
        with pytest.raises(BadPasskey):
            made = fresh.make(invited["publicKey"])
            await enrol.register(w.env, w.person("gina"), made, invited["nonce"], invited["expires_at"])

    run(main())


def test_a_clone_that_counts_behind_is_refused_and_a_synced_one_need_not_count(run):
    async def main():
        w, call, task, approval = await asked("passkey = true")
        device = await enrolled(w, "frank")
        device.count = 5
        await answer(w.env, w.person("frank"), approval.id, await signing(w, device, "frank", approval))
        second = await held(w, call, task, {**PAY, "invoice": 18})
        device.count = 5
        given = await signing(w, device, "frank", second)
        with pytest.raises(BadPasskey):
            await answer(w.env, w.person("frank"), second.id, given)
        device.count = 6
        await answer(w.env, w.person("frank"), second.id, await signing(w, device, "frank", second))
        synced = await enrolled(w, "gina")
        for number in (20, 21):
            one = await held(w, call, task, {**PAY, "invoice": number})
            await answer(w.env, w.person("gina"), one.id, await signing(w, synced, "gina", one))
        assert (await w.store.get(Passkey, base64url.encode(synced.id))).sign_count == 0

    run(main())


def test_a_challenge_has_its_time_and_a_removed_passkey_has_none(run):
    async def main():
        w, _, _, approval = await asked('passkey = true\nescalate_after = "1m"')
        with pytest.raises(WrongState):
            await challenge(w.env, w.person("frank"), approval.id, Given(approval.digest, True))
        device = await enrolled(w, "frank")
        late = await signing(w, device, "frank", approval)
        w.clock.advance(webauthn.CHALLENGE_TTL)
        with pytest.raises(BadPasskey, match="too old"):
            await answer(w.env, w.person("frank"), approval.id, late)
        again = await signing(w, device, "frank", approval)
        key = base64url.encode(device.id)
        with pytest.raises(Absent):
            await enrol.remove(w.env, w.person("gina"), key)
        with pytest.raises(Absent):
            await enrol.remove(w.env, w.person("frank"), "nothing")
        await enrol.remove(w.env, w.person("frank"), key)
        assert (await enrol.remove(w.env, w.call(CallerKind.OPERATOR, "op"), key)).removed_at
        with pytest.raises(BadPasskey):
            await answer(w.env, w.person("frank"), approval.id, again)
        assert await w.env.passkeys("frank") == []

    run(main())


def test_registering_is_for_the_person_who_was_invited_once(run):
    async def main():
        w = await world()
        device = Device(ORIGIN)
        frank, gina = w.person("frank"), w.person("gina")
        invited = await enrol.invitation(w.env, frank)
        assert invited["publicKey"]["authenticatorSelection"]["userVerification"] == "required"
        made = device.make(invited["publicKey"])
        terms = (invited["nonce"], invited["expires_at"])
        for person, credential, nonce, until in (
            (gina, made, *terms),
            (frank, made, "chl_1.00", terms[1]),
            (frank, made, terms[0], terms[1] + 1),
            (frank, {**made, "response": {}}, *terms),
            (frank, {**made, "response": "x"}, *terms),
            (frank, {**made, "type": "password"}, *terms),
            (frank, {**made, "id": "AAAA"}, *terms),
            (frank, {**made, "rawId": 7}, *terms),
            (frank, device.sign({"rpId": "remit.test", "challenge": invited["publicKey"]["challenge"]}), *terms),
        ):
            with pytest.raises((BadPasskey, Unauthenticated)):
                await enrol.register(w.env, person, credential, nonce, until)
        with pytest.raises(BadField):
            await enrol.register(w.env, frank, made, *terms, "x" * 101)
        row = await enrol.register(w.env, frank, made, *terms, "phone")
        assert (row.person, row.rp_id, row.title, row.sign_count) == ("frank", "remit.test", "phone", 0)
        with pytest.raises(BadPasskey, match="used before"):
            await enrol.register(w.env, frank, made, *terms)
        theirs = await enrol.invitation(w.env, gina)  # nobody takes over a passkey that is known
        with pytest.raises(BadPasskey, match="known already"):
            stolen = device.make(theirs["publicKey"])
            await enrol.register(w.env, gina, stolen, theirs["nonce"], theirs["expires_at"])
        again = await enrol.invitation(w.env, frank)
        assert [one["id"] for one in again["publicKey"]["excludeCredentials"]] == [row.id]
        for stranger in (w.person("nobody"), w.call(CallerKind.OPERATOR, "frank")):
            with pytest.raises(Absent):
                await enrol.invitation(w.env, stranger)
        late = await enrol.invitation(w.env, gina)
        w.clock.advance(webauthn.CHALLENGE_TTL)
        with pytest.raises(BadPasskey, match="too old"):
            made = Device(ORIGIN).make(late["publicKey"])
            await enrol.register(w.env, w.person("gina"), made, late["nonce"], late["expires_at"])

    run(main())


def test_a_passkey_with_an_attestation_is_not_taken_and_nobody_has_many(run):
    async def main():
        w = await world()
        invited = await enrol.invitation(w.env, w.person("frank"))
        made = Device(ORIGIN).make(invited["publicKey"], fmt="packed")
        with pytest.raises(BadPasskey):
            await enrol.register(w.env, w.person("frank"), made, invited["nonce"], invited["expires_at"])
        for _ in range(enrol.MOST):
            await enrolled(w, "frank")
        with pytest.raises(WrongState):
            await enrol.invitation(w.env, w.person("frank"))

    run(main())


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://127.0.0.1:7450", ("localhost", "http://localhost:7450")),
        ("http://192.168.1.5:7450", "is an address"),
        ("https://[::1]:7450", "is an address"),
        ("http://remit.example", "over https only"),
        ("https://remit.example:8443", ("remit.example", "https://remit.example:8443")),
        ("http://localhost:7450", ("localhost", "http://localhost:7450")),
    ],
)
def test_where_passkeys_can_be_made(url, found):
    if isinstance(found, str):
        with pytest.raises(Malformed, match=found) as bad:
            webauthn.relying_party(url)
        assert "--public-url" in bad.value.next_step
    else:
        party = webauthn.relying_party(url)
        assert (party.id, party.origin) == found


# --- who may answer ---

BOTH = '@id("hold") @approvers("{}") @quorum("{}") forbid (principal, action == Remit::Action::"pay", resource) unless {{ context.approved }};\n'
PERMIT = '@id("within") permit (principal, action, resource);\n'
PEOPLE = """
[people.dana]
groups = ["billing"]
[people.frank]
groups = ["finance"]
[people.gina]
groups = ["finance", "security"]
[people.hugo]
groups = ["security"]
[people.ivan]
[people.olga]
groups = ["finance"]
[issuers.pg]
kind = "fake"
[issuers.box]
kind = "static"
"""


def policy(*needs):
    rules = [BOTH.format(who, quorum).replace('"hold"', f'"hold-{i}"') for i, (who, quorum) in enumerate(needs)]
    return {"policies/default.cedar": PERMIT + "".join(rules), "remit.toml": PEOPLE}


G, P = "granted", "pending"
TABLE = [
    # needs; purpose; who says yes, in order: what each answer brings
    ([("finance", 1)], "", [("frank", G)]),
    ([("finance", 1)], "", [("olga", P), ("frank", G)]),  # an owner is never the only yes
    ([("finance", 1)], "", [("olga", P), ("hugo", "not_an_approver")]),
    ([("finance", 1)], "owner_alone = true", [("olga", G)]),
    ([("owner", 1)], "", [("olga", P)]),
    ([("owner", 1)], "owner_alone = true", [("olga", G)]),
    ([("owner,finance", 2)], "", [("olga", P), ("frank", G)]),
    ([("finance", 2)], "", [("frank", P), ("frank", "answered_already"), ("gina", G)]),
    ([("finance", 2)], "", [("frank", P), ("olga", G)]),
    ([("finance", 1), ("security", 1)], "", [("frank", P), ("hugo", G)]),
    ([("finance", 1), ("security", 1)], "", [("gina", G)]),  # one person may be in both groups
    ([("finance", 2), ("security", 1)], "", [("gina", P), ("frank", G)]),
    ([("finance", 2), ("security", 2)], "", [("gina", P), ("frank", P), ("hugo", G)]),
    ([("finance", 1), ("owner", 1)], "", [("olga", P), ("frank", G)]),
    ([("billing", 1)], "", [("dana", "self_approval")]),  # the initiator, whatever groups they are in
    ([("billing,bot", 1)], "", [("bot", "absent")]),
    ([("finance", 1)], "", [("ivan", "not_an_approver"), ("frank", G)]),
]


@pytest.mark.parametrize(("needs", "rule", "answers"), TABLE)
def test_separation_of_duties(run, needs, rule, answers):
    async def main():
        w = await world(files=files(rule, **policy(*needs)))
        _, call = await w.proved()
        task = await begun_by(w, call, "dana")
        approval = await held(w, call, task)
        for name, brings in answers:
            given = Given(approval.digest, True)
            if brings in (G, P):
                found = await answer(w.env, w.person(name), approval.id, given)
                assert found.state.value == brings, name
            else:
                with pytest.raises((Denied, Absent)) as refused:
                    await answer(w.env, w.person(name), approval.id, given)
                assert isinstance(refused.value, Absent) or refused.value.reasons == (brings,)

    run(main())


async def begun_by(w, call, person):
    from remit.domain.chain import Principal, PrincipalKind
    from remit.verbs.propose import Proposal, propose

    proposal = Proposal("pay", "goal", {"customer": "acme"})
    return await propose(w.env, call, proposal, Principal(PrincipalKind.PERSON, person))


def test_nobody_answers_after_the_policies_or_the_tool_changed(run):
    async def main():
        for path, old, new in (
            ("policies/default.cedar", "cannot be undone", "is final"),
            ("tools/pay.toml", 'effect = "irreversible"', 'effect = "irreversible"\ntitle = "Pay"'),
        ):
            w, _, _, approval = await asked()
            text = files()[path].replace(old, new)
            await apply(w.env, w.call(CallerKind.OPERATOR, "op"), {**files(), path: text})
            with pytest.raises(WrongState, match="have changed"):
                await answer(w.env, w.person("frank"), approval.id, Given(approval.digest, True))
        w, _, _, approval = await asked()
        await freeze(w.env, w.call(CallerKind.OPERATOR, "op"), Reach.PURPOSE, "pay", "odd")
        with pytest.raises(WrongState, match="may do nothing"):
            await answer(w.env, w.person("frank"), approval.id, Given(approval.digest, True))

    run(main())


# --- escalation ---

PATH = 'owner = "olga"\nescalation = ["finance", "hugo", "security", "ivan"]\n[[attestations]]\nmethod = "join_token"\n'


def test_who_is_asked_widens_along_the_path_and_the_end_is_no(run):
    async def main():
        more = {**policy(("finance", 1)), "agents/bot.toml": PATH}
        w, call, task, approval = await asked('escalate_after = "3m"', **more)
        assert approval.escalation == ("hugo", "security", "ivan")  # finance is asked already
        with pytest.raises(Denied):
            await answer(w.env, w.person("hugo"), approval.id, Given(approval.digest, True))
        seen = []
        for _ in range(4):
            w.clock.advance(3 * 60_000)
            await end_leases(w.env, w.clock.now)
            row = await w.store.get(Approval, approval.id)
            seen.append((row.state.value, row.asked, row.digest == approval.digest))
        assert seen == [
            ("pending", ("hugo",), True),
            ("pending", ("hugo", "security"), True),
            ("pending", ("hugo", "security", "ivan"), True),
            ("expired", ("hugo", "security", "ivan"), True),
        ]
        assert w.events().count("ApprovalEscalated") == 3
        refused = await decide(w.env, replace(call, now=w.clock.now), Access(task.id, "pay", PAY))
        assert refused.why[0].reason.value == "nobody_answered"

    run(main())


def test_who_was_asked_later_may_answer_for_exactly_the_same(run):
    async def main():
        more = {**policy(("finance", 1)), "agents/bot.toml": PATH}
        w, call, task, approval = await asked('escalate_after = "9m"', **more)
        w.clock.advance(9 * 60_000)
        await end_leases(w.env, w.clock.now)
        row = await w.store.get(Approval, approval.id)
        assert (row.asked, row.escalate_at, row.escalation) == (("hugo",), 0, ("security", "ivan"))
        granted = await answer(w.env, w.person("hugo"), approval.id, Given(approval.digest, True))
        assert granted.state is ApprovalState.GRANTED
        later = replace(call, now=w.clock.now)
        assert (await decide(w.env, later, Access(task.id, "pay", PAY))).approval == approval.id
        assert isinstance(await decide(w.env, later, Access(task.id, "pay", {**PAY, "amount": "1.00"})), Hold)

    run(main())


# --- away, handing on, asking back ---


def test_somebody_who_stands_in_is_heard_once_for_both(run):
    async def main():
        w, _, _, approval = await asked(**policy(("finance", 2)))
        until = w.clock.now + 3_600_000
        await consult.go_away(w.env, w.person("frank"), "ivan", until, "holiday")
        found = await answer(w.env, w.person("ivan"), approval.id, Given(approval.digest, True))
        (one,) = found.answers
        assert (one.person, one.instead_of, one.groups, one.instead_groups) == ("ivan", "frank", (), ("finance",))
        with pytest.raises(Denied):  # frank was heard
            await answer(w.env, w.person("frank"), approval.id, Given(approval.digest, True))
        await consult.come_back(w.env, w.person("frank"))
        await consult.come_back(w.env, w.person("frank"))
        granted = await answer(w.env, w.person("gina"), approval.id, Given(approval.digest, True))
        assert granted.state is ApprovalState.GRANTED and w.events().count("CameBack") == 1

    run(main())


def test_standing_in_goes_one_step_has_an_end_and_lets_nobody_approve_themselves(run):
    async def main():
        w = await world(files=files("", **policy(("finance", 1))))
        _, call = await w.proved()
        task = await begun_by(w, call, "dana")
        approval = await held(w, call, task)
        until = w.clock.now + 60_000
        given = Given(approval.digest, True)
        await consult.go_away(w.env, w.person("frank"), "ivan", until)
        await consult.go_away(w.env, w.person("ivan"), "hugo", until)
        with pytest.raises(Denied, match="Only finance"):  # not transitive
            await answer(w.env, w.person("hugo"), approval.id, given)
        await consult.go_away(w.env, w.person("frank"), "dana", until)
        with pytest.raises(Denied, match="began this task"):
            await answer(w.env, w.person("dana"), approval.id, given)
        with pytest.raises(Denied):  # nobody stands in for frank by then
            await answer(w.env, w.person("ivan"), approval.id, given)
        await consult.go_away(w.env, w.person("olga"), "hugo", until)  # who stands in for the owner is the owner
        assert (await answer(w.env, w.person("hugo"), approval.id, given)).wants_another
        await consult.go_away(w.env, w.person("frank"), "ivan", until)
        w.clock.advance(60_000)
        with pytest.raises(Denied):
            await answer(w.env, w.person("ivan"), approval.id, given)
        own = await begun_by(w, w.call(name="bot", jkt=call.caller.jkt), "frank")  # frank's own duty is nobody's here
        other = await held(w, w.call(name="bot", jkt=call.caller.jkt), own)
        await consult.go_away(w.env, w.person("frank"), "ivan", w.clock.now + 60_000)
        with pytest.raises(Denied, match="Only finance"):
            await answer(w.env, w.person("ivan"), other.id, Given(other.digest, True))

    run(main())


def test_what_nobody_may_set_up(run):
    async def main():
        w = await world(files=files("", **policy(("finance", 1))))
        _, call = await w.proved()
        task = await begun_by(w, call, "dana")
        approval = await held(w, call, task)
        frank, now = w.person("frank"), w.clock.now
        for to, until, reason in (
            ("nobody", now + 1, ""),
            ("frank", now + 1, ""),
            ("ivan", now, ""),
            ("ivan", now + consult.LONGEST + 1, ""),
            ("ivan", now + 1, "x" * 501),
        ):
            with pytest.raises(BadField):
                await consult.go_away(w.env, frank, to, until, reason)
        for to in ("nobody", "frank"):
            with pytest.raises(BadField):
                await consult.hand_on(w.env, frank, approval.id, to)
        with pytest.raises(Denied):
            await consult.hand_on(w.env, frank, approval.id, "dana")
        with pytest.raises(Absent):
            await consult.hand_on(w.env, frank, "apv_nothing", "ivan")
        with pytest.raises(Denied):
            await consult.hand_on(w.env, w.person("ivan"), approval.id, "hugo")
        with pytest.raises(Denied):
            await consult.hand_on(w.env, w.person("dana"), approval.id, "hugo")
        for text in ("", "x" * 501, "a\nb", "\x1b[2J"):
            with pytest.raises(BadField):
                await consult.question(w.env, frank, approval.id, text)
        with pytest.raises(Absent):
            await consult.take_back(w.env, frank, "sty_nothing", "")

    run(main())


def test_a_request_is_handed_on_by_who_was_asked_and_no_further(run):
    async def main():
        w, _, _, approval = await asked(**policy(("finance", 1)))
        await consult.hand_on(w.env, w.person("frank"), approval.id, "hugo")
        handed = await consult.hand_on(w.env, w.person("frank"), approval.id, "ivan")
        assert [(one.by, one.to) for one in handed.handed_on] == [("frank", "ivan")]
        with pytest.raises(Denied):
            await consult.hand_on(w.env, w.person("ivan"), approval.id, "hugo")
        with pytest.raises(Denied):
            await answer(w.env, w.person("hugo"), approval.id, Given(approval.digest, True))
        granted = await answer(w.env, w.person("ivan"), approval.id, Given(approval.digest, True))
        assert granted.answers[0].instead_of == "frank"
        with pytest.raises(WrongState):
            await consult.hand_on(w.env, w.person("frank"), approval.id, "hugo")

    run(main())


def test_a_question_reaches_the_agents_side_in_words(run):
    async def main():
        w, call, task, approval = await asked()
        after = await consult.question(w.env, w.person("frank"), approval.id, "Which invoice is that?")
        assert after.digest == approval.digest
        found = await decide(w.env, call, Access(task.id, "pay", PAY))
        assert isinstance(found, Hold) and found.approval == approval.id
        assert found.why[-1].sentence == "frank asks: Which invoice is that?"
        for _ in range(7):
            await consult.question(w.env, w.person("gina"), approval.id, "And?")
        with pytest.raises(WrongState):
            await consult.question(w.env, w.person("gina"), approval.id, "And?")
        assert "Which invoice" not in b"".join(leaf for leaf, _ in w.store._events).decode()
        assert await w.store.get(Away, "frank") is None

    run(main())


# --- decided again when it is used ---

MOVED = {
    "nothing": (lambda w, c, t: nothing(), "permit"),
    "the policies": (lambda w, c, t: applied(w, "policies/default.cedar", "cannot be undone", "is final"), "hold"),
    "the tool": (lambda w, c, t: applied(w, "tools/pay.toml", 'effect = "irreversible"', 'effect = "irreversible"\ntitle = "Pay"'), "hold"),
    "the purpose": (lambda w, c, t: applied(w, "purposes/pay.toml", "max_calls = 5", "max_calls = 6"), "purpose_superseded"),
    "the task": (lambda w, c, t: end_task(w.env, c, t.id, "done"), "task_not_open"),
    "a freeze": (lambda w, c, t: freeze(w.env, w.call(CallerKind.OPERATOR, "op"), Reach.AGENT, "bot", "x"), "agent_frozen"),
    "its time": (lambda w, c, t: waited(w, 10 * 60_000), "hold"),
    "the task's time": (lambda w, c, t: waited(w, 15 * 60_000), "task_expired"),
    "the budget": (lambda w, c, t: spent(w, c, t), "budget_spent"),
}  # fmt: skip


async def nothing():
    pass


async def waited(w, ms):
    w.clock.advance(ms)


async def applied(w, path, old, new):
    text = files()[path]
    assert old in text
    await apply(w.env, w.call(CallerKind.OPERATOR, "op"), {**files(), path: text.replace(old, new)})


async def spent(w, call, task):
    for _ in range(5):
        await decide(w.env, call, Access(task.id, "list", {"customer": "acme"}))


@pytest.mark.parametrize("what", MOVED)
def test_a_yes_is_worth_nothing_once_something_it_rests_on_has_moved(run, what):
    async def main():
        w, call, task, approval = await asked()
        await answer(w.env, w.person("frank"), approval.id, Given(approval.digest, True))
        move, brings = MOVED[what]
        await move(w, call, task)
        found = await decide(w.env, replace(call, now=w.clock.now), Access(task.id, "pay", PAY))
        if brings in ("permit", "hold"):
            assert word(found) == brings
            assert (found.approval == approval.id) is (brings == "permit")
        else:
            assert [why.reason.value for why in found.why] == [brings]
        used = (await w.store.get(Approval, approval.id)).state is ApprovalState.USED
        assert used is (brings == "permit")

    run(main())


def test_what_is_shown_is_what_the_digest_is_of(run):
    from remit.formats.jcs import digest, digest_of

    async def main():
        w, _, task, approval = await asked()
        assert digest_of(approval.covers.encode()) == approval.access
        assert digest([approval.access, 0]) == approval.digest
        covers = json.loads(approval.covers)
        assert (covers["task"], covers["tool"], covers["arguments"]) == (task.id, "pay", PAY)
        assert json.loads(approval.shown.arguments) == PAY
        _, force = await w.env.in_force()
        assert covers["policy"] == force.bundle.revision == approval.policy_revision
        assert covers["tool_revision"] == approval.tool_revision

    run(main())

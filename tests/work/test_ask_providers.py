"""People answer in their identity provider's own app (CIBA, poll mode): exactly this, exactly they, and only in time."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise

import pytest

from remit.attest import fetch
from remit.attest.ciba import Backchannel
from remit.attest.relying_party import RelyingParty
from remit.domain.approval import Approval, ApprovalState
from remit.domain.backchannel import (
    ATTEMPTS,
    MESSAGE_LIMIT,
    UNSURE,
    BackchannelRequest,
    BackchannelState,
    binding_message,
    code,
)
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.decision import Access, Deny, Permit
from remit.domain.errors import BadCatalogue, BadToken, Conflict, Denied, Refusal, Replayed, Unavailable, WrongState
from remit.domain.freeze import Reach
from remit.formats import ciba, signing_key
from remit.formats.approval_proof import prove
from remit.formats.catalogue import parse
from remit.formats.ciba import Said, Wanted
from remit.formats.jws import SigningKey, sign
from remit.issuers.keyring import RootSealer
from remit.ports import NoBackchannel
from remit.store.memory import MemoryStore
from remit.testing.store import FaultyStore
from remit.verbs.apply import apply
from remit.verbs.approve import Given, answer, by_provider
from remit.verbs.decide import decide
from remit.verbs.freeze import freeze
from remit.verbs.revoke import end_task
from remit.verbs.rewrap import rewrap
from remit.web import shapes_approvals
from remit.work.ask_providers import ask_providers
from remit.work.end_leases import end_leases
from remit.work.notify import notify
from tests.oidc_house import SECRET, AppProvider
from tests.world import FILES, world

PAY = {"customer": "acme", "invoice": 17, "amount": "120.00"}


@pytest.fixture(scope="module")
def company():
    with AppProvider() as running:
        yield running


@pytest.fixture
def provider(company):
    """One for all, so that its catalogue is compiled once."""
    company.begin()
    return company


def files(provider, rule="", people=("frank",), more=""):
    entry = f"""
[sign_in.company]
issuer = "{provider.url}"
client_id = "remit"
client_secret_env = "COMPANY_SECRET"
allow_private_network = true
ciba = true
{more}
[sign_in.company.people]
"""
    entry += "".join(f'{name} = "{name}@idp"\n' for name in people)
    found = {**FILES, "remit.toml": FILES["remit.toml"] + entry}
    found["purposes/pay.toml"] = found["purposes/pay.toml"].replace('{ ttl = "10m" }', f'{{ ttl = "10m"{rule} }}')
    return found


class Asked:
    """A world in which one approval waits, and time that moves by itself."""

    def __init__(self, provider):
        self.provider, self.polled = provider, {}

    async def begin(self, store=None, quorum=1, **more):
        found = files(self.provider, **more)
        if quorum > 1:
            rule = found["policies/default.cedar"].replace('@approvers("finance")', f'@approvers("finance") @quorum("{quorum}")', 1)  # fmt: skip
            found["policies/default.cedar"] = rule
        self.files = found
        self.w = await world(store, found)
        self.provider.clock = lambda: self.w.clock.now / 1000
        self.w.env = replace(self.w.env, backchannel=Backchannel(RelyingParty({"COMPANY_SECRET": SECRET})))
        _, self.call = await self.w.proved()
        self.task = await self.w.task(self.call)
        self.approval = await self.hold()
        return self

    async def hold(self, **more):
        call = replace(self.call, now=self.w.clock.now)
        held = await decide(self.w.env, call, Access(self.task.id, "pay", {**PAY, **more}))
        return await self.w.store.get(Approval, held.approval)

    async def turn(self, ms=6_000):
        """Time passes, and both reconcilers run."""
        self.w.clock.advance(ms)
        await notify(self.w.env, self.w.clock.now)
        return await ask_providers(self.w.env, self.w.clock.now, self.polled)

    async def row(self, person="frank", approval=None):
        return await self.w.store.get(BackchannelRequest, f"{(approval or self.approval).id}/{person}")

    async def state(self, approval=None):
        return (await self.w.store.get(Approval, (approval or self.approval).id)).state

    async def again(self):
        """The agent tries what was held."""
        return await decide(self.w.env, replace(self.call, now=self.w.clock.now), Access(self.task.id, "pay", PAY))

    def said(self, **claims):
        """A verified answer, as the verb is given one."""
        found = {"sub": "1", "preferred_username": "frank@idp", **claims}
        return Said(True, found, sha256(repr(found).encode()).hexdigest())

    async def by_provider(self, said=None, row=None):
        system = Call(Caller(CallerKind.SYSTEM, "t"), self.w.clock.now)
        return await by_provider(self.w.env, system, row or await self.row(), said or self.said())


async def waiting(provider, **more):
    """The same, and the provider has asked."""
    a = await Asked(provider).begin(**more)
    await a.turn(0)
    return a


def test_a_yes_in_the_app_is_for_exactly_this_and_says_who_vouched(run, provider):
    async def main():
        a = await waiting(provider)
        (shown,) = provider.asked.values()
        assert shown["login_hint"] == "frank@idp" and shown["scope"] == "openid profile email groups"
        assert shown["binding_message"] == binding_message(a.approval) and shown["requested_expiry"] == "600"
        assert shown["binding_message"].startswith(f"{code(a.approval.digest)} bot asks: pay (customer=acme")
        assert (await a.row()).state is BackchannelState.WAITING
        for _ in range(2):
            assert await a.turn() == 0 and await a.state() is ApprovalState.PENDING
        name = provider.answers()
        assert await a.turn() == 1 and await a.state() is ApprovalState.GRANTED
        assert isinstance(await a.again(), Permit)
        row = await a.row()
        assert (row.state, row.envelope, row.request) == (BackchannelState.ANSWERED, "", sha256(name.encode()).hexdigest())  # fmt: skip
        events = [json.loads(leaf) for leaf, _ in a.w.store._events]
        (told,) = [one for one in events if one["type"] == "ApprovalAnswered"]
        assert told["by"] == "person:frank" and told["data"]["digest"] == a.approval.digest
        vouched = told["data"]["vouched"]
        assert (vouched["issuer"], vouched["subject"], vouched["request"]) == (provider.url, "1", row.request)
        assert len(vouched["token"]) == 64 and vouched["code"] == code(a.approval.digest)
        text = b"".join(leaf + bodies for leaf, bodies in a.w.store._events)
        assert name.encode() not in text and SECRET.encode() not in text and SECRET not in repr(provider.polls)
        answered = shapes_approvals.answered((await a.w.store.get(Approval, a.approval.id)).answers[0])
        assert (answered["evidence"], answered["provider"]) == ("provider", "company")
        proved = prove([leaf for leaf, _ in a.w.store._events], a.approval.id)
        assert not proved.signed and proved.answers[0].provider == provider.url

    run(main())


def test_a_provider_that_shows_little_is_asked_with_the_code_alone(run, provider):
    async def main():
        provider.shows = 20
        a = await waiting(provider)
        assert [one["binding_message"] for one in provider.asked.values()] == [code(a.approval.digest)]

    run(main())


def test_a_no_in_the_app_is_a_no_to_exactly_this(run, provider):
    async def main():
        a = await waiting(provider)
        provider.answers(yes=False)
        await a.turn()
        assert await a.state() is ApprovalState.REFUSED
        denied = await a.again()
        assert isinstance(denied, Deny) and "frank said no" in denied.why[0].sentence
        assert (await a.row()).state is BackchannelState.ANSWERED

    run(main())


def test_what_runs_out_there_is_no_answer_here(run, provider):
    async def main():
        a = await waiting(provider)
        await a.turn(299_000)
        provider.asked.popitem()[1]["until"] = 0
        await a.turn(6_000)
        row = await a.row()
        assert (row.state, row.why) == (BackchannelState.OVER, "nobody answered there in time")
        assert await a.state() is ApprovalState.PENDING
        await answer(a.w.env, a.w.person("frank"), a.approval.id, Given(a.approval.digest, True))
        assert await a.state() is ApprovalState.GRANTED
        b = await waiting(provider)
        name = provider.answers(of=-1)
        provider.asked[name]["until"] = 0  # the provider says so first
        await b.turn()
        assert (await b.row()).why == "nobody answered there in time" and await b.state() is ApprovalState.PENDING

    run(main())


def test_it_is_polled_no_more_often_than_the_provider_wants_by_however_many(run, provider):
    async def main():
        a = await waiting(provider)
        other = {}
        for _ in range(40):
            await a.turn(500)
            await ask_providers(a.w.env, a.w.clock.now, other)
        at = [when for when, _ in provider.polls]
        assert len(at) == 3 and all(b - x >= 5 for x, b in pairwise(at))
        provider.interval = 9
        await a.turn()
        slow = await a.row()
        assert slow.interval == 10_000 and "BackchannelSlowed" in a.w.events()
        provider.answers()
        await a.turn(11_000)
        assert await a.state() is ApprovalState.GRANTED and a.polled.keys() == {slow.key}
        await a.turn()
        assert not a.polled

    run(main())


@pytest.mark.parametrize("fault", ["lost", "persisted"])
def test_after_a_crash_only_the_request_that_was_written_down_can_be_answered(run, provider, fault):
    async def main():
        store = FaultyStore(MemoryStore())
        a = await Asked(provider).begin(store)
        await notify(a.w.env, a.w.clock.now)
        store.faults = ["", fault]  # that it is sent is durable; what came back is not
        with pytest.raises(Unavailable):
            await a.turn(0)
        assert len(provider.asked) == 1
        lost = provider.answers()
        await a.turn(6_000)
        if fault == "persisted":
            assert await a.state() is ApprovalState.GRANTED and len(provider.asked) == 0
            return
        assert await a.state() is ApprovalState.PENDING  # the yes to what nobody kept is void
        await a.turn(UNSURE)
        assert len(provider.asked) == 2 and (await a.row()).state is BackchannelState.WAITING
        await a.turn()
        assert await a.state() is ApprovalState.PENDING and lost in provider.asked
        provider.answers()
        await a.turn()
        assert await a.state() is ApprovalState.GRANTED and lost in provider.asked

    run(main())


def test_two_replicas_send_one_request(run, provider):
    async def main():
        import asyncio

        a = await Asked(provider).begin()
        await notify(a.w.env, a.w.clock.now)
        await asyncio.gather(*(ask_providers(a.w.env, a.w.clock.now, {}) for _ in range(4)))
        assert len(provider.asked) == 1

    run(main())


def unsigned(algorithm, **claims):
    def made(provider):
        now = int(provider.clock())
        body = {"iss": provider.url, "aud": "remit", "sub": "1", "iat": now, "exp": now + 300, "preferred_username": "frank@idp"}  # fmt: skip
        parts = [{"alg": algorithm, "typ": "JWT", "kid": provider.key.public.kid}, body]
        text = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
        if algorithm == "none":
            return text + ".AA"
        import hmac

        key = json.dumps(provider.document("/keys")["keys"][0]).encode()
        mac = hmac.new(key, text.encode(), "sha256").digest()
        return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"

    return made


def forged(provider):
    now = int(provider.clock())
    body = {"iss": provider.url, "aud": "remit", "sub": "1", "iat": now, "exp": now + 300, "preferred_username": "frank@idp"}  # fmt: skip
    key = SigningKey(provider.key.public.kid, "ES256", signing_key.generate("ES256").sign)
    return sign(json.dumps(body).encode(), typ="JWT", key=key)


FLAWS = {
    "another person": lambda p: {"preferred_username": "gina@idp"},
    "nobody": lambda p: {"preferred_username": None},
    "another audience": lambda p: {"aud": "another"},
    "two audiences": lambda p: {"aud": ["remit", "another"]},
    "issued to another client": lambda p: {"azp": "another"},
    "another issuer": lambda p: {"iss": "https://login.evil.example"},
    "another auth_req_id": lambda p: {"urn:openid:params:jwt:claim:auth_req_id": "x"},
    "older than the request": lambda p: {"iat": int(p.clock()) - 30},
    "no iat": lambda p: {"iat": None},
    "authenticated before the request": lambda p: {"auth_time": int(p.clock()) - 30},
    "expired": lambda p: {"exp": int(p.clock()) - 30},
    "another key": lambda p: {"_key": signing_key.generate("ES256")},
    "another key of the same name": lambda p: forged(p),
    "none": unsigned("none"),
    "HS256": unsigned("HS256"),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_an_id_token_with_a_flaw_is_no_answer(run, provider, flaw):
    async def main():
        a = await waiting(provider, people=("frank", "gina"))
        wrong = FLAWS[flaw](provider)
        if isinstance(wrong, str):
            provider.answers(claims=wrong)
            await a.turn()
        else:
            a.w.clock.advance(6_000)
            provider.answers()
            provider.flaws = FLAWS[flaw](provider)
            await a.turn(0)
        row = await a.row()
        assert row.state is BackchannelState.OVER and row.why.startswith("void: "), row
        approval = await a.w.store.get(Approval, a.approval.id)
        assert approval.state is ApprovalState.PENDING and approval.answers == ()

    run(main())


def test_a_token_that_says_which_request_it_is_for_must_be_right_and_may_be(run, provider):
    async def main():
        a = await waiting(provider)
        (name,) = provider.asked
        provider.answers(claims={"urn:openid:params:jwt:claim:auth_req_id": name, "auth_time": int(provider.clock())})
        await a.turn()
        assert await a.state() is ApprovalState.GRANTED

    run(main())


def test_one_token_answers_one_approval(run, provider):
    async def main():
        a = await waiting(provider)
        second = await a.hold(invoice=18)
        await a.turn(0)
        assert len({asked["binding_message"].split()[0] for asked in provider.asked.values()}) == 2
        token = provider.signed(preferred_username="frank@idp")
        for of in (0, 1):
            provider.answers(claims=token, of=of)
        await a.turn()
        states = {await a.state(), await a.state(second)}
        assert states == {ApprovalState.GRANTED, ApprovalState.PENDING}
        whys = {(await a.row()).why, (await a.row(approval=second)).why}
        assert whys == {"", "void: This ID token has answered before."}

    run(main())


async def ended(a):
    await end_task(a.w.env, a.w.call(CallerKind.OPERATOR, "op"), a.task.id, "over")


async def frozen(a):
    await freeze(a.w.env, a.w.call(CallerKind.OPERATOR, "op"), Reach.AGENT, "bot", "odd")


async def changed(a):
    await apply(a.w.env, a.w.call(CallerKind.OPERATOR, "op"), {**a.files, "tools/pay.toml": 'title = "x"\n' + FILES["tools/pay.toml"]})  # fmt: skip


async def rewritten(a):
    files_ = {**a.files, "remit.toml": a.files["remit.toml"].replace("ciba = true", 'ciba = true\ntitle = "Other"')}
    await apply(a.w.env, a.w.call(CallerKind.OPERATOR, "op"), files_)


async def elsewhere(a):
    await answer(a.w.env, a.w.person("frank"), a.approval.id, Given(a.approval.digest, False, "no"))


async def late(a):
    a.w.clock.advance(600_000)


async def left(a):
    text = a.files["remit.toml"].replace('[people.frank]\ngroups = ["finance"]', "[people.frank]")
    await apply(a.w.env, a.w.call(CallerKind.OPERATOR, "op"), {**a.files, "remit.toml": text})


GONE = {"ended": ended, "frozen": frozen, "tool changed": changed, "provider rewritten": rewritten,
        "answered elsewhere": elsewhere, "too late": late, "no longer asked": left}  # fmt: skip


@pytest.mark.parametrize("how", GONE)
def test_a_yes_that_comes_afterwards_counts_for_nothing(run, provider, how):
    async def main():
        a = await waiting(provider)
        row = await a.row()
        provider.answers()
        await GONE[how](a)
        with pytest.raises(Refusal):  # the verb itself, whatever the reconciler does
            await a.by_provider(row=row)
        await a.turn()
        assert (await a.row()).state is BackchannelState.OVER
        approval = await a.w.store.get(Approval, a.approval.id)
        assert not any(one.yes for one in approval.answers) and approval.state is not ApprovalState.GRANTED

    run(main())


def test_the_verb_refuses_what_is_not_of_its_own_row(run, provider):
    async def main():
        a = await waiting(provider, people=("frank", "gina"))
        row = await a.row()
        with pytest.raises(Refusal, match="digest"):
            await a.by_provider(row=replace(row, digest="sha256:" + "0" * 64))
        with pytest.raises(BadToken, match="somebody else"):
            await a.by_provider(a.said(preferred_username="gina@idp"))
        with pytest.raises(BadToken, match="entry has changed"):
            await a.by_provider(row=replace(row, provider="other"))
        await a.by_provider(a.said(jti="1"))
        with pytest.raises(Replayed):
            await a.by_provider(a.said(jti="1"), row=row)
        with pytest.raises(WrongState):
            (await a.row()).answered()

    run(main())


def test_where_a_passkey_is_wanted_nobody_is_asked_and_a_providers_yes_is_not_enough(run, provider):
    async def main():
        a = await Asked(provider).begin(rule=", passkey = true")
        await a.turn(0)
        assert provider.asked == {} and await a.row() is None
        _, force = await a.w.env.in_force()
        way = force.catalogue.providers["company"].way
        row = BackchannelRequest(a.approval.id, "frank", "company", way, a.approval.digest, 0, BackchannelState.WAITING)
        with pytest.raises(Denied) as refused:
            await a.by_provider(row=row)
        assert refused.value.reasons == ("passkey_wanted",)

    run(main())


def test_a_quorum_is_of_different_people_at_the_same_moment_too(run, provider):
    async def main():
        a = await waiting(provider, quorum=2, people=("frank", "gina", "dana", "olga"))
        assert {asked["login_hint"] for asked in provider.asked.values()} == {"frank@idp", "gina@idp"}
        provider.answers("frank@idp")
        await a.turn()
        assert await a.state() is ApprovalState.PENDING
        b = await waiting(provider, quorum=2, people=("frank", "gina"))
        for hint in ("frank@idp", "gina@idp"):
            provider.answers(hint)
        await b.turn()  # both in one pass: one of them conflicts, and is tried again
        assert await b.state() is ApprovalState.GRANTED
        c = await waiting(provider, quorum=2, people=("frank", "gina"))
        row = replace(await c.row(), version=7)  # another one moved it: never two answers
        with pytest.raises(Conflict):
            await c.by_provider(row=row)

    run(main())


def test_who_was_heard_is_not_asked_and_who_is_unknown_there_is_told_here_alone(run, provider):
    async def main():
        a = await Asked(provider).begin(quorum=2, people=("frank", "gina"))
        await answer(a.w.env, a.w.person("frank"), a.approval.id, Given(a.approval.digest, True))
        await a.turn(0)
        assert [asked["login_hint"] for asked in provider.asked.values()] == ["gina@idp"]
        assert await a.row() is None
        b = await Asked(provider).begin()
        provider.tricks["/backchannel"] = lambda r: provider.answer(r, {"error": "unknown_user_id"}, 400)
        await b.turn(0)
        assert (await b.row()).why == "the provider refused: unknown_user_id"
        assert await b.state() is ApprovalState.PENDING

    run(main())


def endless(request):
    request.send_response(200)
    request.end_headers()
    try:
        for _ in range(160):
            request.wfile.write(b" " * 65536)
    except OSError:
        pass


def never(request):
    """A byte now and then: no single wait is long, and all of it together is."""
    data = json.dumps(GOOD).encode()
    request.send_response(200)
    request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    try:
        for byte in data:
            request.wfile.write(bytes([byte]))
            time.sleep(0.02)
    except OSError:
        pass


def redirects(request):
    request.send_response(307)
    request.send_header("Location", "/elsewhere")
    request.send_header("Content-Length", "0")
    request.end_headers()


def answers(status, body):
    def respond(request):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request.send_response(status)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    return respond


GOOD = {"auth_req_id": "abc", "expires_in": 60}
HOSTILE = {
    "10 MB": endless,
    "never": never,
    "redirects": redirects,
    "down": answers(503, b""),
    "busy": answers(429, {"error": "access_denied"}),
}


NO_REQUEST = [{**GOOD, "auth_req_id": ""}, {**GOOD, "auth_req_id": "a b\r\n"}, {**GOOD, "auth_req_id": "a" * 2000},
              {"auth_req_id": "abc"}, {**GOOD, "expires_in": 0}, {**GOOD, "interval": 10**6}, {**GOOD, "interval": 0}, []]  # fmt: skip


def test_an_acknowledgement_is_whole_and_bounded_or_none():
    assert ciba.taken(200, json.dumps(GOOD).encode()) == ciba.Taken("abc", 60, 5)
    for body in (b"<html>", *(json.dumps(one).encode() for one in NO_REQUEST)):
        assert ciba.taken(200, body) is None, body
    assert ciba.taken(302, json.dumps(GOOD).encode()) is None


@pytest.mark.parametrize("how", HOSTILE)
def test_a_provider_that_is_absurd_when_asked_is_asked_a_few_times_and_never_believed(run, provider, how, monkeypatch):
    monkeypatch.setattr(fetch, "TIME_LIMIT", 0.3)

    async def main():
        a = await Asked(provider).begin()
        provider.tricks = {"/backchannel": HOSTILE[how], "/elsewhere": answers(200, GOOD)}
        for _ in range(ATTEMPTS + 1):
            await a.turn(10_000)
        row = await a.row()
        assert (row.state, row.why) == (BackchannelState.OVER, "the provider could not be asked")
        assert a.w.events().count("BackchannelAsking") == ATTEMPTS and provider.polls == []
        assert await a.state() is ApprovalState.PENDING

    run(main())


@pytest.mark.parametrize("how", ["10 MB", "never", "redirects", "down", "busy"])
def test_a_provider_that_is_absurd_when_polled_is_polled_again(run, provider, how, monkeypatch):
    monkeypatch.setattr(fetch, "TIME_LIMIT", 0.3)

    async def main():
        a = await waiting(provider)
        provider.tricks = {"/token": HOSTILE[how], "/elsewhere": answers(200, {"error": "access_denied"})}
        await a.turn()
        assert (await a.row()).state is BackchannelState.WAITING and await a.state() is ApprovalState.PENDING
        provider.tricks = {}
        provider.answers()
        await a.turn()
        assert await a.state() is ApprovalState.GRANTED

    run(main())


@pytest.mark.parametrize(
    ("body", "why"), [({"access_token": "x"}, "no ID token"), (b"<html>", "no ID token"), ({"id_token": "x"}, "void")]
)
def test_an_answer_without_a_token_that_verifies_is_void(run, provider, body, why):
    async def main():
        a = await waiting(provider)
        provider.tricks["/token"] = answers(200, body)
        await a.turn()
        assert why in (await a.row()).why and await a.state() is ApprovalState.PENDING

    run(main())


ADDRESSES = [
    "http://169.254.169.254/x",
    "https://169.254.169.254/x",
    "https://[::ffff:169.254.169.254]/x",
    "http://10.0.0.7/x",
    "file:///etc/passwd",
    "gopher://127.0.0.1/",
    None,
    7,
]


@pytest.mark.parametrize("endpoint", ["backchannel_authentication_endpoint", "token_endpoint"])
def test_discovery_sends_us_nowhere(run, provider, endpoint, monkeypatch):
    went = []
    real = fetch._send

    async def watched(method, url, host, *rest):
        went.append(host)
        return await real(method, url, host, *rest)

    monkeypatch.setattr(fetch, "_send", watched)
    monkeypatch.setattr(fetch, "TIME_LIMIT", 0.3)
    company = parse(files(provider)).providers["company"]

    async def main():
        for address in ADDRESSES:
            provider.says = {endpoint: address}
            channel = Backchannel(RelyingParty({"COMPANY_SECRET": SECRET}))
            with pytest.raises(Unavailable):
                if endpoint == "token_endpoint":
                    await channel.poll(company, "abc", 0, 0)
                else:
                    await channel.ask(company, Wanted("frank@idp", "code", 60), 0)
        assert set(went) == {"127.0.0.1"} and provider.posts == []

    run(main())


def test_a_provider_that_does_not_announce_poll_mode_is_not_asked(run, provider):
    async def main():
        provider.says = {"backchannel_token_delivery_modes_supported": ["push"]}
        a = await Asked(provider).begin()
        await a.turn(0)
        assert provider.asked == {} and a.w.events()[-1] == "BackchannelFailed"
        for one in (NoBackchannel().ask(None, Wanted("", "", 1), 0), NoBackchannel().poll(None, "", 0, 0)):
            with pytest.raises(Unavailable):
                await one

    run(main())


def test_what_waits_survives_a_new_root_key(run, provider):
    async def main():
        a = await waiting(provider)
        a.w.env = replace(a.w.env, sealer=RootSealer(b"n" * 32, b"r" * 32))
        await rewrap(a.w.env, a.w.call(CallerKind.OPERATOR, "op"))
        a.w.env = replace(a.w.env, sealer=RootSealer(b"n" * 32))
        provider.answers()
        await a.turn()
        assert await a.state() is ApprovalState.GRANTED

    run(main())


def test_what_both_sides_show_is_short_plain_and_of_this_digest(run, provider):
    async def main():
        a = await Asked(provider).begin()
        shown = replace(a.approval.shown, sentence="pay\n\u202ehttps://evil.test " + "x" * 1000)
        text = binding_message(replace(a.approval, shown=shown))
        assert len(text) == MESSAGE_LIMIT and text.isascii() and text.isprintable() and "\\n\\u202e" in text
        assert text.endswith("... (all of it in Remit)")
        assert code("sha256:" + "0" * 64) == "2222-2222" != code("sha256:" + "1" + "0" * 63)
        await end_leases(a.w.env, a.w.clock.now)

    run(main())


def test_the_provider_must_know_who_asks(provider):
    good = files(provider)
    assert parse(good).providers["company"].ciba and parse(good).tells
    bad = {**good, "remit.toml": good["remit.toml"].replace('client_secret_env = "COMPANY_SECRET"\n', "")}
    with pytest.raises(BadCatalogue, match="the provider must know who asks"):
        parse(bad)
    assert parse(good).providers["company"].hint("gina") == ""
    assert replace(parse(good).providers["company"], people={}).hint("gina") == "gina"

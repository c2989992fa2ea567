"""A signed GetCallerIdentity: signed by botocore, sent by us over HTTP, verified by a local STS that does the sums itself.

The local STS refuses as the real one does: wrong method, path, action, signature, scope or date. What reaches it is
recorded, so that a request that must not be sent is seen not to have been.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from remit.attest import Attestors
from remit.attest.aws import AT_ONCE, AwsCallers
from remit.domain.errors import BadCatalogue, BadToken, Busy, NotAttested, Unavailable
from remit.formats import aws_caller
from remit.formats.aws_caller import BODY, SignedRequest
from remit.formats.catalogue import parse
from remit.verbs.attest import AwsEvidence, attest
from remit_client import AgentKey, NotAuthenticated, Remit, aws
from tests.server import CATALOGUE, furnished, process
from tests.verbs.test_other_verbs import fresh_key
from tests.world import changed, world

KEY_ID, SECRET, SESSION = "ASIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "canary-session-token"
SERVER = "https://remit.test"
ROLE_ARN = "arn:aws:sts::123456789012:assumed-role/Payer/i-0abc"
ANSWER = """<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <GetCallerIdentityResult><Arn>{arn}</Arn><UserId>{id}</UserId><Account>{account}</Account></GetCallerIdentityResult>
  <ResponseMetadata><RequestId>01234567-89ab-cdef-0123-456789abcdef</RequestId></ResponseMetadata>
</GetCallerIdentityResponse>"""
WHO = {"arn": ROLE_ARN, "id": "AROAEXAMPLEEXAMPLE12:i-0abc", "account": "123456789012"}


class LocalSts:
    """Verifies Signature Version 4 for one key pair, and says who that is."""

    def __init__(self):
        self.seen = []
        self.answer = lambda: (200, ANSWER.format(**WHO).encode())
        self.now = time.time

    def __enter__(self):
        sts = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                sts.seen.append(dict(self.headers))
                problem = sts.problem(self.path, self.headers, body)
                status, data = (403, f"<ErrorResponse>{problem}</ErrorResponse>".encode()) if problem else sts.answer()
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", "http://169.254.169.254/")
                self.send_header("Content-Length", str(len(data)))
                with suppress(OSError):
                    self.end_headers()
                    self.wfile.write(data)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *args):
        self._server.shutdown()
        self._server.server_close()

    def problem(self, path, headers, body):
        scheme, _, rest = headers.get("authorization", "").partition(" ")
        parts = dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)
        key_id, day, region, service, end = parts["Credential"].split("/")
        signed = parts["SignedHeaders"].split(";")
        canonical = "\n".join(
            [
                "POST",
                path,
                "",
                *(f"{name}:{' '.join(headers[name].split())}" for name in signed),
                "",
                ";".join(signed),
                hashlib.sha256(body).hexdigest(),
            ]
        )
        scope = f"{day}/{region}/{service}/{end}"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{scope}\n{digest}"
        key = b"AWS4" + SECRET.encode()
        for part in (day, region, service, end):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        good = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        if (scheme, path, key_id, service) != ("AWS4-HMAC-SHA256", "/", KEY_ID, "sts"):
            return "IncompleteSignature"
        if not hmac.compare_digest(good, parts["Signature"]):
            return "SignatureDoesNotMatch"
        if headers.get("x-amz-security-token") != SESSION or body.decode() != BODY:
            return "InvalidClientTokenId"
        sent = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        return "" if abs(self.now() - sent) < 900 else "RequestExpired"

    def attestors(self):
        """Ours, connected here in place of the host they ask for; the request is the very one they would send."""
        port = self._server.server_port

        class Here(httpx.AsyncHTTPTransport):
            async def handle_async_request(self, request):
                assert request.url.scheme == "https"
                request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=port)
                return await super().handle_async_request(request)

        return Attestors(aws=AwsCallers(transport=Here()))


@contextmanager
def clock(ms):
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    with patch("botocore.auth.get_current_datetime", lambda remove_tzinfo=True: moment.replace(tzinfo=None)):
        yield


def signed(now, jkt, *, server=SERVER, host="sts.eu-west-1.amazonaws.com", region="eu-west-1", secret=SECRET, **more):
    """As an agent does it."""
    headers = {
        "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
        "Host": host,
        "X-Remit-Server-ID": server,
        "X-Remit-Key": jkt,
        **more,
    }
    request = AWSRequest("POST", f"https://{host}/", headers={k: v for k, v in headers.items() if v}, data=BODY)
    with clock(now):
        SigV4Auth(Credentials(KEY_ID, secret, SESSION), "sts", region).add_auth(request)
    return SignedRequest(request.url, dict(request.headers.items()), BODY)


AGENT = 'owner = "olga"\n[[attestations]]\nmethod = "aws"\n[attestations.claims]\n'
PINS = 'account = "123456789012"\nid = "AROAEXAMPLEEXAMPLE12"\nrole = "Payer"\nsession = "i-*"\n'


async def here(sts, pins=PINS):
    w = await world(files=changed(agents__payer_dot_toml=AGENT + pins))
    sts.now = lambda: w.clock.now / 1000
    w.env = replace(w.env, attestor=sts.attestors())
    return w


@pytest.fixture
def sts():
    with LocalSts() as local:
        yield local


def test_a_role_proves_the_agent_it_is(run, sts):
    async def main():
        w = await here(sts)
        jkt, jwk = fresh_key()
        evidence = AwsEvidence(signed(w.clock.now, jkt))
        identity = await attest(w.env, w.call(), evidence, jkt, jwk)
        assert (identity.agent, identity.method) == ("payer", "aws")
        assert identity.proved_at == w.clock.now and identity.expires_at == w.clock.now + 3_600_000
        assert (await attest(w.env, w.call(), evidence, jkt, jwk)).agent == "payer"  # the same key, again
        for host, region in (("sts.amazonaws.com", "us-east-1"), ("sts.us-gov-west-1.amazonaws.com", "us-gov-west-1")):
            jkt, jwk = fresh_key()
            request = signed(w.clock.now, jkt, host=host, region=region)
            assert (await attest(w.env, w.call(), AwsEvidence(request), jkt, jwk)).agent == "payer"
        checked = aws_caller.check(
            evidence.request, server=SERVER, jkt=evidence.request.headers["X-Remit-Key"], now=w.clock.now
        )
        assert "canary" not in repr(evidence) + repr(checked) and "Signature=" not in repr(evidence) + repr(checked)

    run(main())


def test_a_stolen_request_does_not_bind_the_thiefs_key(run, sts):
    async def main():
        w = await here(sts)
        evidence = AwsEvidence(signed(w.clock.now, fresh_key()[0]))
        with pytest.raises(BadToken) as refused:
            await attest(w.env, w.call(), evidence, *fresh_key())
        assert "thumbprint" in refused.value.inside and not sts.seen
        thief, jwk = fresh_key()
        forged = replace(evidence.request, headers={**evidence.request.headers, "X-Remit-Key": thief})
        with pytest.raises(BadToken) as refused:
            await attest(w.env, w.call(), AwsEvidence(forged), thief, jwk)
        assert refused.value.inside == "STS answered 403", "STS sees that the header was signed with another value"

    run(main())


def test_one_request_is_good_for_its_five_minutes(run, sts):
    async def main():
        w = await here(sts)
        jkt, jwk = fresh_key()
        evidence = AwsEvidence(signed(w.clock.now, jkt))
        for moment, fits in ((-60_001, False), (-60_000, True), (299_999, True), (300_000, False)):
            call = replace(w.call(), now=w.clock.now + moment)
            if fits:
                assert await attest(w.env, call, evidence, jkt, jwk)
            else:
                with pytest.raises(BadToken, match="not valid"):
                    await attest(w.env, call, evidence, jkt, jwk)

    run(main())


def h(**changes):
    """Headers changed after signing: None takes one away."""

    def change(request):
        left = {k: v for k, v in request.headers.items() if k not in changes or changes[k] is not None}
        return replace(request, headers={**left, **{k: v for k, v in changes.items() if v is not None}})

    return change


def auth(old, new):
    return lambda r: h(Authorization=r.headers["Authorization"].replace(old, new))(r)


NEVER_SENT = {
    "another host": lambda r: replace(r, url="https://sts.evil.example/"),
    "a host that only begins so": lambda r: replace(r, url="https://sts.amazonaws.com.evil.example/"),
    "a host that only ends so": lambda r: replace(r, url="https://evil-sts.amazonaws.com/"),
    "another service": lambda r: replace(r, url="https://iam.amazonaws.com/"),
    "a bucket": lambda r: replace(r, url="https://sts.s3.amazonaws.com/"),
    "http": lambda r: replace(r, url="http://sts.eu-west-1.amazonaws.com/"),
    "a port": lambda r: replace(r, url="https://sts.eu-west-1.amazonaws.com:8443/"),
    "user information": lambda r: replace(r, url="https://sts.amazonaws.com@evil.example/"),
    "a query": lambda r: replace(r, url=r.url + "?Action=GetCallerIdentity"),
    "a path": lambda r: replace(r, url=r.url + "x"),
    "a line break in the address": lambda r: replace(r, url=r.url + "\n"),
    "upper case": lambda r: replace(r, url=r.url.upper()),
    "the metadata service": lambda r: replace(r, url="http://169.254.169.254/"),
    "another action": lambda r: replace(r, body="Action=AssumeRoleWithWebIdentity&Version=2011-06-15"),
    "one more parameter": lambda r: replace(r, body=BODY + "&x=1"),
    "no body": lambda r: replace(r, body=""),
    "host of another": h(Host="sts.amazonaws.com"),
    "no host": h(Host=None),
    "asks for JSON": h(Accept="application/json"),
    "a forwarding header": h(**{"X-Forwarded-Host": "evil.example"}),
    "transfer encoding": h(**{"Transfer-Encoding": "chunked"}),
    "a header twice": h(**{"x-remit-key": "another"}),
    "a header with a line break": h(**{"X-Amz-Security-Token": "a\r\nX-Evil: 1"}),
    "a header that is empty": h(**{"X-Amz-Security-Token": ""}),
    "a header too long": h(**{"X-Amz-Security-Token": "x" * 4097}),
    "a header not plain": h(**{"X-Amz-Security-Token": "é"}),
    "another content type": h(**{"Content-Type": "application/json"}),
    "no content type": h(**{"Content-Type": None}),
    "another length": h(**{"Content-Length": "9999"}),
    "no authorization": h(Authorization=None),
    "a bearer": h(Authorization="Bearer x"),
    "asymmetric signature": auth("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
    "scope of another service": auth("/sts/", "/iam/"),
    "scope of another region": auth("/eu-west-1/", "/us-east-1/"),
    "scope of another day": auth("/20270115/", "/20270114/"),
    "server not signed": auth(";x-remit-server-id", ""),
    "key not signed": auth(";x-remit-key", ""),
    "date not signed": auth("x-amz-date;", ""),
    "host not signed": auth("host;", ""),
    "session token not signed": auth("x-amz-security-token;", ""),
    "signs what is not there": auth("SignedHeaders=", "SignedHeaders=accept;"),
    "two signatures": auth("Signature=", "Signature=" + "0" * 64 + ", Signature="),
    "a date that is none": h(**{"X-Amz-Date": "20270199T000000Z"}),
    "a date in another form": h(**{"X-Amz-Date": "Fri, 15 Jan 2027 08:00:00 GMT"}),
    "no date": h(**{"X-Amz-Date": None}),
    "no server": h(**{"X-Remit-Server-ID": None}),
    "another server's": h(**{"X-Remit-Server-ID": "https://remit.test.evil.example"}),
}


@pytest.mark.parametrize("flaw", NEVER_SENT)
def test_what_is_never_sent(run, sts, flaw):
    async def main():
        w = await here(sts)
        jkt, jwk = fresh_key()
        request = signed(w.clock.now, jkt)
        bad = NEVER_SENT[flaw](request)
        assert bad != request, "the flaw is there"
        with pytest.raises(BadToken) as refused:
            await attest(w.env, w.call(), AwsEvidence(bad), jkt, jwk)
        assert not sts.seen and refused.value.inside and SESSION not in refused.value.inside
        assert str(refused.value) == "The signed AWS request is not valid."

    run(main())


def test_a_signature_by_another_secret_is_refused_by_sts(run, sts):
    async def main():
        w = await here(sts)
        jkt, jwk = fresh_key()
        with pytest.raises(BadToken) as refused:
            await attest(w.env, w.call(), AwsEvidence(signed(w.clock.now, jkt, secret="x" * 40)), jkt, jwk)
        assert len(sts.seen) == 1 and refused.value.inside == "STS answered 403"

    run(main())


@pytest.mark.parametrize(
    ("who", "words"),
    [
        ({"id": "AROAEXAMPLEEXAMPLE99:i-0abc"}, 'id wanted "AROAEXAMPLEEXAMPLE12", saw "AROAEXAMPLEEXAMPLE99"'),
        ({"account": "999999999999", "arn": ROLE_ARN.replace("123456789012", "999999999999")}, "account wanted"),
        ({"arn": ROLE_ARN.replace("Payer", "Payer2")}, 'role wanted "Payer", saw "Payer2"'),
        ({"arn": ROLE_ARN.replace("i-0abc", "me"), "id": "AROAEXAMPLEEXAMPLE12:me"}, 'session wanted "i-*", saw "me"'),
        ({"arn": "arn:aws:iam::123456789012:user/Payer", "id": "AIDAEXAMPLEEXAMPLE12"}, "role wanted"),
    ],
)
def test_another_caller_is_not_the_agent(run, sts, who, words):
    async def main():
        w = await here(sts)
        sts.answer = lambda: (200, ANSWER.format(**{**WHO, **who}).encode())
        jkt, jwk = fresh_key()
        with pytest.raises(NotAttested) as refused:
            await attest(w.env, w.call(), AwsEvidence(signed(w.clock.now, jkt)), jkt, jwk)
        assert words in refused.value.inside and str(refused.value) == "This evidence proves no registered agent."

    run(main())


GOOD = ANSWER.format(**WHO)
ANSWERS = {
    "no XML": "ok",
    "JSON": '{"GetCallerIdentityResponse": {}}',
    "nothing": "",
    "an entity": '<!DOCTYPE a [<!ENTITY e "x">]>' + GOOD,
    "a comment": GOOD.replace("<Arn>", "<!-- x --><Arn>"),
    "other bytes": GOOD.encode("utf-16"),
    "too long": GOOD + " " * 20_000,
    "another root": GOOD.replace("GetCallerIdentityResponse", "AssumeRoleResponse"),
    "no namespace": GOOD.replace(' xmlns="https://sts.amazonaws.com/doc/2011-06-15/"', ""),
    "two results": GOOD.replace("<ResponseMetadata>", "<GetCallerIdentityResult/><ResponseMetadata>"),
    "a result further in": GOOD.replace("<GetCallerIdentityResult>", "<x><GetCallerIdentityResult>").replace(
        "</GetCallerIdentityResult>", "</GetCallerIdentityResult></x>"
    ),
    "two arns": GOOD.replace("<UserId>", f"<Arn>{ROLE_ARN}</Arn><UserId>"),
    "one more": GOOD.replace("<UserId>", "<More/><UserId>"),
    "no account": GOOD.replace("<Account>123456789012</Account>", ""),
    "an empty arn": GOOD.replace(ROLE_ARN, ""),
    "another account": GOOD.replace("<Account>123456789012", "<Account>999999999999"),
    "an id that is none": GOOD.replace("AROAEXAMPLEEXAMPLE12:", "payer:"),
    "a user's id for a role": GOOD.replace("12:i-0abc", "12"),
    "another session": GOOD.replace("12:i-0abc", "12:other"),
    "the root of the account": GOOD.replace(ROLE_ARN, "arn:aws:iam::123456789012:root"),
    "a federated user": GOOD.replace(ROLE_ARN, "arn:aws:sts::123456789012:federated-user/x"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_not_exactly_sts(run, sts, name):
    async def main():
        w = await here(sts)
        body = ANSWERS[name]
        sts.answer = lambda: (200, body if isinstance(body, bytes) else body.encode())
        jkt, jwk = fresh_key()
        with pytest.raises((BadToken, Unavailable)) as refused:
            await attest(w.env, w.call(), AwsEvidence(signed(w.clock.now, jkt)), jkt, jwk)
        assert len(sts.seen) == 1 and refused.value.inside

    run(main())


@pytest.mark.parametrize(
    ("status", "kind"), [(302, Unavailable), (500, Unavailable), (429, Unavailable), (400, BadToken)]
)
def test_sts_that_does_not_answer_proves_nothing(run, sts, status, kind):
    async def main():
        w = await here(sts)
        sts.answer = lambda: (status, GOOD.encode())
        jkt, jwk = fresh_key()
        with pytest.raises(kind):
            await attest(w.env, w.call(), AwsEvidence(signed(w.clock.now, jkt)), jkt, jwk)
        assert len(sts.seen) == 1, "no redirect is followed, nothing is tried again"

    run(main())


def test_sts_that_is_slow_or_gone(run, sts, monkeypatch):
    monkeypatch.setattr("remit.attest.aws.TIME_LIMIT", 0.3)

    async def main():
        w = await here(sts)
        jkt, jwk = fresh_key()
        request = AwsEvidence(signed(w.clock.now, jkt))
        sts.answer = lambda: (time.sleep(1), (200, b""))[1]
        many = [attest(w.env, w.call(), request, jkt, jwk) for _ in range(AT_ONCE + 4)]
        started = time.monotonic()
        kinds = [type(found) for found in await asyncio.gather(*many, return_exceptions=True)]
        assert time.monotonic() - started < 3
        assert kinds.count(Unavailable) == AT_ONCE and kinds.count(Busy) == 4
        w.env = replace(w.env, attestor=Attestors(aws=AwsCallers(httpx.AsyncHTTPTransport(uds="/nowhere"))))
        with pytest.raises(Unavailable):
            await attest(w.env, w.call(), request, jkt, jwk)

    run(main())


def test_where_no_agent_has_such_a_rule_nothing_is_sent(run, sts):
    async def main():
        w = await world()
        w.env = replace(w.env, attestor=sts.attestors())
        jkt, jwk = fresh_key()
        with pytest.raises(NotAttested) as refused:
            await attest(w.env, w.call(), AwsEvidence(signed(w.clock.now, jkt)), jkt, jwk)
        assert refused.value.inside == "no agent has such a rule" and not sts.seen

    run(main())


@pytest.mark.parametrize(
    ("pins", "line", "words"),
    [
        ('account = "123456789012"', 4, "Pin account, and id, role or user"),
        ('id = "AROAEXAMPLEEXAMPLE12"', 4, "Pin account"),
        ('account = "123456789012"\nsession = "i-0abc"', 4, "session proves nothing"),
        ('account = "123456789012"\nrole = "Pay*"', 6, "'role' must be written whole"),
        ('account = "1234*"\nrole = "Payer"', 5, "'account' must be written whole"),
        ('account = 123456789012\nrole = "Payer"', 5, "each is text"),
        ('account = "123456789012"\nrole = "Payer"\narn = "x"', 7, "an AWS caller has account, id, role"),
        ('account = "123456789012"\n[attestations.claims.role]\nname = "Payer"', 6, "each is text"),
    ],
)
def test_a_rule_that_trusts_too_much_is_refused(pins, line, words):
    with pytest.raises(BadCatalogue) as refused:
        parse(changed(agents__payer_dot_toml=AGENT + pins + "\n"))
    assert words in refused.value.problem and refused.value.line == line, refused.value


def test_a_rule_for_users_and_one_without_claims():
    catalogue = parse(changed(agents__payer_dot_toml=AGENT + 'account = "123456789012"\nuser = "ci/payer"\n'))
    assert catalogue.agents["payer"].attestations[0].kind == "aws"
    for wrong in (AGENT, AGENT.replace('"aws"', '"aws"\nfederation = "x"') + PINS):
        with pytest.raises(BadCatalogue, match="aws needs"):
            parse(changed(agents__payer_dot_toml=wrong))


def test_the_documented_client_makes_a_request_that_may_be_sent(tmp_path, monkeypatch):
    """What the how-to says, against a real server: it is refused for want of a rule only, after every check of it."""
    page = (Path(__file__).parents[2] / "docs" / "howto" / "oidc.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", SESSION)
    monkeypatch.setenv("REMIT_AGENT_DIR", str(tmp_path / "agent"))
    data = tmp_path / "data"
    with process(data) as running:
        furnished(running)
        with pytest.raises(NotAuthenticated, match="no registered agent"):
            exec(code.replace("https://remit.example.com", running.url), {})  # the page's own words
    assert "no agent has such a rule" in data.with_suffix(".log").read_text()


def test_the_clients_request_is_what_sts_verifies(run, sts, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", SESSION)
    agent = Remit(SERVER, agent_dir=tmp_path / "agent", join_token="").agent

    async def main():
        w = await here(sts)
        with clock(w.clock.now):
            request = SignedRequest(**aws.evidence(agent, region="eu-west-1")["aws_request"])
        jwk = {"kty": "EC", "crv": "P-256", "x": "x", "y": "y"}
        assert (await attest(w.env, w.call(), AwsEvidence(request), agent.key.jkt, jwk)).agent == "payer"

    run(main())
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(NotAuthenticated, match="no AWS credentials"):
        aws.evidence(agent, region="eu-west-1")


def test_over_http_it_reaches_the_verb_and_the_token_no_log(tmp_path):
    """The server asks nobody here: the request is for another server, and is refused before it is sent."""
    files = {**CATALOGUE, "agents/payer.toml": AGENT + PINS}
    data = tmp_path / "data"
    with process(data) as running:
        server = furnished(running, files)
        key = AgentKey.generate()
        request = signed(int(time.time() * 1000), key.jkt)
        body = {"aws_request": {"url": request.url, "headers": dict(request.headers), "body": request.body}}

        def send(value):
            proof = key.proof("POST", f"{server.url}/v1/attest")
            return httpx.post(f"{server.url}/v1/attest", json=value, headers={"DPoP": proof})

        answer = send(body)
        assert (answer.status_code, answer.json()["code"]) == (401, "RMT-2002")
        assert send({**body, "join_token": "x"}).status_code == 400
        assert send({"aws_request": {"url": 5}}).status_code == 400
        assert send({"aws_request": {**body["aws_request"], "method": "GET"}}).status_code == 400
    log = data.with_suffix(".log").read_text()
    assert "x-remit-server-id is not this server" in log
    assert SESSION not in log and request.headers["Authorization"] not in log

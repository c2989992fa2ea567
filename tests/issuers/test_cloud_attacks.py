"""Clouds that lie, tokens shown to the wrong one, parameters that would like to be wildcards; and a second opinion (moto)."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from dataclasses import replace
from importlib import import_module

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from remit.domain.errors import BadField, BadToken, IssuerUnavailable, NotRecallable, WrongState
from remit.formats import signing_key
from remit.issuers.aws import session_policy

from .clouds import ISSUER, SUB, Cloud, Cluster, Entra, GitHub, Google, Sts, like
from .rigs import aws, azure, github, google, kubernetes, lease
from .rigs import openbao as openbao_rig

CLOUDS = {"aws": Sts, "google": Google, "azure": Entra}


class Cloudy:
    """A cloud, its issuer, a lease."""

    def __init__(self, kind):
        self.kind, self.rig = kind, import_module(f"tests.issuers.rigs.{kind}")
        self.cloud = CLOUDS[kind](lambda: self.w.env.signer.public("federation"))
        self.issuer, self.w, task = asyncio.run(self.rig.issuer(self.cloud))
        self.lease = lease(grants=self.rig.READ, task=task, parameters={"customer": "acme"})

    def mint(self, **more):
        return asyncio.run(self.issuer.mint(replace(self.lease, **more)))


@pytest.fixture(params=CLOUDS)
def cloudy(request):
    found = Cloudy(request.param)
    yield found
    found.cloud.close()


def test_a_cloud_is_shown_one_short_token_that_is_good_nowhere_else(cloudy):
    cloudy.mint()
    sent = b" ".join(body for *_, body in cloudy.cloud.said).decode()
    (token,) = {part for part in sent.replace("&", " ").replace("=", " ").split() if part.startswith("eyJ")}
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["iss"] == ISSUER and claims["sub"] == SUB and claims["exp"] - claims["iat"] == 300
    assert claims["remit_task"] == cloudy.lease.task and claims["jti"] == cloudy.lease.handle
    kid = jwt.get_unverified_header(token)["kid"]
    others = [key["kid"] for use in ("token", "svid", "log") for key in cloudy.w.env.signer.public(use)]
    assert kid not in others
    for cls in CLOUDS.values():
        audience = {Sts: "sts.amazonaws.com", Google: Google.provider, Entra: "api://AzureADTokenExchange"}[cls]
        assert (claims["aud"] == audience) == isinstance(cloudy.cloud, cls)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda *asked: (500, "text/plain", "secret-of-the-cloud"), id="500"),
        pytest.param(lambda *asked: (200, "text/plain", "secret-of-the-cloud"), id="no document"),
        pytest.param(lambda *asked: (200, "application/json", "[]"), id="a list"),
        pytest.param(lambda *asked: (200, "application/json", "{}"), id="nothing in it"),
        pytest.param(lambda *asked: (200, "application/json", "[" * 50_000), id="deep"),
        pytest.param(lambda *asked: (200, "text/xml", "<a/>"), id="other XML"),
        pytest.param(
            lambda *asked: (200, "text/xml", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'), id="a document type"
        ),
        pytest.param(lambda *asked: (200, "text/plain", b"x" * 3_000_000), id="three megabytes"),
        pytest.param(lambda *asked: (307, "text/plain", "http://127.0.0.1:9/"), id="a redirect"),
        pytest.param(
            lambda *asked: (200, "application/json", json.dumps({"access_token": 5, "expires_in": 60})), id="no text"
        ),
        pytest.param(
            lambda *asked: (200, "application/json", json.dumps({"access_token": "x" * 20_000})), id="a long token"
        ),
        pytest.param(
            lambda *asked: (200, "application/json", json.dumps({"access_token": "x", "expires_in": 10**6})),
            id="a long life",
        ),
        pytest.param(
            lambda *asked: (200, "application/json", json.dumps({"access_token": "x", "expires_in": True})), id="a flag"
        ),
    ],
)
def test_a_cloud_that_lies_gives_nothing(cloudy, answer):
    cloudy.cloud.hostile = answer
    with pytest.raises(IssuerUnavailable) as refused:
        cloudy.mint()
    assert "secret-of-the-cloud" not in f"{refused.value}{refused.value.inside}" and len(cloudy.cloud.said) == 1


def test_a_life_longer_than_asked_for_is_refused():
    cloudy = Cloudy("aws")
    real = cloudy.cloud.answer

    def longer(*asked):
        status, media, text = real(*asked)
        return status, media, text.replace("<Expiration>2", "<Expiration>3")

    cloudy.cloud.hostile = longer
    with pytest.raises(IssuerUnavailable):
        cloudy.mint()
    cloudy.cloud.hostile = lambda *asked: (lambda s, m, t: (s, m, t.replace("<Expiration>", "<Expiration>soon")))(
        *real(*asked)
    )
    with pytest.raises(IssuerUnavailable):
        cloudy.mint()
    cloudy.cloud.close()


def test_a_session_reaches_what_the_task_may_and_no_more():
    cloudy = Cloudy("aws")
    minted = cloudy.mint()
    cloud = cloudy.cloud
    assert cloud.use(minted, "s3:GetObject", "arn:aws:s3:::reports/acme/1")
    assert not cloud.use(minted, "s3:PutObject", "arn:aws:s3:::reports/acme/1")
    assert not cloud.use(minted, "s3:GetObject", "arn:aws:s3:::reports/globex/1")
    for hostile in ("*", "?cme", "${aws:username}", "a$c", "${*}"):
        policy = json.loads(session_policy(replace(cloudy.lease, parameters={"customer": hostile})))
        (resource,) = policy["Statement"][0]["Resource"]
        assert like(resource, f"arn:aws:s3:::reports/{hostile}/1") and not like(resource, "arn:aws:s3:::reports/acme/1")
    with pytest.raises(WrongState, match="customer"):
        cloudy.mint(parameters={})
    with pytest.raises(BadField, match="2048"):
        cloudy.mint(parameters={"customer": "x" * 2000})
    with pytest.raises(WrongState, match="too late"):
        cloudy.mint(mint_until=int(time.time() * 1000))
    with pytest.raises(WrongState, match="gone"):
        cloudy.mint(task="tsk_none")
    cloud.close()


def test_a_boundary_is_on_what_the_task_may():
    cloudy = Cloudy("google")
    minted = cloudy.mint()
    rules = cloudy.cloud.sessions[minted.parts["access_token"]][2]
    said = rules[0]["availabilityCondition"]["expression"]
    assert 'startsWith("projects/_/buckets/reports/objects/acme/")' in said
    for hostile in ("../globex", "a/b", "..", "a\n"):
        with pytest.raises(BadField):
            cloudy.mint(parameters={"customer": hostile})
    quoted = cloudy.mint(parameters={"customer": "a') || true || ('"})
    expression = cloudy.cloud.sessions[quoted.parts["access_token"]][2][0]["availabilityCondition"]["expression"]
    assert expression.count('startsWith("') == 2 and "true || ('/\")" in expression  # inside the literal
    cloudy.cloud.close()


def test_dead_by_itself_is_dead(cloudy):
    over = replace(cloudy.lease, expires_at=1, mint_until=1)
    asyncio.run(cloudy.issuer.kill(over))
    with pytest.raises(NotRecallable):
        asyncio.run(cloudy.issuer.kill(cloudy.lease))


def test_moto_and_boto3_speak_the_same(tmp_path):
    """Another's STS takes our request, and another's client our credentials."""
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://127.0.0.1:{port}"
        made, _, task = asyncio.run(aws.issuer(url=url))
        wanted = lease(grants=aws.READ, task=task, parameters={"customer": "acme"}, seconds=1200)
        minted = asyncio.run(made.mint(wanted)).parts
        keys = {"aws_access_key_id": minted["access_key_id"], "aws_secret_access_key": minted["secret_access_key"],
                "aws_session_token": minted["session_token"], "region_name": minted["region"], "endpoint_url": url}  # fmt: skip
        who = boto3.client("sts", **keys).get_caller_identity()
        assert who["Arn"] == f"arn:aws:sts::123456789012:assumed-role/billing/{wanted.handle}" and host
    finally:
        server.stop()


# --- Kubernetes ---


@pytest.fixture
def cluster():
    found = Cluster()
    yield found
    found.close()


def test_the_token_may_what_its_role_says_until_its_account_is_gone(cluster):
    made = kubernetes.issuer(cluster.url)
    rules = [{"resources": ["pods"], "verbs": ["get"]}, {"resources": ["configmaps"], "verbs": ["get"], "names": ["app"]},
             {"api_groups": ["apps"], "resources": ["deployments"], "verbs": ["patch"]}]  # fmt: skip
    wanted = lease("remit_" + "ab" * 16, {"namespace": "billing", "rules": rules})
    minted = asyncio.run(made.mint(wanted))
    assert cluster.may(minted, "get", "pods") and not cluster.may(minted, "list", "pods")
    assert cluster.may(minted, "get", "configmaps", "app") and not cluster.may(minted, "get", "configmaps", "other")
    assert cluster.may(minted, "patch", "deployments", group="apps") and not cluster.may(minted, "patch", "deployments")
    asyncio.run(made.kill(wanted))
    assert not cluster.may(minted, "get", "pods") and not cluster.objects


@pytest.mark.parametrize("at", ["serviceaccounts", "roles", "rolebindings", "token"])
def test_whatever_fails_takes_back_what_was_made(cluster, at):
    real = cluster.answer

    def failing(method, path, headers, body):
        if method == "POST" and path.endswith("/" + at):
            return cluster.status(403, "Forbidden")
        return real(method, path, headers, body)

    cluster.hostile = failing
    with pytest.raises(IssuerUnavailable):
        asyncio.run(kubernetes.issuer(cluster.url).mint(lease(grants=kubernetes.READ)))
    assert not cluster.objects


def test_a_kill_that_is_not_done_is_not_confirmed(cluster):
    made = kubernetes.issuer(cluster.url)
    wanted = lease(grants=kubernetes.READ)
    asyncio.run(made.mint(wanted))
    real = cluster.answer
    for lie in (lambda m, *rest: cluster.status(403, "Forbidden") if m == "DELETE" else real(m, *rest),
                lambda m, *rest: (200, "application/json", "{}") if m == "DELETE" else real(m, *rest)):  # fmt: skip
        cluster.hostile = lie
        with pytest.raises(IssuerUnavailable):
            asyncio.run(made.kill(wanted))
    cluster.hostile = None
    asyncio.run(made.kill(wanted))
    with pytest.raises(WrongState, match="too late"):
        asyncio.run(made.mint(replace(wanted, mint_until=int(time.time() * 1000))))
    with pytest.raises(WrongState):
        asyncio.run(made.mint(replace(wanted, handle="other")))
    assert not cluster.objects and azure and google


def test_a_name_that_nobody_stated_makes_no_role(cluster):
    made = kubernetes.issuer(cluster.url)
    grants = kubernetes.rule(names=["{deployment}"])
    made.checked(grants)
    with pytest.raises(BadField, match="stated"):
        asyncio.run(made.mint(lease(grants=grants)))
    assert not cluster.said


def test_a_cluster_we_have_no_token_for_says_what_is_missing(tmp_path):
    from remit.domain.catalogue import IssuerConfig
    from remit.issuers import Tools, build

    settings = {"server": "https://127.0.0.1:1", "token_file": str(tmp_path / "none")}
    made = build(IssuerConfig("k", "kubernetes", settings), Tools(None, None, None, "", {}))
    with pytest.raises(IssuerUnavailable) as refused:
        asyncio.run(made.kill(lease(grants=kubernetes.READ)))
    assert str(tmp_path / "none") in refused.value.next_step


# --- GitHub ---


@pytest.fixture
def hub(tmp_path):
    found = GitHub()
    yield found, asyncio.run(github.issuer(found, tmp_path)), tmp_path
    found.close()


def test_a_token_is_taken_back_with_what_was_sealed_and_only_for_its_own_lease(hub):
    cloud, made, _ = hub
    wanted = lease(grants=github.READ)
    minted = asyncio.run(made.mint(wanted))
    assert minted.reference and minted.parts["access_token"] not in minted.reference
    with pytest.raises(NotRecallable):  # a crash before it was noted
        asyncio.run(made.kill(wanted))
    with pytest.raises(BadToken):
        asyncio.run(made.kill(replace(wanted, id="lse_other", reference=minted.reference)))
    asyncio.run(made.kill(replace(wanted, reference=minted.reference)))
    assert not cloud.use(minted)
    asyncio.run(made.kill(replace(wanted, mint_until=1)))  # its hour is over


@pytest.mark.parametrize(
    "change",
    [
        {"permissions": {"contents": "write"}},
        {"permissions": {"contents": "read", "issues": "read"}},
        {"repository_selection": "all"},
        {"repositories": [{"name": "site"}, {"name": "secret"}]},
        {"repositories": None},
        {"permissions": None},
    ],
    ids=str,
)
def test_more_than_was_asked_for_is_given_back_at_once(hub, change):
    cloud, made, _ = hub
    real = cloud.answer

    def wider(method, path, headers, body):
        status, media, text = real(method, path, headers, body)
        return status, media, json.dumps({**json.loads(text), **change}) if method == "POST" else text

    cloud.hostile = wider
    with pytest.raises(IssuerUnavailable):
        asyncio.run(made.mint(lease(grants=github.READ)))
    assert not cloud.sessions


def test_an_app_without_its_key_says_where_to_put_it(hub):
    _, made, folder = hub
    for content in (
        b"no key",
        ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    ):
        (folder / "app.pem").write_bytes(content)
        with pytest.raises(IssuerUnavailable) as refused:
            asyncio.run(made.mint(lease(grants=github.READ)))
        assert "key" in refused.value.next_step or "GitHub" in refused.value.next_step
    with pytest.raises(WrongState):
        asyncio.run(made.mint(lease(grants={**github.READ, "repositories": ["{repository}"]})))
    with pytest.raises(WrongState, match="too late"):
        asyncio.run(made.mint(lease(grants=github.READ, window=0)))


def test_the_apps_key_is_checked_once_and_a_new_one_is_used_at_once(tmp_path, monkeypatch):
    """Checking an RSA key takes tens of milliseconds of the loop that also decides."""
    service, other = GitHub(), GitHub()
    made = asyncio.run(github.issuer(service, tmp_path))
    loaded, load = [], signing_key.load_pem
    monkeypatch.setattr(signing_key, "load_pem", lambda pem: loaded.append(pem) or load(pem))
    for _ in range(3):
        asyncio.run(made.mint(lease(grants=github.READ)))
    assert loaded == [service.pem]
    (tmp_path / "app.pem").write_bytes(other.pem)
    with pytest.raises(IssuerUnavailable):
        asyncio.run(made.mint(lease(grants=github.READ)))
    service.public = other.public
    asyncio.run(made.mint(lease(grants=github.READ)))
    assert loaded == [service.pem, other.pem]
    service.close(), other.close()


# --- OpenBao ---


@pytest.fixture
def vault(openbao, database):
    """(issuer, server, database), with the engine in it."""
    made, w = asyncio.run(openbao_rig.issuer(openbao.port))
    openbao_rig.furnish(openbao, database, w.env.signer.public("federation"))
    return made, openbao, database


def roles(database):
    import psycopg

    with psycopg.connect(database.dsn()) as db:
        return {row[0] for row in db.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%'")}


def tokens(bao):
    with openbao_rig.root(bao) as http:
        return len(http.request("LIST", "auth/token/accessors").json()["data"]["keys"])


def test_what_hangs_from_a_lost_token_is_found_by_the_handle_and_dies(vault):
    made, bao, database = vault
    before, wanted = roles(database), lease("remit_lost", openbao_rig.READ)
    asyncio.run(made.mint(wanted))
    count = tokens(bao)
    assert len(roles(database) - before) == 1
    asyncio.run(made.kill(wanted))  # without the reference: we crashed before we knew it
    for _ in range(100):
        if roles(database) == before:
            break
        time.sleep(0.05)
    assert roles(database) == before and tokens(bao) == count - 1
    asyncio.run(made.kill(wanted))


def test_looking_for_lost_tokens_goes_on_where_the_last_attempt_ran_out_of_time(vault):
    """Thousands of tokens cannot be looked up in one attempt: each must bring it further, or no kill ever ends."""
    made, bao, database = vault
    before = roles(database)
    wanted = [lease(f"remit_among{number}", openbao_rig.READ) for number in range(6)]
    looked, ask = [], made._ask

    async def counted(method, path, body, token=""):
        if path.endswith("lookup-accessor"):
            looked.append(body["accessor"])
            if len(looked) == 4:
                raise TimeoutError
        return await ask(method, path, body, token)

    async def main():
        for one in wanted:
            await made.mint(one)
        made._ask = counted
        with pytest.raises(TimeoutError):
            await made.kill(wanted[0])
        await asyncio.gather(*map(made.kill, wanted))

    asyncio.run(main())
    retried = looked.pop(3)
    assert len(looked) == len(set(looked)) and retried in looked
    with openbao_rig.root(bao) as http:
        left = http.request("LIST", "auth/token/accessors").json()["data"]["keys"]
    assert len(set(looked) - set(left)) >= len(wanted)
    until = time.monotonic() + 10
    while roles(database) != before:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_kill_is_confirmed_when_the_role_is_gone_and_not_before(vault):
    made, _, database = vault
    before, wanted = roles(database), lease("remit_sync", openbao_rig.READ)
    minted = asyncio.run(made.mint(wanted))
    asyncio.run(made.kill(wanted.known_as(minted.reference)))
    assert roles(database) == before  # at once: the revocation is synchronous
    asyncio.run(made.kill(wanted.known_as(minted.reference)))


def test_a_path_the_policy_does_not_open_makes_nothing(vault):
    made, bao, _ = vault
    asyncio.run(made.kill(lease("remit_none")))  # which signs in
    before = tokens(bao)
    for grants in ({**openbao_rig.READ, "path": "database/creds/other"}, {**openbao_rig.READ, "policy": "nothing"},
                   {**openbao_rig.READ, "path": "secret/data/x"}):  # fmt: skip
        with pytest.raises(IssuerUnavailable):
            asyncio.run(made.mint(lease("remit_none", grants)))
    for hostile in ("../sys", "a/b", "", "..", "a b"):
        with pytest.raises(BadField):
            asyncio.run(
                made.mint(
                    lease("remit_none", {**openbao_rig.READ, "path": "database/creds/{r}"}, parameters={"r": hostile})
                )
            )
    with pytest.raises(WrongState, match="too late"):
        asyncio.run(made.mint(lease("remit_none", openbao_rig.READ, window=5)))
    assert tokens(bao) == before


def test_somebody_elses_keys_do_not_sign_in(vault):
    made, bao, _ = vault
    stranger, _ = asyncio.run(openbao_rig.issuer(bao.port))
    with pytest.raises(IssuerUnavailable, match="did not do it") as refused:
        asyncio.run(stranger.mint(lease("remit_none", openbao_rig.READ)))
    assert "sign-in" in refused.value.inside and made


def test_requests_do_not_read_the_authorities_again(cluster, monkeypatch):
    """Reading them takes tens of milliseconds of the loop that also decides."""
    made = kubernetes.issuer(cluster.url)
    asyncio.run(made.kill(lease(grants=kubernetes.READ)))
    read = []
    for name in ("load_verify_locations", "load_default_certs"):
        original = getattr(ssl.SSLContext, name)

        def counted(self, *words, original=original, **more):
            read.append(1)
            return original(self, *words, **more)

        monkeypatch.setattr(ssl.SSLContext, name, counted)
    asyncio.run(made.mint(lease(grants=kubernetes.READ)))
    assert not read


class GivenUp(Cloud):
    """What OpenBao 2.7 answers of a token whose revocation a crash cut short: a state that no request makes."""

    def answer(self, method, path, headers, body):
        told = {
            "/v1/auth/jwt/login": (200, {"auth": {"client_token": "t", "lease_duration": 60}}),
            "/v1/sys/leases/revoke": (204, {}),
            "/v1/auth/token/revoke-accessor": (400, {"errors": ["token not found"]}),
            "/v1/auth/token/lookup-accessor": (200, {"data": {"accessor": "a", "num_uses": self.uses}}),
        }
        status, found = told[path]
        return status, "application/json", json.dumps(found)


@pytest.mark.parametrize(
    ("reference", "uses", "dead"),
    [("a database/creds/readonly/x", -1, True), ("a", -1, False), ("a database/creds/readonly/x", 1, False)],
)
def test_a_token_that_openbao_has_given_up_is_dead_once_nothing_hangs_from_it(reference, uses, dead):
    bao = GivenUp(None)
    bao.uses = uses
    try:
        made, _ = asyncio.run(openbao_rig.issuer(int(bao.url.rpartition(":")[2])))
        wanted = lease("remit_given_up", openbao_rig.READ).known_as(reference)
        if dead:
            asyncio.run(made.kill(wanted))
        else:
            with pytest.raises(IssuerUnavailable) as alive:
                asyncio.run(made.kill(wanted))
            assert "still there" in alive.value.inside
    finally:
        bao.close()

"""Attestation-based client authentication over real HTTP: two good ways, and bad ones named by their flaw."""

from __future__ import annotations

import base64
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

import remit_client
from remit_client import AgentKey
from tests.attester import AGENT, CLIENT, Attester, Instance
from tests.server import CATALOGUE, Agent, furnished, process

REFUSED = "The client attestation or its proof of possession is not valid."
ACME, STRANGER, ROLLING = Attester(), Attester(), Attester()
OTHER = AGENT.replace("/bot", "/other").replace("acme", "rolling")


def files(bot=AGENT, attesters=None):
    toml = ACME.toml() + ROLLING.toml("rolling", issuer="https://rolling.example")
    remit = CATALOGUE["remit.toml"] + (attesters or toml)
    return {**CATALOGUE, "remit.toml": remit, "agents/bot.toml": bot, "agents/other.toml": OTHER}


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    with process(tmp_path_factory.mktemp("attested") / "data") as running:
        yield furnished(running, files())


@pytest.fixture
def instance(house):
    return Instance(house.url, ACME)


def refused_inside(house, since):
    """What the server told its operator, and nobody else, after `since` bytes of its log."""
    log = house.data.with_suffix(".log").read_text()[since:]
    return [json.loads(line)["inside"] for line in log.splitlines() if '"event": "refused"' in line]


def log_size(house):
    return len(house.data.with_suffix(".log").read_text())


# --- good ---


@pytest.mark.parametrize("way", ["combined", "headers"])
def test_an_attested_instance_begins_a_task_bound_to_its_key(house, instance, way):
    answer = instance.token(getattr(instance, way)(), client_id=CLIENT)
    assert answer.status_code == 200, answer.text
    token, task = answer.json()["access_token"], answer.json()["authorization_details"][0]["task"]
    assert answer.json()["token_type"] == "DPoP"
    seen = house.http("gate").post("/oauth/introspect", data={"token": token}).json()
    assert (seen["active"], seen["client_id"], seen["cnf"]) == (True, "bot", {"jkt": instance.key.jkt})
    agent = Agent(house.url, "bot", instance.key)
    assert agent.call(task, token)["decision"] == "permit"
    body = {"tool": "list", "arguments": {"customer": "acme"}}
    path = f"/v1/tasks/{task}/calls"
    assert agent.send("POST", path, token, body, key=AgentKey.generate()).status_code == 401
    bearer = {"Authorization": f"Bearer {token}"}
    assert httpx.post(house.url + path, json=body, headers=bearer).status_code == 401
    # The same attestation, again, with the challenge that came with the answer; then by its key alone.
    nonce = answer.headers["OAuth-Client-Attestation-Challenge"]
    assert instance.token(instance.combined(nonce=nonce)).status_code == 200
    assert agent.token().status_code == 200
    me = agent.send("GET", "/v1/whoami", token).json()
    assert me["method"] == "client_attestation:acme" and me["expires_at"] <= (time.time() + 600) * 1000


def test_the_metadata_says_how(house):
    said = httpx.get(f"{house.url}/.well-known/oauth-authorization-server").json()
    methods = said["token_endpoint_auth_methods_supported"]
    assert {"attest_jwt_client_auth", "attest_jwt_client_auth_dpop", "private_key_jwt"} <= set(methods)
    assert said["challenge_endpoint"] == f"{house.url}/oauth/challenge"
    for name in ("client_attestation_signing_alg_values_supported", "dpop_signing_alg_values_supported"):
        assert "ES256" in said[name] and not any(a == "none" or a.startswith("HS") for a in said[name])
    assert said["client_attestation_pop_signing_alg_values_supported"] == ["ES256", "EdDSA"]


def test_an_exchange_is_by_the_attested_key_too(house, instance):
    subject = instance.token().json()["access_token"]
    access = "urn:ietf:params:oauth:token-type:access_token"
    fields = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": subject,
        "subject_token_type": access,
        "audience": "https://rs.example",
    }
    thief = Instance(house.url, ACME)
    assert thief.token(**fields).json()["error"] == "invalid_client"
    stolen = thief.headers(attestation=ACME.attest(instance.key))
    assert thief.token(stolen, **fields).json()["error"] == "invalid_client_attestation"
    assert instance.token(**fields).json()["issued_token_type"] == access


# --- bad, by their flaw: what is changed, and what the operator reads ---

PRIVATE = {"kty": "EC", "crv": "P-256", "d": "AA", "x": "AA", "y": "AA"}


def dated(**claims):
    return lambda i: {"attestation": ACME.attest(i.key, **claims)}


def headed(**header):
    return lambda i: {"attestation": ACME.attest(i.key, header=header)}


def popped(**changes):
    return lambda i: {"pop": i.pop(**changes)}


def in_seconds(seconds):
    return int(time.time()) + seconds


FLAWS = {
    "not a token": (lambda i: {"attestation": "x"}, "not three parts"),
    "a list of two, as a proxy joins headers": (
        lambda i: {"attestation": f"{ACME.attest(i.key)}, {ACME.attest(i.key)}"},
        "not three parts",
    ),
    "longer than 8 KiB": (dated(filler="x" * 9_000), "too long"),
    "an attester nobody trusts": (lambda i: {"attestation": STRANGER.attest(i.key)}, "no key of this kid"),
    "signed by a stranger in the attester's name": (
        lambda i: {"attestation": STRANGER.attest(i.key, header={"kid": ACME.key.public.kid})},
        "attester acme: signature: BadSignatureError",
    ),
    "another attester's key, for this client": (lambda i: {"attestation": ROLLING.attest(i.key)}, "no key of this kid"),
    "another attester's issuer": (dated(iss="https://rolling.example"), "iss is not https://attester.example"),
    "no issuer": (dated(iss=None), "iss is not"),
    "for a client nobody registered": (dated(sub="https://client.example/eve"), "no agent's rule names this client"),
    "for another client, which this attester may not attest": (
        dated(sub="https://client.example/other"),
        "other: attester rolling: no key of this kid",
    ),
    "a client that begins alike": (dated(sub=CLIENT + "2"), "no agent's rule names this client"),
    "no sub": (dated(sub=None), "claim sub is missing"),
    "no exp": (dated(exp=None), "claim exp is missing"),
    "exp as text": (dated(exp="2999-01-01"), "claim exp is missing or not a date"),
    "not yet": (lambda i: {"attestation": ACME.attest(i.key, nbf=in_seconds(60))}, "nbf is in the future"),
    "made tomorrow": (lambda i: {"attestation": ACME.attest(i.key, iat=in_seconds(60))}, "iat is in the future"),
    "for another server": (dated(aud="https://other.example"), "aud is there and is not"),
    "no cnf": (dated(cnf=None), "cnf is not exactly a jwk"),
    "cnf is a thumbprint": (lambda i: {"attestation": ACME.attest(i.key, cnf={"jkt": i.key.jkt})}, "not exactly a jwk"),
    "cnf has two": (
        lambda i: {"attestation": ACME.attest(i.key, cnf={"jwk": dict(i.key.jwk), "jkt": i.key.jkt})},
        "not exactly a jwk",
    ),
    "cnf is a private key": (dated(cnf={"jwk": PRIVATE}), "cnf.jwk is a private or symmetric key"),
    "cnf is a secret": (dated(cnf={"jwk": {"kty": "oct", "k": "AA"}}), "cnf.jwk is a private or symmetric key"),
    "typ JWT": (headed(typ="JWT"), "typ 'JWT' is not oauth-client-attestation+jwt"),
    "no typ": (headed(typ=None), "typ '' is not"),
    "typ of the proof": (headed(typ="oauth-client-attestation-pop+jwt"), "is not oauth-client-attestation+jwt"),
    "alg none, signed anyway": (headed(alg="none"), "alg 'none' does not fit the key"),
    "alg none, without a signature": (
        lambda i: {"attestation": headed(alg="none")(i)["attestation"].rpartition(".")[0] + "."},
        "not three parts",
    ),
    "HS256 with the public key as the secret": (lambda i: {"attestation": ACME.mac(i.key)}, "alg 'HS256' does not fit"),
    "an algorithm of another key": (headed(alg="ES384"), "alg 'ES384' does not fit the key"),
    "its own key in the header": (
        lambda i: {"attestation": STRANGER.attest(i.key, header={"jwk": STRANGER.jwk, "kid": None})},
        "is not allowed here",
    ),
    "where its keys are": (headed(jku="https://evil.example/keys"), "['jku'] is not allowed here"),
    "its own certificates": (headed(x5c=["AA=="]), "['x5c'] is not allowed here"),
    "where its certificates are": (headed(x5u="https://evil.example/x"), "['x5u'] is not allowed here"),
    "a critical extension": (headed(crit=["exp"]), "['crit'] is not allowed here"),
    "a stolen attestation, with the thief's key": (
        lambda i: {"attestation": ACME.attest(AgentKey.generate())},
        "cnf.jwk is not the key of the proof",
    ),
    "a proof by another key": (lambda i: {"pop": i.pop(AgentKey.generate())}, "signature: BadSignatureError"),
    "DPoP by another key": (lambda i: {"dpop": i.dpop(AgentKey.generate(), "")}, "signature: BadSignatureError"),
    "both proofs by another key": (
        lambda i: (lambda thief: {"pop": i.pop(thief), "dpop": i.dpop(thief, "")})(AgentKey.generate()),
        "cnf.jwk is not the key of the proof",
    ),
    "the proof is for the token endpoint": (
        lambda i: {"pop": i.pop(aud=f"{i.url}/oauth/token")},
        "aud is not exactly",
    ),
    "the proof is for two": (lambda i: {"pop": i.pop(aud=[i.url, "https://other.example"])}, "aud is not exactly"),
    "the proof is for nobody": (popped(aud=None), "aud is not exactly"),
    "the proof has no jti": (popped(jti=None), "claim jti is missing"),
    "the proof has a long jti": (popped(jti="x" * 129), "claim jti is missing or not text"),
    "the proof has no iat": (popped(iat=None), "claim iat is missing"),
    "the proof is old": (lambda i: {"pop": i.pop(iat=in_seconds(-70))}, "iat is too old"),
    "the proof is of the future": (lambda i: {"pop": i.pop(iat=in_seconds(20))}, "iat is in the future"),
    "the proof has expired": (lambda i: {"pop": i.pop(exp=in_seconds(-10))}, "expired"),
    "the proof is typed JWT": (lambda i: {"pop": i.pop(header={"typ": "JWT"})}, "typ 'JWT' is not"),
    "the proof is a DPoP proof": (lambda i: {"pop": i.dpop()}, "header jwk is not allowed here"),
    "the proof is the attestation": (lambda i: {"pop": ACME.attest(i.key)}, "is not oauth-client-attestation-pop+jwt"),
    "the proof's alg is none": (lambda i: {"pop": i.pop(header={"alg": "none"})}, "alg 'none' does not fit the key"),
    "the proof's alg is HS256": (lambda i: {"pop": i.pop(header={"alg": "HS256"})}, "alg 'HS256' does not fit"),
    "the proof brings a key": (lambda i: {"pop": i.pop(header={"jwk": dict(i.key.jwk)})}, "header jwk is not allowed here"),
    "the proof is longer than 8 KiB": (popped(filler="x" * 9_000), "too long"),
    "the challenge is no text": (popped(challenge=7), "claim challenge is missing or not text"),
}  # fmt: skip


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_flaw_is_told_to_the_operator_and_to_nobody_else(house, instance, flaw):
    change, inside = FLAWS[flaw]
    since = log_size(house)
    answer = instance.token(instance.headers(**change(instance)))
    assert answer.json() == {"error": "invalid_client_attestation", "error_description": REFUSED, "code": "RMT-2006"}
    assert answer.status_code == 401 and "access_token" not in answer.text
    assert any(inside in said for said in refused_inside(house, since)), refused_inside(house, since)
    # What was wrong was just that: the same instance, without the flaw.
    assert instance.token().status_code == 200


def test_the_rest_of_the_request_must_agree(house, instance):
    since = log_size(house)
    assert instance.token(client_id="bot").json()["code"] == "RMT-2006"
    assert "client_id is not the attestation's sub" in refused_inside(house, since)
    alone = httpx.Headers({"OAuth-Client-Attestation-PoP": instance.pop(), "DPoP": instance.dpop(nonce="")})
    assert instance.token(alone).json()["error"] == "invalid_client_attestation"
    without = instance.combined()
    del without["DPoP"]
    assert instance.token(without).json()["error"] == "invalid_client"
    two = instance.token(client_assertion=instance.key.assertion("bot", house.url))
    assert (two.json()["error"], two.status_code) == ("invalid_request", 400)
    assertion = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    assert instance.token(client_assertion_type=assertion).json()["error"] == "invalid_request"
    other = AgentKey.generate().proof("POST", f"{house.url}/oauth/token", nonce=instance.challenge())
    stolen = httpx.Headers({"OAuth-Client-Attestation": ACME.attest(instance.key), "DPoP": other})
    assert instance.token(stolen).json()["error"] == "invalid_client_attestation"


@pytest.mark.parametrize("name", ["OAuth-Client-Attestation", "OAuth-Client-Attestation-PoP", "DPoP"])
def test_a_header_twice_is_refused(house, instance, name):
    sent = instance.headers()
    twice = httpx.Headers([*sent.multi_items(), (name.lower(), sent[name])])
    answer = instance.token(twice)
    wanted = "invalid_dpop_proof" if name == "DPoP" else "invalid_client_attestation"
    assert answer.json()["error"] == wanted and "access_token" not in answer.text
    assert instance.token(sent).status_code == 200


def test_an_expired_attestation_wants_a_fresh_one_and_says_nothing_of_its_signature(house, instance):
    past = in_seconds(-1)
    answers = [
        instance.token(instance.headers(attestation=attester.attest(instance.key, exp=past)))
        for attester in (ACME, STRANGER)
    ]
    assert answers[0].json()["error"] == "use_fresh_attestation" and answers[0].status_code == 400
    assert answers[0].content == answers[1].content


# --- challenges ---


@pytest.mark.parametrize("way", ["combined", "headers"])
@pytest.mark.parametrize(
    "flaw", ["none", "made up", "sealed for something else", "old", "of another server", "used before"]
)
def test_a_proof_without_a_good_challenge_is_given_one(house, instance, way, flaw, tmp_path):
    challenge = {"none": None, "made up": "AYjcyMzY3ZDhiNmJkNTZ"}.get(flaw, instance.challenge())
    if flaw == "sealed for something else":
        challenge = sealed(house, int(time.time() * 1000), b"secret")
    if flaw == "old":
        challenge = sealed(house, int(time.time() * 1000) - 301_000)
    if flaw == "of another server":
        with process(tmp_path / "data") as elsewhere:
            challenge = Instance(elsewhere.url, ACME).challenge()
    if flaw == "used before":
        assert instance.token(instance.combined(nonce=challenge)).status_code == 200

    def headers(given):
        return instance.combined(nonce=given or "") if way == "combined" else instance.headers(pop=popped_with(given))

    def popped_with(given):
        return instance.pop(challenge=given)

    answer = instance.token(headers(challenge))
    assert (answer.status_code, answer.json()["error"]) == (400, "use_attestation_challenge"), answer.text
    given = answer.headers["OAuth-Client-Attestation-Challenge"]
    assert instance.token(headers(given)).status_code == 200
    # Control: sealed for this purpose and just now, our own seal is good.
    assert instance.token(headers(sealed(house, int(time.time() * 1000)))).status_code == 200


def sealed(house, at, purpose=b"oauth client attestation challenge"):
    """With the server's own root key."""
    from remit.formats.sealed import seal

    text = (house.data / "root.key").read_text().strip()
    return seal(at.to_bytes(8, "big"), root_key=base64.urlsafe_b64decode(text + "=="), context=purpose)


# --- replay ---


def at_once(attack, number=50, threads=10):
    barrier = threading.Barrier(threads)

    def batch(first):
        barrier.wait()
        return [attack(n) for n in range(first, number, threads)]

    with ThreadPoolExecutor(threads) as pool:
        return sorted(code for codes in pool.map(batch, range(threads)) for code in codes)


@pytest.mark.parametrize("way", ["combined", "headers"])
def test_one_request_replayed_fifty_times_at_once_is_accepted_once(instance, way):
    sent = getattr(instance, way)()
    assert at_once(lambda _: instance.token(sent).status_code) == [200] + [401] * 49


def test_one_proof_beside_fifty_dpop_proofs_is_accepted_once(instance):
    pop, attestation = instance.pop(), ACME.attest(instance.key)
    sent = [instance.headers(attestation, pop) for _ in range(50)]
    assert at_once(lambda n: instance.token(sent[n]).status_code) == [200] + [401] * 49


def test_one_challenge_in_fifty_proofs_at_once_is_accepted_once(instance):
    challenge = instance.challenge()
    sent = [instance.combined(nonce=challenge) for _ in range(50)]
    assert at_once(lambda n: instance.token(sent[n]).status_code) == [200] + [400] * 49


def test_one_instance_may_ask_for_much_at_once(instance):
    attestation = ACME.attest(instance.key)
    sent = [instance.combined(attestation) for _ in range(30)]
    assert at_once(lambda n: instance.token(sent[n]).status_code, 30) == [200] * 30


def test_a_proof_and_its_challenge_stay_spent_after_kill_9(tmp_path):
    data = tmp_path / "data"
    with process(data) as first:
        furnished(first, files())
        instance = Instance(first.url, ACME)
        used, unused = instance.challenge(), instance.challenge()
        sent = instance.combined(nonce=used)
        assert instance.token(sent).status_code == 200
        port = first.url.rsplit(":", 1)[1]
        first.child.kill()
    with process(data, "--port", port) as second:
        assert second.url == instance.url
        assert instance.token(sent).json()["code"] == "RMT-2004"
        assert instance.token(instance.combined(nonce=used)).json()["error"] == "use_attestation_challenge"
        assert instance.token(instance.combined(nonce=unused)).status_code == 200


# --- how long it counts ---


def test_what_it_proved_ends_with_the_attestation(house, instance):
    soon = in_seconds(4)
    answer = instance.token(instance.combined(ACME.attest(instance.key, exp=soon)))
    assert answer.json()["expires_in"] <= 4
    token, task = answer.json()["access_token"], answer.json()["authorization_details"][0]["task"]
    agent = Agent(house.url, "bot", instance.key)
    assert agent.call(task, token)["decision"] == "permit"
    time.sleep(max(0, soon - time.time()) + 0.2)
    body = {"tool": "list", "arguments": {"customer": "acme"}}
    assert agent.send("POST", f"/v1/tasks/{task}/calls", token, body).status_code == 401
    assert agent.token({"type": "pay", "task": task}).json()["error"] == "invalid_client"
    # The attester says it is still genuine: the same task goes on.
    renewed = instance.token(authorization_details=json.dumps([{"type": "pay", "task": task}]))
    assert agent.call(task, renewed.json()["access_token"])["decision"] == "permit"


def test_it_counts_while_its_rule_and_the_attesters_key_are_written(tmp_path):
    second = Attester()
    with process(tmp_path / "data") as server:
        furnished(server, files())

        def apply(bot=AGENT, attesters=None):
            answer = server.http("operator").post("/v1/catalogue", json={"files": files(bot, attesters)})
            assert answer.status_code == 200, answer.text

        rolling = ROLLING.toml("rolling")
        instance, later = Instance(server.url, ACME), Instance(server.url, second)
        held = begun(instance)
        assert decision(instance, held) == "permit"
        apply(attesters=ACME.toml("acme", second) + rolling)  # one more key: what was proved stays so
        assert decision(instance, held) == "permit"
        also = begun(later)
        apply(attesters=second.toml() + rolling)  # the first key leaked
        assert decision(instance, held) == "identity_stale" and decision(later, also) == "permit"
        assert instance.token().json()["error"] == "invalid_client_attestation"
        apply(bot=AGENT.replace("/bot", "/bot2"), attesters=second.toml() + rolling)
        assert decision(later, also) == "identity_stale"
        assert later.token().json()["error"] == "invalid_client_attestation"


def begun(instance):
    answer = instance.token()
    assert answer.status_code == 200, answer.text
    return answer.json()["authorization_details"][0]["task"], answer.json()["access_token"]


def decision(instance, held):
    found = Agent(instance.url, "bot", instance.key).call(*held)
    return found["decision"] if found["decision"] == "permit" else found["why"][0]["code"]


# --- the client's side ---


def test_the_client_proves_itself_by_the_file_its_attester_keeps(house, tmp_path, monkeypatch):
    agent_dir, file = tmp_path / "agent", tmp_path / "attestation"
    monkeypatch.setenv("REMIT_CLIENT_ATTESTATION", str(file))
    agent = remit_client.Remit(house.url, agent_dir=agent_dir)
    for text in (None, "", "two words", "x" * 9_000, "é"):
        if text is not None:
            file.write_text(text)
        with pytest.raises(remit_client.NotAuthenticated):
            agent.prove()
    file.write_text(ACME.attest(AgentKey.generate()))
    with pytest.raises(remit_client.NotAuthenticated, match="not valid"):
        agent.prove()
    file.write_text(ACME.attest(agent.agent.key, exp=in_seconds(3)) + "\n")
    assert agent.prove() == "bot"
    time.sleep(3.2)
    file.write_text(ACME.attest(agent.agent.key))  # renewed; the client reads it when its key counts no more
    with agent.task("pay", goal="g", customer="acme") as task:
        assert task.call("list", customer="acme")
    assert remit_client.Remit(house.url, agent_dir=agent_dir).whoami()["method"] == "client_attestation:acme"


def test_by_hand_as_the_how_to_says(house, tmp_path):
    """With curl and the client's command line, and nothing else of ours."""
    import subprocess
    import sys
    from pathlib import Path

    folder = str(tmp_path / "agent")
    env = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "REMIT_AGENT_DIR": folder, "REMIT_URL": house.url}
    shown = subprocess.run([sys.executable, "-m", "remit_client", "jwk"], env=env, capture_output=True, check=True)
    assert set(json.loads(shown.stdout)) == {"kty", "crv", "x", "y"}
    key = AgentKey.load_or_create(tmp_path / "agent")
    (tmp_path / "attestation").write_text(ACME.attest(key))
    page = (Path(__file__).parents[2] / "docs" / "howto" / "client-attestation.md").read_text()
    script = "\n".join(line[4:] for line in page.split("## By hand")[1].splitlines() if line.startswith("    "))
    done = subprocess.run(["bash", "-euc", script], env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["token_type"] == "DPoP", done.stdout + done.stderr


def test_the_log_holds_no_attestation(house, instance):
    headers = instance.headers()
    instance.token(headers)
    instance.token(headers)
    log = house.data.with_suffix(".log").read_text()
    for name in ("OAuth-Client-Attestation", "OAuth-Client-Attestation-PoP"):
        assert headers[name].rpartition(".")[2] not in log

"""A change of the catalogue is the one that was planned, or none; for people, pipelines, and whoever writes a provider."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.server import CATALOGUE, furnished, process

MORE = {**CATALOGUE, "tools/more.toml": 'effect = "read"\n'}


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    with process(tmp_path_factory.mktemp("catalogue") / "data") as running:
        yield furnished(running)


@pytest.fixture
def http(house):
    client = house.http("operator")
    client.post("/v1/catalogue", json={"files": CATALOGUE})
    return client


def put(http, files, tag=""):
    return http.post("/v1/catalogue", json={"files": files}, headers={"If-Match": tag} if tag else {})


def test_a_plan_is_applied_as_it_was_made_or_not_at_all(http):
    planned = http.post("/v1/catalogue/plan", json={"files": MORE})
    tag = planned.headers["etag"]
    assert tag == f'"{planned.json()["against"]}"' == http.get("/v1/catalogue").headers["etag"]
    assert planned.json()["changed"] and planned.json()["changes"]
    other = put(http, {**CATALOGUE, "tools/other.toml": 'effect = "read"\n'})
    assert other.status_code == 200 and other.headers["etag"] == http.get("/v1/catalogue").headers["etag"]
    stale = put(http, MORE, tag)
    assert stale.status_code == 412 and stale.json()["code"] == "RMT-5007" and "Plan again" in stale.json()["next_step"]
    assert "tools/more.toml" not in http.get("/v1/catalogue").json()["files"]
    done = put(http, MORE, other.headers["etag"])
    assert done.status_code == 200
    again = put(http, MORE, tag)  # its answer was lost: what is in force already is no change
    assert again.status_code == 200 and again.json()["changes"] == [] and again.headers["etag"] == done.headers["etag"]
    assert not http.post("/v1/catalogue/plan", json={"files": MORE}).json()["changed"]


def test_of_many_at_once_against_one_revision_one_is_applied(house, http):
    tag = http.get("/v1/catalogue").headers["etag"]
    number = http.get("/v1/catalogue").json()["number"]

    def one(n):
        with house.http("operator") as client:
            return put(client, {**CATALOGUE, f"tools/n{n}.toml": 'effect = "read"\n'}, tag).status_code

    with ThreadPoolExecutor(8) as pool:
        codes = sorted(pool.map(one, range(8)))
    assert codes == [200] + [412] * 7
    assert http.get("/v1/catalogue").json()["number"] == number + 1


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("*", 200),
        ('W/{}', 412),
        ('"sha256:0", {}', 200),
        ('"sha256:0"', 412),
        ('""', 412),
        ("sha256:0", 400),
        ('"open', 400),
        (", ".join(['"x"'] * 40), 400),
    ],
)  # fmt: skip
def test_tags_are_read_as_rfc_9110_says(http, text, status):
    tag = http.get("/v1/catalogue").headers["etag"]
    assert put(http, MORE, text.format(tag)).status_code == status


def test_the_command_line_tells_a_pipeline(house, http, tmp_path):
    for name, text in CATALOGUE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    folder = str(tmp_path)
    assert house.cli("plan", folder, "--detailed-exitcode").returncode == 0
    (tmp_path / "tools" / "more.toml").write_text('effect = "read"\n')
    planned = house.cli("plan", folder, "--json", "--detailed-exitcode")
    told = json.loads(planned.stdout)
    assert planned.returncode == 2 and told["changed"] and house.cli("plan", folder).returncode == 0
    wrong = house.cli("apply", folder, "--against", "sha256:0", "--json")
    assert wrong.returncode == 1 and json.loads(wrong.stderr)["code"] == "RMT-5007"
    assert house.cli("apply", folder, "--against", told["against"]).returncode == 0
    (tmp_path / "tools" / "more.toml").write_text("effect = 7\n")
    assert house.cli("plan", folder, "--detailed-exitcode").returncode == 1


def test_what_is_not_there_is_404_and_what_is_not_for_you_is_403(house):
    for path in ("/v1/agents/nobody", "/v1/purposes/nothing", "/v1/tools/nothing", "/v1/secrets/none"):
        assert house.http("operator").get(path).status_code == 404, path
    with house.http("dana") as dana:
        assert put(dana, CATALOGUE).status_code == dana.get("/v1/catalogue").status_code == 403
    with house.http() as stranger:
        assert stranger.get("/v1/catalogue").status_code == 401


def test_the_description_of_the_api_is_openapi_3_1(house):
    read = house.http().get("/openapi.json").json()
    assert list(OpenAPIV31SpecValidator(read).iter_errors()) == []
    ids = [one["operationId"] for path in read["paths"].values() for one in path.values()]
    assert len(ids) == len(set(ids)) > 90
    apply = read["paths"]["/v1/catalogue"]["post"]
    assert "412" in apply["responses"] and all(
        one["summary"] for path in read["paths"].values() for one in path.values()
    )
    broken = {**read, "paths": {"/x": {"get": {"responses": {"200": {}}}}}}
    assert list(OpenAPIV31SpecValidator(broken).iter_errors())


def test_a_key_that_is_known_to_somebody_is_refused_at_once(house):
    operator = house.http("operator")
    made = operator.post("/v1/keys", json={"kind": "enforcer", "name": "leaky"}).json()
    leaked = {"Authorization": f"Bearer {made['key']}"}
    stranger = house.http()
    assert stranger.get("/v1/servers", headers=leaked).status_code == 200
    listed = json.loads(house.cli("key", "list", "--json").stdout.splitlines()[-1])
    assert set(listed) == {"id", "kind", "name", "created_at", "expires_at"} and made["key"] not in str(listed)
    assert any(one["id"] == made["id"] for one in house.http("anna").get("/v1/keys?limit=500").json()["items"])
    assert house.http("dana").post(f"/v1/keys/{made['id']}/end", json={}).status_code == 403
    assert operator.post(f"/v1/keys/{made['id']}/end", json={"reason": "x" * 501}).status_code == 400
    assert house.cli("key", "end", made["id"], "--reason", "pasted into a chat").returncode == 0
    assert stranger.get("/v1/servers", headers=leaked).status_code == 401
    assert operator.post(f"/v1/keys/{made['id']}/end", json={}).status_code == 200, "twice is fine"
    assert operator.post("/v1/keys/nothing/end", json={}).status_code == 404
    assert not any(one["id"] == made["id"] for one in operator.get("/v1/keys?limit=500").json()["items"])

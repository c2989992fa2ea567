"""Tokens of well-known providers through the whole of `attest`: a good one each, and bad ones named by their flaw.

The tokens are shaped as the providers' own documentation shows them and carry their real issuers; only the keys are
fetched from a local server. Each flaw that claims alone would not show has its control: without `provider` it passes.
"""

from __future__ import annotations

import asyncio
import copy

import httpx
import pytest

from remit.domain.errors import BadCatalogue, BadToken, NotAttested
from remit.domain.identity import Identity
from remit.formats import oidc_providers
from remit.formats.catalogue import parse
from remit.formats.oidc import claimed_issuer
from remit.verbs.attest import OidcEvidence, attest
from remit_client import AgentKey
from tests.server import CATALOGUE, furnished, process
from tests.test_oidc_issuer import LocalIssuer
from tests.verbs.test_other_verbs import fresh_key
from tests.world import changed, world

AWS, K8S = "https://sts.amazonaws.com/", "kubernetes.io"
TENANT, OBJECT, APP = (f"{c * 8}-{c * 4}-{c * 4}-{c * 4}-{c * 12}" for c in "abc")

ISSUERS = {
    "github-actions": "https://token.actions.githubusercontent.com",
    "gitlab": "https://gitlab.com",
    "kubernetes": "https://kubernetes.default.svc.cluster.local",
    "aws": "https://abc123-def456-ghi789-jkl012.tokens.sts.global.api.aws",
    "google": "https://accounts.google.com",
    "azure": f"https://login.microsoftonline.com/{TENANT}/v2.0",
    "terraform-cloud": "https://app.terraform.io",
}
TOKENS = {
    "github-actions": {
        "sub": "repo:octo-org@123456/octo-repo@456789:ref:refs/heads/main",
        "repository": "octo-org/octo-repo",
        "repository_id": "456789",
        "repository_owner": "octo-org",
        "repository_owner_id": "123456",
        "repository_visibility": "private",
        "ref": "refs/heads/main",
        "ref_type": "branch",
        "sha": "a" * 40,
        "workflow": "agent",
        "workflow_ref": "octo-org/octo-repo/.github/workflows/agent.yml@refs/heads/main",
        "workflow_sha": "a" * 40,
        "job_workflow_ref": "octo-org/octo-repo/.github/workflows/agent.yml@refs/heads/main",
        "job_workflow_sha": "a" * 40,
        "event_name": "push",
        "actor": "octocat",
        "actor_id": "1",
        "run_id": "9",
        "runner_environment": "github-hosted",
    },
    "gitlab": {
        "sub": "project_path:my-group/my-project:ref_type:branch:ref:main",
        "namespace_id": "72",
        "namespace_path": "my-group",
        "project_id": "20",
        "project_path": "my-group/my-project",
        "user_id": "1",
        "user_login": "sample-user",
        "user_email": "sample-user@example.com",
        "pipeline_id": "574",
        "pipeline_source": "push",
        "job_id": "302",
        "ref": "main",
        "ref_type": "branch",
        "ref_path": "refs/heads/main",
        "ref_protected": "true",
        "runner_id": 1,
        "runner_environment": "gitlab-hosted",
        "sha": "b" * 40,
        "ci_config_ref_uri": "gitlab.com/my-group/my-project//.gitlab-ci.yml@refs/heads/main",
        "ci_config_sha": "b" * 40,
    },
    "kubernetes": {
        "sub": "system:serviceaccount:billing:payer",
        "aud": ["https://remit.test"],
        K8S: {
            "namespace": "billing",
            "node": {"name": "node-1", "uid": "517eb86e-b863-451b-bf70-86cb61439a3a"},
            "pod": {"name": "payer-7d9f", "uid": "0d8b260e-ef0e-45fb-be8e-ff44f97722e8"},
            "serviceaccount": {"name": "payer", "uid": "e6a8680e-d103-4cce-80ea-03acbbeacf7d"},
        },
    },
    "aws": {
        "sub": "arn:aws:iam::123456789012:role/Payer",
        AWS: {
            "aws_account": "123456789012",
            "source_region": "us-east-1",
            "org_id": "o-abc1234567",
            "principal_tags": {"team": "billing"},
            "lambda_source_function_arn": "arn:aws:lambda:us-east-1:123456789012:function:pay",
            "request_tags": {"job-id": "1"},
        },
    },
    "google": {
        "sub": "112179062720391305885",
        "azp": "112179062720391305885",
        "email": "payer@example-123456.iam.gserviceaccount.com",
        "email_verified": True,
        "google": {
            "compute_engine": {
                "instance_creation_timestamp": 1734377115,
                "instance_id": "2875949485074006138",
                "instance_name": "payer-1",
                "project_id": "example-123456",
                "project_number": 123456123456,
                "zone": "europe-west1-b",
            }
        },
    },
    "azure": {"sub": OBJECT, "oid": OBJECT, "tid": TENANT, "azp": APP, "azpacr": "1", "ver": "2.0", "idtyp": "app"},
    "terraform-cloud": {
        "sub": "organization:my-org:project:Default Project:workspace:my-workspace:run_phase:apply",
        "terraform_organization_id": "org-GRNbCjYNpBB6NEH9",
        "terraform_organization_name": "my-org",
        "terraform_project_id": "prj-vegSA59s1XPwMr2t",
        "terraform_workspace_id": "ws-mbsd5E3Ktt5Rg2Xm",
        "terraform_workspace_name": "my-workspace",
        "terraform_full_workspace": "organization:my-org:project:Default Project:workspace:my-workspace",
        "terraform_run_id": "run-X3n1AUXNGWbfECsJ",
        "terraform_run_phase": "apply",
    },
}
# What the agent's attestation says, below [attestations.claims].
PINS = {
    "github-actions": 'repository_id = "456789"\nref = "refs/heads/main"',
    "gitlab": 'project_id = "20"\nref_path = "refs/heads/main"',
    "kubernetes": f'[attestations.claims."{K8S}"]\nnamespace = "billing"\nserviceaccount.name = "payer"\n'
    'serviceaccount.uid = "e6a8680e-d103-4cce-80ea-03acbbeacf7d"',
    "aws": f'sub = "arn:aws:iam::123456789012:role/Payer"\n"{AWS}".aws_account = "123456789012"',
    "google": 'sub = "112179062720391305885"\nemail = "payer@example-123456.iam.gserviceaccount.com"',
    "azure": f'tid = "{TENANT}"\noid = "{OBJECT}"',
    "terraform-cloud": 'terraform_organization_id = "org-GRNbCjYNpBB6NEH9"\n'
    'terraform_workspace_id = "ws-mbsd5E3Ktt5Rg2Xm"\nterraform_run_phase = "apply"',
}
AGENT = 'owner = "olga"\n[[attestations]]\nmethod = "oidc"\nfederation = "there"\n[attestations.claims]\n'


def catalogue(provider, pins, *, url="http://127.0.0.1:1", issuer="", known=True):
    files = changed(agents__ci_dot_toml=AGENT + pins + "\n")
    said = f'provider = "{provider}"' if known else ""
    files["remit.toml"] += f"""
[federations.there]
{said}
issuer = "{issuer or ISSUERS[provider]}"
audience = "https://remit.test"
jwks_uri = "{url}/keys"
allow_private_network = true
"""
    return files


def merged(claims, change):
    """`claims` with the change laid over: objects member by member, None takes a claim away."""
    found = copy.deepcopy(claims)
    for name, value in change.items():
        if isinstance(value, dict) and isinstance(found.get(name), dict):
            found[name] = merged(found[name], value)
        elif value is None:
            found.pop(name, None)
        else:
            found[name] = value
    return found


@pytest.fixture(scope="module")
def issuer():
    with LocalIssuer() as local:
        yield local


def attested(local, provider, change=None, *, pins="", issuer="", known=True):
    """Apply a catalogue, sign a token, and let it prove the agent."""

    async def main():
        url = issuer or ISSUERS[provider]
        w = await world(files=catalogue(provider, pins or PINS[provider], url=local.url, issuer=url, known=known))
        token = local.token(w.clock.now, **merged({"iss": url, **TOKENS[provider]}, change or {}))
        return await attest(w.env, w.call(), OidcEvidence(token, claimed_issuer(token)), *fresh_key())

    return asyncio.run(main())


GOOD = [
    *((provider, {}, "", "") for provider in ISSUERS),
    (
        "github-actions",
        {"iss": "https://token.actions.githubusercontent.com/octocat-inc"},
        "",
        "https://token.actions.githubusercontent.com/octocat-inc",
    ),
    ("github-actions", {}, "", "https://token.actions.octocorp.ghe.com"),
    ("github-actions", {}, "", "https://github.example.com/_services/token"),
    (
        "github-actions",
        {"environment": "production", "event_name": "pull_request_target"},
        'repository = "octo-org/octo-repo"\nrepository_owner_id = "123456"\nenvironment = "production"\n'
        'ref = "refs/heads/*"\nevent_name = "pull_request_target"',
        "",
    ),
    (
        "gitlab",
        {},
        'project_path = "my-group/my-project"\nnamespace_id = "72"\nref_protected = "true"',
        "https://gitlab.example.com",
    ),
    (
        "gitlab",
        {"pipeline_source": "merge_request_event"},
        PINS["gitlab"] + '\npipeline_source = "merge_request_event"',
        "",
    ),
    ("kubernetes", {K8S: {"node": None}}, "", "https://oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B71"),
    ("aws", {"sub": "arn:aws:iam::123456789012:role/deep/Payer"}, PINS["aws"].replace("role/", "role/deep/"), ""),
    ("google", {"google": None, "email_verified": False}, 'sub = "112179062720391305885"', ""),
    ("azure", {"idtyp": None}, "", ""),
    (
        "azure",
        {"ver": "1.0", "azp": None, "appid": APP},
        f'tid = "{TENANT}"\nappid = "{APP}"',
        f"https://sts.windows.net/{TENANT}/",
    ),
    ("terraform-cloud", {}, "", "https://terraform.example.com"),
]


@pytest.mark.parametrize(("provider", "change", "pins", "url"), GOOD, ids=lambda v: str(v)[:50])
def test_a_good_token_proves_its_agent(issuer, provider, change, pins, url):
    identity = attested(issuer, provider, change, pins=pins, issuer=url)
    assert isinstance(identity, Identity) and (identity.agent, identity.method) == ("ci", "oidc:there")


# What claims and conditions do not show: the provider's row does.
HIDDEN = {
    "github-actions": {
        "a pull request": ({"event_name": "pull_request"}, "event_name is 'pull_request'"),
        "a pull request's target": ({"event_name": "pull_request_target"}, "pin event_name to accept it"),
        "a stranger's comment": ({"event_name": "issue_comment"}, "event_name is 'issue_comment'"),
        "set off by another workflow": ({"event_name": "workflow_run"}, "event_name is 'workflow_run'"),
        "an event of the future": ({"event_name": "telepathy"}, "event_name is 'telepathy'"),
        "no event": ({"event_name": None}, "event_name is not there"),
        "an event that is a list": ({"event_name": ["push"]}, "event_name is not there"),
    },
    "gitlab": {
        "a merge request": ({"pipeline_source": "merge_request_event"}, "pipeline_source is 'merge_request_event'"),
        "a child of one": ({"pipeline_source": "parent_pipeline"}, "pipeline_source is 'parent_pipeline'"),
        "a fork's code in our pipeline": ({"job_project_id": "21"}, "job_project_id is not project_id"),
        "a project id of another type": ({"job_project_id": 20}, "job_project_id is not project_id"),
        "no source": ({"pipeline_source": None}, "pipeline_source is not there"),
    },
    "kubernetes": {
        "bound to nothing": ({K8S: {"pod": None}}, "not a token bound to a pod"),
        "bound to a secret": ({K8S: {"pod": None, "secret": {"name": "s", "uid": "u"}}}, "not a token bound to a pod"),
        "a pod without uid": ({K8S: {"pod": {"uid": None}}}, "not a token bound to a pod"),
        "a pod that is text": ({K8S: {"pod": "payer"}}, "not a token bound to a pod"),
        "another subject": ({"sub": "system:serviceaccount:kube-system:root"}, "sub is not the service account"),
    },
    "aws": {
        "a person": ({AWS: {"identity_store_user_id": "user-1"}}, "a person's session"),
    },
    "google": {
        "email not verified": ({"email_verified": False}, "email is not verified"),
        "email verified as text": ({"email_verified": "true"}, "email is not verified"),
        "email verified by one": ({"email_verified": 1}, "email is not verified"),
        "nothing said of email": ({"email_verified": None}, "email is not verified"),
    },
    "azure": {
        "a user": ({"idtyp": "user"}, "a user's token"),
        "scopes": ({"scp": "user_impersonation"}, "a user's token"),
        "no idtyp, a user's subject": ({"idtyp": None, "sub": "pairwise"}, "a user's token"),
        "idtyp null": ({"idtyp": 5}, "a user's token"),
        "a v1 token of the v2 issuer": ({"ver": "1.0"}, "ver is not the version"),
        "no version": ({"ver": None}, "ver is not the version"),
    },
    "terraform-cloud": {
        "a module's test": (
            {"sub": "organization:my-org:module:terraform-aws-vpc:operation:test_run"},
            "not the token of a workspace's run",
        ),
        "another phase in sub": (
            {"sub": TOKENS["terraform-cloud"]["sub"].replace("apply", "plan")},
            "not the token of a workspace's run",
        ),
    },
}
HIDDEN_ROWS = [(p, flaw, *row) for p, rows in HIDDEN.items() for flaw, row in rows.items()]


@pytest.mark.parametrize(("provider", "flaw", "change", "words"), HIDDEN_ROWS, ids=lambda v: str(v)[:40])
def test_a_token_that_only_its_provider_tells_is_bad(issuer, provider, flaw, change, words):
    with pytest.raises(NotAttested) as refused:
        attested(issuer, provider, change)
    assert words in refused.value.inside
    assert str(refused.value) == "This evidence proves no registered agent." and not refused.value.next_step
    control = attested(issuer, provider, change, known=False)
    assert control.agent == "ci", "without the row it would have passed: this is what the row is for"


# What conditions show: absent, of another type, nearly the same.
PLAIN = [
    ("github-actions", {"repository_id": "4567890"}, 'repository_id wanted "456789", saw "4567890"'),
    ("github-actions", {"repository_id": 456789}, 'repository_id wanted "456789", saw 456789'),
    ("github-actions", {"repository_id": None}, 'repository_id wanted "456789", saw nothing'),
    ("github-actions", {"ref": "refs/heads/main2"}, 'ref wanted "refs/heads/main", saw "refs/heads/main2"'),
    ("github-actions", {"ref": "refs/heads/Main"}, 'saw "refs/heads/Main"'),
    ("github-actions", {"ref": ["refs/heads/main"]}, "saw a list"),
    ("gitlab", {"project_id": "21", "job_project_id": "20"}, 'project_id wanted "20", saw "21"'),
    ("gitlab", {"ref_path": "refs/tags/main"}, 'saw "refs/tags/main"'),
    ("kubernetes", {K8S: {"namespace": "dev"}}, '"kubernetes.io".namespace wanted "billing", saw "dev"'),
    (
        "kubernetes",
        {K8S: None, "kubernetes.io.namespace": "billing"},
        '"kubernetes.io".namespace wanted "billing", saw nothing',
    ),
    (
        "kubernetes",
        {K8S: None, "kubernetes.io/serviceaccount/namespace": "billing"},
        "not a token bound to a pod",
    ),
    ("kubernetes", {K8S: {"serviceaccount": {"uid": "another"}}}, '"kubernetes.io".serviceaccount.uid wanted'),
    ("kubernetes", {K8S: "billing"}, "saw nothing"),
    ("aws", {AWS: {"aws_account": "999999999999"}}, f'"{AWS}".aws_account wanted "123456789012", saw "999999999999"'),
    ("aws", {"sub": "arn:aws:iam::123456789012:role/Payer2"}, "sub wanted"),
    ("aws", {"sub": "arn:aws:sts::123456789012:assumed-role/Payer/x"}, "sub is not a role or user"),
    ("aws", {AWS: None, "aws_account": "123456789012"}, "saw nothing"),
    ("google", {"sub": "112179062720391305886"}, "sub wanted"),
    ("google", {"sub": "payer@example"}, "sub is not a numeric id"),
    ("google", {"email": None}, "saw nothing"),
    ("azure", {"tid": APP}, "tid is not the tenant of the issuer"),
    ("azure", {"tid": None}, "tid is not the tenant of the issuer"),
    ("azure", {"oid": OBJECT.upper(), "sub": OBJECT.upper()}, "oid wanted"),
    ("terraform-cloud", {"terraform_run_phase": "plan"}, 'terraform_run_phase wanted "apply", saw "plan"'),
    ("terraform-cloud", {"terraform_workspace_id": None}, "terraform_workspace_id wanted"),
]


@pytest.mark.parametrize(("provider", "change", "words"), PLAIN, ids=lambda v: str(v)[:60])
def test_a_token_that_does_not_meet_the_conditions(issuer, provider, change, words):
    with pytest.raises(NotAttested) as refused:
        attested(issuer, provider, change)
    assert words in refused.value.inside
    assert str(refused.value) == "This evidence proves no registered agent."


@pytest.mark.parametrize("provider", ISSUERS)
@pytest.mark.parametrize(
    "change", [{"aud": "https://other"}, {"exp": 1}, {"nbf": 2**33}, {"sub": None}], ids=["aud", "exp", "nbf", "sub"]
)
def test_what_every_token_must_be(issuer, provider, change):
    with pytest.raises(BadToken) as refused:
        attested(issuer, provider, change)
    assert refused.value.inside.startswith("federation there: ") and "there" not in str(refused.value)


@pytest.mark.parametrize("provider", ISSUERS)
def test_another_issuers_token_is_nobodys(issuer, provider):
    with pytest.raises(NotAttested) as refused:
        attested(issuer, provider, {"iss": ISSUERS[provider] + "x"})
    assert refused.value.inside == "no federation has this issuer"


# --- what apply refuses ---

GUESSED = "must be written whole"
REFUSED = [
    ("github-actions", 'sub = "repo:octo-org/octo-repo:ref:refs/heads/main"', 5, "sub alone does not: its form"),
    ("github-actions", 'sub = "repo:octo-org/*"\nref = "refs/heads/main"', 6, "sub must be written whole"),
    ("github-actions", 'ref = "refs/heads/main"', 5, "Pin repository_id, or repository and repository_owner_id"),
    ("github-actions", 'repository = "o/r"\nref = "refs/heads/main"', 5, "repository alone does not: the owner's name"),
    (
        "github-actions",
        'repository = "o/r"\nrepository_owner_id = "1"',
        5,
        "Pin job_workflow_ref, or environment, or ref",
    ),
    ("github-actions", 'repository_id = "1"\nactor = "octocat"', 5, "actor alone does not: it says who"),
    ("github-actions", 'repository_id = "1"\nref = "refs/heads/*"', 5, "ref ends in '*', which pins nothing"),
    ("github-actions", 'repository_id = "1*"\nref = "refs/heads/main"', 6, "repository_id " + GUESSED),
    ("github-actions", 'repository_id = "1"\nref = "r"\nevent_name = "pull*"', 8, "event_name " + GUESSED),
    ("github-actions", 'repository_id = 1\nref = "refs/heads/main"', 6, 'repository_id is text: write it in "quotes"'),
    ("gitlab", 'project_id = "20"', 5, 'Pin ref_protected = "true", or ref_path, or ref and ref_type'),
    ("gitlab", 'project_id = "20"\nref = "main"', 5, "ref alone does not: a tag can have a branch's name"),
    ("gitlab", 'project_id = "20"\nref_protected = "false"', 5, "which code"),
    ("gitlab", 'project_id = "20"\nref_protected = true', 7, "ref_protected is text"),
    ("gitlab", 'project_path = "g/p"\nref_path = "refs/heads/main"', 5, "project_path alone does not: paths can be"),
    ("gitlab", 'user_login = "root"\nref_path = "refs/heads/main"', 5, "user_login alone does not"),
    ("gitlab", 'project_path = "g/*"\nnamespace_id = "1"\nref_path = "x"', 6, "project_path " + GUESSED),
    ("kubernetes", 'sub = "system:serviceaccount:a:b"', 5, "sub alone does not: an unbound token"),
    ("kubernetes", f'"{K8S}".namespace = "a"', 5, f'Pin "{K8S}".namespace and "{K8S}".serviceaccount.name'),
    ("kubernetes", f'[attestations.claims."{K8S}"]\nnamespace = "a*"\nserviceaccount.name = "b"', 7, GUESSED),
    (
        "kubernetes",
        '[attestations.claims.kubernetes.io]\nnamespace = "a"\nserviceaccount.name = "b"',
        5,
        "which service account",
    ),
    ("aws", 'sub = "arn:aws:iam::1:role/R"', 5, "say which account"),
    ("aws", f'"{AWS}".aws_account = "1"', 5, "it covers every role of the account"),
    ("aws", f'sub = "arn:aws:iam::1:role/*"\n"{AWS}".aws_account = "1"', 6, "sub " + GUESSED),
    ("google", 'email = "a@b.iam.gserviceaccount.com"', 5, "email alone does not: an account that is deleted"),
    ("google", 'email = "a@b.c"\nemail_verified = true', 5, "Pin sub"),
    ("google", 'sub = "1*"', 6, "sub " + GUESSED),
    ("google", 'sub = "1"\nemail_verified = "true"', 7, "email_verified is true or false"),
    ("azure", f'oid = "{OBJECT}"', 5, "say which tenant"),
    ("azure", f'tid = "{TENANT}"\nupn = "a@b.c"', 5, "Pin tid and oid, or tid and azp, or tid and appid"),
    ("azure", f'tid = "{TENANT}"\noid = "b*"', 7, "oid " + GUESSED),
    ("terraform-cloud", 'sub = "organization:o:project:p:workspace:*"', 6, "sub " + GUESSED),
    ("terraform-cloud", 'terraform_organization_id = "o"\nterraform_run_phase = "apply"', 5, "terraform_workspace_id"),
    ("terraform-cloud", 'terraform_organization_id = "o"\nterraform_workspace_id = "w"', 5, "which phase"),
]


@pytest.mark.parametrize(("provider", "pins", "line", "words"), REFUSED, ids=lambda v: str(v)[:60])
def test_a_catalogue_that_trusts_too_much_is_refused(provider, pins, line, words):
    with pytest.raises(BadCatalogue) as refused:
        parse(catalogue(provider, pins))
    found = refused.value
    assert (found.file, found.line) == ("agents/ci.toml", line), found.problem
    assert words in found.problem
    parse(catalogue(provider, pins, known=False))  # without a row, anything that is said exactly goes


@pytest.mark.parametrize(
    ("provider", "url"),
    [
        ("github-actions", "https://token.actions.githubusercontent.com.evil.example"),
        ("github-actions", "https://token.actions.githubusercontent.com/"),
        ("github-actions", "https://token.actions.githubusercontent.com/a/b"),
        ("github-actions", "https://token-actions.githubusercontent.com"),
        ("github-actions", "https://github.example.com/_services/token/"),
        ("github-actions", "http://token.actions.githubusercontent.com"),
        ("gitlab", "http://gitlab.com"),
        ("gitlab", "https://gitlab.com/"),
        ("gitlab", "https://user@gitlab.com"),
        ("kubernetes", "http://kubernetes.default.svc"),
        ("kubernetes", "https://kubernetes.default.svc?x=1"),
        ("aws", "https://sts.amazonaws.com"),
        ("aws", "https://a.b.tokens.sts.global.api.aws"),
        ("aws", "https://a.tokens.sts.global.api.aws.evil.example"),
        ("google", "accounts.google.com"),
        ("google", "https://accounts.google.com/"),
        ("azure", "https://login.microsoftonline.com/common/v2.0"),
        ("azure", f"https://login.microsoftonline.com/{TENANT}/v2.0/"),
        ("azure", f"https://login.microsoftonline.com.evil.example/{TENANT}/v2.0"),
        ("azure", f"https://sts.windows.net/{TENANT}"),
        ("terraform-cloud", "https://app.terraform.io/"),
        ("terraform-cloud", "https://app.terraform.io/x"),
    ],
)
def test_an_issuer_that_is_not_the_providers_is_refused(provider, url):
    with pytest.raises(BadCatalogue) as refused:
        parse(catalogue(provider, PINS[provider], issuer=url))
    found = refused.value
    assert found.file == "remit.toml" and f"tokens of {provider} are issued by https://" in found.problem
    assert 'issuer = "' in catalogue(provider, "x", issuer=url)["remit.toml"].splitlines()[found.line - 1]


def test_an_unknown_provider_is_refused_with_the_nearest():
    files = catalogue("gitlab", PINS["gitlab"])
    files["remit.toml"] = files["remit.toml"].replace('provider = "gitlab"', 'provider = "gitlabs"')
    with pytest.raises(BadCatalogue, match="did you mean 'gitlab'"):
        parse(files)


# --- what code it is ---


@pytest.mark.parametrize("provider", ISSUERS)
def test_code_identity_is_of_claims_that_are_there(provider):
    found = oidc_providers.code_identity(provider, TOKENS[provider])
    assert found and all(isinstance(value, str) and value for value in found.values())
    assert oidc_providers.code_identity(provider, {}) == {}


def test_other_code_is_another_code_identity():
    before = oidc_providers.code_identity("github-actions", TOKENS["github-actions"])
    same = merged(TOKENS["github-actions"], {"run_id": "10", "actor": "another"})
    assert oidc_providers.code_identity("github-actions", same) == before
    for claim in ("sha", "workflow_sha", "job_workflow_sha", "job_workflow_ref"):
        other = merged(TOKENS["github-actions"], {claim: "c" * 40})
        assert oidc_providers.code_identity("github-actions", other) != before
    assert oidc_providers.code_identity("", TOKENS["github-actions"]) == {}
    assert oidc_providers.code_identity("kubernetes", TOKENS["kubernetes"]) == {
        '"kubernetes.io".serviceaccount.uid': "e6a8680e-d103-4cce-80ea-03acbbeacf7d"
    }


# --- what is said to whom ---


def test_a_refused_attestation_tells_the_operator_and_nobody_else(issuer, tmp_path):
    """Over HTTP: one answer for every flaw; the claim, what was wanted and what was seen are in the server's log."""
    import time

    files = {**CATALOGUE}
    extra = catalogue("github-actions", PINS["github-actions"], url=issuer.url)
    files["agents/ci.toml"] = extra["agents/ci.toml"]
    files["remit.toml"] += extra["remit.toml"][extra["remit.toml"].index("[federations.there]") :]
    data = tmp_path / "data"
    with process(data) as running:
        server = furnished(running, files)
        files["remit.toml"] = files["remit.toml"].replace("https://remit.test", server.url)
        furnished(running, files)

        def send(**change):
            claims = {"iss": ISSUERS["github-actions"], "aud": server.url, **TOKENS["github-actions"], **change}
            token = issuer.token(int(time.time() * 1000), **claims)
            proof = AgentKey.generate().proof("POST", f"{server.url}/v1/attest")
            return httpx.post(f"{server.url}/v1/attest", json={"oidc_token": token}, headers={"DPoP": proof})

        assert send().status_code == 201
        refused = [
            send(ref="refs/heads/x\n" + "y" * 500),
            send(event_name="pull_request_target"),
            send(repository_id="7"),
        ]
        assert len({answer.content for answer in refused}) == 1 and refused[0].status_code == 401
        assert refused[0].json()["code"] == "RMT-2005"
        metrics = server.http("operator").get("/metrics").text
    assert 'remit_unauthenticated_total{code="RMT-2005"} 3.0' in metrics
    log = data.with_suffix(".log").read_text()
    assert 'repository_id wanted \\"456789\\", saw \\"7\\"' in log
    assert "pin event_name to accept it" in log and '"event": "refused"' in log
    assert "refs/heads/x\\\\n" in log.replace("\\\\\\\\n", "\\\\n") and "y" * 100 not in log

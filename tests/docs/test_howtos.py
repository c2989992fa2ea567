"""What how-to pages name is there: settings, grants, options; and what they have others believe is what Remit says."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace

import click
import jwt
import pytest
import yaml

from remit.cli.app import cli
from remit.formats.catalogue import parse
from remit.issuers import KINDS, Tools, build
from remit.verbs.issue import _filled
from tests.issuers.clouds import ISSUER, Cluster
from tests.issuers.rigs import aws, kubernetes, lease

from .howtos import HOWTO, PAGES, catalogues, commands, fenced, whole

TOOLS = Tools(None, None, None, "https://remit.example.com", {})
BLOCKS = [pytest.param(files, id=f"{page}-{n}") for page in PAGES for n, files in enumerate(catalogues(page))]


@pytest.mark.parametrize("files", BLOCKS)
def test_every_catalogue_file_of_a_page_applies(files):
    catalogue = parse(whole(files))
    for config in catalogue.issuers.values():
        assert config.settings.keys() <= set(KINDS[config.kind][2])
    if "…" in "".join(files.values()):
        return  # keys that are cut short: there is nothing to build
    for purpose in catalogue.purposes.values():
        for rule in purpose.credentials:
            build(catalogue.issuers[rule.issuer], TOOLS).checked(rule.grants)


def test_every_kind_of_issuer_with_a_server_of_its_own_has_a_page():
    written = "".join(text for page in PAGES for files in catalogues(page) for text in files.values())
    assert set(re.findall(r'^kind = "(\w+)"', written, re.MULTILINE)) >= KINDS.keys() - {"jwt"}


@pytest.mark.parametrize("page", PAGES)
def test_no_option_of_a_page_is_unknown(page):
    for line in commands(page):
        for part in re.findall(r"(?:^|[\s($])(remit [a-z]+.*)", line.partition(" # ")[0]):
            said = part.partition(" -- ")[0].split()
            known: click.Command = cli
            for word in said[1:]:
                if isinstance(known, click.Group):
                    known = known.get_command(click.Context(known), word) or known
            if known is cli:
                continue  # a sentence
            options = {name for one in [*known.params, *cli.params] for name in one.opts}
            for option in re.findall(r"(?<=\s)--[a-z-]+|(?<=\s)-[a-z](?=\s)", " ".join(said)):
                assert option in {*options, "--help"}, f"{page}: {part}"


# --- what clouds are asked to believe ---


def shown_to(audience: str) -> dict[str, object]:
    """The claims of the token that a cloud with this audience is shown, for the agent and purpose of the page."""
    from remit.issuers.federated import federation_token

    _, w, _ = asyncio.run(aws.issuer())
    tools = Tools(w.store, w.env.signer, w.env.sealer, ISSUER, {})
    token = federation_token(tools, audience, "invoice-bot", "pay-invoices", "tsk_1")
    return jwt.decode(token, options={"verify_signature": False})


def issuer_of(name: str):
    found = [files for files in catalogues("clouds.md") if f"[issuers.{name}]" in files["remit.toml"]]
    catalogue = parse(whole(found[0]))
    (purpose,) = catalogue.purposes.values()
    return catalogue.issuers[name], purpose


def test_an_aws_trust_policy_asks_for_what_the_token_says():
    from remit.issuers.aws import AUDIENCE

    trust = json.loads(fenced("clouds.md", "json")[0])["Statement"][0]
    wanted = trust["Condition"]["StringEquals"]
    claims, host = shown_to(AUDIENCE), trust["Principal"]["Federated"].partition(":oidc-provider/")[2]
    assert wanted == {f"{host}:aud": claims["aud"], f"{host}:sub": claims["sub"]}
    assert "https://aws.amazon.com/tags" in claims and "sts:TagSession" in trust["Action"]
    assert issuer_of("aws")[1].name == claims["remit_purpose"]


def test_a_google_binding_and_an_azure_credential_ask_for_what_the_token_says():
    from remit.issuers.azure import AUDIENCE

    config, _ = issuer_of("google")
    claims, page = shown_to(config.settings["audience"]), (HOWTO / "clouds.md").read_text()
    pool = config.settings["audience"].partition("/providers/")[0]
    assert f'"principal:{pool}/subject/{claims["sub"]}"' in page
    credential = json.loads(fenced("clouds.md", "json")[1])
    claims = shown_to(AUDIENCE)
    assert (credential["subject"], credential["audiences"]) == (claims["sub"], [claims["aud"]])
    assert credential["issuer"] == "https://remit.example.com"


def test_remits_role_in_kubernetes_is_all_that_it_needs_and_covers_what_it_hands_out():
    role = yaml.safe_load(fenced("clouds.md", "yaml")[0])
    granted = {(g, r, v) for rule in role["rules"] for g in rule["apiGroups"] for r in rule["resources"] for v in rule["verbs"]}  # fmt: skip
    _, purpose = issuer_of("cluster")
    cluster, used = Cluster(), set()
    try:
        made, grants = kubernetes.issuer(cluster.url), _filled(purpose.credentials[0].grants, {"deployment": "web"})
        wanted = lease(grants={**grants, "namespace": role["metadata"]["namespace"]})
        asyncio.run(made.mint(wanted))
        asyncio.run(made.kill(wanted))
        for method, path, _, _ in cluster.said:
            group = "rbac.authorization.k8s.io" if path.startswith("/apis/") else ""
            kind = re.search(r"/(serviceaccounts|roles|rolebindings)", path)[1] + ("/token" if path.endswith("/token") else "")  # fmt: skip
            used.add((group, kind, {"POST": "create", "DELETE": "delete", "GET": "get"}[method]))
    finally:
        cluster.close()
    handed = {(g, r, v) for rule in grants["rules"] for g in rule.get("api_groups", [""]) for r in rule["resources"] for v in rule["verbs"]}  # fmt: skip
    assert used | handed <= granted
    assert {one for one in granted if one[1].startswith(("serviceaccounts", "role"))} == used


def test_a_parameter_fills_what_the_page_says_it_fills():
    from remit.issuers.aws import session_policy

    _, purpose = issuer_of("aws")
    wanted = replace(lease(grants=purpose.credentials[0].grants), parameters={"customer": "a*c"})
    assert json.loads(session_policy(wanted))["Statement"][0]["Resource"] == ["arn:aws:s3:::reports/a${*}c/*"]

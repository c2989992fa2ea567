"""An estate in which an agent's credential leads further than anybody meant: a catalogue, and what AWS says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.server import CATALOGUE, Server

ACCOUNT = "123456789012"
TOOL = '[arguments.customer]\ntype = "text"\n'
FILES = {
    "remit.toml": """
[people.dana]
groups = ["billing"]
[people.frank]
groups = ["finance"]
[people.olga]
[issuers.cloud]
kind = "aws"
region = "eu-central-1"
[issuers.box]
kind = "static"
""",
    "agents/invoice-bot.toml": 'owner = "olga"\n[[attestations]]\nmethod = "join_token"\n',
    "agents/report-bot.toml": 'owner = "frank"\n[[attestations]]\nmethod = "join_token"\n',
    "purposes/pay-invoices.toml": f"""
owner = "olga"
agents = ["invoice-bot"]
max_duration = "15m"
max_calls = 100
max_sensitivity = "confidential"
initiators = ["billing"]
max_depth = 1
[[grants]]
tool = "invoices.read"
resource = "customer/*"
[[grants]]
tool = "payments.send"
resource = "customer/*"
[[credentials]]
name = "archive"
issuer = "cloud"
ttl = "15m"
grants = {{ role_arn = "arn:aws:iam::{ACCOUNT}:role/invoice-archive", actions = ["s3:GetObject", "lambda:UpdateFunctionCode"], resources = ["arn:aws:s3:::invoices/*"] }}
[[credentials]]
name = "bank"
issuer = "box"
ttl = "10m"
reveal = true
grants = {{ secret = "bank-api" }}
[[delegations]]
agents = ["report-bot"]
purposes = ["tell-customers"]
""",
    "purposes/tell-customers.toml": """
owner = "frank"
agents = ["report-bot"]
max_duration = "15m"
max_calls = 100
max_sensitivity = "confidential"
[[grants]]
tool = "mail.send"
resource = "customer/*"
[[grants]]
tool = "mail.read"
resource = "customer/*"
""",
    "tools/invoices.read.toml": 'effect = "read"\nresource = "customer/{customer}"\noutput_trust = "trusted"\noutput_sensitivity = "confidential"\n'
    + TOOL,
    "tools/payments.send.toml": 'effect = "irreversible"\nresource = "customer/{customer}"\noutput_trust = "trusted"\n'
    + TOOL,
    "tools/mail.send.toml": 'effect = "irreversible"\negress = true\nresource = "customer/{customer}"\noutput_trust = "trusted"\n'
    + TOOL,
    "tools/mail.read.toml": 'effect = "read"\nresource = "customer/{customer}"\noutput_trust = "untrusted"\n' + TOOL,
    "policies/default.cedar": CATALOGUE["policies/default.cedar"],
}


def arn(kind: str, name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:{kind}/{name}"


def may(*actions: str, resource: str = "*") -> dict[str, Any]:
    return {"Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": resource}]}


def trusts(service: str) -> dict[str, Any]:
    allows = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": f"{service}.amazonaws.com"}}
    return {"Statement": [allows]}


def role(name: str, service: str, *actions: str) -> dict[str, Any]:
    policies = [{"PolicyName": "p", "PolicyDocument": may(*actions)}]
    return {
        "Arn": arn("role", name),
        "RoleName": name,
        "RolePolicyList": policies,
        "AssumeRolePolicyDocument": trusts(service),
    }


def user(name: str, *actions: str) -> dict[str, Any]:
    policies = [{"PolicyName": "p", "PolicyDocument": may(*actions)}]
    return {"Arn": arn("user", name), "UserName": name, "UserPolicyList": policies}


EXPORT: dict[str, Any] = {
    "UserDetailList": [user("ci", "iam:CreateAccessKey"), user("boss", "*")],
    "RoleDetailList": [
        role("invoice-archive", "ec2", "s3:GetObject", "lambda:UpdateFunctionCode"),
        role("nightly-report", "lambda", "iam:PutRolePolicy", "secretsmanager:GetSecretValue"),
        *(role(f"worker-{n}", "lambda", "s3:GetObject") for n in range(12)),
    ],
    "GroupDetailList": [],
    "Policies": [],
}
KEYS = {"AccessKeyMetadata": [{"UserName": "ci", "AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "Status": "Active"}]}


def imported(server: Server, folder: Path, export: Any = EXPORT, name: str = "production") -> None:
    """What AWS says, by the command that people use."""
    for file, whole in (("account.json", export), ("keys.json", KEYS)):
        (folder / file).write_text(json.dumps(whole))
    done = server.cli("blast", "import", str(folder / "account.json"), str(folder / "keys.json"), "--name", name)
    assert done.returncode == 0, done.stderr

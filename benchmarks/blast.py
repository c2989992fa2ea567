"""How many of the public `iam-vulnerable` set's paths to administrator are found, and how fast a large graph answers.

REMIT_IAM_VULNERABLE names a clone of BishopFox/iam-vulnerable (MIT). Its Terraform is read with python-hcl2 and made into
the export that `aws iam get-account-authorization-details` would give; nothing is ever deployed. Each file of
`privesc-paths` (but what only serves them), each `fn*` and the permissive trust is exploitable; each `fp*` only looks so.
A file is found if anybody that it defines, and that is no administrator by its own policies, reaches administrator. The
permissive trust has no policy and so no path; it is found if that trust is told as a flaw.
"""

from __future__ import annotations

import gc
import os
import random
import re
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from remit.discover import aws_account
from remit.discover.cuts import best_cuts
from remit.discover.radius import cuts, radius
from remit.domain.reach import Graph, Step

from measure import emit, timed  # isort: skip

ACCOUNT = "123456789012"
SERVING = ("service-linked-role-common", "sre", "variables")
WHOEVER = f"arn:aws:iam::{ACCOUNT}:user/whoever-deploys"


def literal(text: str) -> Any:
    """The value of an HCL expression, as python-hcl2 prints it."""
    tokens = re.findall(r'"(?:[^"\\]|\\.)*"|[{}\[\](),=:]|[^\s{}\[\](),=:"]+', text)
    return _value(tokens)


def _value(tokens: list[str]) -> Any:
    token = tokens.pop(0)
    if token == "{":
        found: dict[str, Any] = {}
        while tokens[0] != "}":
            name = tokens.pop(0).strip('"')
            tokens.pop(0)
            found[name] = _value(tokens)
            if tokens[0] == ",":
                tokens.pop(0)
        tokens.pop(0)
        return found
    if token == "[":
        items = []
        while tokens[0] != "]":
            items.append(_value(tokens))
            if tokens[0] == ",":
                tokens.pop(0)
        tokens.pop(0)
        return items
    return token[1:-1] if token.startswith('"') else f"${{{token}}}"


class Files:
    """The resources of every file, and what refers to what."""

    def __init__(self, folder: Path) -> None:
        import hcl2

        self.found: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}
        for path in sorted(folder.rglob("*.tf")):
            with path.open() as file:
                whole = hcl2.load(file)
            for noun in ("resource", "data"):
                for block in whole.get(noun, []):
                    for kind, named in block.items():
                        for name, body in named.items():
                            key = ("data." if noun == "data" else "") + kind.strip('"')
                            self.found[(key, name.strip('"'))] = (path.stem, body)

    def of(self, kind: str) -> list[tuple[str, str, dict[str, Any]]]:
        return [(name, path, body) for (k, name), (path, body) in self.found.items() if k == kind]

    def text(self, value: Any) -> str:
        """A name, an ARN, or what `TYPE.NAME.attribute` refers to."""
        text = str(value).strip('"')
        match = re.fullmatch(r"\$\{(data\.)?(aws_\w+)\.([\w-]+)\.(\w+)\}", text)
        if match is None:
            return (
                WHOEVER
                if "aws_assume_role_arn" in text
                else f"arn:aws:iam::{ACCOUNT}:root"
                if "root_user" in text
                else text
            )
        body = self.found[((match[1] or "") + match[2], match[3])][1]
        if match[4] == "arn" and "arn" in body:
            return self.text(body["arn"])
        name = self.text(body.get("name", match[3]))
        kind = match[2].removeprefix("aws_iam_")
        return f"arn:aws:iam::{ACCOUNT}:{kind}/{name}" if match[4] == "arn" else name

    def document(self, value: Any) -> Any:
        text = str(value)
        match = re.fullmatch(r"\$\{data\.aws_iam_policy_document\.([\w-]+)\.json\}", text)
        if match:
            body = self.found[("data.aws_iam_policy_document", match[1])][1]
            return {"Statement": [self._statement(one) for one in body["statement"]]}
        return self._resolved(literal(text.removeprefix("${jsonencode(").removesuffix(")}")))

    def _statement(self, one: dict[str, Any]) -> dict[str, Any]:
        plain = lambda values: [str(v).strip('"') for v in values]  # noqa: E731
        conditions: dict[str, Any] = {}
        for c in one.get("condition", []):
            conditions.setdefault(c["test"].strip('"'), {})[c["variable"].strip('"')] = plain(c["values"])
        return {
            "Effect": one["effect"].strip('"'),
            "Action": plain(one["actions"]),
            "Resource": plain(one["resources"]),
            "Condition": conditions,
        }

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: self._resolved(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self._resolved(v) for v in value]
        return self.text(value) if isinstance(value, str) and value.startswith("${") else value


def export(files: Files) -> tuple[dict[str, Any], dict[str, str]]:
    """What AWS would say of all of it, and the file that each principal is from."""
    arn = lambda kind, name: f"arn:aws:iam::{ACCOUNT}:{kind}/{name}"  # noqa: E731
    where: dict[str, str] = {}
    rows: dict[str, dict[str, Any]] = {}
    for kind in ("user", "role", "group"):
        for name, path, body in files.of(f"aws_iam_{kind}"):
            shown = files.text(body.get("name", name))
            row = {
                "Arn": arn(kind, shown),
                f"{kind.title()}Name": shown,
                "AttachedManagedPolicies": [],
                "GroupList": [],
            }
            row |= {f"{kind.title()}PolicyList": []}
            if kind == "role":
                row["AssumeRolePolicyDocument"] = files.document(body["assume_role_policy"])
                row["AttachedManagedPolicies"] += [
                    {"PolicyArn": files.text(p)} for p in body.get("managed_policy_arns", [])
                ]
            rows[row["Arn"]], where[row["Arn"]] = row, path
    for kind in ("user", "role", "group"):
        for _, _, body in files.of(f"aws_iam_{kind}_policy_attachment"):
            rows[arn(kind, files.text(body[kind]))]["AttachedManagedPolicies"].append(
                {"PolicyArn": files.text(body["policy_arn"])}
            )
        for _, _, body in files.of(f"aws_iam_{kind}_policy"):
            rows[arn(kind, files.text(body[kind]))][f"{kind.title()}PolicyList"].append(
                {"PolicyDocument": files.document(body["policy"])}
            )
    for _, _, body in files.of("aws_iam_policy_attachment"):
        for kind in ("user", "role", "group"):
            for one in body.get(f"{kind}s", []):
                rows[arn(kind, files.text(one))]["AttachedManagedPolicies"].append(
                    {"PolicyArn": files.text(body["policy_arn"])}
                )
    for _, _, body in files.of("aws_iam_group_membership"):
        for user in body["users"]:
            rows[arn("user", files.text(user))]["GroupList"].append(files.text(body["group"]))
    for _, _, body in files.of("aws_iam_user_group_membership"):
        rows[arn("user", files.text(body["user"]))]["GroupList"] += [files.text(g) for g in body["groups"]]
    policies = [
        {
            "Arn": arn("policy", files.text(body.get("name", name))),
            "PolicyVersionList": [{"IsDefaultVersion": True, "Document": files.document(body["policy"])}],
        }
        for name, _, body in files.of("aws_iam_policy")
    ]
    by = lambda kind: [row for row in rows.values() if f":{kind}/" in row["Arn"]]  # noqa: E731
    whole = {
        "UserDetailList": by("user"),
        "RoleDetailList": by("role"),
        "GroupDetailList": by("group"),
        "Policies": policies,
    }
    return whole, where


def judge(root: Path) -> None:
    whole, where = export(Files(root / "modules" / "free-resources"))
    started = time.perf_counter()
    account = aws_account.read(whole)
    graph = Graph().add(aws_account.steps(account))
    admin = f"aws-admin:{ACCOUNT}"
    found: dict[str, bool] = {path: False for path in where.values() if not path.startswith(SERVING)}
    for one in account.principals.values():
        path = where.get(one.arn, "")
        way = graph.way([one.node], admin) if path in found else ()
        if way and way[0].how != "aws-administrator":
            found[path] = True
    found |= {where[flaw.subject]: True for flaw in aws_account.flaws(account, "") if where[flaw.subject] in found}
    took = time.perf_counter() - started
    bad = {path for path in found if not path.startswith("fp")}
    missed, wrong = sorted(p for p in bad if not found[p]), sorted(p for p in found if p.startswith("fp") and found[p])
    note = f"missed: {', '.join(missed) or 'none'}; {len(wrong)} of {len(found) - len(bad)} that only look it; {took:.2f} s"
    emit("blast.iam_vulnerable", "remit", len(bad), value=len(bad) - len(missed), unit="paths", note=note)


def large(nodes: int) -> None:
    """A graph of so many nodes, five steps from each to anywhere: the worst there is for dominators."""
    chance = random.Random(7)
    names = [f"role:{i}" for i in range(nodes)]
    steps = [Step(a, chance.choice(names), "may") for a in names for _ in range(5)]
    started = time.perf_counter()
    graph = Graph().add(steps)
    built = time.perf_counter() - started
    emit("blast.reach", "remit", nodes, timed(lambda: graph.reached([names[0]]), 5), note=f"built in {built:.2f} s")
    emit("blast.cuts", "remit", nodes, timed(lambda: best_cuts(graph, [names[0]], names[-100:]), 5))


def estate(nodes: int) -> Graph:
    """Agents with purposes, tools and credentials, before accounts, clusters and databases: as estates are made, a few
    ways into each account, most of what is in one reached from few places, and roles that lead from one to the next.
    """
    chance = random.Random(11)
    steps: list[Step] = []
    near = lambda account: f"aws-role:{min(account * 250 + chance.randrange(250), nodes // 4 - 1)}"  # noqa: E731
    for a in range(nodes // 100):
        for p in range(3):
            purpose = f"purpose:p{a}-{p}"
            steps.append(Step(f"agent:a{a}", purpose, "may-propose"))
            steps += [Step(purpose, f"tool:t{chance.randrange(nodes // 50)}", "grants") for _ in range(6)]
            steps.append(Step(purpose, f"credential:p{a}-{p}/c", "issues"))
            steps.append(Step(f"credential:p{a}-{p}/c", f"aws-role:{chance.randrange(nodes // 4)}", "opens"))
    for r in range(nodes // 4):
        account = r // 250
        steps += [Step(f"aws-role:{r}", near(account), "aws-assume-role") for _ in range(4)]
        steps += [Step(f"aws-role:{r}", f"pg-table:{account}.{chance.randrange(400)}", "pg-may") for _ in range(6)]
        steps += [Step(f"aws-role:{r}", f"k8s-sa:{account}/{chance.randrange(300)}", "k8s-enters-pods")]
        if r % 250 == 0:
            steps.append(Step(near(account), f"aws-admin:{account}", "aws-put-role-policy"))
            steps += [
                Step(near(account), f"aws-role:{chance.randrange(nodes // 4)}", "aws-assume-role") for _ in range(5)
            ]
            steps += [
                Step(f"aws-admin:{account}", f"aws-role:{account * 250 + n}", "aws-administers") for n in range(250)
            ]
    return Graph().add(steps)


def questions(nodes: int) -> None:
    """What the console asks: all of it, with its groups and shortest ways; who; the one step to take away."""
    graph = estate(nodes)
    gc.freeze()
    size = sum(1 for _ in graph.nodes()), sum(map(len, graph.out.values()))
    start = "agent:a0"
    found = radius(graph, start)
    most = f"{len(found.others)} reached, {len(found.beyond)} beyond, {size[1]} steps"
    emit("blast.nodes", "remit: what it reaches", size[0], timed(lambda: asked(graph, start, who=False), 7), note=most)
    emit("blast.nodes", "remit: who can reach it", size[0], timed(lambda: asked(graph, "aws-admin:0", who=True), 7))
    emit("blast.nodes", "remit: the one step", size[0], timed(lambda: cuts(found, 1), 7))


def asked(graph: Graph, node: str, *, who: bool) -> None:
    found = radius(graph, node, who=who)
    for group in found.groups()[:40]:
        for one in group.nodes[:8]:
            found.way(one)


root = Path(os.environ.get("REMIT_IAM_VULNERABLE", "/nowhere"))
if root.is_dir() and find_spec("hcl2"):
    judge(root)
else:
    how = "absent: pip install python-hcl2, and set REMIT_IAM_VULNERABLE to a clone of BishopFox/iam-vulnerable"
    emit("blast.iam_vulnerable", "remit", 0, note=how)
large(100_000)
questions(115_000)

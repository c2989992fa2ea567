"""`remit policy`: check, test and explain policies, here, without a server."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from remit.domain.decision import word
from remit.formats import catalogue as catalogue_format
from remit.policy import CaseResult, default_policy_cases, parse_cases, run_cases
from remit.policy.cases import facts_of
from remit.ports import InForce, compiled

from .app import Context
from .catalogue import FOLDER, read_folder
from .exits import Exit, Failure
from .output import paint


def _compiled(folder: Path) -> InForce:
    files = read_folder(folder)
    return compiled(catalogue_format.digest(files), tuple(sorted(files.items())))


@click.group()
def policy() -> None:
    """Policies: Cedar, strictly validated against the tools they are about."""


@policy.command()
@FOLDER
@click.pass_obj
def check(obj: Context, folder: Path) -> None:
    """Parse and strictly validate everything in FOLDER."""
    force = _compiled(folder)
    found = [
        {"id": p.id, "file": p.file, "effect": p.effect, "approvers": list(p.approvers)} for p in force.bundle.policies
    ]
    text = f"{len(found)} policies and {len(force.catalogue.tools)} tools are valid ({force.bundle.revision[7:19]})."
    obj.out.one({"ok": True, "revision": force.bundle.revision, "policies": found}, text)


@policy.command()
@FOLDER
@click.pass_obj
def schema(obj: Context, folder: Path) -> None:
    """Print what policies may look at, as a Cedar schema."""
    text = _compiled(folder).bundle.schema_text
    obj.out.one({"schema": text}, text)


@policy.command()
@FOLDER
@click.option("--cases", type=click.Path(path_type=Path, exists=True, dir_okay=False), multiple=True)
@click.pass_obj
def test(obj: Context, folder: Path, cases: tuple[Path, ...]) -> None:
    """Run policies/*.cases.toml (or --cases) of FOLDER; leaves with 1 if any expectation fails."""
    force = _compiled(folder)
    files = cases or tuple(sorted((folder / "policies").glob("*.cases.toml")))
    if not files:
        raise Failure(
            f"there are no policies/*.cases.toml in {folder}",
            Exit.USAGE,
            next_step="A case says what should happen; this one shows how:\n" + default_policy_cases()[:400],
        )
    results: list[CaseResult] = []
    for path in files:
        results += run_cases(force.bundle, parse_cases(str(path), path.read_text(), force.catalogue.tools))
    failed = [result for result in results if not result.ok]
    for result in results:
        _print(obj, result)
    obj.out.say(f"{len(results) - len(failed)} of {len(results)} cases hold.")
    if failed:
        raise Failure(f"{len(failed)} of {len(results)} cases do not hold", Exit.ERROR)


def _print(obj: Context, result: CaseResult) -> None:
    case = result.case
    shown: dict[str, Any] = {
        "case": case.name,
        "ok": result.ok,
        "expected": case.expect,
        "decision": result.decision,
    }
    shown |= {"policies": list(result.policies), "sentences": list(result.sentences)}
    line = f"{'ok  ' if result.ok else 'FAIL'} {case.name}: {paint(result.decision)}"
    if not result.ok:
        because = f" because of {case.because}" if case.because else ""
        line += f"\n     expected {case.expect}{because}, but: {' '.join(result.sentences) or 'no reason'}"
        line += f"\n     policies that decided: {', '.join(result.policies) or 'none'}"
    obj.out.one(shown, line)


@policy.command()
@FOLDER
@click.option("--tool", required=True, help="The tool to call.")
@click.option("--arguments", default="{}", help="Its arguments, as JSON.")
@click.option(
    "--context",
    default="{}",
    help='What differs from an ordinary moment, as JSON, such as {"trust": "untrusted"}.',
)
@click.pass_obj
def explain(obj: Context, folder: Path, tool: str, arguments: str, context: str) -> None:
    """Say what would be decided, which policies could match, and which decided."""
    force = _compiled(folder)
    entry = {
        "name": "explain",
        "tool": tool,
        "arguments": _object("--arguments", arguments),
        "expect": "permit",
    }
    entry["context"] = _object("--context", context)
    if tool not in force.catalogue.tools:
        known = ", ".join(sorted(force.catalogue.tools))
        raise Failure(f"there is no tool {tool!r}", Exit.NOT_FOUND, next_step=f"Tools: {known}.")
    found = force.bundle.explain(facts_of(entry, force.catalogue.tools))
    whys = [{**asdict(why), "reason": why.reason.value} for why in found.decision.why]
    shown = {
        "decision": word(found.decision),
        "why": whys,
        "considered": found.considered,
        "reads": found.reads,
    }
    shown |= {"first_look": found.first, "as_if_approved": found.as_if_approved}
    lines = [f"{paint(word(found.decision))}: {' '.join(why.sentence for why in found.decision.why)}"]
    lines += [f"  could match     {', '.join(found.considered) or 'none'}"]
    lines += [f"  decided         {', '.join(found.first) or 'nothing permits it'}"]
    lines += [f"  if approved     {', '.join(found.as_if_approved) or 'nothing permits it'}"]
    lines += [f"  they look at    {', '.join(found.reads) or 'no context'}"]
    obj.out.one(shown, "\n".join(lines))


def _object(option: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as bad:
        raise Failure(f"{option} is not JSON: {bad}", Exit.USAGE) from bad
    if not isinstance(value, dict):
        raise Failure(f"{option} must be a JSON object", Exit.USAGE)
    return value

"""CI pipelines that run agents or hold cloud secrets: GitHub workflows and GitLab CI."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from remit.domain.discovery import Noun, Place, Severity, Thing

from .data import parsed
from .files import File
from .found import Found
from .values import is_reference, looks_random, names_a_secret

_AGENT_ACTIONS = re.compile(
    r"anthropics/claude-code(?:-base)?-action|openai/codex-action|google-github-actions/run-gemini-cli|"
    r"google-gemini/gemini-cli-action|actions/ai-inference|cursor/\w+|aider-ai/\w+|github/copilot\w*|continuedev/\w+"
)
_AGENT_COMMANDS = re.compile(
    r"(?:^|[\s;&|])(?:claude\s+(?:-p|--print|-\w*p\b|--dangerously)|codex\s+exec|gemini\s+(?:-p|--prompt|--yolo)|aider\s+--|"
    r"cursor-agent\s|copilot\s+(?:-p|--prompt)|goose\s+run|opencode\s+run|qwen\s+-p|llm\s+-m)",
    re.MULTILINE,
)
_BY_ANYBODY = ("pull_request_target", "issues", "issue_comment", "discussion", "discussion_comment", "fork", "watch")
_CLOUD = re.compile(
    r"\bsecrets\.(AWS_SECRET_ACCESS_KEY\w*|AWS_ACCESS_KEY_ID\w*|AZURE_CREDENTIALS\w*|AZURE_CLIENT_SECRET\w*|GCP_SA_KEY\w*|"
    r"GOOGLE_CREDENTIALS\w*|GCP_CREDENTIALS\w*|GOOGLE_APPLICATION_CREDENTIALS\w*|DIGITALOCEAN_ACCESS_TOKEN\w*|KUBECONFIG\w*)"
)
_SECRET = re.compile(r"\bsecrets\.(\w+)")


def read(file: File) -> Found | None:
    """A workflow, if this is one."""
    path = "/" + file.path
    if file.suffix not in (".yml", ".yaml"):
        return None
    if "/.github/workflows/" in path:
        return _github(file)
    if path.endswith("/.gitlab-ci.yml"):
        return _gitlab(file)
    return None


def _github(file: File) -> Found | None:
    text = file.text or ""
    whole = parsed(text, ".yaml")
    if not isinstance(whole, dict):
        return None
    found = Found()
    triggers = _triggers(whole.get("on", whole.get(True)))
    jobs = whole.get("jobs")
    for name, job in jobs.items() if isinstance(jobs, dict) else ():
        if isinstance(job, dict):
            _job(file, str(name), job, whole, triggers, found)
    for secret in sorted(set(_CLOUD.findall(text))):
        found.flaw("pipeline-holds-cloud-keys", Place(file.path, file.line_of(secret), file.commit), secret, secret)
    for match in re.finditer(r"uses:\s*['\"]?([\w.-]+/[\w./-]+)@([\w./-]+)", text):
        if not re.fullmatch(r"[0-9a-f]{40}", match[2]) and not match[1].startswith(("actions/", "github/")):
            line = text.count("\n", 0, match.start()) + 1
            found.flaw("action-unpinned", Place(file.path, line, file.commit), f"{match[1]}@{match[2]}", match[1])
    _inline(file, whole, found)
    return found if found.things or found.flaws or found.secrets else None


def _job(
    file: File, name: str, job: Mapping[str, Any], whole: Mapping[str, Any], triggers: tuple[str, ...], found: Found
) -> None:
    steps = [step for step in job.get("steps") or () if isinstance(step, dict)]
    acts = [_agent_of(step) for step in steps]
    agent = next(filter(None, acts), "")
    permissions = job.get("permissions", whole.get("permissions"))
    writes = _writes(permissions)
    line = file.line_of(f"\n  {name}:", f"{name}:") + (1 if f"\n  {name}:" in (file.text or "") else 0)
    place = Place(file.path, line, file.commit)
    if permissions == "write-all":
        found.flaw("pipeline-may-write-everything", place, f"{name}: write-all", name)
    if not agent:
        return
    secrets = tuple(sorted(set(_SECRET.findall(str(job))) | set(_SECRET.findall(str(whole.get("env", ""))))))
    facts = {"runs": agent, "on": ", ".join(triggers)[:200], "may write": writes}
    found.things.append(Thing(Noun.PIPELINE, name, place, {k: v for k, v in facts.items() if v}, secrets))
    strangers = [trigger for trigger in triggers if trigger in _BY_ANYBODY]
    gated = "author_association" in str(job.get("if", "")) or "github.actor ==" in str(job.get("if", ""))
    powers = [s for s in secrets if s != "GITHUB_TOKEN"]
    if strangers and not gated and (powers or writes):
        what = f"{name}: {agent} on {', '.join(strangers)}, with {', '.join(powers[:3]) or writes}"
        found.flaw("pipeline-obeys-strangers", place, what, name)
    elif strangers and not gated:
        found.flaw(
            "pipeline-obeys-strangers", place, f"{name}: {agent} on {', '.join(strangers)}", name, Severity.MEDIUM
        )


def _agent_of(step: Mapping[str, Any]) -> str:
    action = _AGENT_ACTIONS.search(str(step.get("uses", "")))
    if action:
        return action[0]
    command = _AGENT_COMMANDS.search(str(step.get("run", "")))
    return command[0].strip(" ;&|\n") if command else ""


def _writes(permissions: Any) -> str:
    if permissions == "write-all":
        return "everything"
    if isinstance(permissions, dict):
        return ", ".join(str(k) for k, v in permissions.items() if v == "write" and k != "id-token")
    return ""


def _triggers(on: Any) -> tuple[str, ...]:
    if isinstance(on, str):
        return (on,)
    return tuple(str(name) for name in on) if isinstance(on, list | dict) else ()


def _gitlab(file: File) -> Found | None:
    text = file.text or ""
    whole = parsed(text, ".yaml")
    if not isinstance(whole, dict):
        return None
    found = Found()
    for name, job in whole.items():
        script = "\n".join(str(s) for s in job.get("script") or ()) if isinstance(job, dict) else ""
        command = _AGENT_COMMANDS.search(script)
        if command:
            place = Place(file.path, file.line_of(f"{name}:"), file.commit)
            found.things.append(Thing(Noun.PIPELINE, str(name), place, {"runs": command[0].strip()}))
    _inline(file, whole, found)
    return found if found.things or found.flaws or found.secrets else None


def _inline(file: File, value: Any, found: Found) -> None:
    """Environment entries that are written out."""
    for name, part in _pairs(value):
        if isinstance(part, str) and names_a_secret(name) and looks_random(part) and not is_reference(part):
            found.secret("secret-in-file", file, part, f"{name}, in a pipeline", name)
        else:
            _inline(file, part, found)


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((str(name), part) for name, part in value.items())
    elif isinstance(value, list):
        yield from (("", part) for part in value)

"""A CI job that runs an agent: it proves itself by its platform's token, and its secrets become credentials of a task.

Which repository it is cannot be read from a file that anybody can copy: somebody says it. A platform other than
github.com and gitlab.com is somebody's own decision to trust, and is left to them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from remit.domain.discovery import Thing
from remit.formats.oidc_checks import GITHUB_EVENTS

from ..data import parsed
from ..files import File
from .draft import Draft, Wanted, slug
from .programs import sealed

_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}(/[A-Za-z0-9._-]{1,100}){1,10}\Z")
_ID = re.compile(r"[1-9][0-9]{0,18}\Z")
_AUDIENCE = re.compile(r"https?://[^\s\"#]{1,500}\Z", re.ASCII)


@dataclass(frozen=True)
class _Platform:
    name: str
    provider: str
    issuer: str
    find_id: str


_GITHUB = _Platform(
    "github",
    "github-actions",
    "https://token.actions.githubusercontent.com",
    "gh api repos/OWNER/REPO --jq .id",
)
_GITLAB = _Platform("gitlab", "gitlab", "https://gitlab.com", "glab api projects/GROUP%2FPROJECT | jq .id")


def draft(file: File, thing: Thing, wanted: Wanted) -> Draft:
    """The job as an agent."""
    on_github = "/.github/workflows/" in "/" + file.path
    platform = _GITHUB if on_github else _GITLAB
    missing = _missing(wanted, platform, on_github)
    events = _events(file) if on_github else set()
    strangers = sorted(events - GITHUB_EVENTS)
    claims = _claims(file, wanted, on_github, events) if not missing else {}
    name = slug(
        f"{file.path.rsplit('/', 1)[-1].rsplit('.', 1)[0]} {thing.name}" if on_github else thing.name, "pipeline"
    )
    given = sealed(tuple(use for use in thing.uses if use != "GITHUB_TOKEN"), name, wanted)
    federation = {"provider": platform.provider, "issuer": platform.issuer, "audience": wanted.audience}
    return Draft(
        name=name,
        title=f"{thing.name[:80]}, {thing.facts.get('runs', 'an agent')[:80]} in {file.path[:120]}",
        place=thing.place,
        attestation={"method": "oidc", "federation": platform.name, "claims": claims},
        open=missing,
        left=(
            *([f"it runs on {', '.join(strangers)}, which strangers cause: pin event_name yourself if that is meant"]
              if strangers else []),
            "its tools: say them in tools/NAME.toml, or let its calls go through a gateway",
        ),
        steps=(_asks_for_token(on_github, wanted.audience),),
        **{**given, "tables": {**given["tables"], **({} if missing else {f"federations.{platform.name}": federation})}},
    )  # fmt: skip


def _missing(wanted: Wanted, platform: _Platform, on_github: bool) -> tuple[str, ...]:
    found = []
    if on_github and not _REPOSITORY.match(wanted.repository):
        found.append("Say which repository this is: --repository OWNER/REPO")
    if not _ID.match(wanted.repository_id):
        found.append(f"Say its id, which nobody else can have: --repository-id N ({platform.find_id})")
    if not _AUDIENCE.match(wanted.audience):
        found.append("Say for whom its tokens are made, Remit's address: --audience https://remit.example.com")
    return tuple(found)


def _claims(file: File, wanted: Wanted, on_github: bool, events: set[str]) -> Mapping[str, str]:
    """A branch that anybody may push to is not pinned here: `main` is, for a reviewer to change."""
    if not on_github:
        return {"project_id": wanted.repository_id, "ref_path": "refs/heads/main", "ref_protected": "true"}
    ref = f"{wanted.repository}/.github/workflows/{file.name}@refs/heads/main"
    only = {"event_name": next(iter(events))} if len(events) == 1 and events <= GITHUB_EVENTS else {}
    return {"repository_id": wanted.repository_id, "job_workflow_ref": ref, **only}


def _events(file: File) -> set[str]:
    whole: Any = parsed(file.text or "", ".yaml")
    on = whole.get("on", whole.get(True)) if isinstance(whole, dict) else None
    return {on} if isinstance(on, str) else {str(one) for one in on} if isinstance(on, list | dict) else set()


def _asks_for_token(on_github: bool, audience: str) -> str:
    if on_github:
        return "Give the job `permissions: id-token: write`, and its token to the client: docs/howto/oidc.md."
    return f"Give the job `id_tokens: {{ REMIT_TOKEN: {{ aud: {audience or 'ADDRESS'} }} }}`: docs/howto/oidc.md."

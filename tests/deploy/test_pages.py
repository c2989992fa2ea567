"""Pages for whoever runs it: their links lead somewhere, their commands exist, their alerts are ours."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from remit.cli.app import cli

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [
    *sorted((DOCS / "runbooks").glob("*.md")),
    *(DOCS / "howto" / f"{n}.md" for n in ("backup", "keys", "production", "traces")),
]


def anchors(page: Path) -> set[str]:
    return {
        re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-")
        for head in re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.is_file(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(there), f"{page.name}: {target}"
    assert page.read_text().count("```") % 2 == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_ours_and_files_are_there(page):
    text = page.read_text()
    for said in re.findall(r"(?:`|^ {4,}|\s)(remit [a-z][^`\n|>]*)", text, re.M):
        words, known = said.split(" # ")[0].split(), cli
        for word in words[1:]:
            if isinstance(known, click.Group):
                known = known.get_command(click.Context(known), word) or known
        assert known is not cli, f"{page.name}: {said}"
        options = {name for one in [*known.params, *cli.params] for name in one.opts}
        for option in re.findall(r"(?<=\s)--[a-z-]+", said):
            assert option in {*options, "--help"}, f"{page.name}: {said}"
    for path in re.findall(r"`(deploy/[^`*]*)`", text):
        assert (ROOT / path).exists(), f"{page.name}: {path}"

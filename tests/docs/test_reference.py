"""Reference pages are written from the code; regenerate with REMIT_GOLDEN=1."""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path
from typing import get_args

import pytest

from remit.cli.explain import REASONS
from remit.domain import errors, events
from remit.domain.decision import Reason
from remit.formats.catalogue import parse
from remit.formats.claim_conditions import shown
from remit.formats.oidc_providers import PROVIDERS
from remit.issuers import KINDS

ROOT = Path(__file__).parents[2]


def codes() -> str:
    lines = [
        "# Codes",
        "",
        "`remit explain CODE` says the same.",
        "",
        "## Errors",
        "",
        "| code | HTTP | title | meaning |",
        "|---|---|---|---|",
    ]
    for kind in errors.every_refusal():
        first = inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].replace("\n", " ")
        lines.append(f"| {kind.code} | {kind.status} | {kind.title} | {first} |")
    lines += ["", "## Reasons of a decision", "", "| reason | meaning and what to do |", "|---|---|"]
    lines += [f"| {reason.value} | {text} |" for reason, text in REASONS.items()]
    return "\n".join(lines) + "\n"


def event_page() -> str:
    lines = ["# Events", "", "The log's closed union. Digests are `sha256:<hex>`, instants are ms since 1970.", ""]
    lines += ["| event | when | fields |", "|---|---|---|"]
    for kind in get_args(events.Event):
        fields = ", ".join(kind.__dataclass_fields__)
        lines.append(f"| {kind.__name__} | {inspect.cleandoc(kind.__doc__).splitlines()[0]} | {fields} |")
    return "\n".join(lines) + "\n"


def provider_page() -> str:
    lines = ["# OIDC providers", "", "What `provider` in a federation means. How to use one: "]
    lines[-1] += "[Prove an agent by the platform it runs on](../howto/oidc.md)."
    for row in PROVIDERS.values():
        always = inspect.cleandoc(row.check.__doc__ or "").replace("\n\n", " ").replace("\n", " ")
        lines += ["", f"## {row.name}", "", f"Issuers: {row.issuers}.", "", "An attestation must pin, exactly:", ""]
        for pin in row.pins:
            ways = [[shown(p) + (f' = "{v}"' if v else "") for p, v in way.items()] for way in pin.ways]
            lines.append(f"- {pin.question}: {', or '.join(' and '.join(f'`{c}`' for c in way) for way in ways)}")
        lines += ["", f"Always checked: {always}", ""]
        if row.narrows:
            lines += [f"May end in `*`: {', '.join(f'`{shown(path)}`' for path in row.narrows)}.", ""]
        lines += [f"Names the code: {', '.join(f'`{shown(path)}`' for path in row.code)}.", ""]
        lines += ["| claim | why it proves nothing alone |", "|---|---|"]
        lines += [f"| `{shown(path)}` | {why} |" for path, why in row.alone.items()]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("page", "write"), [("codes.md", codes), ("events.md", event_page), ("oidc-providers.md", provider_page)]
)
def test_reference_pages_are_as_the_code_says(page, write):
    path = ROOT / "docs" / "reference" / page
    if os.environ.get("REMIT_GOLDEN"):
        path.write_text(write())
    assert path.read_text() == write()


def test_every_provider_has_an_example_that_applies():
    """Each block of the how-to is two files; with a person to own the agent they are a catalogue."""
    blocks = re.findall(
        r"^```toml\n(.*?)^```", (ROOT / "docs" / "howto" / "oidc.md").read_text(), re.DOTALL | re.MULTILINE
    )
    found = set()
    for block in blocks:
        parts = re.split(r"^# (\S+\.toml)\n", block, flags=re.MULTILINE)[1:]
        files = dict(zip(parts[::2], parts[1::2], strict=True))
        catalogue = parse({**files, "remit.toml": "[people.olga]\n" + files.get("remit.toml", "")})
        (agent,) = catalogue.agents.values()
        rule = agent.attestations[0]
        found.add(catalogue.federations[rule.federation].provider if rule.federation else rule.method)
    assert len(blocks) == len(PROVIDERS) + 1 and found == set(PROVIDERS)


def test_every_reason_is_explained():
    assert set(REASONS) == set(Reason)


def test_links_between_pages_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#\s]+)\)", page.read_text()):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.relative_to(ROOT)} → {link}"


def test_what_docs_name_exists():
    text = (ROOT / "THREATS.md").read_text() + (ROOT / "docs" / "laws.md").read_text()
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"\b(test_[a-z0-9_]+)(…?)", text):
        stem = name[0]
        assert stem in sources or (ROOT / "tests").rglob(f"{stem}.py"), stem
        if name[1] == "" and not any(p.stem == stem for p in (ROOT / "tests").rglob("test_*.py")):
            assert f"def {stem}(" in sources, stem


def test_every_setting_of_every_kind_of_issuer_is_looked_up():
    page = (ROOT / "docs" / "reference" / "catalogue.md").read_text()
    rows = dict(re.findall(r"^\| \[?`(\w+)`\S* \| ([^|]*) \|", page, re.MULTILINE))
    for kind, (_, _, settings) in KINDS.items():
        told = re.sub(r"(\w+)_env or …_file", r"\1_env \1_file", rows[kind])
        assert set(re.findall(r"[a-z]+(?:_[a-z]+)*", told)) - {"or", "and", "none"} == set(settings), kind

"""A scan as one HTML page that needs nothing else: no script, no address of anybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from remit.domain.discovery import Rule, Scan, Severity, first_to_do

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #ddd}
td{overflow-wrap:anywhere}.critical,.high{color:#b00020}.medium{color:#8a5a00}
@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}th,td{border-color:#333}
.critical,.high{color:#ff8a80}.medium{color:#ffcc80}}
"""


def encode(found: Scan, rules: Mapping[str, Rule]) -> str:
    """The whole page; whatever was read is escaped."""
    first = "".join(
        f"<li>{escape(rules[rule].title)} ({len(flaws)}×). {escape(rules[rule].fix)}</li>"
        for rule, flaws in first_to_do(found.flaws)
    )
    things = _table(
        ("What", "Name", "Where", "About"),
        [(t.noun.value, t.name, str(t.place), ", ".join(f"{k} {v}" for k, v in t.facts.items())) for t in found.things],
    )
    parts = [f"<h2>{severity.word.capitalize()}</h2>{_flaws(found, severity)}" for severity in reversed(Severity)]
    shown = [part for severity, part in zip(reversed(Severity), parts, strict=True) if _has(found, severity)]
    without = "".join(f"<p>Not looked at: {escape(why)}</p>" for why in found.without)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>What is here</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body><main>'
        f"<h1>Score {found.score} of 100</h1><p>{found.files} files, {len(found.things)} things that act, "
        f"{len(found.flaws)} findings.</p>"
        + (f"<h2>First</h2><ol>{first}</ol>" if first else "<p>Nothing to do.</p>")
        + (f"<h2>What is here</h2>{things}" if found.things else "")
        + "".join(shown)
        + without
        + "</main></body></html>\n"
    )


def _has(found: Scan, severity: Severity) -> bool:
    return any(flaw.severity is severity for flaw in found.flaws)


def _flaws(found: Scan, severity: Severity) -> str:
    rows = [(str(f.place), f.what, f.rule) for f in found.flaws if f.severity is severity]
    return _table(("Where", "What", "Rule"), rows, severity.word)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    top = "".join(f"<th scope=col>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'

"""The how-to pages, taken apart: catalogue files, fenced blocks, commands."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

HOWTO = Path(__file__).parents[2] / "docs" / "howto"
PAGES = sorted(path.name for path in HOWTO.glob("*.md"))
_HEADER = re.compile(r"( *)# (remit\.toml|(?:agents|purposes|tools)/[a-z0-9.-]+\.toml)$")


def fenced(page: str, language: str) -> list[str]:
    """Every block of this language, without its indent."""
    text = (HOWTO / page).read_text()
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", text, re.DOTALL | re.MULTILINE)
    return [dedent(block) for _, block in found]


def catalogues(page: str) -> list[dict[str, str]]:
    """Every block that begins with a file's name: the files in it, as they are written."""
    found: list[dict[str, str]] = []
    files: dict[str, str] = {}
    name, indent = "", 0
    for line in [*(HOWTO / page).read_text().splitlines(), "end"]:
        header = _HEADER.match(line)
        if header and not (name and len(header[1]) != indent):
            if not name:
                found.append(files := {})
            name, indent = header[2], len(header[1])
            files[name] = ""
        elif line.strip().startswith("```") or (line.strip() and not line.startswith(" " * indent)):
            name = ""
        elif name:
            files[name] += line[indent:] + "\n"
    return found


def whole(files: dict[str, str]) -> dict[str, str]:
    """The same as a catalogue: people, an agent, and what every purpose has to say, where the page leaves it out."""
    made = {"remit.toml": "", "agents/bot.toml": 'owner = "olga"\n[[attestations]]\nmethod = "join_token"\n', **files}
    made["remit.toml"] = "[people.olga]\n" + made["remit.toml"]
    head = {"owner": '"olga"', "agents": '["bot"]', "max_duration": '"1h"', "max_calls": "9"}
    for path in [path for path in made if path.startswith("purposes/")]:
        text = made[path]
        top = "\n" + text.partition("\n[")[0]
        given = "".join(f"{key} = {value}\n" for key, value in head.items() if f"\n{key} =" not in top)
        holes = sorted(
            set(re.findall(r"\{([a-z_]+)\}", text)) - set(re.findall(r"^\[parameters\.(\w+)", text, re.MULTILINE))
        )
        made[path] = given + text + "".join(f"[parameters.{hole}]\n" for hole in holes)
    return made


def commands(page: str) -> list[str]:
    """Lines of code blocks, with what a trailing backslash goes on to."""
    text = re.sub(r"\\\n\s*", " ", (HOWTO / page).read_text())
    return [line.strip() for line in text.splitlines() if line.startswith(("    ", "remit "))]

"""Policy text taken apart before Cedar sees it: where each policy begins, and that none of them is nested without end.

Cedar's parser turns text into a tree by recursion: a few thousand brackets, or twenty thousand `&&`, and the whole
process is gone, with no error that anybody could catch. What is refused here never gets that far.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from remit.domain.errors import BadPolicy

DEEPEST = 64  # brackets in brackets
LONGEST = 400  # operators in one policy
CHAIN = 32  # a.b.c…; Cedar takes time by the square of it
_TOKEN = re.compile(r'//[^\n]*|"(?:\\.|[^"\\])*"|&&|\|\||\b(?:if|has|like|in|is)\b|[()\[\]{};.+*<>=!-]|\w+', re.DOTALL)
_OPERATORS = frozenset({"&&", "||", "if", "has", "like", "in", "is", ".", "[", *"+*<>=!-"})


@dataclass(frozen=True, slots=True)
class Statement:
    """One policy's text, and the line that it begins at."""

    line: int
    text: str

    def line_of(self, token: str) -> int:
        """Where this first stands in it; its own first line if it does not."""
        at = self.text.find(token) if token else -1
        return self.line + (self.text.count("\n", 0, at) if at > 0 else 0)


def statements(file: str, text: str) -> list[Statement]:
    """Every policy of a file, in order; `BadPolicy` for one that is nested too deeply or is too long."""
    return list(_statements(file, text))


def _statements(file: str, text: str) -> Iterator[Statement]:
    start, depth, operators, chain = 0, 0, 0, 0
    for found in _TOKEN.finditer(text):
        word = found.group()
        if word.startswith(("//", '"')):
            continue
        depth += (word in "([{") - (word in ")]}") if len(word) == 1 else 0
        operators += word in _OPERATORS
        chain = chain + 1 if word == "." else chain if word[0].isalnum() or word[0] == "_" else 0
        if depth > DEEPEST or operators > LONGEST or chain > CHAIN:
            line = text.count("\n", 0, found.start()) + 1
            raise BadPolicy(
                f"{file}:{line}: this policy is nested too deeply or is too long: at most {DEEPEST} brackets in "
                f"brackets, {LONGEST} operators, and {CHAIN} members of members.",
                next_step="Say it in several policies.",
            )
        if word == ";" and depth <= 0:
            yield _statement(text, start, found.end())
            start, depth, operators = found.end(), 0, 0
    if text[start:].strip():
        yield _statement(text, start, len(text))


def _statement(text: str, start: int, end: int) -> Statement:
    """Without the space and the comments before it."""
    begins = re.compile(r"(?:\s|//[^\n]*)*").match(text, start, end)
    start = begins.end() if begins else start
    return Statement(text.count("\n", 0, start) + 1, text[start:end])

"""Policy text that would take the whole process down is refused before Cedar sees it; errors say where they are."""

from __future__ import annotations

import subprocess
import sys

import pytest

from remit.domain.errors import BadPolicy
from remit.policy import compile_bundle, default_policy
from remit.policy.statements import DEEPEST, LONGEST, statements

BOMBS = {
    "brackets": "(" * 20_000 + "true" + ")" * 20_000,
    "sets": "[" * 20_000 + "1" + "]" * 20_000 + ".contains(1)",
    "records": "{a:" * 5_000 + "1" + "}" * 5_000 + " == 1",
    "and": "true && " * 20_000 + "true",
    "or": "true || " * 20_000 + "true",
    "sums": "1 + " * 20_000 + "1 == 1",
    "ifs": "if true then " * 20_000 + "true" + " else false" * 20_000,
    "members": "context" + ".a" * 20_000,
    "indexes": "context" + '["a"]' * 20_000,
    "methods": "[1]" + ".contains(1)" * 20_000,
    "has": "context has a" + ".a" * 3_000,
    "in brackets": '("" != ";" && ' * 5_000 + "true" + ")" * 5_000,
    "after a comment": '// "\n' + "(" * 20_000 + "true" + ")" * 20_000,
    "after a text": '"\\"//" != "" && ' + "(" * 20_000 + "true" + ")" * 20_000,
}
TRY = """
import sys
from remit.domain.errors import BadPolicy
from remit.policy import compile_bundle
bombs = eval(sys.stdin.read())
for name, text in bombs.items():
    policy = '@id("a") permit (principal, action, resource) when { ' + text + ' };'
    try:
        compile_bundle({"policies/default.cedar": policy}, {})
    except BadPolicy as bad:
        assert "nested too deeply" in bad.message, (name, bad.message)
        print(name)
"""


def test_no_text_takes_the_process_down():
    done = subprocess.run([sys.executable, "-c", TRY], input=repr(BOMBS), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.splitlines()) == (0, list(BOMBS)), done.stderr[-500:]


def policy(condition):
    return f'@id("a") permit (principal, action, resource) when {{ {condition} }};'


@pytest.mark.parametrize(
    "condition",
    [
        "(" * (DEEPEST - 4) + "true" + ")" * (DEEPEST - 4),
        "true && " * (LONGEST - 10) + "true",
        "[" + "1," * 5000 + "1].contains(1)",
        '"' + "(" * 500 + '" != "; // "',
        'resource has effect && context.trust == "a.b.c.d"',
    ],
)
def test_what_people_write_is_taken(condition):
    assert compile_bundle({"policies/default.cedar": policy(condition)}, {}).policies


def test_statements_are_taken_apart_as_cedar_does():
    text = '// one; two\n@id("a;b") permit (principal, action, resource);\n\n// next\n@id("c")\nforbid (principal, action, resource) when { "};" == ";" };\n// end\n'
    assert [(one.line, one.text[:8]) for one in statements("f", text) if one.text] == [(2, '@id("a;b'), (5, '@id("c")')]
    assert len([one for one in statements("f", default_policy()) if one.text]) == default_policy().count("@id(")


@pytest.mark.parametrize(
    ("second", "line", "said"),
    [
        ("forbid (principal, action, resource)\nwhen { contxt.approved };", 5, "contxt"),
        ("forbid (principal, action, resource)\nwhen {\n true true };", 6, "unexpected token"),
        ("forbid (principal, action, resource)\nwhen { context.nothing };", 4, "nothing"),
        ("forbid (principal, action, resource) when { " + "(" * 100 + "};", 4, "nested too deeply"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(second, line, said):
    text = f'// first\n@id("a") permit (principal, action, resource);\n\n@id("b") {second}\n'
    with pytest.raises(BadPolicy, match=rf"^policies/default\.cedar:{line}: .*{said}"):
        compile_bundle({"policies/default.cedar": text}, {})


def test_a_policy_without_a_name_is_pointed_at():
    with pytest.raises(BadPolicy, match=r"^policies/default\.cedar:2: this policy needs an @id"):
        compile_bundle({"policies/default.cedar": "\nforbid (principal, action, resource);"}, {})

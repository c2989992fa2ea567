"""Private data, content that others can write, and a way out: together, over however many hands, and what breaks it."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from remit.domain.trifecta import Leg, smallest, trifectas
from remit.formats.catalogue import parse

TOOLS = {
    "private": 'output_trust = "trusted"\noutput_sensitivity = "confidential"\n',
    "strangers": 'output_trust = "untrusted"\n',
    "out": 'output_trust = "trusted"\negress = true\n',
    "private2": 'output_trust = "trusted"\noutput_sensitivity = "confidential"\n',
    "plain": 'output_trust = "trusted"\n',
    "fields": 'output_trust = "trusted"\noutput_fields = { subject = "untrusted" }\n',
    "secret": 'output_trust = "trusted"\noutput_sensitivity = "restricted"\nsensitivity = "restricted"\n',
}


def purpose(*tools: str, to: str = "", credential: str = "", depth: int = 3) -> str:
    lines = ['owner = "olga"', 'agents = ["bot"]', 'max_duration = "15m"', "max_calls = 5"]
    lines += ['max_sensitivity = "confidential"', f"max_depth = {depth}" if to else ""]
    for tool in tools:
        lines += ["[[grants]]", f'tool = "{tool}"', 'resource = "x/*"']
    if credential:
        lines += ["[[credentials]]", 'name = "db"', 'issuer = "box"', 'ttl = "5m"', f'sensitivity = "{credential}"']
        lines += ['grants = { secret = "s" }']
    if to:
        lines += ["[[delegations]]", 'agents = ["bot"]', f"purposes = [{to}]"]
    return "\n".join(lines)


def catalogue(**purposes: str):
    files = {"remit.toml": '[people.olga]\n[issuers.box]\nkind = "static"\n'}
    files["agents/bot.toml"] = 'owner = "olga"\n[[attestations]]\nmethod = "join_token"\n'
    files |= {f"purposes/{name}.toml": text for name, text in purposes.items()}
    for name, text in TOOLS.items():
        files[f"tools/{name}.toml"] = f'effect = "read"\nresource = "x/{{a}}"\n{text}[arguments.a]\ntype = "text"\n'
    return parse(files)


def found(**purposes: str) -> dict[str, tuple[str, ...]]:
    return {one.purpose: one.breaks for one in trifectas(catalogue(**purposes))}


def test_any_two_are_harmless_and_three_are_not() -> None:
    for two in itertools.combinations(("private", "strangers", "out"), 2):
        assert found(p=purpose(*two, "plain")) == {}, two
    assert found(p=purpose("private", "strangers", "out")) == {"p": ("p: out",)}
    assert found(p=purpose("private", "fields", "out")) == {"p": ("p: out",)}
    assert found(p=purpose("secret", "strangers", "out")) == {}, "a call of what is above the purpose is denied"
    assert found(p=purpose("strangers", "out", credential="confidential")) == {"p": ("p: out",)}
    assert found(p=purpose("strangers", "out", credential="internal")) == {}


def test_they_come_together_over_hands() -> None:
    split = {"a": purpose("private", to='"b"'), "b": purpose("strangers", to='"c"'), "c": purpose("out")}
    assert found(**split) == {"a": ("c: out",)}
    near = {**split, "a": purpose("private", to='"b"', depth=1)}
    assert found(**near) == {}, "c is two hands away, and a allows one"
    assert found(a=purpose("private"), b=purpose("strangers"), c=purpose("out")) == {}
    looped = {"a": purpose("private", "strangers", to='"b"'), "b": purpose("out", to='"a"')}
    assert set(found(**looped)) == {"a", "b"}


def test_the_fewest_are_named_be_they_tools_or_hand_offs() -> None:
    both = purpose("out", "strangers")
    many = {"a": purpose("private", "fields", to='"b"'), "b": both, "c": purpose("private", to='"b", "d"'), "d": both}
    shown = found(**many)
    assert shown["a"] == ("b: out",)
    assert shown["c"] == ("c: private",)
    assert found(
        a=purpose("private", "private2", credential="confidential", to='"b"'),
        b=purpose("out", "strangers", to='"c"'),
        c=purpose("out", "strangers"),
    ) == {"a": ("a: hand-off to b",)}


@given(st.dictionaries(st.sampled_from(Leg), st.sets(st.sampled_from("abcde"))))
def test_without_the_smallest_there_are_not_all_three_and_nothing_smaller_does(legs) -> None:
    breaks = smallest(legs)
    whole = all(legs.get(leg) for leg in Leg)
    assert bool(breaks) is whole
    if whole:
        assert any(not legs[leg] - set(breaks) for leg in Leg)
        for fewer in itertools.combinations("abcde", len(breaks) - 1):
            assert all(legs[leg] - set(fewer) for leg in Leg)

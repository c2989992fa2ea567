"""Digests of what a task has read, and the origin of what it wants to say: look-ups, and no data kept.

A number that nobody wrote may still be reckoned from one that was read and one that the initiator stated (`DERIVED`);
it is then as good as the one that was read. A path may be joined of parts; it is then as good as the worst of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b

from remit.domain.flow import Json, Trust
from remit.domain.origin import BY_INITIATOR, DIGEST, Observation, Origin, Provenance, Traced, worst
from remit.domain.tool import Tool

from . import content, values
from .values import Value

KEPT = 20_000
STATED_NUMBERS = 6
_TEXT = 64 * 1024
Digest = Callable[[Value], bytes]


def digester(key: bytes) -> Digest:
    """Digests under one task's key (32 bytes)."""
    keyed = blake2b(key=key, digest_size=DIGEST)

    def digest(value: Value) -> bytes:
        one = keyed.copy()
        one.update(f"{value.kind}\0{value.text}".encode("utf-8", "surrogatepass"))
        return one.digest()

    return digest


def observed(found: Json, tool: Tool, digest: Digest) -> tuple[bytes, bytes, bool]:
    """Digests of the values in a result: (trusted, untrusted, whether that is all of it)."""
    by_trust: dict[Trust, set[Value]] = {Trust.TRUSTED: set(), Trust.UNTRUSTED: set()}
    left, whole = _TEXT, True
    try:
        for name, value, trust in content.fields(found, tool.output_format, tool.output_trust, tool.output_fields):
            if isinstance(value, str):
                whole = whole and len(value) <= left
                value = value[:left]
                left -= len(value)
            by_trust[trust].update(values.of_value(value, name))
            if sum(map(len, by_trust.values())) > KEPT:
                whole = False
                break
    except content.TooMuch:
        whole = False
    trusted = {digest(value) for value in by_trust[Trust.TRUSTED]}
    untrusted = {digest(_loose(value)) for value in by_trust[Trust.UNTRUSTED]}
    return b"".join(sorted(trusted)), b"".join(sorted(untrusted)), whole


@dataclass(frozen=True)
class Stated:
    """What the initiator said: every value in it, by both spellings, and the numbers to reckon with."""

    exact: frozenset[Value]
    loose: frozenset[Value]
    numbers: tuple[Decimal, ...]


@lru_cache(maxsize=4096)
def stated(goal: str, parameters: tuple[str, ...]) -> Stated:
    """Read a goal and the values of the parameters."""
    found = {value for text in (goal, *parameters) for value in values.of_value(text)}
    found |= set(values.of_text(goal))
    numbers = sorted({Decimal(v.text) for v in found if v.kind == "number" and v.text != "nan"})[:STATED_NUMBERS]
    return Stated(frozenset(found), frozenset(map(_loose, found)), tuple(n for n in numbers if n))


@dataclass(frozen=True)
class _Read:
    """One observation, ready for look-ups."""

    tool: str
    trust: Trust
    trusted: frozenset[bytes]
    untrusted: frozenset[bytes]
    whole: bool


@lru_cache(maxsize=4096)
def _read(row: Observation) -> _Read:
    return _Read(row.tool, row.trust, _chunks(row.trusted), _chunks(row.untrusted), row.whole)


def _chunks(data: bytes) -> frozenset[bytes]:
    return frozenset(data[i : i + DIGEST] for i in range(0, len(data), DIGEST))


def trace(
    decisive: Sequence[str], arguments: Mapping[str, Json], said: Stated, rows: Sequence[Observation], digest: Digest
) -> Provenance:
    """Where the values of a call came from: each of the `decisive` arguments, and what the texts of the others
    carry."""
    memory = _Memory(said, [_read(row) for row in rows], digest)
    judged = {
        name: found
        for name in decisive
        if name in arguments and (found := worst(memory.of(arguments[name], name))) is not None
    }
    rest = (leaf for name in arguments.keys() - set(decisive) for leaf, _ in values.leaves(arguments[name], name))
    texts = (leaf[:_TEXT] for leaf in rest if isinstance(leaf, str))
    carried = [memory.find((value,)) for text in texts for value in dict.fromkeys(values.carried(text))]
    return Provenance(judged, worst(carried))


class _Memory:
    def __init__(self, said: Stated, reads: Sequence[_Read], digest: Digest) -> None:
        self._said = said
        self._reads = reads
        self._digest = digest

    def of(self, argument: Json, name: str) -> Iterator[Traced]:
        """The origin of every value in an argument."""
        for leaf, key in values.leaves(argument, name):
            found = worst(map(self.find, values.needles(leaf, key)))
            if found is not None and found.origin is Origin.INVENTED and isinstance(leaf, str):
                # As it looks it may be another kind of value, such as an address with an invisible letter in it.
                found = worst(filter(None, map(self._resembles, values.needles(values.loose(leaf), key)))) or found
            if found is not None:
                yield found

    def find(self, needle: tuple[Value, ...]) -> Traced:
        """Stated; or read, and one untrusted place is enough; or made of what was; or invented."""
        if self._said.exact.issuperset(needle):
            return Traced(Origin.STATED, (BY_INITIATOR,))
        found = self._read_in(needle) or self._resembles(tuple(map(_loose, needle)))
        if found is None and len(needle) == 1:
            found = self._reckoned(needle[0]) or self._joined(needle[0])
        if found is not None:
            return found
        unknown = {read.tool for read in self._reads if not read.whole and read.trust is Trust.UNTRUSTED}
        return Traced(Origin.UNTRUSTED, tuple(sorted(unknown))) if unknown else Traced(Origin.INVENTED)

    def _read_in(self, needle: tuple[Value, ...]) -> Traced | None:
        tainted = self._tainted(tuple(map(_loose, needle)))
        if tainted:
            return Traced(Origin.UNTRUSTED, tainted)
        strict = [self._digest(value) for value in needle]
        known = {read.tool for read in self._reads if read.trusted.issuperset(strict)}
        return Traced(Origin.TRUSTED, tuple(sorted(known))) if known else None

    def _resembles(self, seems: tuple[Value, ...]) -> Traced | None:
        """What looks like a value that was stated, and is not it; or like one that anybody could have written."""
        tainted = self._tainted(seems)
        return Traced(Origin.UNTRUSTED, tainted) if tainted or self._said.loose.issuperset(seems) else None

    def _tainted(self, seems: tuple[Value, ...]) -> tuple[str, ...]:
        wide = [self._digest(value) for value in seems]
        return tuple(sorted({read.tool for read in self._reads if read.untrusted.issuperset(wide)}))

    def _reckoned(self, value: Value) -> Traced | None:
        if value.kind != "number" or value.text == "nan":
            return None
        for other in _other_operands(Decimal(value.text), self._said.numbers):
            found = Value("number", values.number(format(other, "f")))
            traced = self._read_in((found,))
            if traced is not None:
                return traced
        return None

    def _joined(self, value: Value) -> Traced | None:
        parts = value.text.split("/") if value.kind == "file" and "/" in value.text else []
        if not parts or ".." in parts:
            return None
        return worst(self.find(needle) for part in parts if part for needle in values.needles(part))


def _other_operands(result: Decimal, said: Iterable[Decimal]) -> Iterator[Decimal]:
    """Numbers from which a stated one gives `result`: plus, minus, shared by, times, so many per cent, and a fee."""
    numbers = list(said)
    for one in numbers:
        yield from _whole(((result - one, 1), (result + one, 1), (one - result, 1), (result, one), (result * one, 1)))
        yield from _whole(_per_cent(result, one))
    for fee in numbers:
        for share in numbers:
            if share != fee:
                yield from _whole((*_per_cent(result - fee, share), *_per_cent(result + fee, share)))


def _per_cent(result: Decimal, n: Decimal) -> tuple[tuple[Decimal, Decimal | int], ...]:
    share = n / 100
    return (result, share), (result, 1 + share), (result, 1 - share)


def _whole(quotients: Iterable[tuple[Decimal, Decimal | int]]) -> Iterator[Decimal]:
    """Positive ones that come out even."""
    for top, bottom in quotients:
        if top * bottom > 0 and (found := top / bottom) == round(found, 6):
            yield found


def _loose(value: Value) -> Value:
    return value if value.text.isascii() else Value(value.kind, values.loose(value.text))

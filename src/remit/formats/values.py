"""Atomic values in what people state, what tools return and what calls carry: found by their type, compared by
spelling.

A value has an `exact` spelling, by which it counts as stated or as read from a trusted source, and a `loose` one, by
which it counts as read from anybody. Case, width and spacing never matter. Accents, invisible characters and letters
that look alike matter to the first and not to the second: what merely looks like a stated address is not it. The table
of look-alikes need not be complete, since what matches nowhere is invented, and that is no better.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from remit.domain.flow import Json

TEXT_LIMIT = 1024 * 1024


class Value(NamedTuple):
    """`kind` is one of address, url, host, account, id, number, date, time, file, word, pair."""

    kind: str
    text: str


_ADDRESS = re.compile(r"\w[\w.+%&=~-]{0,63}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_URL = re.compile(r"(?:https?|ftp|wss?)://[^\s<>\"'`]{1,2048}", re.IGNORECASE)
_HOST = re.compile(r"(?<![\w@.-])(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w@-])(?:/[^\s<>\"'`]{0,1024})?")
_ACCOUNT = re.compile(
    r"(?<!\w)(?:[A-Za-z]{2}\d{2}[A-Za-z0-9]{8,32}"
    r"|[A-Z]{2}\d{2}[ -][A-Z0-9]{4}(?:[ -](?=[A-Z]{0,3}\d)[A-Z0-9]{4}){1,7}"
    r"(?:[ -](?=[A-Z]{0,2}\d)[A-Z0-9]{1,3})?)(?!\w)"
)
_DIGITS = re.compile(r"(?<![\w.,-])(?:\d{8,30}|\d{3,6}(?:[ -]\d{2,6}){2,6})(?![\w])")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_ISO_DATE = re.compile(r"(?<!\d)(\d{4})-(\d{2})-(\d{2})(?!\d)")
_DAY_MONTH = re.compile(rf"(?<!\w)(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? {_MONTH}(?:,? (\d{{4}}))?(?!\w)", re.IGNORECASE)
_MONTH_DAY = re.compile(rf"(?<!\w){_MONTH} (\d{{1,2}})(?:st|nd|rd|th)?(?:,? (\d{{4}}))?(?!\w)", re.IGNORECASE)
_TIME = re.compile(
    r"(?<![\d:.])([01]?\d|2[0-3])(?::([0-5]\d))(?::[0-5]\d)?(?:\s?([ap])\.?m\.?)?(?![\d:])", re.IGNORECASE
)
_HOUR = re.compile(r"(?<![\d:.])(1[0-2]|0?[1-9])\s?([ap])\.?m\b", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.,])[-+]?(?:\d{1,3}(?:,\d{3})+|\d{1,18})(?:\.\d{1,12})?(?![\w])")
_COMMA = re.compile(r"(?<![\w.,])\d{1,15},\d{1,2}(?![\w,.])")
_TOKEN = re.compile(r"(?<![\w-])(?=[\w-]*\d)(?=[\w-]*[^\W\d_])\w[\w-]{2,63}(?![\w-])")
_NAMED = re.compile(
    r"(?:\b(?:id|ids|no|nr|number|ref|reference|code|order|invoice|ticket|file|event|transaction|case|item)\b\.?|#)"
    r"[^\w\n]{0,4}(?:(?:id|number|no|nr)\b[^\w\n]{0,4})?(\d{1,20})(?!\w)",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"(?<!\w)(?:'([^'\s]{1,64})'|\"([^\"\s]{1,64})\"|`([^`\s]{1,64})`|“([^”\s]{1,64})”)(?!\w)")
_FILE = re.compile(r"(?<![\w@:/.])(?:/?(?:[\w.~-]{1,255}/){1,32})?[\w-][\w.-]{0,200}\.[^\W\d_]\w{0,9}(?![\w@])")
_DIGIT = re.compile(r"\d")
_MORE = re.compile(r"[\d@.]|://")
_AROUND = ".,;:!?()[]{}\"'*-_>"
_BESIDE = 2
_WORD = re.compile(r"\w+(?:['’]\w+)*")
_LIKE = str.maketrans(
    "аеорсухіјѕһԁԛԝкмтнвгпαορνικτυχεηβγ’‘“”‐‑‒–—−",
    "aeopcyxijshdqwkmthbrnaopviktuxenby''\"\"------",
)


def exact(text: str) -> str:
    """NFKC, case folded, every run of white space one space."""
    return " ".join(_composed(text).casefold().split())


def loose(text: str) -> str:
    """What it looks like: without accents and invisible characters, look-alike letters as Latin ones."""
    if text.isascii():
        return exact(text)
    bare = unicodedata.normalize("NFKD", exact(text))
    return " ".join("".join(c for c in bare if unicodedata.category(c) not in ("Mn", "Cf")).translate(_LIKE).split())


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def of_value(value: Json, name: str = "") -> Iterator[Value]:
    """A whole scalar: the value of a field or of an argument called `name`; of a text also what is in it."""
    if isinstance(value, bool) or value is None or not isinstance(value, str | int | float):
        return
    if not isinstance(value, str):
        yield Value("number", number(value))
        if isinstance(value, int) and names_an_id(name):
            yield Value("id", str(value))
        return
    text = exact(value)
    if len(text) <= 256 and " " not in text and text:
        yield Value("id", text)
    yield from of_text(value)


def of_text(text: str) -> Iterator[Value]:
    """Everything that is a value in a text. What is part of a moment, an address or a link is no number as well."""
    text = _composed(text[:TEXT_LIMIT])
    before = ""
    for word in _WORD.findall(text.casefold()):
        yield Value("word", word)
        if before:
            yield Value("pair", f"{before} {word}")
        before = word
    if _MORE.search(text):
        text = _beside_more_than_words(text)
        yield from _places(text)
        if _DIGIT.search(text):
            yield from _with_digits(text)


def _places(text: str) -> Iterator[Value]:
    if "@" in text:
        for found in _ADDRESS.finditer(text):
            yield Value("address", exact(found[0]))
    if "://" in text:
        for found in _URL.finditer(text):
            yield from _located(found[0])
    if "." in text:
        for found in _HOST.finditer(text):
            yield from _located(found[0])
        for found in _FILE.finditer(text):
            yield Value("file", exact(found[0]))


def _with_digits(text: str) -> Iterator[Value]:
    if "@" in text or "://" in text:
        text = _URL.sub(" ", _ADDRESS.sub(" ", text))
    moments, rest = _moments(text)
    yield from moments
    for pattern in (_ACCOUNT, _DIGITS):
        for found in pattern.finditer(rest):
            yield Value("account", _closed(found[0]))
    for pattern in (_TOKEN, _NAMED, _QUOTED):
        for found in pattern.finditer(rest):
            yield Value("id", exact(next((g for g in found.groups() if g), found[0])))
    for found in _NUMBER.finditer(rest):
        yield Value("number", number(found[0]))
    for found in _COMMA.finditer(rest):
        yield Value("number", number(found[0].replace(",", ".")))


def _beside_more_than_words(text: str) -> str:
    """What is not plain words, with two words on either side: no pattern spans more, and prose is mostly plain
    words."""
    chunks = text.split()
    kept: list[str] = []
    end = 0
    for i, chunk in enumerate(chunks):
        if not chunk.strip(_AROUND).isalpha():
            start = i - _BESIDE if i - _BESIDE > end else end
            if start > end:
                kept.append("\n")
            kept += chunks[start : i + 1 + _BESIDE]
            end = max(end, i + 1 + _BESIDE)
    return " ".join(kept)


def leaves(value: Json, name: str = "") -> Iterator[tuple[str | int | float | bool | None, str]]:
    """Every scalar in a value, with the name of the nearest field."""
    if isinstance(value, list | tuple):
        for each in value:
            yield from leaves(each, name)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from leaves(each, key)
    else:
        yield value, name


def needles(value: Json, name: str = "") -> Iterator[tuple[Value, ...]]:
    """What must be found for an argument's value to be known: each tuple whole, in one place."""
    for leaf, key in leaves(value, name):
        if isinstance(leaf, str):
            yield from (_of_short if len(leaf) < 256 else _of_string)(leaf, key)
        elif isinstance(leaf, int | float) and not isinstance(leaf, bool):
            named = isinstance(leaf, int) and names_an_id(key)
            yield (Value("id", str(leaf)),) if named else (Value("number", number(leaf)),)


@lru_cache(maxsize=8192)
def _of_short(value: str, name: str) -> tuple[tuple[Value, ...], ...]:
    return tuple(_of_string(value, name))


def _of_string(value: str, name: str) -> Iterator[tuple[Value, ...]]:
    text = _composed(value).strip()
    moments, rest = _moments(text) if _DIGIT.search(text) else ([], text)
    if moments and not rest.strip(" tTzZ,"):
        yield from ((moment,) for moment in moments)
    elif _ADDRESS.fullmatch(text):
        yield (Value("address", exact(text)),)
    elif _URL.fullmatch(text):
        yield (next(_located(text)),)
    elif _ACCOUNT.fullmatch(text) or _DIGITS.fullmatch(text):
        yield (Value("account", _closed(text)),)
    elif _NUMBER.fullmatch(text):
        yield (Value("id", exact(text)),) if names_an_id(name) else (Value("number", number(text)),)
    elif _FILE.fullmatch(text) and " " not in text:
        yield (Value("file", exact(text)),)
    elif text and len(text.split()) == 1 and (not text.isalpha() or len(text) > 128):
        yield (Value("id", exact(text)),)
    elif text:
        words = [exact(found[0]) for found in _WORD.finditer(text)]
        pairs = [Value("pair", f"{a} {b}") for a, b in pairwise(words)]
        yield (*(Value("word", word) for word in words), *pairs) or (Value("id", exact(text)),)


def carried(text: str) -> Iterator[Value]:
    """What a free text carries that somebody can act on: addresses, links, accounts, and codes of six or more."""
    for value in of_text(text):
        strong = value.kind in ("address", "url", "host", "account")
        if strong or (value.kind in ("id", "number") and sum(c.isdigit() for c in value.text) >= 6):
            yield value


def names_an_id(name: str) -> bool:
    """Whether an argument or field of this name holds an identifier, not an amount."""
    parts = re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower())
    return bool({"id", "ids", "uuid", "number", "no", "nr", "ref", "key", "account"} & set(parts))


def number(value: float | str) -> str:
    """The one spelling of a number: no exponent, no trailing zeros, no thousands."""
    found = Decimal(str(value).replace(",", "").lstrip("+"))
    return format(found.normalize(), "f") if found.is_finite() else "nan"


def _closed(text: str) -> str:
    return re.sub(r"[ -]", "", exact(text))


def _located(text: str) -> Iterator[Value]:
    """A link without its scheme, and its host."""
    text = exact(text).partition("://")[2] or exact(text)
    text = text.rstrip(".,;:!?)]}'\"").rstrip("/")
    yield Value("url", text)
    yield Value("host", re.split(r"[/?#]", text, maxsplit=1)[0].rpartition("@")[2].partition(":")[0])


def _moments(text: str) -> tuple[list[Value], str]:
    """Dates (without a year: `--MM-DD`) and times, and the text without them."""
    found: list[Value] = []

    def date(year: str | None, month: int, day: str) -> str:
        found.append(Value("date", f"{year or '-'}-{month:02d}-{int(day):02d}"))
        return " "

    def time(hour: str, minute: str | None, half: str | None) -> str:
        hours = int(hour) % 12 + (12 if half.lower() == "p" else 0) if half else int(hour)
        found.append(Value("time", f"{hours:02d}:{minute or '00'}"))
        return " "

    text = _ISO_DATE.sub(lambda m: date(m[1], int(m[2]), m[3]), text)
    text = _DAY_MONTH.sub(lambda m: date(m[3], _MONTHS.index(m[2].lower()) + 1, m[1]), text)
    text = _MONTH_DAY.sub(lambda m: date(m[3], _MONTHS.index(m[1].lower()) + 1, m[2]), text)
    text = _TIME.sub(lambda m: time(m[1], m[2], m[3]), text)
    text = _HOUR.sub(lambda m: time(m[1], None, m[2]), text)
    return found, text

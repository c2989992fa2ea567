"""Laws of the text that becomes SQL."""

from __future__ import annotations

import contextlib

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.domain.errors import BadField
from remit.issuers.postgres_grants import PRIVILEGES, Grants, literal, parse, quoted

texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=60)
names = texts.filter(lambda text: 0 < len(text.encode()) <= 63)
plain = st.from_regex(r"[a-o][a-z_]{0,20}", fullmatch=True)
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from([*PRIVILEGES, "a.b", "c.d"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["tables", "rows", "name", "privileges", "columns", "a.b", "x"]), inner)
    ),
    max_leaves=20,
)


@pytest.fixture(scope="module")
def db(postgres):
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        yield connection


@given(name=names, text=texts)
@settings(max_examples=150)
def test_a_name_stays_a_name_and_a_text_a_text(db, name, text):
    statement = f"SELECT {literal(text)} AS {quoted(name)}"
    cursor = db.execute(statement)
    assert cursor.fetchone() == (text,)
    assert cursor.description[0].name == name


@given(st.dictionaries(st.sampled_from(["tables", "rows", "sequences", "other"]), json))
def test_whatever_is_written_is_grants_or_a_bad_field(written):
    with contextlib.suppress(BadField):
        assert isinstance(parse(written), Grants)


@given(st.dictionaries(st.tuples(plain, plain), st.sets(st.sampled_from(PRIVILEGES), min_size=1), min_size=1), plain)
def test_each_table_is_granted_what_it_says_and_nothing_else_is(tables, role):
    written = [{"name": ".".join(name), "privileges": sorted(p)} for name, p in tables.items()]
    statements = parse({"tables": written}).statements(role, "db")
    assert sorted(s for s in statements if " ON TABLE " in s) == sorted(
        f'GRANT {", ".join(x.upper() for x in PRIVILEGES if x in p)} ON TABLE "{schema}"."{name}" TO "{role}"'
        for (schema, name), p in tables.items()
    )
    assert len(statements) == 1 + len({schema for schema, _ in tables}) + len(tables)


@given(st.dictionaries(plain, st.text(st.characters(codec="ascii", exclude_characters="\x00"), max_size=9), min_size=1))
@settings(max_examples=50)
def test_a_table_with_rows_is_never_granted_itself(rows):
    table = {"name": "s.t", "privileges": ["select", "insert"]}
    written = {"tables": [table], "rows": {"s.t": dict(list(rows.items())[:16])}}
    statements = parse(written).statements("remit_x", "db")
    assert not [s for s in statements if s.startswith("GRANT") and '"s"' in s]
    (view,) = [s for s in statements if s.startswith("CREATE VIEW")]
    assert "security_barrier = true" in view and view.endswith("WITH CASCADED CHECK OPTION")

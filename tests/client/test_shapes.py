"""Every shape is what its program reads: tables, hostile values, MariaDB's reader, psql."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit_client.shapes import KINDS, SHAPES, Issued, Private, ShapeError, Wanted, default_shape
from tests.client.parts import NASTY, PARTS, issued, ran, shape


@pytest.mark.parametrize(
    ("kind", "variables"),
    [
        ("postgres", {"PGHOST": "h", "PGPORT": "5432", "PGUSER": "u", "PGPASSWORD": "p", "PGDATABASE": "d"}),
        (
            "mysql",
            {"MYSQL_HOST": "h", "MYSQL_TCP_PORT": "3306", "MYSQL_USER": "u", "MYSQL_PWD": "p", "MYSQL_DATABASE": "d"},
        ),
        (
            "redis",
            {
                "REDIS_URL": "redis://u:p%40%2F%3A@h:6379",
                "REDIS_HOST": "h",
                "REDIS_PORT": "6379",
                "REDIS_USERNAME": "u",
                "REDIS_PASSWORD": "p@/:",
                "REDISCLI_AUTH": "p@/:",
            },
        ),
        ("nats", {"NATS_URL": "tls://h", "NATS_INBOX_PREFIX": "_INBOX_x", "THING_CREDS": "JWT and seed\n"}),
        (
            "aws",
            {
                "AWS_ACCESS_KEY_ID": "AKIA",
                "AWS_SECRET_ACCESS_KEY": "s/+",
                "AWS_SESSION_TOKEN": "t",
                "AWS_CREDENTIAL_EXPIRATION": "x",
            },
        ),
        ("github", {"GITHUB_TOKEN": "ghs", "GH_TOKEN": "ghs", "THING_EXPIRATION": "x"}),
        ("jwt", {"THING_ACCESS_TOKEN": "a", "THING_TOKEN_TYPE": "DPoP"}),
        ("static", {"THING_VALUE": "v"}),
        ("unheard-of", {"THING_SOME_THING": "v"}),
    ],
)
def test_variables_are_the_ones_programs_read(kind, variables):
    assert shape("thing=env", issued(kind)).variables == variables


def test_where_a_secret_could_go_astray_is_not_inherited():
    assert {"PGHOSTADDR", "PGSERVICE", "PGPASSFILE"} <= set(shape("thing=env", issued("postgres")).clears)
    assert {"AWS_PROFILE", "AWS_ACCESS_KEY_ID"} <= set(shape("thing=aws", issued("aws")).clears)
    assert all(default_shape(kind) in SHAPES for kind in [*KINDS, "unheard-of"])


def test_every_kind_has_files_and_a_usual_shape():
    for kind in PARTS:
        found = shape("thing=file", issued(kind))
        assert sorted(found.files.values()) == sorted(PARTS[kind].values())
        assert all(Path(path).name in found.files for path in found.variables.values())
        shape("thing", issued(kind))
    assert shape("thing=file", issued("static")).variables == {"THING_FILE": "/run/x/thing.value"}
    assert set(shape("thing", issued("ssh")).files) == {"thing.id_remit", "thing.id_remit-cert.pub"}
    assert set(shape("thing", issued("x509")).variables) == {
        "THING_CERTIFICATE_FILE",
        "THING_PRIVATE_KEY_FILE",
        "THING_CA_FILE",
    }


def test_a_nats_credentials_file_is_where_nats_looks_for_it():
    found = shape("thing", issued("nats"))
    assert found.files == {"thing.creds": "JWT and seed\n"}
    there = {"NATS_CREDS": "/run/x/thing.creds", "NATS_URL": "tls://h", "NATS_INBOX_PREFIX": "_INBOX_x"}
    assert found.variables == there
    assert {"NATS_NKEY", "NATS_CONTEXT", "NATS_USER", "NATS_TOKEN"} <= set(found.clears)  # they would win
    assert set(shape("thing", Issued("thing", "nats", {"creds": "c"}, 0)).variables) == {"NATS_CREDS"}
    with pytest.raises(ShapeError, match="has no creds"):
        shape("thing=creds", issued("static"))


def test_another_name_for_a_variable():
    assert shape("thing=env:STRIPE_KEY", issued("static")).variables == {"STRIPE_KEY": "v"}
    assert shape("thing=file:KEY_PATH", issued("static")).variables == {"KEY_PATH": "/run/x/thing.value"}
    assert shape("thing=env:LEDGER", issued("postgres")).variables["LEDGER_PASSWORD"] == "p"


@pytest.mark.parametrize(
    "name",
    ["LD_PRELOAD", "PATH", "IFS", "PYTHONSTARTUP", "GIT_SSH_COMMAND", "BASH_ENV", "a b", "1A", "A=B", "REMIT_KEY"],
)
def test_no_variable_that_runs_code(name):
    with pytest.raises(ShapeError):
        Wanted.parse(f"thing=env:{name}")
    with pytest.raises(ShapeError, match="cannot be the variable"):
        shape("ld=env", issued("unheard-of", "ld", preload="x.so"))


def test_what_a_format_cannot_carry_is_refused_and_never_said():
    canary = "canary\nhost=evil"
    for text, kind, part in (
        ("thing=pgservice", "postgres", "password"),
        ("thing=pgservice", "postgres", "host"),
        ("thing=pgservice", "postgres", "user"),
        ("thing=mycnf", "mysql", "password"),
        ("thing=mycnf", "mysql", "database"),
    ):
        with pytest.raises(ShapeError) as refused:
            shape(text, issued(kind, **{part: canary}))
        assert "canary" not in str(refused.value)
    with pytest.raises(ShapeError, match="NUL"):
        shape("thing", issued("static", value="a\0b"))
    with pytest.raises(ShapeError, match="has no host"):
        shape("thing=pgservice", issued("static"))
    for kind, text in (("kubernetes", "thing"), ("static", "thing=k8s")):
        with pytest.raises(ShapeError):
            shape(text, issued(kind, server="http://k8s.example"))
    with pytest.raises(ShapeError, match="two of its parts"):
        shape("thing=env", issued("", **{"a.b": "1", "a-b": "2"}))
    with pytest.raises(ShapeError, match="two of its parts"):
        shape("thing=file", issued("", **{"a.b": "1", "a_b": "2"}))
    assert "canary" not in repr(issued("static", value="canary")) + repr(
        shape("thing", issued("static", value="canary"))
    )


@given(st.text(alphabet=st.characters(exclude_characters="\0\n\r", exclude_categories=["Cs"]), min_size=1))
def test_a_passfile_holds_exactly_the_password(password):
    line = shape("thing=pgservice", issued("postgres", password=password)).files["thing.pgpass"]
    fields, now, escaped = [], "", False
    for char in line[:-1]:  # libpq's passwordFromFile
        if escaped or char not in "\\:":
            now, escaped = now + char, False
        elif char == "\\":
            escaped = True
        else:
            fields, now = [*fields, now], ""
    assert [*fields, now] == ["h", "5432", "d", "u", password]


def test_the_directory_is_private_and_goes(tmp_path, monkeypatch):
    tmp_path.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    private = Private()
    assert private.path.parent == tmp_path and stat.S_IMODE(private.path.stat().st_mode) == 0o700
    path = private.write("a.b", "x\r\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and path.read_bytes() == b"x\r\n"
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    path.unlink()
    path.symlink_to(outside)
    private.write("a.b", "y")  # a link laid there is replaced, not followed
    assert outside.read_text() == "untouched" and path.read_text() == "y" and not path.is_symlink()
    for name in ("", ".", "..", "a/b", "../x"):
        with pytest.raises(ValueError, match="file's name"):
            private.write(name, "x")
    (private.path / "folder").mkdir()
    (private.path / "folder" / "link").symlink_to(outside)
    private.remove()
    private.remove()
    assert not private.path.exists() and outside.exists()
    tmp_path.chmod(0o755)  # others could look in: not a place for this
    private = Private()
    assert private.path.parent != tmp_path
    private.remove()


def test_a_host_the_server_states_cannot_be_changed():
    found = issued("", value="t", host="forge.example")
    assert shape("thing=git", found).at == "https://forge.example"
    with pytest.raises(ShapeError, match="is not for"):
        shape("thing=git:evil.example", found)
    with pytest.raises(ShapeError, match="say which host"):
        shape("thing=git", issued("static"))
    with pytest.raises(ShapeError, match="say which registry"):
        shape("thing=docker", issued("static"))
    for at in ("a b", "reg/x", "https://reg", ""):
        with pytest.raises(ShapeError):
            Wanted.parse(f"thing=docker:{at}")


@pytest.mark.skipif(not shutil.which("my_print_defaults"), reason="MariaDB's client is not here")
@pytest.mark.parametrize("password", [NASTY, "a'b", 'a"b', "\\", "\\n#;", " x ", "[mysql]"])
def test_mysqls_own_reader_reads_the_option_file(tmp_path, password):
    private = Private(tmp_path)
    found = shape("thing=mycnf", issued("mysql", password=password), private.path)
    for name, text in found.files.items():
        private.write(name, text)
    path = found.variables["MYSQL_DEFAULTS_FILE"]
    # MySQL's hides the password unless told to show it; MariaDB's does not know the word.
    masks = ["--show"] if "--show" in ran(os.environ, "my_print_defaults", "--help").stdout else []
    done = ran(os.environ, "my_print_defaults", f"--defaults-file={path}", *masks, "client", "mysql")
    said = done.stdout.splitlines() or [done.stderr]
    assert said == ["--host=h", "--port=3306", "--user=u", f"--password={password}", "--database=d"]


@pytest.mark.skipif(not shutil.which("psql"), reason="psql is not here")
@pytest.mark.parametrize("shape_name", ["env", "pgservice"])
def test_psql_reads_it_by_itself(runner, shape_name):
    done = runner(
        [f"db={shape_name}"],
        "psql", "-XAtw", "-c", "SELECT name FROM billing.customers",
        PGHOSTADDR="192.0.2.1", PGSSLMODE="prefer", PGPASSFILE="/nonexistent", PGSERVICE="other",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "acme\n"), done.stderr
    assert runner.left() == []

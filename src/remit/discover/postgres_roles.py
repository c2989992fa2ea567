"""The roles of a PostgreSQL server, as the query in docs/howto/blast.md exports them.

    pg-role:NAME, pg-table:SCHEMA.TABLE, pg-host:server       (what runs as the server's own user)

Sources: PostgreSQL, Predefined Roles; CREATE FUNCTION, Writing SECURITY DEFINER Functions Safely.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from remit.domain.reach import Step

HOST = "pg-host:server"
_TO_HOST = {
    "pg_execute_server_program": "COPY … FROM PROGRAM runs a command on the server",
    "pg_write_server_files": "writes files of the server",
    "pg_read_server_files": "reads files of the server",
}
_TO_DATA = {"pg_read_all_data": "reads every table", "pg_write_all_data": "writes every table"}
_ADMITS_THEIRS_ALONE = 160_000  # since then CREATEROLE admits to roles that it has ADMIN OPTION on
QUERY = """
SELECT json_build_object(
  'version', current_setting('server_version_num')::int,
  'roles', (SELECT json_agg(json_build_object('name', rolname, 'super', rolsuper, 'creates', rolcreaterole))
     FROM pg_roles),
  'members', (SELECT json_agg(json_build_object('role', r.rolname, 'member', m.rolname, 'admin', a.admin_option))
     FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member),
  'grants', (SELECT json_agg(json_build_object('grantee', grantee, 'table', table_schema || '.' || table_name,
     'privilege', privilege_type)) FROM information_schema.role_table_grants
     WHERE table_schema NOT IN ('pg_catalog', 'information_schema')),
  'definers', (SELECT json_agg(json_build_object('function', n.nspname || '.' || p.proname, 'owner', o.rolname,
     'safe', EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c LIKE 'search_path=%'),
     'callers', (SELECT json_agg(r.rolname) FROM pg_roles r WHERE has_function_privilege(r.oid, p.oid, 'EXECUTE'))))
     FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_roles o ON o.oid = p.proowner
     WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema')))
"""


def is_export(whole: Any) -> bool:
    """Whether this is what the query gives."""
    return isinstance(whole, dict) and isinstance(whole.get("roles"), list) and {"members", "definers"} <= whole.keys()


def steps(whole: Mapping[str, Any]) -> Iterator[Step]:
    """Every step of this server."""
    roles = {str(role["name"]): role for role in _rows(whole, "roles")}
    tables = sorted({str(grant["table"]) for grant in _rows(whole, "grants")})
    admits_all = int(whole.get("version") or 0) < _ADMITS_THEIRS_ALONE
    for name, role in roles.items():
        node = f"pg-role:{name}"
        if role.get("super"):
            yield Step(node, HOST, "pg-superuser", "a superuser runs programs on the server")
            yield from (Step(node, f"pg-role:{other}", "pg-superuser", "SET ROLE") for other in roles)
            yield from (Step(node, f"pg-table:{table}", "pg-superuser", "no privilege is checked") for table in tables)
        elif role.get("creates") and admits_all:
            plain = (other for other, row in roles.items() if not row.get("super"))
            yield from (Step(node, f"pg-role:{other}", "pg-createrole", "GRANT it to itself") for other in plain)
        if name in _TO_HOST:
            yield Step(node, HOST, f"pg-{name.removeprefix('pg_').replace('_', '-')}", _TO_HOST[name])
        if name in _TO_DATA:
            yield from (Step(node, f"pg-table:{table}", "pg-all-data", _TO_DATA[name]) for table in tables)
    for one in _rows(whole, "members"):
        how = "pg-member-admin" if one.get("admin") else "pg-member"
        yield Step(f"pg-role:{one['member']}", f"pg-role:{one['role']}", how, "SET ROLE")
    for one in _rows(whole, "grants"):
        yield Step(f"pg-role:{one['grantee']}", f"pg-table:{one['table']}", "pg-may", str(one.get("privilege", "")))
    for one in _rows(whole, "definers"):
        if not one.get("safe"):
            says = f"{one['function']} runs as its owner, and its caller chooses its search_path"
            for caller in one.get("callers") or ():
                if not roles.get(str(caller), {}).get("super"):
                    yield Step(f"pg-role:{caller}", f"pg-role:{one['owner']}", "pg-security-definer", says)


def _rows(whole: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [one for one in whole.get(name) or () if isinstance(one, dict)]

"""A throw-away MariaDB with a shop in it."""

import pymysql

from remit.domain.catalogue import IssuerConfig
from remit.issuers import Tools, build

from . import Rig, lease

BACKSTOP = 2.0
SETTINGS = {"dsn_env": "X"}
READ = {"tables": [{"name": "shop.customers", "privileges": ["select"], "columns": ["id", "name"]}]}
BAD_GRANTS = [
    {},
    {"tables": []},
    {**READ, "rows": 1},
    {"tables": ["shop.customers"]},
    {"tables": [{"name": "customers", "privileges": ["select"]}]},
    {"tables": [{"name": "shop.c" + "x" * 64, "privileges": ["select"]}]},
    {"tables": [{"name": "shop.c ", "privileges": ["select"]}]},
    {"tables": [{"name": "shop.c\0", "privileges": ["select"]}]},
    {"tables": [{"name": "shop.c\U0001f600", "privileges": ["select"]}]},  # would become `c?`
    {"tables": [{"name": "shop.\ud800", "privileges": ["select"]}]},
    {"tables": [{"name": "MySQL.user", "privileges": ["select"]}]},
    {"tables": [{"name": "shop.c", "privileges": ["all"]}]},
    {"tables": [{"name": "shop.c", "privileges": ["select", "file"]}]},
    {"tables": [{"name": "shop.c", "privileges": []}]},
    {"tables": [{"name": "shop.c", "privileges": ["select"], "columns": [""]}]},
    {"tables": [{"name": "shop.c", "privileges": ["delete"], "columns": ["x"]}]},
    {"tables": [{"name": "shop.c", "privileges": ["select"], "where": "x"}]},
]
BAD_SETTINGS = [
    ({}, "dsn_env"),
    ({"dsn_env": "A", "dsn_file": "b"}, "either"),
    ({"dsn_env": "A", "connection_limit": 0}, "1 to 100"),
    ({"dsn_env": "A", "connection_limit": True}, "1 to 100"),
    ({"dsn_env": "A", "require_tls": "yes"}, "true or false"),
    ({"dsn_env": "A", "backstop": ""}, "name of a database"),
    ({"dsn": "mysql://x"}, "did you mean 'dsn_"),
]
SHOP = """
DROP DATABASE IF EXISTS shop; CREATE DATABASE shop;
DROP DATABASE IF EXISTS shop2; CREATE DATABASE shop2; CREATE TABLE shop2.other (id int);
CREATE TABLE shop.customers (id int, name varchar(40), secret varchar(40));
INSERT INTO shop.customers VALUES (1, 'acme', 'hidden');
CREATE TABLE shop.salaries (amount int) ENGINE=InnoDB; CREATE TABLE shop.custom_rs (id int);
CREATE TABLE shop.`odd ``name<semicolon> DROP TABLE x` (id int);
DROP USER IF EXISTS boss; CREATE USER boss IDENTIFIED BY 'boss-password';
GRANT CREATE USER, CONNECTION ADMIN, PROCESS ON *.* TO boss;
GRANT SELECT, INSERT, UPDATE, DELETE, EVENT ON shop.* TO boss WITH GRANT OPTION
"""


def as_root(server, statement):
    with pymysql.connect(host="127.0.0.1", port=server.port, unix_socket=f"{server.folder}/s", user="root",
                         password="admin-password", autocommit=True) as db, db.cursor() as cursor:  # fmt: skip
        cursor.execute(statement)
        return cursor.fetchall()


def furnish(server):
    for statement in SHOP.strip().split(";"):
        as_root(server, statement.replace("<semicolon>", ";"))


def connect(minted, **more):
    parts = minted.parts
    return pymysql.connect(host=parts["host"], port=int(parts["port"]), user=parts["user"], password=parts["password"],
                           database=parts["database"], autocommit=True, connect_timeout=5, **more)  # fmt: skip


def users(server):
    return {name for (name,) in as_root(server, "SELECT user FROM mysql.user WHERE user LIKE 'remit\\_%'")}


def issuer(port, query="", **settings):
    tools = Tools(None, None, None, "https://r", {"DSN": f"mysql://boss:boss-password@127.0.0.1:{port}/shop{query}"})
    return build(IssuerConfig("my", "mysql", {"dsn_env": "DSN", "backstop": "shop", **settings}), tools)


async def rig(request):
    server = request.getfixturevalue("mariadb")
    furnish(server)

    def alive(minted):
        try:
            with connect(minted) as db, db.cursor() as cursor:
                cursor.execute("SELECT name FROM shop.customers")
                return cursor.fetchall() == (("acme",),)
        except pymysql.Error:
            return False

    return Rig(issuer(server.port), lease(grants=READ), alive, unreachable=issuer(1))

"""Credentials as their issuers hand them out."""

from __future__ import annotations

import subprocess
from pathlib import Path

from remit_client.shapes import Issued, Wanted, shaped

EXPIRES = 1_900_000_000_000
NASTY = "p:a\\s'w o;r#d$(x)`é%"
PARTS = {
    "postgres": {"host": "h", "port": "5432", "user": "u", "password": "p", "dbname": "d"},
    "mysql": {"host": "h", "port": "3306", "user": "u", "password": "p", "database": "d"},
    "redis": {"host": "h", "port": "6379", "user": "u", "password": "p@/:"},
    "nats": {"creds": "JWT and seed\n", "url": "tls://h", "inbox_prefix": "_INBOX_x"},
    "ssh": {"certificate": "c", "private_key": "k"},
    "x509": {"certificate": "c", "private_key": "k", "ca": "a"},
    "aws": {"access_key_id": "AKIA", "secret_access_key": "s/+", "session_token": "t", "expiration": "x"},
    "google": {"access_token": "g", "expiration": "x"},
    "azure": {"access_token": "z", "expiration": "x"},
    "github": {"access_token": "ghs", "expiration": "x"},
    "kubernetes": {"token": "k", "expiration": "x", "server": "https://k8s.example", "ca": "PEM"},
    "jwt": {"access_token": "a", "token_type": "DPoP"},
    "static": {"value": "v"},
    "unheard-of": {"some.thing": "v"},
}


def issued(kind, name="thing", **more):
    return Issued(name, kind, {**PARTS.get(kind, {}), **more}, EXPIRES)


def shape(text, found, folder=Path("/run/x"), words=("/usr/bin/remit-cred",)):
    return shaped(Wanted.parse(text), found, folder, words)


def ran(env, *words, stdin=""):
    return subprocess.run(words, env=env, input=stdin, capture_output=True, text=True, timeout=60, check=False)

"""`remit edge`: a small server beside agents in another network, for tasks that the centre entrusts to it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
import httpx

from .app import Context
from .exits import Exit, Failure
from .settings import effective


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def edge() -> None:
    """An edge decides beside agents in another network: a call costs no journey to the centre.

    \b
    At the centre, [edges.NAME] in remit.toml says where it is. Then, there and here:
      remit key create edge NAME --save
      remit edge enrol NAME --centre https://remit.example --key-file NAME.key
      remit edge run
    """


@edge.command()
@click.argument("name")
@click.option("--centre", required=True, help="Where the centre is reached.")
@click.option("--key-file", type=click.Path(path_type=Path, exists=True), required=True, help="This edge's bearer key.")
@click.option("--ca", type=click.Path(path_type=Path, exists=True), help="PEM of the centre's authority, if private.")
@click.option("--pin", "pins", multiple=True, metavar="THUMBPRINT", help="Expect this key of the centre (RFC 7638).")
@click.option("--data", type=click.Path(path_type=Path), help="Where its store and keys live.  [REMIT_EDGE_DATA]")
@click.pass_obj
def enrol(
    obj: Context, name: str, centre: str, key_file: Path, ca: Path | None, pins: tuple[str, ...], data: Path
) -> None:
    """Write down whom this edge follows, and by which keys it knows the centre.

    The keys are read from the centre over verified TLS; `remit signing-key` at the centre shows their thumbprints.
    With --pin, exactly those are trusted. Whatever they sign later names the next ones.
    """
    where = _data(data)
    issuer, found = _asked(centre.rstrip("/"), str(ca or ""))
    unknown = set(pins) - found
    if unknown:
        raise Failure(
            f"the centre has no key {', '.join(sorted(unknown))}",
            Exit.DENIED,
            next_step=f"It showed {', '.join(sorted(found))}. Is this the right centre?",
        )
    written = {
        "edge": name,
        "centre": centre.rstrip("/"),
        "issuer": issuer,
        "key_file": str(key_file.resolve()),
        "ca": str(ca.resolve()) if ca else "",
        "pins": sorted(pins or found),
    }
    where.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = where / "edge.json.new"
    partial.write_text(json.dumps(written, indent=2) + "\n")
    os.replace(partial, where / "edge.json")
    if obj.out.as_json:
        obj.out.one({**written, "data": str(where)})
        return
    click.echo(f"Edge {name} follows   {issuer}")
    for pin in written["pins"]:
        click.echo(f"trusts              {pin}")
    click.echo("next                remit edge run" + ("" if data is None else f" --data {data}"))


def _asked(centre: str, ca: str) -> tuple[str, set[str]]:
    import ssl

    from remit.domain.errors import Refusal
    from remit.formats import json_input, jwk

    host = httpx.URL(centre).host
    if not centre.startswith("https://") and host not in ("localhost", "127.0.0.1", "::1"):
        raise Failure(f"{centre} is neither https:// nor on loopback", Exit.USAGE)
    context = ssl.create_default_context(cafile=ca or None)
    try:
        with httpx.Client(base_url=centre, verify=context, trust_env=False, timeout=10.0) as http:
            said, keys = (
                json_input.parse(http.get(path).raise_for_status().content, limit=256 * 1024)
                for path in ("/.well-known/oauth-authorization-server", "/.well-known/jwks.json")
            )
        return str(said["issuer"]), {key.thumbprint for key in jwk.parse_set(keys)}
    except (httpx.HTTPError, Refusal, KeyError, TypeError) as failure:
        raise Failure(
            f"{centre} does not answer as a centre does ({type(failure).__name__})",
            Exit.UNREACHABLE,
            next_step="Is it running, and is its certificate one that this machine trusts? --ca names a private one.",
        ) from failure


@edge.command("run")
@click.option("--data", type=click.Path(path_type=Path), help="Where its store and keys live.  [REMIT_EDGE_DATA]")
@click.option("--host", help="Address to bind; beyond loopback it needs TLS.  [REMIT_EDGE_HOST]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 picks a free one.  [REMIT_EDGE_PORT]")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="PEM chain.  [REMIT_EDGE_TLS_CERT]")
@click.option("--tls-key", type=click.Path(path_type=Path), help="PEM key.  [REMIT_EDGE_TLS_KEY]")
@click.option("--backlog", type=click.IntRange(100, 10_000_000), help="Most unreported events.  [REMIT_EDGE_BACKLOG]")
@click.option("--nats", help="nats://… or tls://…: hear the centre over JetStream.  [REMIT_EDGE_NATS]")
@click.option("--nats-creds", type=click.Path(path_type=Path), help="Credentials for it.  [REMIT_EDGE_NATS_CREDS]")
@click.option("--nats-domain", help="JetStream domain, seen from a leaf node.  [REMIT_EDGE_NATS_DOMAIN]")
@click.pass_obj
def run(obj: Context, /, **flags: Any) -> None:
    """Start the edge that is enrolled here. Agents reach it at the `url` of [edges.NAME].

    When it stops it lets its tasks go home, if the centre is there; otherwise it goes on with them at the next start.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    settings = {name: value for name, (value, _) in effective(given, kind="edge").items()}

    def announce(told: dict[str, Any]) -> None:
        if obj.out.as_json:
            obj.out.one(told)
            return
        click.echo(f"Edge {told['edge']} is up at   {told['url']}")
        click.echo(f"centre           {told['centre']}")
        click.echo(f"data             {told['data']}/edge.db; {told['operator_key']} reads it")
        click.echo(f"holds            {told['held']} tasks")
        click.echo(f"next             REMIT_EDGE={told['url']} for agents; remit edge status")

    for name in ("tls_cert", "tls_key", "nats_creds"):
        settings[name] = str(settings[name] or "")
    obj.parts.serve_edge(announce, **settings)


@edge.command()
@click.option("--data", type=click.Path(path_type=Path), help="Where its store and keys live.  [REMIT_EDGE_DATA]")
@click.option("--ca", type=click.Path(path_type=Path, exists=True), help="PEM that its certificate is checked by.")
@click.pass_obj
def status(obj: Context, data: Path | None, ca: Path | None) -> None:
    """Whether it is fresh, what it holds, and what it has not reported. Leaves with 7 while it is not fresh."""
    import ssl

    verify = ssl.create_default_context(cafile=str(ca) if ca else None)
    where = _data(data)
    try:
        url, key = (where / "url").read_text().strip(), (where / "operator.key").read_text().strip()
    except OSError as none:
        raise Failure(f"no edge has run in {where}", Exit.UNREACHABLE, next_step="remit edge run") from none
    try:
        with httpx.Client(base_url=url, trust_env=False, timeout=5.0, verify=verify) as http:
            answer = http.get("/v1/edge", headers={"Authorization": f"Bearer {key}"})
            ready = http.get("/readyz")
    except httpx.HTTPError as failure:
        step = "Is it running? remit edge run"
        raise Failure(f"no answer from {url} ({type(failure).__name__})", Exit.UNREACHABLE, next_step=step) from failure
    if not answer.is_success:
        raise Failure.of_problem(answer.status_code, answer.json())
    found = {**answer.json(), "fresh": ready.is_success}
    if obj.out.as_json:
        obj.out.one(found)
    else:
        age = f"{found['age_ms']} ms" if found["age_ms"] >= 0 else "never"
        for name, said in (
            ("edge", f"{found['edge']} at {found['url'] or url}"),
            ("centre", found["centre"]),
            ("fresh", f"{'yes' if found['fresh'] else 'no'}, last heard {age}"),
            ("holds", f"{found['held']} tasks, {found['leaving']} on their way home"),
            ("reported", f"{found['reported']} events, {found['backlog']} to go"),
        ):
            click.echo(f"{name:<10}{said}")
    if not found["fresh"]:
        raise Failure("this edge is not fresh", Exit.UNREACHABLE, next_step="Is the link to the centre up?")


def _data(data: Path | None) -> Path:
    given = {} if data is None else {"data": data}
    return Path(effective(given, kind="edge")["data"][0])

"""The root command: lazy groups, so that `remit --help` imports nothing it does not show."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import click

from .exits import Exit, Failure
from .output import Output

EPILOG = """\b
Exit codes: 0 done, 1 error, 2 usage, 3 denied by policy, 4 not authenticated,
5 held or timed out, 6 not found, 7 unreachable.
\b
Shell completion:  eval "$(_REMIT_COMPLETE=bash_source remit)"   (zsh_source, fish_source)
"""

# name → (module, attribute, one line of help)
COMMANDS: Mapping[str, tuple[str, str, str]] = {
    "up": ("serve", "up", "Start a server here: embedded SQLite, nothing to configure."),
    "run": ("run", "run", "Run a command with credentials that exist for one task."),
    "whoami": ("whoami", "whoami", "Who you, or the agent here, are to the server."),
    "blast": ("blast", "blast", "What an agent, a person or a leaked key can reach, and by which way."),
    "scan": ("scan", "scan", "Find agents, MCP servers, pipelines and secrets: here, in git, in your home."),
    "adopt": ("adopt", "adopt", "Write catalogue files for what a scan found, for you to review."),
    "owner": ("owner", "owner", "Who may answer for an agent, by what evidence: propose, confirm."),
    "shadow": ("shadow", "shadow", "What was seen at work and nobody registered: list, show, dismiss."),
    "plan": ("catalogue", "plan", "Show what applying the catalogue files would change."),
    "apply": ("catalogue", "apply", "Put the catalogue files in force, whole or not at all."),
    "rollout": ("rollout", "rollout", "A catalogue that some of the edges have first: show, widen, finish, back."),
    "agent": ("nouns", "agent", "Agents: list, show, invite."),
    "purpose": ("nouns", "purpose", "Purposes: list, show."),
    "tool": ("tools", "tool", "Tools: list, show, pin, diff, import."),
    "task": ("nouns", "task", "Tasks: list, show, end."),
    "lease": ("nouns", "lease", "Leases: list, end."),
    "approval": ("approvals", "approval", "Approvals: list, show, wait, question, hand-on, stats, verify."),
    "approve": ("approvals", "approve", "Say yes to exactly what an approval shows."),
    "deny": ("approvals", "deny", "Say no to what an approval shows."),
    "away": ("approvals", "away", "Have somebody answer what you are asked: set, show, end."),
    "passkey": ("approvals", "passkey", "Your passkeys: list, remove."),
    "freeze": (
        "freeze",
        "freeze",
        "Stop an agent, a purpose, a tool, an environment, an owner's estate, or everything.",
    ),
    "unfreeze": ("freeze", "unfreeze", "Let it act again."),
    "frozen": ("freeze", "frozen", "What is frozen, and what still lives below it."),
    "redecided": ("context", "redecided", "Changes after which open tasks were decided again, and what ended."),
    "finding": ("context", "finding", "What was found out: report, list, show, contain, resolve."),
    "posture": ("context", "posture", "What is known of an agent's surroundings: set."),
    "person": ("context", "person", "People who are here no more: leave, return."),
    "succession": ("accountability", "succession", "What nobody answers for: list, accept."),
    "review": ("accountability", "review", "What agents may do, and used: open, list, show, answer, change."),
    "ask": ("people", "ask", "Make a token that lets an agent begin a task for you."),
    "key": ("people", "key", "Bearer keys for people, operators, auditors, enforcement points, receivers."),
    "issuer": ("issuers", "issuer", "Issuers that people connect: list, show, connect, disconnect."),
    "session": ("sessions", "session", "Signing in to the console: link, list, end."),
    "stream": ("streams", "stream", "Which systems are told what ends here: list, show."),
    "secret": ("secrets", "secret", "Static secrets in versions; and hand one to a person, once."),
    "policy": ("policy", "policy", "Policies: check, test, explain."),
    "evidence": ("evidence", "evidence", "Which controls are enforced, by what, since when, with proof; verify."),
    "incident": ("incident", "incident", "From one identifier to all that it touched, and what of it still lives."),
    "rightsize": ("rightsize", "rightsize", "What purposes grant and nobody uses, as a diff that narrows them."),
    "log": ("log", "log", "The log: show, checkpoint, key, witnesses, export, verify."),
    "out": ("out", "out", "Where the log goes: list, show, pause, resume, rewind, check."),
    "mcp": ("mcp", "mcp", "Put an enforcement point in front of any stdio MCP server."),
    "gateway": ("gateway", "gateway", "One address for all of an agent's MCP tools, which it cannot go around."),
    "hook": ("hook", "hook", "Hooks for a coding agent's settings: claude-code."),
    "edge": ("edge", "edge", "Decide beside agents in another network: enrol, run, status."),
    "estate": ("estate", "estate", "Edges, as the centre sees them: list, show, forget."),
    "egress": ("egress", "egress", "Let an agent's plain HTTP requests out, each decided, with the task's credential."),
    "explain": ("explain", "explain", "What a code such as RMT-3002 means and what to do."),
    "backup": ("backup", "backup", "Backups: create, verify, restore."),
    "doctor": ("doctor", "doctor", "Check clock, server, store, keys, issuers."),
    "config": ("doctor", "config", "Show the effective configuration and where it came from."),
}


@dataclass(frozen=True)
class Parts:
    """What the composition root lends: run a server or an enforcement point; describe an MCP server; keep a store."""

    serve: Callable[..., None]
    enforce: Callable[..., None]
    gateway: Callable[..., None]
    describe: Callable[..., list[tuple[str, dict[str, Any], str]]]
    egress: Callable[..., None]
    egress_run: Callable[..., int]
    serve_edge: Callable[..., None]
    check_store: Callable[..., Any]
    restore: Callable[..., Any]


@dataclass
class Context:
    """What every command is given."""

    out: Output
    parts: Parts
    person: str = ""


class Lazy(click.Group):
    """Imports a command's module when it is run, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import it."""
        found = COMMANDS.get(cmd_name)
        if found is None:
            return None
        module, attribute, _ = found
        command: click.Command = getattr(importlib.import_module(f"remit.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Help from the table, without importing."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command for a typing error."""
        from difflib import get_close_matches

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = get_close_matches(args[0], COMMANDS, 1)
            hint = f" Did you mean `remit {near[0]}`?" if near else " See `remit --help`."
            ctx.fail(f"there is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=Lazy, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "as_json", is_flag=True, help="One JSON object, or JSON lines, on standard output.")
@click.option("--quiet", "-q", is_flag=True, help="Say nothing on standard error but errors.")
@click.option("--as", "person", metavar="NAME", default="", help="Call as this person, with the key saved here.")
@click.version_option(package_name="remit", message="remit %(version)s")
@click.pass_context
def cli(ctx: click.Context, as_json: bool, quiet: bool, person: str) -> None:
    """Access for AI agents, by the task, not by the role."""
    ctx.obj.out = Output(as_json=as_json, quiet=quiet)
    ctx.obj.person = person


def hoisted(arguments: list[str]) -> list[str]:
    """Let `--json`, `--quiet` and `--as NAME` stand anywhere before `--`, as people type them."""
    ours: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word in ("--json", "--quiet", "-q"):
            ours.append(word)
        elif word == "--as":
            ours += [word, *([value] if (value := next(words, None)) is not None else [])]
        elif word.startswith("--as="):
            ours += ["--as", word[5:]]
        else:
            rest.append(word)
    return ours + rest


def run(parts: Parts, arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code; a traceback is never shown."""
    words = hoisted(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    try:
        left = cli.main(  # without its standalone mode click returns the code that a command left with
            args=words,
            prog_name="remit",
            standalone_mode=False,
            obj=Context(Output(as_json=False, quiet=False), parts),
        )
    except Failure as failure:
        _report(failure, as_json)
        sys.exit(int(failure.exit_code))
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.Abort:
        click.echo("stopped", err=True)
        sys.exit(int(Exit.ERROR))
    except click.ClickException as usage:
        _report(Failure(usage.format_message(), Exit.USAGE, next_step=_usage_hint(usage)), as_json)
        sys.exit(int(Exit.USAGE))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(int(Exit.DONE))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        told = _told(error)
        _report(told, as_json)
        sys.exit(int(told.exit_code))
    sys.exit(left if isinstance(left, int) else 0)


def _told(error: Exception) -> Failure:
    from remit.domain.errors import Refusal
    from remit_client.errors import Denied, Held, NotAuthenticated, NotFound, RemitError, Unreachable

    if isinstance(error, Refusal):
        return Failure(error.message, Exit.ERROR, next_step=error.next_step, code=error.code)
    if isinstance(error, Denied) and "needs_approval" in error.reasons:
        return Failure(error.message, Exit.HELD, next_step=error.next_step, code=error.code)
    if isinstance(error, RemitError):
        exits = {Denied: Exit.DENIED, NotAuthenticated: Exit.UNAUTHENTICATED, NotFound: Exit.NOT_FOUND}
        exit_code = {**exits, Held: Exit.HELD, Unreachable: Exit.UNREACHABLE}.get(type(error), Exit.ERROR)
        return Failure(error.message, exit_code, next_step=error.next_step, code=error.code)
    if os.environ.get("REMIT_TRACEBACK"):
        raise error
    step = "This is a bug in Remit; REMIT_TRACEBACK=1 shows where."
    return Failure(f"{type(error).__name__}: {error}", Exit.ERROR, next_step=step)


def _usage_hint(usage: click.ClickException) -> str:
    ctx = getattr(usage, "ctx", None)
    return f"See `{ctx.command_path} --help`." if ctx is not None else ""


def _report(failure: Failure, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(failure.as_json(), ensure_ascii=False), err=True)
        return
    code = f" [{failure.code}]" if failure.code else ""
    click.echo(f"remit: {failure.message}{code}", err=True)
    if failure.next_step:
        click.echo(f"       {failure.next_step}", err=True)

"""`remit hook`: what to put into a coding agent's settings so that each of its tools is decided."""

from __future__ import annotations

import json

import click

from .api import server_url
from .app import Context


@click.group()
def hook() -> None:
    """Hooks of coding agents. Their grade is *hook*: advisory, since their own process asks."""


@hook.command("claude-code")
@click.option("--command", "by_command", is_flag=True, help="Ask through `remit run`'s socket, without any key.")
@click.option("--url", default="", help="Where Remit is, as Claude Code reaches it.  [REMIT_URL]")
@click.pass_obj
def claude_code(obj: Context, by_command: bool, url: str) -> None:
    """Print the hooks for Claude Code's settings.json.

    \b
    Example:
      remit hook claude-code --command > .claude/settings.json
      remit run --purpose tidy-notes --goal "File the notes" -- claude
    """
    from remit_client.hooks import claude_code as claude

    chosen = claude.command_hook() if by_command else claude.http_hook((url or server_url()).rstrip("/"))
    obj.out.say('Fails closed with "onFailure": "block"; `allowManagedHooksOnly` in managed settings pins it.')
    found = claude.settings(chosen)
    obj.out.one(found, json.dumps(found, indent=2))

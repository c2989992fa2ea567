"""`remit-hook`: what a coding agent runs before and after each tool, inside `remit run`.

It passes the event through the Unix socket that REMIT_SOCKET names, and prints the answer. It has no key, and imports
nothing but the standard library. Whatever goes wrong ends with exit code 2, which blocks; any other would not.
"""

from __future__ import annotations

import json
import os
import sys

from .cred import ask
from .helpers import Unfit
from .hooks.claude_code import EVENTS, LARGEST, Event, after

USAGE = "usage: remit-hook claude-code [--defer]     (a hook event on standard input, inside `remit run`)\n"
BLOCK = 2
AFTER = EVENTS[1:]


def main() -> None:
    """The console script `remit-hook`. It never leaves with a code that would let the tool run unasked."""
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except BaseException as failure:
        print(f"remit-hook: Denied: {type(failure).__name__}. Nothing was done.", file=sys.stderr)
        sys.stderr.flush()
        os._exit(BLOCK)
    sys.exit(code)


def run(words: list[str]) -> int:
    """0: the answer is on standard output; 2: blocked, and why is on standard error. An event too long is blocked."""
    if words in (["-h"], ["--help"]):
        print(USAGE, end="")
        return 0
    if words not in (["claude-code"], ["claude-code", "--defer"]):
        print(USAGE, end="", file=sys.stderr)
        return BLOCK
    event: object = None
    try:
        text = sys.stdin.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise Unfit("The event is longer than 1 MiB.")
        event = json.loads(text)
        held = "defer" if words[1:] else "deny"
        print(json.dumps(ask({}, {"hook": words[0], "held": held, "event": event})))
    except (Unfit, OSError, ValueError, RecursionError) as failure:
        said = str(failure) if isinstance(failure, Unfit) else f"No usable answer ({type(failure).__name__})."
        if isinstance(event, dict) and event.get("hook_event_name") in AFTER:
            # A hook that fails after the tool ran blocks nothing: what keeps the result from the model is an answer.
            text = f"The result could not be reported to Remit, so it is withheld. {said}"
            print(json.dumps(after(Event(event["hook_event_name"], "", {}, "", event.get("tool_response")), text)))
            return 0
        print(f"Denied: {said} Nothing was done.", file=sys.stderr)
        return BLOCK
    return 0


if __name__ == "__main__":
    main()

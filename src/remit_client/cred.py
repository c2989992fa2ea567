"""`remit-cred`: what AWS SDKs, kubectl, git and Docker run when they need a credential.

It asks `remit run` through the Unix socket that REMIT_SOCKET names, and prints the answer. It has no key,
keeps nothing, and imports nothing but the standard library: it runs on every `git fetch`.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import Any

from .helpers import Answer, Unfit

USAGE = """usage: remit-cred aws    --credential NAME
       remit-cred k8s    --credential NAME
       remit-cred git    --credential NAME get|store|erase
       remit-cred docker [--credential NAME] get|list|store|erase
       remit-cred show   --credential NAME [--part PART]

Run inside `remit run`, or say --socket PATH (or REMIT_SOCKET) of one that runs.
"""
PATIENCE = 40.0  # seconds; a mint may take thirty
LIMIT = 1024 * 1024
ACTIONS = {"git": ("get", "store", "erase"), "docker": ("get", "list", "store", "erase")}


class Usage(Exception):
    """Something else was typed than can be understood."""


def main() -> None:
    """The console script `remit-cred`."""
    sys.exit(run(sys.argv[1:]))


def docker() -> None:
    """The console script `docker-credential-remit`."""
    sys.exit(run(["docker", *sys.argv[1:]]))


def run(words: list[str]) -> int:
    """0 done, 1 no credential, 2 usage. Secrets go to standard output, words to standard error."""
    if words in (["-h"], ["--help"], []):
        print(USAGE, end="")
        return 0
    try:
        protocol, action, options = _read(words)
        said = _answer(protocol, action, options)
    except Usage as wrong:
        print(f"remit-cred: {wrong}\n{USAGE}", end="", file=sys.stderr)
        return 2
    except (Unfit, OSError) as failure:
        word = str(failure) if isinstance(failure, Unfit) else f"No answer: {type(failure).__name__}."
        # Docker reads what went wrong from standard output.
        print(word if protocol == "docker" else f"remit-cred: {word}", file=_talk(protocol))
        return 1
    sys.stdout.write(said + ("\n" if said and not said.endswith("\n") else ""))
    sys.stdout.flush()
    return 0


def _talk(protocol: str) -> Any:
    return sys.stdout if protocol == "docker" else sys.stderr


def _read(words: list[str]) -> tuple[str, str, dict[str, str]]:
    protocol, rest = words[0], iter(words[1:])
    if protocol not in ("aws", "k8s", "git", "docker", "show"):
        raise Usage(f"{protocol!r} is no protocol.")
    action, options = "", dict[str, str]()
    for word in rest:
        name, sep, value = word.partition("=")
        if name in ("--credential", "--socket", "--part"):
            options[name[2:]] = value if sep else next(rest, "")
        elif word in ACTIONS.get(protocol, ()) and not action:
            action = word
        elif protocol == "git" and not word.startswith("-"):
            action = "other"  # git may say more one day; a helper ignores what it does not know
        else:
            raise Usage(f"{word!r} is not understood.")
    if protocol == "docker" and not action:
        raise Usage("say get, list, store or erase.")
    if protocol != "docker" and not options.get("credential"):
        raise Usage("say which: --credential NAME.")
    return protocol, action, options


def _answer(protocol: str, action: str, options: dict[str, str]) -> str:
    if protocol == "aws":
        from .helpers import aws

        return aws.output(ask(options, {"credential": options["credential"]}))
    if protocol == "k8s":
        from .helpers import k8s

        asked = os.environ.get("KUBERNETES_EXEC_INFO", "")
        return k8s.output(ask(options, {"credential": options["credential"]}), asked)
    if protocol == "git":
        return _git(action, options)
    if protocol == "docker":
        return _docker(action, options)
    found = ask(options, {"credential": options["credential"]})
    if "part" in options:
        from .helpers import part

        return part(found, options["part"])
    return json.dumps(found)


def _git(action: str, options: dict[str, str]) -> str:
    from .helpers import git

    if action != "get":
        return ""
    attributes = git.asked(sys.stdin.read(64 * 1024 + 1))
    # Asked first whether it is for this place: nothing is minted for another.
    at = next((o["at"] for o in ask(options, {"list": "git"})["items"] if o["name"] == options["credential"]), "")
    if not git.is_for(attributes, at):
        return ""
    return git.output(attributes, ask(options, {"credential": options["credential"]}), at)


def _docker(action: str, options: dict[str, str]) -> str:
    from .helpers import docker as protocol

    if action == "store":
        sys.stdin.read(LIMIT)
        raise Unfit("Remit stores nothing; there is no need to log in.")
    if action == "erase":
        return ""
    offers = ask(options, {"list": "docker"})["items"]
    if action == "list":
        return protocol.listing(offers)
    server = sys.stdin.read(4096).strip()
    for offer in offers:
        if offer["at"] == protocol.registry(server) and options.get("credential", offer["name"]) == offer["name"]:
            return protocol.output(ask(options, {"credential": offer["name"]}), server)
    raise Unfit(protocol.NOT_FOUND)


def ask(options: dict[str, str], request: dict[str, Any]) -> Answer:
    """One request to `remit run`, one answer; only from a process of this very user."""
    path = options.get("socket") or os.environ.get("REMIT_SOCKET", "")
    if not path:
        raise Unfit("There is no REMIT_SOCKET. Start the command with `remit run`, or say --socket PATH.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(PATIENCE)
        try:
            line.connect(path)
        except OSError:
            raise Unfit("Nobody answers at REMIT_SOCKET. Has its `remit run` ended?") from None
        if peer_uid(line) != os.geteuid():
            raise Unfit("Another user's process answers at REMIT_SOCKET.")
        line.sendall(json.dumps(request).encode() + b"\n")
        got = bytearray()
        while chunk := line.recv(65_536):
            got += chunk
            if len(got) > LIMIT:
                raise Unfit("The answer is too long.")
    try:
        found = json.loads(got)
    except ValueError:
        raise Unfit("The answer cannot be understood.") from None
    if not isinstance(found, dict) or "error" in found:
        raise Unfit(str(found["error"]) if isinstance(found, dict) else "The answer cannot be understood.")
    return found


def peer_uid(line: socket.socket) -> int:
    """Whose process is at the other end, as the kernel says (SO_PEERCRED: pid, uid, gid)."""
    found = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(found[4:8], sys.byteorder)


if __name__ == "__main__":
    main()

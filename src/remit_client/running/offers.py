"""What the command is given: variables and files for each credential, and their renewal while it runs."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import RemitError
from ..shapes import Issued, Private, Shaped, ShapeError, Wanted, default_shape, shaped
from .vault import Vault

_ONLY_IN_ENV = "its variables cannot be renewed in a command that runs; NAME=file can"


def helper() -> tuple[str, ...]:
    """The command line of `remit-cred`: the one beside this interpreter."""
    beside = Path(sys.executable).with_name("remit-cred")
    if beside.is_file():
        return (str(beside),)
    found = shutil.which("remit-cred")
    return (found,) if found else (sys.executable, "-m", "remit_client.cred")


class Offers:
    """Everything of `wanted`, as variables and files; two that want one variable or file are refused."""

    def __init__(self, wanted: Sequence[Wanted], vault: Vault, private: Private) -> None:
        self._vault, self._private = vault, private
        self.wanted = tuple(wanted)
        self._shaped: dict[str, Shaped] = {}
        self._over = threading.Event()
        names = [each.name for each in wanted]
        for name in names:
            if names.count(name) > 1:
                raise ShapeError(f"{name} is wanted twice")

    def prepare(self) -> None:
        """Issue what must be known before the command starts, and write the files."""
        for each in self.wanted:
            # What only a helper will ask for is issued when it does, and not at all when it never does.
            issued = Issued(each.name, "", {}) if each.waits else self._vault.get(each.name)
            self._shaped[each.name] = self._shape(each, issued)
        self._unique("variable", [name for found in self._shaped.values() for name in found.variables])
        self._unique("file", [name for found in self._shaped.values() for name in found.files])
        for found in self._shaped.values():
            self._write(found)

    def _shape(self, each: Wanted, issued: Issued) -> Shaped:
        return shaped(each, issued, self._private.path, helper())

    def _write(self, found: Shaped) -> None:
        for name, text in found.files.items():
            self._private.write(name, text)

    @staticmethod
    def _unique(noun: str, names: Sequence[str]) -> None:
        for name in names:
            if names.count(name) > 1:
                raise ShapeError(f"two credentials want the {noun} {name}; give one another: NAME=env:PREFIX")

    def environment(self, inherited: Mapping[str, str], **ours: str) -> dict[str, str]:
        """Ours over what is inherited; no `REMIT_` variable but the server's address is handed on."""
        cleared = {name for found in self._shaped.values() for name in found.clears}
        kept = {
            name: value
            for name, value in inherited.items()
            if name not in cleared and (name == "REMIT_URL" or not name.startswith("REMIT_"))
        }
        for found in self._shaped.values():
            kept |= found.variables
        settings = [pair for found in self._shaped.values() for pair in found.git]
        if settings:
            kept |= _git(kept, settings)
        if "DOCKER_CONFIG" in {name for found in self._shaped.values() for name in found.variables}:
            # Docker finds its helpers on PATH only.
            kept["PATH"] = f"{kept.get('PATH') or os.defpath}:{Path(helper()[0]).parent}"
        return {**kept, **ours}

    def warnings(self, deadline: int) -> list[str]:
        """Sentences on what the command cannot use for long, or at all; `deadline` is the task's, in ms."""
        said = []
        for each in self.wanted:
            if each.waits:
                continue
            issued = self._vault.get(each.name)
            if issued.parts.get("token_type", "").lower() == "dpop":
                said.append(f"{each.name} is bound to the agent's key, which the command does not have (RFC 9449).")
            shape = each.shape or default_shape(issued.kind)
            if shape == "env" and 0 < issued.expires_at < deadline - 1000:
                said.append(f"{each.name} expires before the task does, and {_ONLY_IN_ENV}.")
        return said

    def start_renewing(self, told: Callable[[str], None]) -> None:
        """Replace files before what they hold dies; variables stay as they are."""
        filed = [each for each in self.wanted if not each.waits and self._shaped[each.name].files]
        if filed:
            threading.Thread(target=self._renew, args=(filed, told), daemon=True, name="remit-renew").start()

    def stop(self) -> None:
        """No more renewals."""
        self._over.set()

    def _renew(self, filed: Sequence[Wanted], told: Callable[[str], None]) -> None:
        while not self._over.wait(max(0.05, min(self._vault.stale_in(each.name) for each in filed))):
            for each in filed:
                if self._vault.stale_in(each.name) > 0:
                    continue
                try:
                    self._write(self._shape(each, self._vault.get(each.name)))
                except (RemitError, ShapeError, OSError) as failure:
                    if self._over.is_set():
                        return
                    told(f"{each.name} could not be renewed: {failure}")
                    if self._over.wait(10):
                        return

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """What the door says to one request."""
        if isinstance(request.get("list"), str):
            shape = request["list"]
            return {"items": [{"name": e.name, "at": self._at(e)} for e in self.wanted if self._is(e, shape)]}
        each = next((e for e in self.wanted if e.name == request.get("credential")), None)
        if each is None:
            return {"error": "This run offers no such credential; name it with `remit run --credential NAME`."}
        try:
            issued = self._vault.get(each.name)
        except RemitError as refusal:
            return {"error": str(refusal), "code": refusal.code}
        return {
            "name": issued.name,
            "kind": issued.kind,
            "parts": dict(issued.parts),
            "expires_at": issued.expires_at,
            "at": self._at(each),
        }

    def _is(self, each: Wanted, shape: str) -> bool:
        return (each.shape or ("git" if self._shaped[each.name].git else "")) == shape

    def _at(self, each: Wanted) -> str:
        return self._shaped[each.name].at


def _git(inherited: Mapping[str, str], settings: Sequence[tuple[str, str]]) -> dict[str, str]:
    """After what is configured this way already (git-config(1), GIT_CONFIG_COUNT)."""
    count = inherited.get("GIT_CONFIG_COUNT", "0")
    first = int(count) if count.isascii() and count.isdecimal() and len(count) < 5 else 0
    found = {"GIT_CONFIG_COUNT": str(first + len(settings))}
    for number, (key, value) in enumerate(settings, first):
        found |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return found


def shown(command: Sequence[str]) -> str:
    """The command for people; it holds no secret of ours."""
    return shlex.join(command)[:200]

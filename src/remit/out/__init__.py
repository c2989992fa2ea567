"""Where the log goes: one module for each kind of sink. Each returns once a batch was acknowledged, or says why not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from remit.domain.errors import Refusal
from remit.domain.out import Sink, SinkKind
from remit.ports import Ask, NotTaken, Sender


@dataclass(frozen=True)
class Tools:
    """What sinks may need of the house.

    `folder` is where files are, which only the server's own settings say. `ask` makes guarded requests, believing this
    authority (PEM; empty: the public ones); `resolve` is the one checked address of a host; `unseal` is what is sealed
    under a name now; `host` is what syslog calls this machine.
    """

    folder: Path
    ask: Callable[[str], Ask]
    resolve: Callable[..., Awaitable[str]]
    unseal: Callable[[str], Awaitable[str]]
    environ: Mapping[str, str]
    host: str

    async def authorization(self, sink: Sink) -> str:
        """The header; read again each time, so that it can be replaced. `NotTaken` when there is none to be had."""
        token = self.environ.get(sink.variable, "") if sink.variable else ""
        try:
            token = await self.unseal(sink.secret) if sink.secret else token
        except Refusal as missing:
            raise NotTaken(f"nothing is sealed as {sink.secret}") from missing
        if sink.variable and not token:
            raise NotTaken(f"{sink.variable} is not set in the server's environment")
        if not token.isascii() or not (token + "x").isprintable():
            raise NotTaken("the token has characters that no header can have")
        return f"{sink.scheme} {token}" if token else ""


def build(sink: Sink, tools: Tools) -> Sender:
    """What takes events to this sink."""
    if sink.kind is SinkKind.FILE:
        from .file import FileSender

        return FileSender(sink, tools.folder)
    if sink.kind is SinkKind.HTTP:
        from .http import HttpSender

        return HttpSender(sink, tools)
    if sink.kind is SinkKind.SYSLOG:
        from .syslog import SyslogSender

        return SyslogSender(sink, tools)
    from .otlp import OtlpSender

    return OtlpSender(sink, tools)

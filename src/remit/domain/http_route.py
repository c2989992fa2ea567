"""How a reviewed tool looks on the wire: one origin, one method, one path template. An egress sends nothing else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """The `[http]` table of a tool. `origin` is exact: scheme, lower-case host, and the port unless it is the default.

    The holes of `path` and the names in `query` are arguments taken from there; every other argument is a member of the
    body, which is `json`, `form` or empty for none. `headers` are passed on as they come and are not decided on.
    `credential` is the purpose's name for what is put in `header`, after `scheme`; `part` names one of its parts.
    """

    origin: str
    method: str
    path: str
    query: tuple[str, ...] = ()
    body: str = ""
    headers: tuple[str, ...] = ()
    credential: str = ""
    part: str = ""
    header: str = "Authorization"
    scheme: str = "Bearer"
    allow_private_network: bool = False

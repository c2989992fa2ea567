"""Problem documents (RFC 9457) that another server of ours sent, as the refusals they were."""

from __future__ import annotations

from typing import Any

from remit.domain.errors import (
    Absent,
    BadField,
    Denied,
    Held,
    NotHome,
    Refusal,
    Unavailable,
    every_refusal,
)

_KINDS = {kind.code: kind for kind in every_refusal()}


def read(status: int, document: Any) -> Refusal:
    """The refusal with this code; what cannot be understood is `Unavailable`, for nobody said yes."""
    said = document if isinstance(document, dict) else {}
    kind = _KINDS.get(str(said.get("code", "")))
    message, step = str(said.get("detail", ""))[:2000], str(said.get("next_step", ""))[:2000]
    if kind is BadField and isinstance(said.get("field"), str):
        return BadField(said["field"], message.removeprefix(f"{said['field']}: "), next_step=step)
    if kind is Absent:
        return Absent(inside="said by the centre")
    if kind is Denied:
        reasons = said.get("reasons", [])
        return Denied(message, reasons=tuple(map(str, reasons if isinstance(reasons, list) else [])), next_step=step)
    if kind is Held:
        return Held(message, approval=str(said.get("approval", "")), next_step=step)
    if kind is NotHome:
        return NotHome("", str(said.get("home", "")))
    while kind is not None and kind.__init__ is not Refusal.__init__:
        kind = kind.__base__ if issubclass(kind.__base__ or object, Refusal) else None
    if kind is None or kind is Refusal:
        return Unavailable("The centre's answer cannot be understood.", inside=f"{status}, code {said.get('code')!r}")
    return kind(message, next_step=step)

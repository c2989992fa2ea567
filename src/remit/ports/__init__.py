"""Everything a verb may reach, in protocols of one to four methods, and the `Env` that carries them."""

from __future__ import annotations

from .env import Env, InForce, compiled
from .estate import Centre, Edges, Entrusted, Handed, Heard, Reported
from .issuer import Answer, Ask, Connector, Issuer, Lists, Renew
from .keys import Sealer, Signature, Signer
from .out import Batch, Marks, NotTaken, Sender
from .shadows import Shadows
from .signed import signed_by
from .store import Appended, LogIndex, LogReader, LogWriter, Reader, Store
from .turns import Turns
from .wakes import LOOK_ANYWAY, Wake, Wakes, looked, wakes_of
from .world import (
    Attestor,
    Authorization,
    Backchannel,
    IdentityProviders,
    NoBackchannel,
    NoNotifier,
    NoSignals,
    Notifier,
    Signals,
)

__all__ = [
    "LOOK_ANYWAY",
    "Answer",
    "Appended",
    "Ask",
    "Attestor",
    "Authorization",
    "Backchannel",
    "Batch",
    "Centre",
    "Connector",
    "Edges",
    "Entrusted",
    "Env",
    "Handed",
    "Heard",
    "IdentityProviders",
    "InForce",
    "Issuer",
    "Lists",
    "LogIndex",
    "LogReader",
    "LogWriter",
    "Marks",
    "NoBackchannel",
    "NoNotifier",
    "NoSignals",
    "NotTaken",
    "Notifier",
    "Reader",
    "Renew",
    "Reported",
    "Sealer",
    "Sender",
    "Shadows",
    "Signals",
    "Signature",
    "Signer",
    "Store",
    "Turns",
    "Wake",
    "Wakes",
    "compiled",
    "looked",
    "signed_by",
    "wakes_of",
]

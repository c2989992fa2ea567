"""A2A 1.0: one agent hands part of its task to another, in the message that asks for it.

    app = served(remit, "https://research.example", "researcher", "Finds things", work)      # the receiver
    peer = await Peer.found("https://research.example", "researcher")                        # the giver
    answer = await peer.hand(task, "look-up", goal="Find open invoices", customer="acme")

The receiver works in a child of the giver's task, and in nothing else; what it reads darkens the giver's task. A held
call stops it in `TASK_STATE_AUTH_REQUIRED`: `answer.held` says where people agree, and `peer.again(answer)` goes on.
"""

from .card import EXTENSION, BadCard, card, signer
from .peer import Answer, Peer
from .serve import Turn, served

__all__ = ["EXTENSION", "Answer", "BadCard", "Peer", "Turn", "card", "served", "signer"]

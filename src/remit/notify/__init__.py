"""Messages by `apprise`: chats, mail and a hundred others, each by an address that its own documentation describes.

An address is a secret: many hold a token. So neither it nor anything apprise says of it is logged.
"""

from __future__ import annotations

import logging
from typing import Any

from remit.domain.errors import BadField, Unavailable

QUIET = ("apprise", "requests", "urllib3")


class AppriseNotifier:
    """See `ports.Notifier`."""

    def __init__(self) -> None:
        try:
            import apprise
        except ImportError as missing:
            raise BadField("notifier", "apprise is not installed", next_step="pip install 'remit[notify]'") from missing
        self._apprise: Any = apprise
        for name in QUIET:
            logging.getLogger(name).disabled = True

    async def send(self, address: str, title: str, body: str) -> None:
        """See `ports.Notifier`."""
        sender = self._apprise.Apprise()
        if not sender.add(address):
            raise Unavailable("The address of a notification route is not one that apprise knows.")
        kind = self._apprise.NotifyFormat.TEXT
        if not await sender.async_notify(body=body, title=title, body_format=kind, interpret_escapes=False):
            raise Unavailable("A notification route did not take the message.")

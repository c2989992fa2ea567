"""The people's web pages (UX.md, Console). They work without a script, except for passkeys.

To add a screen:

1. `NAME.py` with `async def read(house, call, asked) -> dict`: a read model of plain values, which is the page's JSON
   twin as it is. Gather through `seen`, so that nobody sees here what the API would not give them (law 11).
2. `templates/NAME.html` extends `base.html`; `{% import "parts.html" as parts with context %}` has the table, filter,
   empty state, times, states and forms. Values from outside go through `|seen`. Nothing inline: no style, no script.
3. What changes while it is looked at stands in an element with an `id` and `data-live="Task Approval"`: the kinds of
   rows it shows. The script asks for the page again and swaps those elements; nothing else is needed.
4. A row in `screens.SCREENS`, with `nav` and `key` if it is in the menu; a form's target is a row in `ACTIONS`, and
   every form says `{{ parts.token() }}`. Then `REMIT_GOLDEN=1` for the matrix in tests/web, and tests in tests/console.
"""

from __future__ import annotations

from .page import back_to, by_name, onward, refused, wants_page

__all__ = ["back_to", "by_name", "onward", "refused", "wants_page"]

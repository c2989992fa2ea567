"""The browser's side of a session: its cookie, its form token, and where a request came from.

Another site's page can make a browser send requests, and cannot read our pages. So whatever changes something and is
known by a cookie must come from a page of ours (Fetch Metadata, or RFC 6454's Origin) and repeat a token that stands
in it. The cookie is `Lax`, because links to an approval come from chats and mail; it never crosses on anything but
such a link.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import cookie_parser
from starlette.responses import Response

from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.errors import NoCredentials, NotOurPage
from remit.domain.session import SESSION_LIFE, Session
from remit.formats import form
from remit.verbs.sign_in import digest
from remit.verbs.sign_out import keep

from .house import Asked, House

FIELD = "form_token"
LIVE = "remit-live"
LOGIN_LIFE = 600_000


@dataclass(frozen=True, slots=True)
class Browser:
    """A session in use: its row, and the token its forms carry."""

    session: Session
    form_token: str


def cookie_name(house: House, what: str = "") -> str:
    """`__Host-` where there is TLS: no other host and no other path can set or read it (RFC 6265bis section 4.1.3.2).

    On loopback, cookies of every port are one jar, so the port is in the name.
    """
    parts = urlsplit(house.url)
    base = "__Host-remit" if parts.scheme == "https" else f"remit-{parts.port or 80}"
    return f"{base}-{what}" if what else base


def cookie(asked: Asked, name: str) -> str:
    """The cookie's text, or empty."""
    return cookie_parser(asked.headers.get("cookie", "")[:8192]).get(name, "")[:4096]


def set_cookie(house: House, response: Response, value: str, what: str = "") -> None:
    """Set, or with an empty value forget, one of our cookies."""
    life = (LOGIN_LIFE if what else SESSION_LIFE) // 1000 if value else 0
    secure = house.url.startswith("https://")
    response.set_cookie(
        cookie_name(house, what), value, max_age=life, path="/", secure=secure, httponly=True, samesite="lax"
    )


async def browser(house: House, asked: Asked, now: int) -> Browser | None:
    """The session this browser has, if it is still good; a page being looked at keeps it, its live updates do not."""
    text = cookie(asked, cookie_name(house))
    row = await house.env.store.get(Session, digest(text)) if text else None
    if row is None or not row.good_at(now):
        return None
    _, force = await house.env.in_force()
    if not row.stands(force.catalogue) or (await house.env.departure(row.name)).gone:
        return None
    if LIVE not in asked.headers and "text/event-stream" not in asked.headers.get("accept", ""):
        await keep(house.env, Call(Caller(row.roles[0], row.name), now), row)
    return Browser(row, form_token(house, text))


async def caller(house: House, found: Browser, wanted: frozenset[CallerKind]) -> Caller:
    """Who this is to a route; when it is not for them, who they are, for the refusal."""
    _, force = await house.env.in_force()
    person = force.catalogue.people.get(found.session.name)
    groups = person.groups if person and CallerKind.PERSON in found.session.roles else ()
    return found.session.caller(wanted, groups) or Caller(found.session.roles[0], found.session.name)


def form_token(house: House, text: str) -> str:
    """What a form of this cookie's pages carries: who cannot read the page cannot know it."""
    return house.env.sealer.derive(b"form:" + text.encode("utf-8", "surrogatepass"))[:16].hex()


def check_same_origin(house: House, asked: Asked) -> None:
    """Raise `NotOurPage` unless a page of this very origin sent this."""
    site, origin = asked.headers.get("sec-fetch-site", ""), asked.headers.get("origin", "")
    if site:  # every current browser says so, and no page can
        ours = site == "same-origin"
    else:
        ours = origin in (origin_of(house.url), origin_of(console_url(house)))
    if not ours:
        raise NotOurPage(
            "This did not come from a page of this console.", inside=f"site {site!r}, origin {origin[:80]!r}"
        )


def check_form_token(asked: Asked, wanted: str) -> None:
    """Raise `NotOurPage` unless the form carries the token of the cookie it came with."""
    given = form.one(form.parse(asked.body), FIELD, required=False) if asked.body else ""
    if not hmac.compare_digest(given.encode(), wanted.encode()):
        step = "Open the page again and repeat it there."
        raise NotOurPage("This form is not of your session.", next_step=step)


def origin_of(url: str) -> str:
    """Scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def console_url(house: House) -> str:
    """Where people are sent. Passkeys want a name, so loopback by address is `localhost` to them."""
    return house.url.replace("http://127.0.0.1", "http://localhost", 1)


def link_url(house: House, text: str) -> str:
    """The address of a one-time link."""
    return f"{console_url(house)}/sign-in/link/{text}"


def ours(path: str) -> str:
    """A path of the console to go on to, or its first page: never another host's, whatever the spelling."""
    authorizes = path.startswith("/oauth/authorize?")  # which has addresses in it
    plain = path.isascii() and path.isprintable() and "\\" not in path and " " not in path
    short = len(path) <= (2048 if authorizes else 1024)
    inside = path == "/console" or path.startswith(("/console/", "/console?")) or authorizes
    return path if plain and short and inside and "//" not in path.partition("?")[0] else "/console"


def must_be_signed_in() -> NoCredentials:
    """The refusal of a page that nobody signed in for."""
    return NoCredentials("Sign in first.", next_step="`remit session link` prints a one-time link.")

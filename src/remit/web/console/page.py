"""How a read model becomes a page, or the same as JSON; the headers every page has; the files pages refer to."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import jinja2
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from remit.domain.caller import Call, CallerKind
from remit.domain.errors import Absent, BadField, Refusal, Unauthenticated
from remit.formats import form
from remit.web import sessions
from remit.web.house import Asked, House
from remit.web.problems import json_response

from .drawing import drawn
from .picture import pictured

PEOPLE = frozenset({CallerKind.PERSON, CallerKind.OPERATOR, CallerKind.AUDITOR})
PERSON = frozenset({CallerKind.PERSON})
ACT = frozenset({CallerKind.PERSON, CallerKind.OPERATOR})
Read = Callable[[House, Call, Asked], Awaitable[dict[str, Any]]]
Act = Callable[[House, Call, Asked], Awaitable[Response]]

# Nothing but our own files; no inline script or style; nobody may frame it; a form goes to us.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; font-src 'none'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types remit"
)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True)
class Screen:
    """One page: where it is, who may see it, what it shows. `nav` is in the menu (`under`), `key` follows `g`."""

    path: str
    read: Read
    template: str
    title: str
    nav: str = ""
    key: str = ""
    under: str = ""
    callers: frozenset[CallerKind] = PEOPLE
    query: tuple[str, ...] = ()

    async def page(self, house: House, call: Call, asked: Asked) -> Response:
        """The read model as a page."""
        return render(house, call, asked, self.template, self.title, await self.read(house, call, asked))

    async def twin(self, house: House, call: Call, asked: Asked) -> Response:
        """The same read model as JSON."""
        return json_response(await self.read(house, call, asked))


@dataclass(frozen=True)
class Action:
    """Something a page's form posts; it answers with a page, or by sending the browser on."""

    path: str
    act: Act
    callers: frozenset[CallerKind] = PEOPLE


def render(
    house: House,
    call: Call | None,
    asked: Asked | None,
    template: str,
    title: str,
    model: Mapping[str, Any],
    status: int = 200,
    goes_to: str = "",
) -> Response:
    """A page. `call` and `asked` are None where nobody is known; `goes_to` is an origin where its forms may end."""
    from .screens import SCREENS

    browser = asked.browser if asked else None
    kinds = browser.session.roles if browser else (call.caller.kind,) if call else ()
    text = (
        _templates()
        .get_template(template)
        .render(
            **model,
            title=title,
            now=house.clock(),
            path=asked.url.removeprefix(house.url) if asked else "",
            who=call.caller.name if call else "",
            roles=[kind.value for kind in kinds],
            form_token=browser.form_token if browser else "",
            menu=[one for one in SCREENS if one.nav and one.callers & frozenset(kinds)],
        )
    )
    headers = dict(HEADERS)
    if goes_to:  # browsers hold the redirect after a form to this too
        headers["Content-Security-Policy"] = POLICY.replace("form-action 'self'", f"form-action 'self' {goes_to}")
    return Response(text, status, headers, media_type="text/html; charset=utf-8")


def alone(template: str, **model: Any) -> str:
    """A page for no session and no server: it refers to nothing."""
    return _templates().get_template(template).render(**model)


def answered(house: House, call: Call, asked: Asked, template: str, title: str, model: dict[str, Any]) -> Response:
    """What a form asked for and changed nothing by: as a page, or as JSON to whoever wants that."""
    if wants_page(asked.url, asked.headers):
        return render(house, call, asked, template, title, model)
    return json_response(model)


def onward(path: str) -> Response:
    """Send the browser on to one of our own pages (RFC 9110 section 15.4.4)."""
    return RedirectResponse(path, 303, {name: value for name, value in HEADERS.items() if name != "X-Frame-Options"})


def fields(asked: Asked) -> dict[str, str]:
    """What a form of ours says, without its token; each field once."""
    parsed = form.parse(asked.body)
    if sessions.FIELD not in parsed:  # a key needs no token, and no browser sends a key by itself
        raise BadField(sessions.FIELD, "is missing: this is for forms; a program uses /v1")
    return {name: values[0] for name, values in parsed.items() if name != sessions.FIELD}


def wants_page(path: str, headers: Mapping[str, str]) -> bool:
    """Whether a refusal should be a page: a browser asked, and not for JSON."""
    return not path.endswith(".json") and "text/html" in headers.get("accept", "")


def back_to(request: Request) -> str:
    """Where to go on after signing in: the page that was asked for, if it was one."""
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return sessions.ours(path) if request.method in ("GET", "HEAD") else "/console"


def by_name(house: House, request: Request) -> str:
    """Where a page is for somebody who came by the loopback address: sessions and passkeys are of its name."""
    by, name = urlsplit(house.url).netloc, sessions.console_url(house)
    came = request.headers.get("host", "") == by != urlsplit(name).netloc
    return name + back_to(request) if came and request.method in ("GET", "HEAD") else ""


async def refused(house: House, refusal: Refusal, back: str) -> Response:
    """A refusal as a page that says what to do; who is not known is offered to sign in, there and then."""
    if isinstance(refusal, Unauthenticated):
        from .sign_in import ways

        return render(house, None, None, "sign_in.html", "Sign in", await ways(house, back, refusal), refusal.status)
    absent = isinstance(refusal, Absent)
    model = {
        "refusal": {"code": refusal.code, "title": refusal.title, "detail": refusal.message, "next": refusal.next_step}
    }
    return render(house, None, None, "refused.html", "Not found" if absent else refusal.title, model, refusal.status)


async def static(house: House, call: Call, asked: Asked) -> Response:
    """A style sheet, script or picture of the console, by the name that has its digest in it: it never changes."""
    found = _assets().get(asked.path["name"])
    if found is None:
        raise Absent(inside=asked.path["name"][:100])
    media, body = found
    headers = {**HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}
    return Response(body, 200, headers, media_type=media)


_MEDIA = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


@cache
def _assets() -> Mapping[str, tuple[str, bytes]]:
    """Every file in static/, by the name it is served under."""
    found = {}
    for file in files("remit.web.console").joinpath("static").iterdir():
        stem, _, kind = file.name.rpartition(".")
        if kind in _MEDIA:
            body = file.read_bytes()
            found[f"{stem}.{hashlib.sha256(body).hexdigest()[:16]}.{kind}"] = (_MEDIA[kind], body)
    return found


def asset(name: str) -> str:
    """The address of a file in static/."""
    stem, _, kind = name.rpartition(".")
    return next(f"/console/static/{n}" for n in _assets() if n.startswith(f"{stem}.") and n.endswith(f".{kind}"))


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("remit.web.console"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"asset": asset, "link": link, "drawn": drawn, "pictured": pictured}
    environment.filters |= {
        "exact": exact,
        "iso": iso,
        "ago": ago,
        "seen": seen,
        "commands": commands,
        "path": lambda text: quote(str(text), safe=""),
    }
    return environment


def commands(text: str) -> Markup:
    """One of our own sentences; what stands between backticks is to be typed."""
    parts = [
        seen(part) if n % 2 == 0 else Markup("<code>{}</code>").format(seen(part))
        for n, part in enumerate(text.split("`"))
    ]
    return Markup("").join(parts)


def link(path: str, **query: object) -> str:
    """A path of ours with this query."""
    given = {name: str(value) for name, value in query.items() if value not in ("", None)}
    return f"{path}?{urlencode(given)}" if given else path


def iso(instant: int) -> str:
    """An instant for programs (RFC 3339)."""
    return datetime.fromtimestamp(instant / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def exact(instant: int) -> str:
    """An instant for people who want it exactly."""
    return datetime.fromtimestamp(instant / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def ago(instant: int, now: int) -> str:
    """`4 min ago`, `in 12 s`; empty for never."""
    if not instant:
        return ""
    seconds = abs(now - instant) // 1000
    size, unit = next((s, u) for s, u in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")) if seconds >= s or s == 1)
    return f"{seconds // size} {unit} ago" if instant <= now else f"in {seconds // size} {unit}"


def seen(value: object) -> Markup:
    """Text as an eye must see it: what is invisible, or turns the line around, is spelled out and marked."""
    if str(value).isprintable():
        return escape(str(value))
    parts = [
        escape(c) if c.isprintable() or c == "\n" else Markup('<b class="hidden">{}</b>').format(ascii(c)[1:-1])
        for c in str(value)
    ]
    return Markup("").join(parts)

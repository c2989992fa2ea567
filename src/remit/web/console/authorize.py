"""A person lets a client of theirs act for one task: the authorization endpoint (RFC 6749 section 3.1).

Until the client and the address it wants the answer at are known to be right, every error stays on a page of ours. A
client that nobody names, and one for which this person has no purpose, look the same (law 11). Nothing is remembered:
every request asks the person again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import RedirectResponse, Response

from remit.domain.caller import Call
from remit.domain.errors import Absent, AddressRefused, BadField, Unavailable, WrongState
from remit.domain.identity import Agent, Attestation
from remit.formats import authorization_request, client_id_metadata, oauth_url
from remit.formats.authorization_request import FIELDS, AuthorizationRequest, Unanswerable
from remit.formats.client_id_metadata import ClientDocument
from remit.verbs import authorize
from remit.verbs.authorize import Offer
from remit.web.house import Asked, House

from .page import HEADERS, fields, render

PARAMETER = "parameter."


@dataclass(frozen=True, slots=True)
class _Client:
    """Who asks, and where the answer goes: both checked."""

    agent: Agent
    rule: Attestation
    document: ClientDocument
    redirect_uri: str

    @property
    def shown(self) -> str:
        """What a yes is bound to: the client's document and its entry here, as the person was shown both (law 7)."""
        return f"{self.document.digest} {self.rule.rule} {self.agent.name}"


async def ask(house: House, call: Call, asked: Asked) -> Response:
    """GET /oauth/authorize: who asks, for what, and may they?"""
    given = {name: value for name, value in asked.query.items() if name in FIELDS}
    client = await _client(house, call, given)
    try:
        request, some = await _request(house, call, client, given)
    except Unanswerable as error:
        return _back(house, client, given, error=error.error, error_description=error.says)
    return _page(house, call, asked, client, given, request, some)


async def answer(house: House, call: Call, asked: Asked) -> Response:
    """POST /oauth/authorize: the person's yes, to exactly what was shown, or no. All is checked anew."""
    said = fields(asked)
    given = {name: said[name] for name in FIELDS if name in said}
    client = await _client(house, call, given)
    try:
        request, some = await _request(house, call, client, given)
    except Unanswerable as error:
        return _back(house, client, given, error=error.error, error_description=error.says)
    if said.get("answer") != "yes":
        return _back(house, client, given, error="access_denied", error_description="the person said no")
    if said.get("shown") != client.shown:
        raise WrongState("What you were shown of the program has changed.", next_step="Begin again in the program.")
    parameters = {
        name.removeprefix(PARAMETER): text for name, text in said.items() if name.startswith(PARAMETER) and text
    }
    wanted = authorize.Wanted(
        client.document.client,
        client.document.digest,
        client.redirect_uri,
        request.challenge,
        request.resource,
        said.get("purpose", ""),
        said.get("revision", ""),
        said.get("goal", "").replace("\r\n", "\n").strip(),
        parameters,
    )
    try:
        code, _ = await authorize.agree(house.env, call, wanted)
    except BadField as bad:
        return _page(house, call, asked, client, given, request, some, said, bad)
    return _back(house, client, given, code=code)


async def _client(house: House, call: Call, given: Mapping[str, str]) -> _Client:
    _, force = await house.env.in_force()
    known = force.catalogue.client(given.get("client_id", ""))
    if known is None or not authorize.offers(force.catalogue, *known, call.caller.name):
        raise Absent(inside=f"client {given.get('client_id', '')[:200]!r} for {call.caller}")
    try:
        document = await house.env.attestor.client(known[1])
    except AddressRefused as refused:
        step = "Try again; if it stays so, ask whoever makes the program."
        said = "What the program says of itself cannot be had."
        raise Unavailable(said, next_step=step, inside=refused.inside) from refused
    redirect_uri = client_id_metadata.checked_redirect(given.get("redirect_uri", ""), document, known[1])
    return _Client(*known, document, redirect_uri)


async def _request(
    house: House, call: Call, client: _Client, given: Mapping[str, str]
) -> tuple[AuthorizationRequest, tuple[Offer, ...]]:
    request = authorization_request.parse(given)
    _, force = await house.env.in_force()
    some = authorize.offers(force.catalogue, client.agent, client.rule, call.caller.name, request.resource)
    if not some:
        raise Unanswerable("invalid_target", "resource is no gateway that this client may have a token for")
    if request.details:
        some = tuple(one for one in some if one.purpose.name == request.details.type)
    if not some:
        raise Unanswerable("invalid_authorization_details", "type is no purpose that can be had here")
    return request, some


def _back(house: House, client: _Client, given: Mapping[str, str], **said: str) -> Response:
    """Send the browser to the client with the answer (RFC 9700 section 4.12: 303, so that no form goes along)."""
    address = authorization_request.answered(client.redirect_uri, house.url, given.get("state"), **said)
    headers = {name: value for name, value in HEADERS.items() if name != "X-Frame-Options"}
    return RedirectResponse(address, 303, {**headers, "Referrer-Policy": "no-referrer"})


def _page(
    house: House,
    call: Call,
    asked: Asked,
    client: _Client,
    given: Mapping[str, str],
    request: AuthorizationRequest,
    some: tuple[Offer, ...],
    said: Mapping[str, str] | None = None,
    bad: BadField | None = None,
) -> Response:
    details = request.details
    stated = {name: str(value) for name, value in details.parameters.items()} if details else {}
    model: dict[str, Any] = {
        "host": urlsplit(client.document.client).netloc,
        "client": client.document.client,
        "calls_itself": client.document.name,
        "shown": client.shown,
        "back": urlsplit(client.redirect_uri).netloc,
        "loopback": client_id_metadata.is_loopback(client.redirect_uri),
        "agent": client.agent.name,
        "agent_title": client.agent.title,
        "owner": client.agent.owner,
        "resource": request.resource,
        "bearer": client.rule.bearer,
        "given": given,
        "goal": said.get("goal", "") if said else details.goal if details else "",
        "stated": {n.removeprefix(PARAMETER): t for n, t in said.items()} if said else stated,
        "chosen": said.get("purpose", "") if said else "",
        "flaw": bad.message if bad else "",
        "offers": [_offer(one) for one in some],
    }
    origin = str(oauth_url.origin_of(client.redirect_uri))
    title = f"Let {model['host']} work for you?"
    return render(house, call, asked, "authorize.html", title, model, status=400 if bad else 200, goes_to=origin)


def _offer(one: Offer) -> dict[str, Any]:
    purpose = one.purpose
    return {
        "name": purpose.name,
        "title": purpose.title or purpose.name,
        "revision": purpose.revision,
        "minutes": max(1, one.duration // 60_000),
        "calls": purpose.max_calls,
        "environments": purpose.environments,
        "sensitivity": purpose.sensitivity.word,
        "grants": [{"tool": grant.tool, "resource": grant.resource} for grant in purpose.grants],
        "parameters": [
            {"name": p.name, "title": p.title or p.name, "pattern": p.pattern, "required": p.required}
            for p in purpose.parameters
        ],
    }

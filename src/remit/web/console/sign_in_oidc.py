"""Sign in with an identity provider: leave for it, and come back.

What the sign-in is remembered by is sealed in a cookie of this browser. So an answer that somebody else's sign-in began
is no use in it (login CSRF), and neither is one of another provider (mix-up): provider, nonce and PKCE verifier are the
cookie's, never the address's. The state is spent before anything else happens with it.
"""

from __future__ import annotations

import hmac
import json
import secrets
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import RedirectResponse, Response

from remit.domain.caller import Call
from remit.domain.errors import Absent, BadToken, Replayed
from remit.domain.session import Provider
from remit.ports import Authorization
from remit.verbs.sign_in import by_provider
from remit.web import sessions
from remit.web.house import Asked, House

from .page import HEADERS, link, onward
from .sign_in import signed_in

CONTEXT = b"sign_in"
COOKIE = "login"
BEGIN_AGAIN = "Begin again on the sign-in page."


async def begin(house: House, call: Call, asked: Asked) -> Response:
    """Send the browser to the provider, and remember in the browser alone what it must come back with."""
    provider = await _provider(house, asked.path["provider"])
    name = urlsplit(sessions.console_url(house)).netloc
    if name != urlsplit(house.url).netloc == asked.headers.get("host", ""):
        return onward(f"http://{name}" + link(f"/sign-in/with/{provider.name}", next=asked.query.get("next", "")))
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    authorization = Authorization(state, nonce, verifier, _redirect_uri(house))
    address = await house.providers.address(provider, authorization, call.now)
    answer = RedirectResponse(address, 302, HEADERS)
    kept: dict[str, Any] = {
        "way": provider.way,
        "provider": provider.name,
        "state": state,
        "nonce": nonce,
        "verifier": verifier,
    }
    kept |= {"next": sessions.ours(asked.query.get("next", "")), "until": call.now + sessions.LOGIN_LIFE}
    sessions.set_cookie(house, answer, house.env.sealer.seal(json.dumps(kept).encode(), CONTEXT), COOKIE)
    return answer


async def callback(house: House, call: Call, asked: Asked) -> Response:
    """The browser is back: its state, once, then the code, then who that is here."""
    kept = _kept(house, asked, call.now)
    if not await house.env.store.spend(f"sign_in:{kept['state']}", kept["until"]):
        raise Replayed("This sign-in was finished before.", next_step=BEGIN_AGAIN)
    provider = await _provider(house, kept["provider"])
    if provider.way != kept["way"]:
        raise BadToken("The provider's entry has changed meanwhile.", next_step=BEGIN_AGAIN)
    code, error = asked.query.get("code", ""), asked.query.get("error", "")
    if error or not code:
        step = "Nothing has happened. " + BEGIN_AGAIN
        raise BadToken("The identity provider did not sign you in.", next_step=step, inside=error[:100])
    authorization = Authorization(kept["state"], kept["nonce"], kept["verifier"], _redirect_uri(house))
    claims = await house.providers.claims(provider, authorization, code, asked.query.get("iss", ""), call.now)
    answer = await signed_in(house, asked, await by_provider(house.env, call, provider, claims), kept["next"], call)
    sessions.set_cookie(house, answer, "", COOKIE)
    return answer


def _kept(house: House, asked: Asked, now: int) -> dict[str, Any]:
    """What this browser left with; `BadToken` when it did not leave from here, or came back with another's state."""
    text = sessions.cookie(asked, sessions.cookie_name(house, COOKIE))
    refused = BadToken("This sign-in did not begin in this browser, or took too long.", next_step=BEGIN_AGAIN)
    if not text:
        raise refused
    try:
        kept: dict[str, Any] = json.loads(house.env.sealer.unseal(text, CONTEXT))
    except (BadToken, ValueError) as forged:
        raise refused from forged
    given = asked.query.get("state", "").encode()
    if not hmac.compare_digest(given, str(kept["state"]).encode()) or now >= kept["until"]:
        raise refused
    return kept


async def _provider(house: House, name: str) -> Provider:
    _, force = await house.env.in_force()
    if name not in force.catalogue.providers:
        raise Absent(inside=f"sign-in provider {name[:100]}")
    return force.catalogue.providers[name]


def _redirect_uri(house: House) -> str:
    return f"{sessions.console_url(house)}/sign-in/callback"

"""Sign in and out: a link printed by the CLI, or an identity provider."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from remit.domain.caller import Call
from remit.domain.errors import BadField, Refusal
from remit.domain.session import Session
from remit.formats import form
from remit.verbs import sign_in as sign_in_verb
from remit.verbs import sign_out as sign_out_verb
from remit.web import sessions
from remit.web.house import Asked, House

from .page import onward, render


async def page(house: House, call: Call, asked: Asked) -> Response:
    """The ways to sign in."""
    back = sessions.ours(asked.query.get("next", ""))
    return (
        onward(back) if asked.browser else render(house, None, None, "sign_in.html", "Sign in", await ways(house, back))
    )


async def ways(house: House, back: str, refusal: Refusal | None = None) -> dict[str, Any]:
    """What the sign-in page shows: the configured providers, and what went wrong, if something did."""
    _, force = await house.env.in_force()
    providers = [{"name": p.name, "title": p.title or p.name} for p in force.catalogue.providers.values()]
    said = {"detail": refusal.message, "next": refusal.next_step} if refusal else {}
    return {"providers": providers, "back": back, "said": said}


async def offer(house: House, call: Call, asked: Asked) -> Response:
    """A button that uses the link: whatever only looks at links, to preview them, uses nothing up."""
    row = await sign_in_verb.offered(house.env, asked.path["link"], call.now)
    model = {"name": row.name, "as_": [role.value for role in row.roles], "until": row.expires_at}
    return render(
        house, None, None, "sign_in_link.html", "Sign in", {**model, "action": f"/sign-in/link/{asked.path['link']}"}
    )


async def use(house: House, call: Call, asked: Asked) -> Response:
    """Use the link up."""
    back = form.one(form.parse(asked.body), "next", required=False) if asked.body else ""
    return await signed_in(house, asked, await sign_in_verb.by_link(house.env, call, asked.path["link"]), back, call)


async def signed_in(house: House, asked: Asked, begun: tuple[str, Session], back: str, call: Call) -> Response:
    """Give the browser its cookie, always a new one; whoever it was before is signed out."""
    text, _ = begun
    if asked.browser:
        before = await sessions.caller(house, asked.browser, frozenset(asked.browser.session.roles))
        await sign_out_verb.end(house.env, Call(before, call.now), asked.browser.session.digest, "signed in again")
    answer = onward(sessions.ours(back))
    sessions.set_cookie(house, answer, text)
    return answer


async def sign_out(house: House, call: Call, asked: Asked) -> Response:
    """End this session."""
    if asked.browser is None:
        raise BadField("cookie", "there is no session to sign out of")
    await sign_out_verb.end(house.env, call, asked.browser.session.digest, "signed out")
    answer = onward("/sign-in")
    sessions.set_cookie(house, answer, "")
    return answer

"""Every route, and who may call it: data. What is not in this table does not exist.

The authorisation matrix in the tests is a golden file made from it; a change here is a change there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.responses import Response

from remit.domain.caller import Call, CallerKind

from . import api_agents as agents
from . import api_egress as egress
from . import api_gateway as gateway
from . import api_hooks as hooks
from . import api_people as people
from . import api_secrets as secrets
from . import api_sessions as people_sessions
from . import authzen, client_attestation, log, oauth, oidc, ops, published, shapes, spiffe
from .console import page, sign_in
from .console.export import export
from .console.live import changes
from .console.log import FILTERS
from .console.page import PEOPLE
from .console.screens import ACTIONS, SCREENS
from .house import Asked, House
from .sessions import FIELD

Handler = Callable[[House, Call, Asked], Awaitable[Response]]
KIB = 1024

ANYONE = frozenset({CallerKind.ANYONE})
AGENT = frozenset({CallerKind.AGENT})
ENFORCER = frozenset({CallerKind.ENFORCER})
PERSON = frozenset({CallerKind.PERSON})
OPERATOR = frozenset({CallerKind.OPERATOR})
READERS = frozenset({CallerKind.OPERATOR, CallerKind.AUDITOR})


@dataclass(frozen=True)
class Route:
    """`callers` holding ANYONE means unauthenticated; `limit` is the largest body in bytes (0: none is read).

    `hook`: a task's hook key, a bearer key, speaks for its agent here and nowhere else. `browser`: so does a person's
    session cookie; what it changes, a page of ours must have asked for.
    """

    method: str
    path: str
    callers: frozenset[CallerKind]
    handler: Handler
    body: type | None = None
    form: tuple[str, ...] = ()
    raw: bool = False
    query: tuple[str, ...] = ()
    limit: int = 0
    creates: bool = False
    hook: bool = False
    browser: bool = False

    def __post_init__(self) -> None:
        if not self.callers:
            raise ValueError(f"{self.method} {self.path} says nobody may call it; a route needs its callers")

    @property
    def takes_body(self) -> bool:
        """Whether a body is read at all."""
        return self.body is not None or bool(self.form) or self.raw

    @property
    def largest(self) -> int:
        """The largest body, in bytes."""
        return (self.limit or 64 * KIB) if self.takes_body else 0

    @property
    def statuses(self) -> tuple[int, ...]:
        """Everything it can answer."""
        done = 201 if self.creates else 204 if self.method == "PUT" else 200
        return (done, 400, 401, 403, 404, 409, 413, 429, 503)


_TOKEN_FORM = (
    "grant_type",
    "client_assertion_type",
    "client_assertion",
    "client_id",
    "authorization_details",
    "subject_token",
    "subject_token_type",
    "audience",
    "resource",
    "requested_token_type",
)
_PAGE = ("after", "limit")


def _shown(screen: page.Screen) -> tuple[Route, Route]:
    """A screen of the console: as JSON, and as a page."""
    return (
        Route("GET", f"{screen.path}.json", screen.callers, screen.twin, query=screen.query, browser=True),
        Route("GET", screen.path, screen.callers, screen.page, query=screen.query, browser=True),
    )


ROUTES: tuple[Route, ...] = (
    # The hot ones first: the table is walked in order.
    Route("POST", "/v1/tasks/{task}/calls", AGENT | ENFORCER, agents.call_tool, body=shapes.CallRequest),
    Route(
        "POST",
        "/v1/tasks/{task}/observations",
        AGENT | ENFORCER,
        agents.observed,
        body=shapes.ObservationRequest,
        limit=1024 * KIB,
    ),
    Route("POST", "/access/v1/evaluation", AGENT | ENFORCER, authzen.evaluation, raw=True),
    Route("POST", "/access/v1/evaluations", AGENT | ENFORCER, authzen.evaluations, raw=True, limit=1024 * KIB),
    Route("POST", "/oauth/token", ANYONE, oauth.token, form=_TOKEN_FORM),
    Route("POST", "/oauth/challenge", ANYONE, client_attestation.challenge),
    Route("POST", "/oauth/introspect", ENFORCER | READERS, oauth.introspect, form=("token",)),
    Route("POST", "/oauth/revoke", AGENT, oauth.revoke, form=("token", "token_type_hint")),
    Route("GET", "/.well-known/oauth-authorization-server", ANYONE, oauth.metadata),
    Route("GET", "/.well-known/jwks.json", ANYONE, oauth.keys),
    Route("GET", "/spiffe/bundle", ANYONE, spiffe.bundle),
    Route("GET", "/.well-known/openid-configuration", ANYONE, oidc.configuration),
    Route("GET", "/.well-known/federation-jwks.json", ANYONE, oidc.keys),
    Route("GET", "/issuers/{issuer}/{document}", ANYONE, published.document),
    Route("GET", "/.well-known/authzen-configuration", ANYONE, authzen.metadata),
    Route("GET", "/v1/whoami", AGENT | PERSON | ENFORCER | READERS, agents.whoami),
    Route("POST", "/v1/attest", ANYONE, agents.attest, body=shapes.AttestRequest, creates=True),
    Route("POST", "/v1/tasks", AGENT, agents.propose, body=shapes.ProposeRequest, creates=True),
    Route(
        "GET",
        "/v1/tasks",
        AGENT | PERSON | READERS,
        agents.list_tasks,
        query=(*_PAGE, "state", "agent", "purpose"),
    ),
    Route("GET", "/v1/tasks/{task}", AGENT | PERSON | ENFORCER | READERS, agents.show_task),
    Route(
        "POST",
        "/v1/tasks/{task}/end",
        AGENT | PERSON | OPERATOR,
        agents.end,
        body=shapes.ReasonRequest,
        query=("wait",),
    ),
    Route(
        "POST",
        "/v1/tasks/{task}/credentials",
        AGENT | ENFORCER,
        agents.credential,
        body=shapes.CredentialRequest,
        creates=True,
    ),
    Route("GET", "/v1/tasks/{task}/tools", AGENT | PERSON | ENFORCER | READERS, gateway.task_tools),
    Route("GET", "/v1/servers", ENFORCER | READERS, gateway.servers),
    Route(
        "POST",
        "/v1/tasks/{task}/delegations",
        AGENT,
        agents.delegated,
        body=shapes.DelegationRequest,
        creates=True,
    ),
    Route("POST", "/v1/tasks/{task}/hook-keys", AGENT, hooks.create_key, creates=True),
    Route(
        "POST",
        "/v1/hooks/claude-code",
        AGENT,
        hooks.claude_code,
        raw=True,
        query=("wait", "held"),
        limit=1088 * KIB,
        hook=True,
    ),
    Route("GET", "/v1/http-tools", ENFORCER | READERS, egress.http_tools),
    Route("GET", "/v1/tasks/{task}/leases", AGENT | PERSON | ENFORCER | READERS, agents.task_leases, query=("after",)),
    Route(
        "GET",
        "/v1/approvals",
        AGENT | PERSON | ENFORCER | READERS,
        people.list_approvals,
        query=(*_PAGE, "state"),
    ),
    Route(
        "GET",
        "/v1/approvals/{approval}",
        AGENT | PERSON | ENFORCER | READERS,
        people.show_approval,
        query=("wait",),
    ),
    Route("POST", "/v1/approvals/{approval}/answer", PERSON, people.answer, body=shapes.AnswerRequest),
    Route(
        "POST",
        "/v1/subject-tokens",
        PERSON,
        people.subject_token,
        body=shapes.SubjectTokenRequest,
        creates=True,
    ),
    Route("GET", "/v1/leases", READERS, people.list_leases, query=(*_PAGE, "state")),
    Route("POST", "/v1/leases/{lease}/end", PERSON | OPERATOR, agents.end_credential, body=shapes.ReasonRequest),
    Route("GET", "/v1/agents", PERSON | READERS, people.list_agents),
    Route("GET", "/v1/agents/{agent}", PERSON | READERS, people.show_agent),
    Route(
        "POST",
        "/v1/agents/{agent}/join-tokens",
        OPERATOR,
        people.invite,
        body=shapes.InviteRequest,
        creates=True,
    ),
    Route("POST", "/v1/agents/{agent}/freeze", OPERATOR, people.freeze, body=shapes.FreezeRequest),
    Route("GET", "/v1/purposes", AGENT | PERSON | READERS, people.list_purposes),
    Route("GET", "/v1/purposes/{purpose}", AGENT | PERSON | READERS, people.show_purpose),
    Route("GET", "/v1/tools", AGENT | PERSON | ENFORCER | READERS, people.list_tools),
    Route("GET", "/v1/tools/{tool}", AGENT | PERSON | ENFORCER | READERS, people.show_tool),
    Route("GET", "/v1/catalogue", READERS, people.show_catalogue),
    Route("POST", "/v1/catalogue/plan", OPERATOR, people.plan, body=shapes.FilesRequest, limit=8192 * KIB),
    Route("POST", "/v1/catalogue/replay", READERS, people.replay, body=shapes.ReplayRequest, limit=8192 * KIB),
    Route("POST", "/v1/catalogue", OPERATOR, people.apply, body=shapes.FilesRequest, limit=8192 * KIB),
    Route("POST", "/v1/keys", OPERATOR, people.create_key, body=shapes.KeyRequest, creates=True),
    Route("GET", "/v1/signing-keys", OPERATOR, ops.signing_keys),
    Route("POST", "/v1/signing-keys/{use}/rotate", OPERATOR, ops.rotate, body=shapes.RotateRequest),
    Route("GET", "/v1/secrets", READERS, secrets.list_secrets, query=_PAGE),
    Route("GET", "/v1/secrets/{secret}", READERS, secrets.show_secret),
    Route("PUT", "/v1/secrets/{secret}", OPERATOR, secrets.put, body=shapes.SecretRequest, limit=512 * KIB),
    Route("POST", "/v1/secrets/{secret}/rollback", OPERATOR, secrets.rollback, body=shapes.VersionRequest),
    Route("POST", "/v1/secrets/{secret}/retire", OPERATOR, secrets.retire, body=shapes.RetireRequest),
    Route("POST", "/v1/root-key/rewrap", OPERATOR, secrets.rewrap),
    Route("GET", "/v1/hand-overs", PERSON | READERS, secrets.list_hand_overs, query=(*_PAGE, "box")),
    Route(
        "POST",
        "/v1/hand-overs",
        PERSON | OPERATOR,
        secrets.send,
        body=shapes.HandOverRequest,
        limit=128 * KIB,
        creates=True,
    ),
    Route("POST", "/v1/hand-overs/{handover}/open", PERSON, secrets.open_, body=shapes.OpenRequest),
    Route("POST", "/v1/hand-overs/{handover}/withdraw", PERSON | OPERATOR, secrets.withdraw),
    Route("GET", "/handover/{handover}", ANYONE, secrets.page),
    Route("GET", "/v1/log", READERS | ENFORCER, log.status),
    Route("GET", "/v1/log/entries", READERS, log.entries, query=("start", "limit")),
    Route("GET", "/v1/log/search", READERS, log.search, query=("q", "before", "limit", "since", "until")),
    Route("GET", "/v1/log/proof/{index}", PERSON | READERS, log.proof),
    Route("GET", "/log/checkpoint", READERS | ENFORCER, log.checkpoint),
    Route("GET", "/log/key", ANYONE, log.key),
    Route("GET", "/log/tile/{tile:path}", READERS, log.tile),
    Route("GET", "/metrics", READERS | ENFORCER, ops.metrics),
    Route("GET", "/healthz", ANYONE, ops.healthz),
    Route("GET", "/readyz", ANYONE, ops.readyz),
    Route("GET", "/openapi.json", ANYONE, ops.openapi),
    Route("GET", "/", ANYONE, ops.index),
    Route("POST", "/v1/sessions/links", PEOPLE, people_sessions.link, body=shapes.LinkRequest, creates=True),
    Route("GET", "/v1/sessions", PEOPLE, people_sessions.list_sessions, query=_PAGE),
    Route("POST", "/v1/sessions/{session}/end", PEOPLE, people_sessions.end, body=shapes.ReasonRequest),
    Route("GET", "/sign-in", ANYONE, sign_in.page, query=("next",), browser=True),
    Route("GET", "/sign-in/link/{link}", ANYONE, sign_in.offer, browser=True),
    Route("POST", "/sign-in/link/{link}", ANYONE, sign_in.use, form=("next",), browser=True),
    Route("POST", "/sign-out", PEOPLE, sign_in.sign_out, form=(FIELD,), browser=True),
    Route("GET", "/console/changes", PEOPLE, changes, browser=True),
    Route("GET", "/console/static/{name}", ANYONE, page.static),
    Route("GET", "/console/log/export", READERS, export, query=("format", "before", *FILTERS), browser=True),
    *(row for screen in SCREENS for row in _shown(screen)),
    *(Route("POST", a.path, a.callers, a.act, form=(*a.form, FIELD), browser=True) for a in ACTIONS),
)

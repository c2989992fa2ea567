"""Every route, and who may call it: data. What is not in this table does not exist.

The authorisation matrix in the tests is a golden file made from it; a change here is a change there.
"""

from __future__ import annotations

from remit.formats import authorization_request

from . import api_agents as agents
from . import api_approvals as approvals
from . import api_connections as connections
from . import api_context as context
from . import api_egress as egress
from . import api_evidence as evidence
from . import api_findings as findings
from . import api_freeze as freezes
from . import api_gateway as gateway
from . import api_hooks as hooks
from . import api_out as out
from . import api_people as people
from . import api_secrets as secrets
from . import api_sessions as people_sessions
from . import api_shadow as shadow
from . import (
    authorization_code,
    authzen,
    authzen_requests,
    client_attestation,
    incident,
    log,
    oauth,
    oidc,
    ops,
    published,
    rightsize,
    shapes,
    shapes_context,
    shapes_signals,
    signals,
    spiffe,
    ssf,
    ssf_poll,
    status,
)
from . import shapes_approvals as asks
from .console import authorize, page, sign_in, sign_in_oidc
from .console.export import export
from .console.incident import export as export_incident
from .console.live import changes
from .console.log import FILTERS
from .console.page import PEOPLE
from .console.screens import ACTIONS, SCREENS
from .route import AGENT, ANYONE, EDGE, ENFORCER, KIB, OPERATOR, PERSON, READERS, RECEIVER, SCANNER, Route
from .routes_accountability import ACCOUNTABILITY_ROUTES
from .routes_estate import ESTATE_ROUTES
from .routes_reach import REACH_ROUTES
from .sessions import FIELD

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
    "scope",
    "request_details",
    "request_context",
    *authorization_code.FIELDS,
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
    Route("POST", "/v1/tasks/{task}/calls", AGENT | ENFORCER | EDGE, agents.call_tool, body=shapes.CallRequest),
    Route(
        "POST",
        "/v1/tasks/{task}/observations",
        AGENT | ENFORCER | EDGE,
        agents.observed,
        body=shapes.ObservationRequest,
        limit=1024 * KIB,
    ),
    Route("POST", "/access/v1/evaluation", AGENT | ENFORCER, authzen.evaluation, raw=True),
    Route("POST", "/access/v1/evaluations", AGENT | ENFORCER, authzen.evaluations, raw=True, limit=1024 * KIB),
    Route(
        "POST", "/access/v1/requests", AGENT | ENFORCER, authzen_requests.submit, raw=True, creates=True, also=(410,)
    ),
    Route("GET", "/access/v1/requests/{request}", AGENT | ENFORCER, authzen_requests.status),
    Route("POST", "/oauth/token", ANYONE, oauth.token, form=_TOKEN_FORM),
    Route("GET", "/oauth/authorize", PERSON, authorize.ask, query=authorization_request.FIELDS, browser=True),
    Route("POST", "/oauth/authorize", PERSON, authorize.answer, form=(FIELD,), browser=True),
    Route("POST", "/oauth/challenge", ANYONE, client_attestation.challenge),
    Route("POST", "/oauth/introspect", ENFORCER | READERS, oauth.introspect, form=("token",)),
    Route("POST", "/oauth/revoke", AGENT, oauth.revoke, form=("token", "token_type_hint")),
    Route("GET", "/.well-known/oauth-authorization-server", ANYONE, oauth.metadata),
    Route("GET", "/.well-known/jwks.json", ANYONE, oauth.keys),
    Route("GET", "/status", ANYONE, status.aggregation),
    Route("GET", "/status/{list}", ANYONE, status.status_list, also=(406, 501)),
    Route("POST", "/signals/{name}", ANYONE, signals.push, raw=True, limit=20 * KIB, also=(202,)),
    Route("GET", "/.well-known/ssf-configuration", ANYONE, ssf.configuration),
    Route("GET", "/.well-known/ssf-jwks.json", ANYONE, ssf.keys),
    Route("POST", "/ssf/streams", RECEIVER, ssf.create, body=shapes_signals.StreamRequest, creates=True),
    Route("GET", "/ssf/streams", RECEIVER, ssf.read, query=("stream_id",)),
    Route("PATCH", "/ssf/streams", RECEIVER, ssf.update, body=shapes_signals.StreamRequest),
    Route("PUT", "/ssf/streams", RECEIVER, ssf.replace, body=shapes_signals.StreamRequest, also=(200,)),
    Route("DELETE", "/ssf/streams", RECEIVER, ssf.delete, query=("stream_id",), also=(204,)),
    Route("GET", "/ssf/status", RECEIVER, ssf.status, query=("stream_id",)),
    Route("POST", "/ssf/status", RECEIVER, ssf.turn, body=shapes_signals.StatusRequest),
    Route("POST", "/ssf/subjects:add", RECEIVER, ssf.add_subject, body=shapes_signals.SubjectRequest),
    Route(
        "POST", "/ssf/subjects:remove", RECEIVER, ssf.remove_subject, body=shapes_signals.SubjectRequest, also=(204,)
    ),
    Route("POST", "/ssf/verify", RECEIVER, ssf.verify, body=shapes_signals.VerificationRequest, also=(204,)),
    Route("POST", "/ssf/poll/{stream}", RECEIVER, ssf_poll.poll, body=shapes_signals.PollRequest, limit=512 * KIB),
    Route("GET", "/v1/streams", READERS, ssf_poll.list_streams),
    Route("GET", "/v1/streams/{receiver}", READERS, ssf_poll.show_stream),
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
        approvals.list_approvals,
        query=(*_PAGE, "state", "task", "tool"),
    ),
    Route("GET", "/v1/approvals/stats", PERSON | READERS, approvals.stats),
    Route(
        "GET",
        "/v1/approvals/{approval}",
        AGENT | PERSON | ENFORCER | READERS,
        approvals.show_approval,
        query=("wait",),
    ),
    Route("POST", "/v1/approvals/{approval}/answer", PERSON, approvals.answer, body=asks.AnswerRequest),
    Route("POST", "/v1/approvals/{approval}/challenge", PERSON, approvals.challenge, body=asks.ChallengeRequest),
    Route("POST", "/v1/approvals/{approval}/questions", PERSON, approvals.question, body=asks.QuestionRequest),
    Route("POST", "/v1/approvals/{approval}/hand-on", PERSON, approvals.hand_on, body=asks.HandOnRequest),
    Route("GET", "/v1/standing-yeses", PERSON | READERS, approvals.standing_yeses, query=("task", "usable")),
    Route(
        "POST",
        "/v1/standing-yeses/{standing}/end",
        PERSON | OPERATOR,
        approvals.take_back,
        body=shapes.ReasonRequest,
    ),
    Route("GET", "/v1/passkeys", PERSON, approvals.list_passkeys),
    Route("POST", "/v1/passkeys/invitation", PERSON, approvals.invite_passkey),
    Route("POST", "/v1/passkeys", PERSON, approvals.register_passkey, body=asks.PasskeyRequest, creates=True),
    Route("POST", "/v1/passkeys/{passkey}/remove", PERSON | OPERATOR, approvals.remove_passkey),
    Route("GET", "/v1/away", PERSON, approvals.show_away),
    Route("POST", "/v1/away", PERSON, approvals.go_away, body=asks.AwayRequest, creates=True),
    Route("POST", "/v1/away/end", PERSON, approvals.come_back),
    Route("GET", "/v1/freezes", PERSON | READERS, freezes.list_freezes),
    Route("POST", "/v1/freezes", PERSON | OPERATOR, freezes.freeze, body=asks.FreezeRequest, creates=True),
    Route("POST", "/v1/freezes/end", PERSON | OPERATOR, freezes.unfreeze, body=asks.FreezeRequest),
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
    Route("GET", "/v1/purposes", AGENT | PERSON | READERS, people.list_purposes),
    Route("GET", "/v1/purposes/{purpose}", AGENT | PERSON | READERS, people.show_purpose),
    Route("GET", "/v1/tools", AGENT | PERSON | ENFORCER | READERS, people.list_tools),
    Route("GET", "/v1/tools/{tool}", AGENT | PERSON | ENFORCER | READERS, people.show_tool),
    Route("GET", "/v1/catalogue", READERS, people.show_catalogue),
    Route("POST", "/v1/catalogue/plan", OPERATOR, people.plan, body=shapes.FilesRequest, limit=8192 * KIB),
    Route("POST", "/v1/catalogue/replay", READERS, people.replay, body=shapes.ReplayRequest, limit=8192 * KIB),
    Route("POST", "/v1/catalogue", OPERATOR, people.apply, body=shapes.FilesRequest, limit=8192 * KIB, also=(412,)),
    Route(
        "POST", "/v1/agents/{agent}/posture", OPERATOR | ENFORCER, context.assess, body=shapes_context.PostureRequest
    ),
    Route("POST", "/v1/people/{person}/leave", OPERATOR, context.leave, body=shapes_context.LeaveRequest),
    Route("POST", "/v1/people/{person}/return", OPERATOR, context.come_back),
    Route("GET", "/v1/findings", READERS, context.findings, query=(*_PAGE, "state")),
    Route(
        "POST",
        "/v1/findings",
        OPERATOR | ENFORCER,
        context.report,
        body=shapes_context.FindingRequest,
        limit=512 * KIB,
        creates=True,
    ),
    Route("GET", "/v1/findings/{finding}", PERSON | READERS, findings.show),
    Route(
        "POST",
        "/v1/findings/{finding}/contain",
        PERSON | OPERATOR,
        findings.contain,
        body=shapes_context.ContainRequest,
    ),
    Route("GET", "/v1/scans/key", SCANNER | OPERATOR, findings.scan_key),
    Route(
        "POST",
        "/v1/scans",
        SCANNER | OPERATOR,
        findings.take,
        body=shapes_context.ScanRequest,
        limit=1024 * KIB,
        creates=True,
    ),
    Route("POST", "/v1/findings/{finding}/resolve", OPERATOR, context.resolve, body=shapes_context.NoteRequest),
    Route("GET", "/v1/shadows", READERS, shadow.list_shadows, query=("state", "limit", "after")),
    Route("POST", "/v1/shadows", ENFORCER, shadow.report, body=shadow.ShadowsRequest, also=(204,)),
    Route("GET", "/v1/shadows/{shadow}", READERS, shadow.show_shadow),
    Route("POST", "/v1/shadows/{shadow}/dismiss", OPERATOR, shadow.dismiss, body=shapes_context.NoteRequest),
    Route("GET", "/v1/redecisions", READERS, context.redecisions, query=(*_PAGE, "lasts")),
    Route("POST", "/v1/keys", OPERATOR, people.create_key, body=shapes.KeyRequest, creates=True),
    Route("GET", "/v1/keys", READERS, people.list_keys, query=("limit", "after")),
    Route("POST", "/v1/keys/{key}/end", OPERATOR, people.end_key, body=shapes.ReasonRequest),
    Route("GET", "/v1/signing-keys", OPERATOR, ops.signing_keys),
    Route("POST", "/v1/signing-keys/{use}/rotate", OPERATOR, ops.rotate, body=shapes.RotateRequest),
    Route("GET", "/v1/connections", READERS, connections.list_connections, query=_PAGE),
    Route("GET", "/v1/issuers/{issuer}/connection", READERS, connections.show),
    Route(
        "POST",
        "/v1/issuers/{issuer}/connection",
        OPERATOR,
        connections.begin,
        body=shapes.ConnectRequest,
        creates=True,
    ),
    Route(
        "POST",
        "/v1/issuers/{issuer}/connection/answer",
        OPERATOR,
        connections.answer,
        body=shapes.RedirectedRequest,
    ),
    Route("POST", "/v1/issuers/{issuer}/connection/end", OPERATOR, connections.end, body=shapes.ReasonRequest),
    Route("GET", "/client/{name}", ANYONE, connections.client_document),
    Route("GET", "/.well-known/client-jwks.json", ANYONE, connections.client_keys),
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
    Route("POST", "/v1/evidence", READERS, evidence.report, body=evidence.EvidenceRequest),
    Route("GET", "/v1/log", READERS | ENFORCER, log.status),
    Route("GET", "/v1/log/entries", READERS, log.entries, query=("start", "limit")),
    Route("GET", "/v1/log/search", READERS, log.search, query=("q", "before", "limit", "since", "until")),
    Route("GET", "/v1/rightsize", READERS, rightsize.proposals, query=("of", "days", "force")),
    Route("GET", "/v1/rightsize/diff", READERS, rightsize.diff, query=("of", "days", "force"), browser=True),
    Route("GET", "/v1/incident", PERSON | READERS, incident.incident, query=("of", "depth")),
    Route("GET", "/v1/incident/export", PERSON | READERS, export_incident, query=("of", "depth"), browser=True),
    Route("GET", "/v1/log/proof/{index}", PERSON | READERS, log.proof),
    Route("GET", "/v1/witnesses", READERS, out.list_witnesses),
    Route("GET", "/v1/out", READERS, out.list_sinks),
    Route("GET", "/v1/out/{sink}", READERS, out.show_sink),
    Route("POST", "/v1/out/{sink}/pause", OPERATOR, out.pause, body=shapes.ReasonRequest),
    Route("POST", "/v1/out/{sink}/resume", OPERATOR, out.resume, body=shapes.ReasonRequest),
    Route("POST", "/v1/out/{sink}/rewind", OPERATOR, out.rewind, body=shapes.RewindRequest),
    Route("GET", "/log/checkpoint", READERS | ENFORCER, log.checkpoint),
    Route("GET", "/log/cosigned", READERS | ENFORCER, log.cosigned, query=("quorum",)),
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
    Route("GET", "/sign-in/with/{provider}", ANYONE, sign_in_oidc.begin, query=("next",), browser=True),
    Route(
        "GET", "/sign-in/callback", ANYONE, sign_in_oidc.callback, query=("code", "state", "iss", "error"), browser=True
    ),
    Route("POST", "/sign-out", PEOPLE, sign_in.sign_out, form=(FIELD,), browser=True),
    Route("GET", "/console/changes", PEOPLE, changes, browser=True),
    Route("GET", "/console/static/{name}", ANYONE, page.static),
    Route("GET", "/console/log/export", READERS, export, query=("format", "before", *FILTERS), browser=True),
    *ESTATE_ROUTES,
    *REACH_ROUTES,
    *ACCOUNTABILITY_ROUTES,
    *(row for screen in SCREENS for row in _shown(screen)),
    *(Route("POST", a.path, a.callers, a.act, form=(FIELD,), browser=True) for a in ACTIONS),
)

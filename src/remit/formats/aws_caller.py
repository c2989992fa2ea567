"""A signed GetCallerIdentity that its signer hands to us to send to AWS STS, and what STS answers.

Whoever holds AWS credentials signs one request (Signature Version 4) and lets us send it; STS says whose it was. All
that may be in it is known beforehand, so that nothing else can be sent in its name, nor answered in STS's: host, body
and headers are checked one by one. Two signed headers bind it: to this server, and to the key that it is to prove.

Source: AWS Signature Version 4 for API requests; STS API reference, GetCallerIdentity.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree import ElementTree

from remit.domain.errors import BadToken
from remit.domain.identity import Condition

from .claim_conditions import exact, flatten

BODY = "Action=GetCallerIdentity&Version=2011-06-15"
SERVER, KEY = "x-remit-server-id", "x-remit-key"
WINDOW_MS, LEEWAY_MS, ANSWER_LIMIT = 300_000, 60_000, 16_384
CLAIMS: Mapping[str, str] = {
    "account": "the account's 12 digits",
    "id": "the unique id of the role or user (AROA…, AIDA…), which is never given again",
    "role": "the role's name, without its path",
    "user": "the user's name, with its path",
    "session": "the session's name, which whoever assumes the role chooses",
}
_HOST = re.compile(r"sts\.(?:([a-z]{2}(?:-[a-z]{2,12}){1,2}-\d)\.)?amazonaws\.com")
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=[A-Z0-9]{16,128}/(\d{8})/([a-z0-9-]{1,32})/sts/aws4_request, ?"
    r"SignedHeaders=([a-z0-9-]{1,64}(?:;[a-z0-9-]{1,64}){0,15}), ?Signature=[0-9a-f]{64}"
)
_SIGNED = frozenset(("host", "x-amz-date", SERVER, KEY))
_TYPES = ("application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=utf-8")
_OTHERS = frozenset(("authorization", "content-type", "content-length", "x-amz-security-token", "x-amz-content-sha256"))
_ARN = re.compile(
    r"arn:aws[a-z-]{0,20}:(?:sts::(\d{12}):assumed-role/([\w+=,.@-]{1,64})/([\w+=,.@-]{1,64})"
    r"|iam::(\d{12}):user/([\x21-\x7e]{1,600}))",
    re.ASCII,
)
_NAMESPACE = "{https://sts.amazonaws.com/doc/2011-06-15/}"


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What somebody says they signed. Nothing of it is checked yet, and only STS can check the signature."""

    url: str
    headers: Mapping[str, str]
    body: str

    def __repr__(self) -> str:
        return f"SignedRequest({self.url[:100]!r}, …)"

    def encode(self) -> bytes:
        """One text for one request."""
        return json.dumps([self.url, sorted(self.headers.items()), self.body]).encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class Checked:
    """A request that may be sent as it is: the POST of `BODY`. Instants in ms."""

    url: str
    headers: Mapping[str, str]
    signed_at: int
    expires_at: int

    def __repr__(self) -> str:
        return f"Checked({self.url!r}, …)"


def check(request: SignedRequest, *, server: str, jkt: str, now: int) -> Checked:
    """Whether this is GetCallerIdentity, for this server, this key and these five minutes; or `BadToken`."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    url = re.fullmatch(rf"https://({_HOST.pattern})/?", request.url)
    if not url or headers.get("host") != url[1]:
        raise _bad("not the address of STS, or host is another")
    if request.body != BODY:
        raise _bad("not the body of GetCallerIdentity")
    if len(headers) != len(request.headers) or not headers.keys() <= _SIGNED | _OTHERS:
        raise _bad("a header twice, or one that does not belong there")
    if not all(re.fullmatch(r"[\x20-\x7e]{1,4096}", value) for value in headers.values()):
        raise _bad("a header that is empty, too long or not plain text")
    if headers.get("content-type") not in _TYPES or headers.get("content-length", str(len(BODY))) != str(len(BODY)):
        raise _bad("another content-type or content-length")
    said = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if not said:
        raise _bad("authorization is not Signature Version 4 for sts")
    signed = set(said[3].split(";"))
    if not _SIGNED | ({"x-amz-security-token"} & headers.keys()) <= signed <= headers.keys():
        raise _bad(f"must be signed: {', '.join(sorted(_SIGNED))}, and nothing that is not there")
    if headers[SERVER] != server or headers[KEY] != jkt:
        raise _bad(f"{SERVER} is not this server, or {KEY} not this key's thumbprint")
    signed_at = _instant(headers["x-amz-date"])
    if said[1] != headers["x-amz-date"][:8] or said[2] != (url[2] or "us-east-1"):
        raise _bad("the credential's scope is of another day or region")
    if not signed_at - LEEWAY_MS <= now < signed_at + WINDOW_MS:
        raise _bad("x-amz-date is not of the last five minutes")
    return Checked(f"https://{url[1]}/", headers, signed_at, signed_at + WINDOW_MS)


def parse_answer(body: bytes) -> dict[str, str]:
    """Who signed it, by the names in `CLAIMS`; anything that is not exactly STS's answer to this raises `BadToken`."""
    try:
        text = body.decode("utf-8")
        if len(body) > ANSWER_LIMIT or "<!" in text:  # no entities, so nothing that could expand
            raise _bad("STS answered something too long, or with declarations")
        root = ElementTree.fromstring(text)  # noqa: S314
    except (UnicodeDecodeError, ElementTree.ParseError, ValueError) as wrong:
        raise _bad("STS answered no XML") from wrong
    results = [part for part in root if part.tag == f"{_NAMESPACE}GetCallerIdentityResult"]
    if root.tag != f"{_NAMESPACE}GetCallerIdentityResponse" or len(results) != 1:
        raise _bad("STS answered something else")
    result = results[0]
    found = {name: [part.text or "" for part in result if part.tag == _NAMESPACE + name] for name in _ANSWERED}
    if any(len(values) != 1 for values in found.values()) or len(result) != len(_ANSWERED):
        raise _bad("STS's answer lacks a member, or has it twice")
    return _caller(*(found[name][0] for name in _ANSWERED))


_ANSWERED = ("Arn", "UserId", "Account")


def _caller(arn: str, user_id: str, account: str) -> dict[str, str]:
    match = _ARN.fullmatch(arn)
    if not match or account not in (match[1], match[4]):
        raise _bad("neither a role's session nor a user, or of another account")
    id, _, session = user_id.partition(":")
    if not re.fullmatch(r"[A-Z0-9]{16,128}", id) or session != (match[3] or ""):
        raise _bad("UserId does not fit Arn")
    if match[5]:
        return {"account": account, "id": id, "user": match[5]}
    return {"account": account, "id": id, "role": match[2], "session": session}


def flaw(conditions: Mapping[str, Condition]) -> tuple[tuple[str, ...], str] | None:
    """What is wrong with an attestation's conditions on a caller, and at which; None when nothing."""
    pinned: set[str] = set()
    for path, wanted in flatten(conditions):
        if len(path) != 1 or path[0] not in CLAIMS or not isinstance(wanted, str):
            return path[:1], f"an AWS caller has {', '.join(CLAIMS)}, and each is text"
        if exact(wanted):
            pinned.add(path[0])
        elif path[0] != "session":
            return path, f"claim {path[0]!r} must be written whole: what else begins so can be had by others"
    if "account" not in pinned or not pinned & {"id", "role", "user"}:
        return (), "this does not say which AWS caller it is. Pin account, and id, role or user; session proves nothing"
    return None


def _instant(text: str) -> int:
    try:
        moment = datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as wrong:
        raise _bad("x-amz-date is no date") from wrong
    return int(moment.timestamp()) * 1000


def _bad(inside: str) -> BadToken:
    return BadToken("The signed AWS request is not valid.", next_step="Sign a fresh one.", inside=inside)

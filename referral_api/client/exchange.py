"""The protocol without sockets: what to ask the exchange, and what its answers are worth.

`Request` values are everything that goes out, `Response` values everything that came back; the functions between them
neither open a connection nor read a clock. An answer is judged in two steps: `judge` says whether it is an answer at
all (or raises the problem that the exchange states), and client/trust.py says whether it is true.

Must never: believe a state, a receipt or a key because the exchange says so; follow a URL from an answer; retry.

Implements: R-05 (sizes of answers), R-50 to R-55; RFC 9457 (problems), RFC 6749 §5.2 (token errors).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from referral_api.auditlog.container import MAX_ARCHIVE_BYTES
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term
from referral_api.domain.words import CredentialKind, Digest, Role
from referral_api.formats.fields import LATEST_S
from referral_api.formats.strict_json import canonical, compact, parse

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
BUNDLE_TYPE = "application/jose+json"
TEXT = "text/plain"
OCTETS = "application/octet-stream"
ARCHIVE = "application/zip"
PROBLEM = "application/problem+json"

MAX_ANSWER_BYTES = 8 << 20
"""No answer but an evidence pack is larger; a body beyond it is not read to its end."""
MAX_PROBLEM_BYTES = 64 * 1024
INBOX_WAIT_S = 25
INBOX_LIMIT = 200

_OURS = frozenset(
    {
        *(ErrorCode.MALFORMED, ErrorCode.TOO_LARGE, ErrorCode.WRONG_TYPE, ErrorCode.ACT_SCHEMA),
        *(ErrorCode.CLASSICAL_RECIPIENT, ErrorCode.WRONG_AUDIENCE, ErrorCode.STATEMENT_OUT_OF_SEQUENCE),
        *(ErrorCode.ILLEGAL_TRANSITION, ErrorCode.STALE_HEAD, ErrorCode.NOT_PERMITTED, ErrorCode.CODE_VOID),
    }
)
"""What blames whoever calls: said of something that the exchange has told, it would blame the wrong one."""
_FACT = re.compile(r"[A-Za-z0-9_.:+-]{1,64}")
_FACT_NAMES = frozenset({"head", "state", "act", "allowed", "limit", "reason", "where", "member", "skew_s", "needs"})


@dataclass(frozen=True, slots=True)
class Request:
    """One call. `authorised` calls carry a token and a DPoP proof; `repeatable` ones may be sent again unchanged."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)
    content_type: str | None = None
    accept: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    authorised: bool = True
    repeatable: bool = True
    wait_s: int = 0
    max_answer: int = MAX_ANSWER_BYTES

    @property
    def target(self) -> str:
        """Path and query as they are sent."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path


@dataclass(frozen=True, slots=True)
class Response:
    """One answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


# What is asked.


def configuration() -> Request:
    """Who the exchange says it is: issuer, environment, root, limits, clocks."""
    return Request("GET", "/.well-known/referral-configuration", authorised=False)


def token(form: bytes) -> Request:
    """An access token (R-40). The assertion in `form` is single use, so the bytes are never sent twice."""
    return Request("POST", "/oauth/token", body=form, content_type=FORM, authorised=False, repeatable=False)


def ping() -> Request:
    """Who am I, and what time is it there."""
    return Request("GET", "/v1/ping")


def parties() -> Request:
    """The directory as the exchange shows it; what it says of keys is checked against the keys log."""
    return Request("GET", "/v1/parties")


def submit(ref: str, act: bytes, bundle: bytes, route: bytes | None) -> Request:
    """A new referral, its bundle, and the `route` act where units are excluded."""
    members = {"act": _ascii(act), "bundle": _ascii(bundle)}
    if route is not None:
        members["route"] = _ascii(route)
    return _put(f"/v1/referrals/{_segment(ref)}", members)


def later_act(ref: str, act_id: str, act: bytes, sealed: bytes | None) -> Request:
    """Any later act on a referral, and what travels sealed beside it."""
    members = {"act": _ascii(act)} | ({} if sealed is None else {"sealed": _ascii(sealed)})
    return _put(f"/v1/referrals/{_segment(ref)}/acts/{_segment(act_id)}", members)


def directory_act(act_id: str, act: bytes, enrolment: str | None) -> Request:
    """A directory act; `enrolment` names the one whose keys a statement brings."""
    members = {"act": _ascii(act)} | ({} if enrolment is None else {"enrolment": enrolment})
    return _put(f"/v1/directory/acts/{_segment(act_id)}", members)


def referral(ref: str, etag: str | None = None) -> Request:
    """The acts of a referral that this party may see (R-54)."""
    headers = () if etag is None else (("If-None-Match", etag),)
    return Request("GET", f"/v1/referrals/{_segment(ref)}", headers=headers)


def bundle(ref: str) -> Request:
    """The exact bundle of a referral. That it was handed out is on the record before the first byte (R-52)."""
    return Request("GET", f"/v1/referrals/{_segment(ref)}/bundle", accept=BUNDLE_TYPE)


def sealed(ref: str, act: Digest) -> Request:
    """The exact text sealed beside an act."""
    return Request("GET", f"/v1/referrals/{_segment(ref)}/sealed/{_segment(act)}", accept=BUNDLE_TYPE)


def inbox(after: str | None, *, wait_s: int = 0, limit: int = INBOX_LIMIT, pending: bool = False) -> Request:
    """What arrived after a cursor; with `wait_s` the exchange holds the call until something does (R-55)."""
    query = [("limit", str(limit))]
    if after is not None:
        query.append(("after", after))
    if wait_s:
        query.append(("wait", str(min(wait_s, INBOX_WAIT_S))))
    if pending:
        query.append(("pending", "true"))
    return Request("GET", "/v1/inbox", query=tuple(query), wait_s=min(wait_s, INBOX_WAIT_S))


def receipt(act: Digest, *, wait_s: int = 0) -> Request:
    """The stored receipt of an act, with a fresh proof; `wait_s` lets a quorum of witnesses cosign it first (R-101)."""
    headers = (("Prefer", f"wait={wait_s}"),) if wait_s else ()
    return Request("GET", f"/v1/receipts/{_segment(act)}", headers=headers, wait_s=wait_s)


def evidence(ref: str) -> Request:
    """The evidence pack of a referral (R-89)."""
    return Request("GET", f"/v1/evidence/{_segment(ref)}", accept=ARCHIVE, max_answer=MAX_ARCHIVE_BYTES)


def checkpoint(log: str, *, cosigned: bool = False) -> Request:
    """The newest checkpoint of a log, `keys` or `audit/<term>`, or of those that a quorum of witnesses has cosigned."""
    return Request("GET", f"/v1/log/{log}/checkpoint", query=(("cosigned", "1"),) if cosigned else (), accept=TEXT)


def tile(log: str, tile_path: str) -> Request:
    """A tile of a log by its C2SP path."""
    return Request("GET", f"/v1/log/{log}/{tile_path}", accept=OCTETS)


def consistency(log: str, old: int, new: int) -> Request:
    """The proof that a log only grew from `old` to `new` leaves."""
    return Request("GET", f"/v1/log/{log}/consistency", query=(("from", str(old)), ("to", str(new))))


def beginning(term: Term) -> Request:
    """The first records of an audit log, with their proofs (R-92)."""
    return Request("GET", f"/v1/log/{term.log}/beginning")


def records(term: Term, start: int, limit: int, **sought: str | int) -> Request:
    """The exact records behind leaves of the audit log, from an index on.

    `sought` narrows them: `party`, `ref`, `kind`, `since`, `until` (R-98); then `next` in the answer says where to go
    on, even where it is empty.
    """
    query = (("from", str(start)), ("limit", str(limit)), *((name, str(value)) for name, value in sought.items()))
    return Request("GET", f"/v1/records/{term}", query=query)


def begin_enrolment(invitation: str, enc: Sequence[Mapping[str, str]]) -> Request:
    """Show an invitation and the encryption keys to be challenged (R-35)."""
    return _enrolment("POST", "/v1/enrolments", invitation, {"enc": [dict(jwk) for jwk in enc]})


def complete_enrolment(invitation: str, enrolment: str, document: Mapping[str, Any]) -> Request:
    """Key entries, answered challenges, and the proposal or statement (R-35)."""
    return _enrolment("PUT", f"/v1/enrolments/{_segment(enrolment)}", invitation, document)


def enrolment_turn(invitation: str, enrolment: str) -> Request:
    """Whose turn an enrolment is."""
    return _enrolment("GET", f"/v1/enrolments/{_segment(enrolment)}", invitation, None)


def enrolments() -> Request:
    """The enrolments that wait for this registrar or keyholder."""
    return Request("GET", "/v1/enrolments")


def _enrolment(method: str, path: str, invitation: str, document: Mapping[str, Any] | None) -> Request:
    return Request(
        method,
        path,
        body=b"" if document is None else canonical(dict(document)),
        content_type=None if document is None else JSON,
        headers=(("Referral-Invitation", invitation),),
        authorised=False,
        repeatable=method != "POST",
    )


def _put(path: str, members: dict[str, str]) -> Request:
    return Request("PUT", path, body=compact(members), content_type=JSON)


def _segment(text: str) -> str:
    """One segment of a path, whatever it holds: an id from elsewhere must not lead to another resource."""
    return quote(text, safe="")


def _ascii(raw: bytes) -> str:
    return raw.decode("ascii")


# What is answered.


@contextmanager
def told() -> Iterator[None]:
    """Around whatever reads what the exchange has told, for others too: what cannot be so is false, not our mistake.

    Raises TAMPERED (`what` `answer`, `reason`: the code) in place of the codes that blame a caller; what the exchange
    itself states in a problem document (`status`) stays as it is.
    """
    try:
        yield
    except ReferralError as error:
        if error.code not in _OURS or "status" in error.facts:
            raise
        facts = {name: value for name, value in error.facts.items() if name != "reason"}
        raise ReferralError(ErrorCode.TAMPERED, **{"what": "answer", "reason": error.code.value} | facts) from error


def judge(request: Request, response: Response) -> bytes:
    """The body of a success of the kind that was asked for; b"" for 304.

    Raises the ReferralError that a problem document states (facts limited to codes, digests and numbers, and `status`,
    `retry`), or UNAVAILABLE (`status`, `reason`) for an answer that is neither: a proxy's page, another media type.
    """
    if response.status == 304 and any(name == "If-None-Match" for name, _ in request.headers):
        return b""
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if response.status in (200, 201):
        # A captive portal answers 200 with a page of its own.
        if media_type != request.accept:
            raise ReferralError(ErrorCode.UNAVAILABLE, status=response.status, reason="media-type")
        if len(response.body) > request.max_answer:
            raise ReferralError(ErrorCode.UNAVAILABLE, status=response.status, reason="too-large")
        return response.body
    if media_type == PROBLEM:
        raise parse_problem(response)
    raise ReferralError(ErrorCode.UNAVAILABLE, status=response.status, reason="not-a-problem")


def judge_json(request: Request, response: Response) -> dict[str, Any]:
    """The object of a JSON answer. Raises as `judge` does; UNAVAILABLE (`reason` `unreadable`) where there is none."""
    try:
        value = parse(judge(request, response), max_bytes=MAX_ANSWER_BYTES)
    except ReferralError as error:
        if error.code not in (ErrorCode.MALFORMED, ErrorCode.TOO_LARGE) or "status" in error.facts:
            raise
        value = None
    if not isinstance(value, dict):
        raise ReferralError(ErrorCode.UNAVAILABLE, status=response.status, reason="unreadable")
    return value


def judge_token(request: Request, response: Response) -> dict[str, Any]:
    """The object of a token answer.

    Raises INVALID_TOKEN (`error`, RFC 6749 §5.2), USE_DPOP_NONCE, RATE_LIMITED (`retry_after_s`) or UNAVAILABLE.
    """
    if response.status == 200:
        return judge_json(request, response)
    if response.status in (400, 401):
        error = _find_oauth_error(response)
        if error == "use_dpop_nonce":
            raise ReferralError(ErrorCode.USE_DPOP_NONCE, status=response.status)
        if error is not None:
            raise ReferralError(ErrorCode.INVALID_TOKEN, error=error, status=response.status)
    if response.status == 429:
        # The token endpoint speaks OAuth, not problem documents; the outbox waits as long as it is told.
        raise ReferralError(ErrorCode.RATE_LIMITED, status=429, retry="after", **_retry_after(response))
    judge(request, response)
    raise ReferralError(ErrorCode.UNAVAILABLE, status=response.status, reason="not-a-problem")


def judge_receipted(request: Request, response: Response) -> dict[str, Any]:
    """The object that holds `receipt` and `proof`: of a success, or of a final refusal's problem document (R-50).

    Raises as `judge` does for everything else; a final refusal without a receipt is a refusal, and not final.
    """
    if response.status in (200, 201):
        answer = judge_json(request, response)
    else:
        answer = _find_problem(response) or {}
        if "receipt" not in answer:
            judge(request, response)
            raise ReferralError(ErrorCode.UNAVAILABLE, status=response.status, reason="not-a-problem")
    if not all(isinstance(answer.get(name), str) for name in ("receipt", "proof")):
        raise ReferralError(ErrorCode.RECEIPT_MISMATCH, member="proof")
    return answer


@told()
def parse_ping(answer: Mapping[str, Any], credential: str, party: str, environment: str) -> dict[str, Any]:
    """Who the exchange takes us for, which must be who we are, and its version and time. Raises TAMPERED."""
    kinds = {"role": Role, "kind": CredentialKind}
    for name, mine in (("credential", credential), ("party", party), ("environment", environment)):
        if answer.get(name) != mine:
            raise ReferralError(ErrorCode.TAMPERED, what="ping", reason=name)
    if not all(answer.get(name) in {one.value for one in kind} for name, kind in kinds.items()):
        raise ReferralError(ErrorCode.MALFORMED, reason="members")
    version, at = answer.get("version"), answer.get("server_time")
    if not isinstance(version, str) or _FACT.fullmatch(version) is None or type(at) is not int or at > LATEST_S:
        raise ReferralError(ErrorCode.MALFORMED, reason="members")
    return dict(answer)


def parse_problem(response: Response) -> ReferralError:
    """The error that a problem document states. An unknown code becomes INTERNAL; free text is left behind."""
    document = _find_problem(response)
    if document is None:
        return ReferralError(ErrorCode.UNAVAILABLE, status=response.status, reason="not-a-problem")
    claimed = str(document.get("code"))
    code = ErrorCode(claimed) if claimed in ErrorCode._value2member_map_ else ErrorCode.INTERNAL
    facts = {name: document[name] for name in _FACT_NAMES & document.keys() if _is_fact(document[name])}
    if document.get("retry") in ("never", "same", "new-proof", "after"):
        facts["retry"] = document["retry"]
    if _is_fact(document.get("request_id")):
        facts["request_id"] = document["request_id"]
    return ReferralError(code, status=response.status, **facts, **_retry_after(response))


def _retry_after(response: Response) -> dict[str, int]:
    """The fact `retry_after_s`, where the exchange says when to ask again: a day at most."""
    told = response.headers.get("retry-after", "")
    return {"retry_after_s": min(int(told[:6]), 86_400)} if told.isdecimal() else {}


def wants_nonce(response: Response) -> str | None:
    """The nonce with which the same call shall be proved again (R-43), or None."""
    nonce = response.headers.get("dpop-nonce")
    if response.status not in (400, 401) or nonce is None or not 0 < len(nonce) <= 256:
        return None
    problem = _find_problem(response) or {}
    asked = "use_dpop_nonce" in (problem.get("code"), _find_oauth_error(response))
    return nonce if asked or "use_dpop_nonce" in response.headers.get("www-authenticate", "") else None


def _find_problem(response: Response) -> dict[str, Any] | None:
    try:
        document = parse(response.body, max_bytes=MAX_PROBLEM_BYTES, floats=True)
    except ReferralError:
        return None
    return document if isinstance(document, dict) else None


def _find_oauth_error(response: Response) -> str | None:
    error = (_find_problem(response) or {}).get("error")
    return error if isinstance(error, str) and _FACT.fullmatch(error) else None


def _is_fact(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) <= 32 and all(_is_fact(entry) for entry in value)
    if isinstance(value, str):
        return _FACT.fullmatch(value) is not None or value == ""
    return isinstance(value, (int, float)) and not isinstance(value, bool)

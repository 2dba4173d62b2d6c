"""Who is calling: access tokens are issued and every call is authenticated here, fail-closed.

The hot path costs one signature check, the proof's: a token is verified once and kept by its SHA-256 until it
expires, while the directory is asked at every call, so that a removed credential or a revoked key ends access at
once.

Must never: believe a token's word about rights (role, kind and keyholder come from the directory), accept a token
without its proof, let failures of callers who have not proved a key end anything but their own calls (limits.py), or
read a clock.

Implements: R-40 to R-47; RFC 9449 §5, §7; RFC 9068 §4; design §7.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Never, TypeAlias

from joserfc import jwt
from joserfc.errors import JoseError

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CredentialId, Kid
from referral_api.formats.keys import Alg, SigningKey
from referral_api.formats.strict_json import b64u, parse
from referral_api.server.service.callers import Caller, Directory, DirectoryCredential
from referral_api.server.service.limits import TOKENS_A_MINUTE, Limits, rate_limited
from referral_api.server.service.oauth import (
    TOKEN_PATH,
    TOKEN_S,
    TokenIssuer,
    joserfc_key,
    one_algorithm,
)
from referral_api.server.service.proofs import (
    MAX_CLIENTS,
    PROOF_ALGS,
    Nonces,
    Proof,
    ProofReader,
    is_seconds,
    parse_compact,
)
from referral_api.server.service.replay import ReplayStore
from referral_api.server.service.token_form import Claimed, FormError, read_claimed, read_form
from referral_api.server.service.token_keys import OneTokenKey, TokenKeys

__all__ = ["Caller", "Headers", "TokenAnswer", "TokenService", "challenge_headers"]

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
"""ASGI header pairs, names in lower case, values as received."""

MAX_TOKEN_BYTES = 4096
_NO_STORE = ((b"cache-control", b"no-store"), (b"pragma", b"no-cache"))
_TOO_OFTEN = f"Too often in this name: wait as long as Retry-After says. {TOKENS_A_MINUTE} tokens a minute are enough."
_ALGS = f'algs="{" ".join(alg.value for alg in PROOF_ALGS)}"'


class TokenAnswer(NamedTuple):
    """The token endpoint's answer: `document` is sent as JSON with exactly these headers beside its content type."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    document: dict[str, Any]
    credential: str | None = None
    """Whose token it is, or who has had too many."""

    @property
    def refusal(self) -> ErrorCode | None:
        """Why there is none, in the exchange's own words."""
        error = str(self.document.get("error", ""))
        if self.status < 400:
            return None
        return ErrorCode(error) if error in set(ErrorCode) else _REFUSALS.get(self.status, ErrorCode.MALFORMED)


_REFUSALS = {401: ErrorCode.INVALID_TOKEN, 429: ErrorCode.RATE_LIMITED, 503: ErrorCode.UNAVAILABLE}


@dataclass(slots=True)
class _Session:
    """A token that has been verified, and the caller that the directory made of it last."""

    credential: CredentialId
    access_kid: Kid
    jkt: Kid
    expires_at: int
    ath: str
    token_kid: str
    seen: DirectoryCredential | None = None
    caller: Caller | None = None


class TokenService:
    """Issues and checks tokens for one exchange. Thread-safe; every answer depends on `now` alone, never on a clock."""

    def __init__(
        self,
        *,
        issuer: str,
        token_key: SigningKey,
        keys: TokenKeys | None = None,
        directory: Callable[[], Directory],
        replay: ReplayStore,
        limits: Limits,
    ) -> None:
        """`issuer` is the public base URL of the exchange, the same in every process and in the keys log.

        What all processes share is derived from `token_key`; `keys` says which sign and verify (None: this one).
        """
        if token_key.alg is not Alg.ED25519:
            # The secret below is the same in every process only because Ed25519 signs deterministically.
            raise ValueError("the token key is an Ed25519 key")
        self._issuer = issuer.rstrip("/")
        self._api_url = self._issuer + "/v1"
        self._directory, self._replay = directory, replay
        self._keys = keys or OneTokenKey(token_key)
        # A signing input of a JWS holds one full stop and no blank, so this text is never one.
        secret = hashlib.sha256(token_key.sign(b"referral-1 secret of the token service")).digest()
        self._proofs = ProofReader(self._issuer, Nonces(secret), replay.epoch)
        self._tokens = TokenIssuer(
            issuer=self._issuer,
            api_url=self._api_url,
            token_keys=self._keys,
            directory=directory,
            decoys=TokenIssuer.make_decoys(secret),
        )
        self._sessions: dict[bytes, _Session] = {}
        self._sessions_lock = threading.Lock()
        self.limits = limits

    def turn_away(self, body: bytes, headers: Headers, now: int) -> TokenAnswer | None:
        """A 429 for a token request that is certain to fail in a name that has failed too often (R-47), else None.

        Only who names no key of the exchange is certain to fail; whoever names the right one is looked at. Costs
        nothing while nobody has failed too often, and a look at the form while somebody has: it may run on the event
        loop, so that whoever floods never stands in the token desk's queue before those who have their keys.
        """
        if not self.limits.is_failing(now):
            return None
        try:
            claimed = read_claimed(read_form(body, headers))
        except FormError:
            return None
        if self._names_a_key(claimed, now) or not self.limits.turns_away(claimed.name, now):
            return None
        return _oauth_refusal(rate_limited(now), now)

    def issue(self, body: bytes, headers: Headers, now: int) -> TokenAnswer:
        """Answer `POST /oauth/token` (R-40, R-41): never raises for anything that a client can send.

        Blocks for the replay store, which on one machine is a disk sync; call it off the event loop.
        """
        fields = list(headers)
        try:
            form = read_form(body, fields)
        except FormError as error:
            return _oauth_error(400, "invalid_request", error.description, now)
        answer = self._issue(form, fields, now)
        is_failure = answer.status == 401 or answer.document.get("error") == "invalid_dpop_proof"
        if is_failure and self.limits.failed(read_claimed(form).name, now):
            return _oauth_refusal(rate_limited(now), now)
        return answer

    def authenticate(self, method: str, path: str, headers: Headers, now: int) -> Caller:
        """The caller of one API call (R-42); `path` as received, percent-encoded, without query.

        Raises INVALID_TOKEN with `reason` `missing`, `scheme`, `doubled`, `malformed`, `signature`, `claims`,
        `expired`, `credential` or `key`; INVALID_DPOP_PROOF with `reason` `missing`, `doubled`, `binding`, `replayed`
        or those of `ProofReader.verify_proof`; USE_DPOP_NONCE (`skew_s`, `nonce`); REPLAY_STORE_UNAVAILABLE;
        RATE_LIMITED (`retry_after_s`; R-46): this credential's calls are over for this minute, or its token has come
        too often without its proof (R-47).
        """
        authorization = proof_text = None
        for name, value in headers:
            if name == b"authorization":
                if authorization is not None:
                    _refuse_token("doubled")
                authorization = value
            elif name == b"dpop":
                if proof_text is not None:
                    raise ReferralError(ErrorCode.INVALID_DPOP_PROOF, reason="doubled")
                proof_text = value
        if authorization is None:
            _refuse_token("missing")
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"dpop":
            _refuse_token("scheme")
        session = self._session(token.strip(b" "), now)
        self.limits.calls.check(session.credential, now)
        try:
            caller = self._caller(session, now)
            self._prove(proof_text, session, method, path, now)
        except ReferralError as error:
            if error.code in (ErrorCode.INVALID_TOKEN, ErrorCode.INVALID_DPOP_PROOF):
                self.limits.failed_calls.take(session.credential, now)
            raise
        return caller

    def _prove(self, proof_text: bytes | None, session: _Session, method: str, path: str, now: int) -> None:
        """That whoever calls holds the key that the token is bound to, for this call."""
        if proof_text is None:
            raise ReferralError(ErrorCode.INVALID_DPOP_PROOF, reason="missing")
        proof = self._proofs.verify_proof(proof_text, method, path, now, ath=session.ath)
        if proof.jkt != session.jkt:
            raise ReferralError(ErrorCode.INVALID_DPOP_PROOF, reason="binding")
        self._claim_proof(proof, now)

    def _issue(self, form: Mapping[str, str], headers: Sequence[tuple[bytes, bytes]], now: int) -> TokenAnswer:
        proved: list[CredentialId] = []
        try:
            return self._granted(form, headers, proved, now)
        except ReferralError as error:
            answer = _oauth_refusal(error, now)
            return answer._replace(credential=proved[0]) if proved else answer

    def _granted(
        self, form: Mapping[str, str], headers: Sequence[tuple[bytes, bytes]], proved: list[CredentialId], now: int
    ) -> TokenAnswer:
        """What Authlib's grant answers. `proved` gets the credential once it has proved its key, as only it can."""
        proofs = [value for name, value in headers if name == b"dpop"]
        if len(proofs) != 1:
            raise ReferralError(ErrorCode.INVALID_DPOP_PROOF, reason="doubled" if proofs else "missing")
        proof = self._proofs.verify_proof(proofs[0], "POST", TOKEN_PATH, now, ath=None)

        def claim(credential: CredentialId, use: bytes, until: int) -> None:
            # Only an assertion under the credential's own key comes here, and counts only once: nobody can fill the
            # store, or use up another's tokens by sending again what was overheard.
            self.limits.tokens.check(credential, now)
            self._claim_proof(proof, now)
            self._replay.claim_assertion(use, until, now)
            proved.append(credential)
            if not self.limits.tokens.take(credential, now):
                raise rate_limited(now)

        answer = self._tokens.answer(form, proof.jkt, claim, now)
        if answer.status == 200:
            return TokenAnswer(200, _NO_STORE, answer.document, proved[0])
        return _oauth_error(answer.status, answer.document["error"], answer.document.get("error_description"), now)

    def _claim_proof(self, proof: Proof, now: int) -> None:
        try:
            self._replay.claim_proof(proof.use, proof.use_from, proof.use_until, proof.epoch, now)
        except ReferralError as error:
            if error.code is ErrorCode.USE_DPOP_NONCE:
                raise self._proofs.ask_for_nonce(proof.issued_at, now) from None
            raise

    def _names_a_key(self, claimed: Claimed, now: int) -> bool:
        """Whether there is this credential and this is the key that it authenticates with.

        The key is looked for first: who knows none of ours learns nothing about names by how long this takes.
        """
        directory = self._directory()
        if directory.find_key(claimed.kid) is None:
            return False
        try:
            return directory.access_key(CredentialId(claimed.name), now).kid == claimed.kid
        except ReferralError:
            return False

    def _caller(self, session: _Session, now: int) -> Caller:
        """What the directory says at this call (R-45)."""
        directory = self._directory()
        try:
            key = directory.access_key(session.credential, now)
        except ReferralError:
            raise ReferralError(ErrorCode.INVALID_TOKEN, reason="credential") from None
        credential = directory.find_credential(session.credential)
        if credential is None:
            _refuse_token("credential")
        if key.kid != session.access_kid:
            _refuse_token("key")
        caller = session.caller
        if caller is None or session.seen is not credential:
            caller = Caller(credential.id, credential.party, credential.role, credential.kind, credential.keyholder)
            session.caller, session.seen = caller, credential
        return caller

    def _session(self, token: bytes, now: int) -> _Session:
        digest = hashlib.sha256(token).digest()
        session = self._sessions.get(digest)
        if session is None:
            session = self._verified(token, digest, now)
            with self._sessions_lock:
                if len(self._sessions) >= MAX_CLIENTS:
                    self._make_room(now)
                self._sessions[digest] = session
        if now >= session.expires_at:
            _refuse_token("expired")
        if self._keys.verifier(session.token_kid, now) is None:
            _refuse_token("signature")  # Its key has ended, perhaps because somebody else has it.
        return session

    def _verified(self, token: bytes, digest: bytes, now: int) -> _Session:
        """Verify a token that is not known yet (RFC 9068 §4), with joserfc and the one algorithm of its key."""
        if len(token) > MAX_TOKEN_BYTES:
            _refuse_token("malformed")
        try:
            # Joserfc reads the header before it trusts the token, and with less suspicion than we do.
            header = parse(parse_compact(token).header, max_bytes=MAX_TOKEN_BYTES)
        except ReferralError:
            raise ReferralError(ErrorCode.INVALID_TOKEN, reason="malformed") from None
        if not isinstance(header, dict) or header.keys() != {"alg", "kid", "typ"}:
            _refuse_token("malformed")
        kid = header["kid"]
        public = self._keys.verifier(kid, now) if isinstance(kid, str) else None
        if public is None:
            _refuse_token("signature")
        try:
            claims = jwt.decode(token, joserfc_key(public), registry=one_algorithm(Alg.ED25519)).claims
        except JoseError:
            raise ReferralError(ErrorCode.INVALID_TOKEN, reason="signature") from None
        bound = claims.get("cnf")
        texts = [claims.get(name) for name in ("client_id", "access_kid", "jti")]
        fits = (
            header["typ"] == "at+jwt"
            and claims.get("iss") == self._issuer
            and claims.get("aud") == self._api_url
            and claims.get("sub") == claims.get("client_id")
            and all(isinstance(text, str) for text in texts)
            and isinstance(bound, dict)
            and isinstance(bound.get("jkt"), str)
            and is_seconds(claims.get("exp"))
            and is_seconds(claims.get("iat"))
            and claims["exp"] - claims["iat"] <= TOKEN_S
        )
        if not fits:
            _refuse_token("claims")
        if now >= claims["exp"]:
            _refuse_token("expired")
        return _Session(
            credential=CredentialId(claims["client_id"]),
            access_kid=Kid(claims["access_kid"]),
            jkt=Kid(claims["cnf"]["jkt"]),
            expires_at=claims["exp"],
            ath=b64u(digest),
            token_kid=public.kid,
        )

    def _make_room(self, now: int) -> None:
        for digest, session in list(self._sessions.items()):
            if now >= session.expires_at:
                del self._sessions[digest]
        while len(self._sessions) >= MAX_CLIENTS:
            del self._sessions[next(iter(self._sessions))]


def challenge_headers(error: ReferralError) -> tuple[tuple[bytes, bytes], ...]:
    """The headers of a 401: `WWW-Authenticate: DPoP …` (RFC 9449 §7.1) and, with USE_DPOP_NONCE, `DPoP-Nonce`.

    A call without any token is told the scheme and no error code (RFC 6750 §3.1).
    """
    if error.code is ErrorCode.INVALID_TOKEN and error.facts.get("reason") == "missing":
        return ((b"www-authenticate", f"DPoP {_ALGS}".encode("ascii")),)
    challenge = (b"www-authenticate", f'DPoP error="{error.code.value}", {_ALGS}'.encode("ascii"))
    if error.code is ErrorCode.USE_DPOP_NONCE:
        return (challenge, (b"dpop-nonce", error.facts["nonce"].encode("ascii")))
    return (challenge,)


def _oauth_error(status: int, error: str, description: str | None, now: int, *more: tuple[bytes, bytes]) -> TokenAnswer:
    document: dict[str, Any] = {"error": error}
    if description:
        document["error_description"] = description
    # A client whose assertion fails by its times alone has no nonce to help it: this tells it by how much.
    document["server_time"] = now
    challenge = ((b"www-authenticate", f"DPoP {_ALGS}".encode("ascii")),) if status == 401 else ()
    return TokenAnswer(status, (*_NO_STORE, *challenge, *more), document)


def _oauth_refusal(error: ReferralError, now: int) -> TokenAnswer:
    facts = error.facts
    if error.code is ErrorCode.USE_DPOP_NONCE:
        answer = _oauth_error(
            400, "use_dpop_nonce", "Send the proof again with this nonce.", now, *_nonce_header(facts)
        )
        answer.document["skew_s"] = facts["skew_s"]
        return answer
    if error.code is ErrorCode.INVALID_DPOP_PROOF:
        return _oauth_error(400, "invalid_dpop_proof", f"The DPoP proof is refused: {facts['reason']}.", now)
    if error.code is ErrorCode.INVALID_TOKEN:
        return _oauth_error(401, "invalid_client", "This assertion was used before.", now)
    if error.code is ErrorCode.RATE_LIMITED:
        wait = (b"retry-after", str(facts["retry_after_s"]).encode("ascii"))
        return _oauth_error(429, "rate-limited", _TOO_OFTEN, now, wait)
    if error.code is ErrorCode.REPLAY_STORE_UNAVAILABLE:
        return _oauth_error(503, "temporarily_unavailable", None, now, (b"retry-after", b"1"))
    raise error


def _nonce_header(facts: dict[str, Any]) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"dpop-nonce", facts["nonce"].encode("ascii")),)


def _refuse_token(reason: str) -> Never:
    raise ReferralError(ErrorCode.INVALID_TOKEN, reason=reason)

"""The protocol with sockets: calls of one credential, retried where that is safe, and the replica kept up to date.

A session authenticates (token, proof of possession, nonce), repeats what may be repeated, and lets nothing through that
trust.py has not verified. Only line.py opens its connections.

Must never: follow a redirect, send a body twice that is not `repeatable`, retry a failed verification, or print.

Implements: R-40 to R-43, R-53, R-94; design §12.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import httpx2
import stamina

from referral_api.auditlog.checkpoint import Checkpoint
from referral_api.auditlog.tiles import TILE_WIDTH, TileName, parse_entries
from referral_api.client import access, alarms, exchange, freshness, losses, trust
from referral_api.client.ambient import Ambient
from referral_api.client.exchange import Request, Response
from referral_api.client.keptviews import KeptViews
from referral_api.client.keystore import CredentialKeys
from referral_api.client.line import Line
from referral_api.client.opened import OpenedKeys
from referral_api.client.profile import Pin, Profile, ProfileDir, Token, read_private, write_private
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.terms import Term, is_audit
from referral_api.domain.words import CredentialId
from referral_api.formats.act import RawAct, parse_act
from referral_api.formats.contents import KeysLogView
from referral_api.formats.keys import SigningKey
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import b64u, unb64u

T = TypeVar("T")

ANSWER_S = 30.0
ATTEMPTS, PATIENCE_S = 4, 45.0
MAX_CORRECTION_S = 3600
LATEST = 6

_REPEAT = frozenset(
    {
        ErrorCode.UNREACHABLE,
        ErrorCode.UNAVAILABLE,
        ErrorCode.OUTCOME_UNKNOWN,
        ErrorCode.CHECKPOINT_PENDING,
        ErrorCode.QUEUE_FULL,
        ErrorCode.REPLAY_STORE_UNAVAILABLE,
    }
)
"""What says nothing about the call itself: the same bytes may be sent again, with a new proof."""


def is_repeatable(error: Exception) -> bool | float:
    """Whether the same call may be made again, and where the exchange asks for it, after how many seconds."""
    if not isinstance(error, ReferralError) or error.code not in _REPEAT:
        return False
    if error.code is ErrorCode.UNAVAILABLE and int(error.facts.get("status", 503)) < 500:
        return False
    after = error.facts.get("retry_after_s")
    return float(after) if isinstance(after, int) and after <= PATIENCE_S else after is None


class Session:
    """Calls of one credential to one exchange. `keys` None: only what needs no authentication.

    `answer_s` is how long an answer may take (line.py).
    """

    def __init__(
        self,
        directory: ProfileDir,
        profile: Profile,
        keys: CredentialKeys | None,
        ambient: Ambient,
        transport: httpx2.BaseTransport | None = None,
        *,
        answer_s: float = ANSWER_S,
    ) -> None:
        self.directory = directory
        self.profile = profile
        self.ambient = ambient
        self.skew_s = 0
        """How far the exchange's clock was ahead of ours when it last told us."""
        self.stale_since: int | None = None
        """How old what is sealed by was when that was last asked for (`freshness.stale_since`)."""
        self.latest: deque[tuple[str, Response]] = deque(maxlen=LATEST)
        """The last answers to calls that carried a token, oldest first: evidence, where one of them is a lie."""
        self._keys = keys
        self._replica: trust.Replica | None = None
        self._line = Line(profile.server, profile.lang, transport, answer_s)

    @property
    def credential(self) -> CredentialId | None:
        """Whose calls these are; None where they need no authentication."""
        return None if self._keys is None else self._keys.credential

    @property
    def opened(self) -> OpenedKeys | None:
        """Where the content keys of what was opened here are kept; None for a client without keys."""
        return None if self._keys is None else OpenedKeys(self.directory, self._keys)

    @property
    def views(self) -> KeptViews | None:
        """Where answers about referrals are kept; None for a client without keys."""
        return None if self._keys is None else KeptViews(self.directory, self._keys)

    def close(self) -> None:
        """Close the connections."""
        self._line.close()

    def now(self) -> int:
        """Unix seconds, in the exchange's time where it has told us by how little ours is off (R-43, R-82).

        A larger difference is for a person to mend: whoever claims it could have us sign in another year.
        """
        return self.ambient.now() - (self.skew_s if abs(self.skew_s) <= MAX_CORRECTION_S else 0)

    # Calls.

    def read(self, request: Request) -> bytes:
        """The body of a successful answer. Raises as `exchange.judge` does, UNREACHABLE, CLOCK_SKEW (`skew_s`)."""
        return self.call(request, exchange.judge)

    def read_json(self, request: Request) -> dict[str, Any]:
        """The object of a successful JSON answer."""
        return self.call(request, exchange.judge_json)

    def call(self, request: Request, judge: Callable[[Request, Response], T]) -> T:
        """Make a call until it has an answer that says something, or patience ends. `judge` reads it."""
        if not request.repeatable:
            return judge(request, self._once(request))
        for attempt in stamina.retry_context(on=is_repeatable, attempts=ATTEMPTS, timeout=PATIENCE_S, wait_initial=0.2):
            with attempt:
                return judge(request, self._once(request))
        raise RuntimeError("the last attempt has raised")

    def _once(self, request: Request) -> Response:
        response = self._send(request, self._token() if request.authorised else None)
        if response.status == 401 and request.authorised and exchange.wants_nonce(response) is None:
            # The token may have ended a moment ago, or with a restart of the exchange; a new one decides.
            self._forget_token()
            response = self._send(request, self._token())
        return response

    def _send(self, request: Request, token: Token | None) -> Response:
        """Send once; and once more where the exchange asks for a proof with its nonce (R-43)."""
        response = self._exchange(request, token, None)
        nonce = exchange.wants_nonce(response) if token is not None else None
        if nonce is None:
            return response
        self._take_skew(response)
        return self._exchange(request, token, nonce)

    def _take_skew(self, response: Response) -> None:
        told = exchange.parse_problem(response).facts.get("skew_s")
        if type(told) is int:
            # It speaks of the proof, whose time was corrected already by what we knew.
            self.skew_s = told + self.ambient.now() - self.now()

    def _exchange(self, request: Request, token: Token | None, nonce: str | None) -> Response:
        headers = {"Accept": f"{request.accept}, {exchange.PROBLEM}", **dict(request.headers)}
        if request.content_type is not None:
            headers["Content-Type"] = request.content_type
        if token is not None:
            headers["Authorization"] = f"DPoP {token.value}"
            headers["DPoP"] = self._proof(request, access.proof_key(token.dpop_secret), token.value, nonce)
        response = self._line.transmit(request, headers)
        if token is not None:
            self.latest.append((f"{request.method} {request.target}", response))
        return response

    def _proof(self, request: Request, key: SigningKey, token: str | None, nonce: str | None) -> str:
        return access.build_proof(
            key,
            request.method,
            self.profile.issuer.rstrip("/") + request.path,
            jti=b64u(self.ambient.random(16)),
            now=self.now(),
            token=token,
            nonce=nonce,
        )

    # Tokens.

    def _token(self) -> Token:
        keys = self._keys
        if keys is None:
            raise ReferralError(ErrorCode.LOCKED, reason="no-keys")
        now = self.ambient.now()
        known = self.directory.find_token(keys.credential, now)
        if known is not None:
            return known
        secret = self.ambient.random(32)
        token = access.parse_token(self._ask_for_token(keys, secret), secret, now)
        self.directory.keep_token(keys.credential, access.token_entry(token))
        return token

    def _ask_for_token(self, keys: CredentialKeys, secret: bytes) -> dict[str, Any]:
        nonce = None
        for _ in range(2):
            assertion = access.build_assertion(
                keys.access.signing_key(),
                keys.credential,
                self.profile.issuer,
                jti=b64u(self.ambient.random(16)),
                now=self.now(),
            )
            request = exchange.token(access.token_form(assertion))
            proof = self._proof(request, access.proof_key(secret), None, nonce)
            response = self._line.transmit(
                request, {"Accept": exchange.JSON, "Content-Type": exchange.FORM, "DPoP": proof}
            )
            nonce = exchange.wants_nonce(response)
            if nonce is None:
                return exchange.judge_token(request, response)
            self._take_skew(response)
            if abs(self.skew_s) > MAX_CORRECTION_S:
                # The assertion has no nonce to help it: nobody is let in by a clock like this, and must know why.
                raise ReferralError(ErrorCode.CLOCK_SKEW, skew_s=self.skew_s)
        raise ReferralError(ErrorCode.INVALID_TOKEN, reason="nonce")

    def _forget_token(self) -> None:
        if self._keys is not None:
            self.directory.keep_token(self._keys.credential, None)

    # What is believed.

    @property
    def replica(self) -> trust.Replica:
        """The keys log as last replicated; synchronised first where there is none."""
        if self._replica is None:
            self._replica = self._load_replica() or self.sync_keys()
        return self._replica

    @property
    def keymap(self) -> KeyMap:
        """Every party and key, as the replicated keys log folds to."""
        return self.replica.keymap

    @property
    def sealing_keymap(self) -> KeyMap:
        """The key map by which this client seals: of what a quorum of witnesses has cosigned (`freshness.sealing_map`).

        Raises NOT_WITNESSED where there is a policy, and nothing cosigned yet.
        """
        self.stale_since = freshness.stale_since(self.directory, self.replica, self.now())
        return freshness.sealing_map(self.directory, self.replica, self.now())

    @alarms.shown("keys-log")
    @exchange.told()
    def sync_keys(self, *, patient: bool = True) -> trust.Replica:
        """Follow the keys log to its newest checkpoint, verify all that is new, and pin it (R-30, R-94).

        Not `patient`: one attempt, for who has better things to do than to wait for a dead line.
        """
        # What is being extended is nobody's replica until its checkpoint has been verified.
        replica, self._replica = self._replica or self._load_replica(), None
        while True:
            raw_checkpoint = self.read(replace(exchange.checkpoint("keys"), repeatable=patient))
            size = trust.claimed_size(raw_checkpoint)
            replica = self._grow(replica, size)
            cosigned = None if replica.keymap.witness_policy is None else self._read_cosigned(patient=patient)
            if cosigned is not None and (reached := trust.claimed_size(cosigned)) > size:
                # The log has grown in between; what the witnesses cosigned is what its key signed.
                raw_checkpoint, size = cosigned, reached
                replica = self._grow(replica, size)
            if size < replica.size:
                raise ReferralError(ErrorCode.INCONSISTENT, reason="shrunk", pinned=replica.size, found=size)
            pin = self.directory.find_pin(trust.keys_origin(replica.keymap))
            advanced = replica.conclude(raw_checkpoint, pin)
            if cosigned is not None:
                freshness.note_cosigned(self.directory, replica, cosigned, self.now())
            if advanced == pin and self.directory.keys_log.exists():
                self._replica = replica
                return replica
            # The leaves first: a pin whose leaves are missing is only fetched again, leaves without a pin are nothing.
            write_private(self.directory.keys_log, replica.encode())
            if self.directory.advance_pin(trust.keys_origin(replica.keymap), advanced, seen=pin):
                self._replica = replica
                return replica

    def _read_cosigned(self, *, patient: bool) -> bytes | None:
        """The newest checkpoint of the keys log that a quorum has cosigned; None where the exchange shows none."""
        try:
            return self.read(replace(exchange.checkpoint("keys", cosigned=True), repeatable=patient))
        except ReferralError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise
            return None

    def _grow(self, replica: trust.Replica | None, size: int) -> trust.Replica:
        have = 0 if replica is None else replica.size
        if size > trust.MAX_KEYS_LOG:
            raise ReferralError(ErrorCode.TOO_LARGE, limit=trust.MAX_KEYS_LOG)
        room = trust.MAX_KEYS_LOG_BYTES - (0 if replica is None else replica.bytes)
        for name in trust.entry_bundles(have, size) if size > have else ():
            leaves = self._read_leaves(name)
            fresh = leaves[max(0, have - name.index * TILE_WIDTH) :]
            room -= sum(map(len, fresh))
            if room < 0:
                raise ReferralError(ErrorCode.TOO_LARGE, limit=trust.MAX_KEYS_LOG_BYTES)
            if replica is None:
                replica, fresh = trust.Replica(self.profile, fresh[0]), fresh[1:]
            replica.extend(fresh)
        if replica is None:
            raise ReferralError(ErrorCode.INCONSISTENT, reason="empty")
        return replica

    def _read_leaves(self, name: TileName) -> list[bytes]:
        try:
            return parse_entries(self.read(exchange.tile("keys", name.path())), name.width)
        except ReferralError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise
            raise ReferralError(ErrorCode.INCONSISTENT, reason="missing", found=name.index * TILE_WIDTH) from None

    def _load_replica(self) -> trust.Replica | None:
        pin = self.directory.find_pin(trust.issuer_origin(self.profile.issuer, "keys"))
        if pin is None:
            return None
        try:
            return trust.load_replica(
                self.profile, read_private(self.directory.keys_log, max_bytes=trust.MAX_KEYS_LOG_FILE_BYTES), pin
            )
        except FileNotFoundError:
            return None
        except ReferralError as error:
            # Another process may be between its two writes; the log itself is fetched and held against the pin.
            if error.code in (ErrorCode.MALFORMED, ErrorCode.INCONSISTENT):
                return None
            raise

    def confirm(self, request: Request, raw_act: bytes) -> trust.Confirmed:
        """Send an act and believe the answer, or raise: receipt, inclusion, growth of the log (R-16, R-18, R-94)."""
        act = parse_act(raw_act)
        if act.ref is None:
            # Before it is sent: whoever watches the keys log must know it for ours (client/watching.py).
            self.directory.note_made(act.digest)
        return self.believe(self.call(request, exchange.judge_receipted), act)

    @alarms.shown("view")
    def believe_view(self, view: KeysLogView) -> None:
        """That another party's keys log is ours too, as far as that party saw it (R-26, R-30).

        Raises WRONG_ORIGIN; INCONSISTENT (`forked`, or `shrunk`: it saw more than the exchange has to show) — an alarm.
        """
        origin = trust.keys_origin(self.keymap)
        if view.origin != origin:
            raise ReferralError(ErrorCode.WRONG_ORIGIN, expected=origin, found=view.origin)
        replica = self.replica if view.size <= self.replica.size else self.sync_keys()
        replica.verify_pin(Pin(view.size, unb64u(view.root)))

    @exchange.told()
    def believe(self, answer: Mapping[str, Any], act: RawAct, *, witnessed: bool = False) -> trust.Confirmed:
        """The verified answer for an act, its log's pin advanced. Raises as `trust.verify_answer`, INCONSISTENT."""
        try:
            confirmed = trust.verify_answer(answer, act, self.keymap, witnessed=witnessed)
        except ReferralError as error:
            # The exchange may sign by a key that it announced after the keys log was last replicated.
            known = self.keymap.size
            if not trust.names_no_known_key(error) or self.sync_keys().size == known:
                raise
            confirmed = trust.verify_answer(answer, act, self.keymap, witnessed=witnessed)
        self.follow(confirmed.log, confirmed.included.checkpoint)
        return confirmed

    def follow(self, log: str, checkpoint: Checkpoint) -> None:
        """Advance a log's pin to a verified checkpoint, or see that it lies behind the pin. Raises INCONSISTENT.

        A log that is met for the first time may follow one that has lost leaves (`losses.enter`).
        """
        ended = losses.find_agreed(self, checkpoint.origin)
        while True:
            pin = self.directory.find_pin(checkpoint.origin)
            if pin is None and is_audit(log):
                losses.enter(self, Term.of_log(log))
            newer = trust.verify_growth(ended or pin, checkpoint, losses.growth(self, log, ended or pin, checkpoint))
            if ended is not None or newer == pin or self.directory.advance_pin(checkpoint.origin, newer, seen=pin):
                return

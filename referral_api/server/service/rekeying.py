"""How the next key of the exchange comes onto the keys log while the exchange runs (docs/protocol.md R-37).

Whoever holds the key files asks with a file beside them: the new key as `<use>.<thumbprint>.pem`, and what is wanted as
`<use>.<thumbprint>.asked`. The process that writes finds it, has its writer put the key's entry and the `rekey` act on
the log, and takes the question away, or says in `<use>.<thumbprint>.refused` why not. Nobody has to stop. A log that
does not grow while its key changes is signed by the new one all the same.

Must never: announce a key that is not here whole, or say that a key may be deleted while anything counts that it signs.

Implements: docs/protocol.md R-37; docs/decisions/0025.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from referral_api.auditlog.note import parse_note
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, KeyUse
from referral_api.formats.act import parse_act
from referral_api.formats.key_entry import build_key_entry
from referral_api.formats.keys import SigningKey
from referral_api.formats.parties import EXCHANGE, Tenure
from referral_api.formats.rekeying import FOREVER
from referral_api.formats.roster import Roster
from referral_api.formats.strict_json import b64u, canonical, parse
from referral_api.server import observe
from referral_api.server.service.batch import Batch, Done
from referral_api.server.service.exchange import Exchange
from referral_api.server.service.founding import exchange_act
from referral_api.server.service.ledger import Entry, store
from referral_api.server.service.witnesses import merge
from referral_api.server.service.writer import Writer
from referral_api.server.storage import lease, logbook
from referral_api.server.storage.keyfiles import USES, Signers, load_signers
from referral_api.server.storage.logbook import KEYS
from referral_api.server.storage.signer import LogSigners
from referral_api.server.storage.signer_state import SignedCheckpoint, signed_by_all

LOOKED_FOR_EVERY_S: Final = 2
MAX_BYTES: Final = 4096
_ASKED: Final = ".asked"


@dataclass(frozen=True, slots=True)
class Asked:
    """A change that somebody asks for: which key shall be used, how long after its announcement, and how much longer
    the one before it shall count. Both in seconds.
    """

    use: KeyUse
    kid: str
    notice_s: int
    overlap_s: int

    def path(self, keys_dir: Path) -> Path:
        """Where it is asked."""
        return keys_dir / f"{self.use.value}.{self.kid}{_ASKED}"

    def refusal(self, keys_dir: Path) -> Path:
        """Where it is said why not, if the fold refuses it."""
        return self.path(keys_dir).with_suffix(".refused")

    def ask(self, keys_dir: Path) -> None:
        """Leave it where the exchange looks. Raises OSError."""
        _write(self.path(keys_dir), canonical({"notice_s": self.notice_s, "overlap_s": self.overlap_s, "v": 1}))

    @classmethod
    def read(cls, path: Path) -> Asked:
        """What a file asks. Raises MALFORMED, OSError."""
        use, kid, _ = path.name.split(".")
        members = parse(path.read_bytes(), max_bytes=MAX_BYTES)
        if not isinstance(members, dict) or members.keys() != {"notice_s", "overlap_s", "v"} or members["v"] != 1:
            raise ReferralError(ErrorCode.MALFORMED, reason="members")
        notice_s, overlap_s = members["notice_s"], members["overlap_s"]
        if type(notice_s) is not int or type(overlap_s) is not int:
            raise ReferralError(ErrorCode.MALFORMED, reason="members")
        return cls(KeyUse(use), kid, notice_s, overlap_s)


class Rekeying:
    """The job that puts a key's entry and the act that names it on the keys log; once, however often it is run."""

    def __init__(self, exchange: Exchange, asked: Asked, key: SigningKey) -> None:
        self._exchange = exchange
        self._asked = asked
        self._key = key

    def __call__(self, batch: Batch) -> Done[Tenure]:
        """Announce the key. Raises what the fold raises."""
        use, exchange = self._asked.use, self._exchange
        keymap = batch.keymap or exchange.keymap
        known = next((one for one in keymap.tenures(use) if one.key.kid == self._key.kid), None)
        if known is not None:
            return Done(known)
        # Other acts may be dated by a clock that is a little ahead of ours, and the fold's time is the latest of them.
        begins_at = max(batch.now, keymap.clock) + self._asked.notice_s
        entry = build_key_entry(
            party=EXCHANGE, use=use, jwk=self._key.public.jwk, nonce=b64u(keymap.root), iat=batch.now, possession=None,
            signers=[self._key],
        )  # fmt: skip
        body = {
            "use": use.value,
            "kid": self._key.kid,
            "replaces": next(one.key.kid for one in keymap.tenures(use) if one.ends_at == FOREVER),
            "from": begins_at,
            "until": begins_at + self._asked.overlap_s,
        }
        signers = exchange.keyring.act_signers(batch.now)
        act = parse_act(exchange_act(exchange.issuer, Act.REKEY, body, signers, exchange.token_bytes, batch.now))
        grown = keymap.copy()
        grown.extend(entry)
        grown.extend(act.jws.raw)
        place, _ = store(batch, exchange, Entry(act, None, None, ()))
        for leaf in (entry, act.jws.raw):
            batch.append_leaf(KEYS, leaf)
        batch.keymap = grown
        return Done(grown.tenures(use)[-1], also=(place,))


def take_asked(exchange: Exchange, writer: Writer, keys_dir: Path) -> None:
    """Do what is asked beside the key files, and answer. What cannot be done now is tried again at the next look.

    Must not be called on the thread that delivers the writer's answers.
    """
    for path in sorted(keys_dir.glob(f"*{_ASKED}")):
        try:
            asked = Asked.read(path)
        except (ReferralError, ValueError, OSError) as error:
            observe.log("rekey_unreadable", fault=type(error).__name__)
            continue
        try:
            writer.run(Rekeying(exchange, asked, _key(keys_dir, asked)))
            observe.log("rekey_announced", use=asked.use.value, kid=asked.kid)
        except ReferralError as refusal:
            observe.log("rekey_refused", use=asked.use.value, fault=refusal.code.value)
            if refusal.code not in _REFUSALS:
                # The database, the writer or the files are not ready: the next look is as good as this one.
                continue
            said = {"code": refusal.code.value, "facts": dict(refusal.facts), "v": 1}
            with suppress(OSError):
                _write(asked.refusal(keys_dir), canonical(said))
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _key(keys_dir: Path, asked: Asked) -> SigningKey:
    key = load_signers(keys_dir).find(asked.use, asked.kid)
    if key is None:
        raise ReferralError(ErrorCode.UNAVAILABLE, reason="keys-missing", use=asked.use.value)
    return key


class SignedAgain:
    """The job that keeps a checkpoint which was signed again: the log's lines, beside what cosignatures there are."""

    def __init__(self, log: str, signed: SignedCheckpoint) -> None:
        self._log = log
        self._signed = signed

    def __call__(self, batch: Batch) -> Done[None]:
        """Merge under the log's lock, as cosignatures are merged."""
        stored = logbook.find_checkpoint(batch.tx, self._log, self._signed.size)
        others = () if stored is None else parse_note(stored.note).signatures
        note = merge(parse_note(self._signed.note), others).to_bytes()
        logbook.save_cosigned(batch.tx, self._log, self._signed.size, note, batch.now, witnessed=False)
        return Done(None)


def sign_again(exchange: Exchange, writer: Writer, signers: LogSigners, settled: Sequence[str]) -> Sequence[str]:
    """Have the newest checkpoint of each log that grows bear a line of every log key in use; their thumbprints, which
    are `settled` the next time. Who believes the new key alone could not read a log that has not grown since.

    Must not be called on the thread that delivers the writer's answers. Raises as the signer, the writer, the keyring.
    """
    keys = exchange.keyring.signing()
    kids = [key.kid for key in keys]
    if kids == list(settled) or writer.closed is not None:
        return settled
    with exchange.database.read() as conn:
        audit = logbook.newest_audit(conn)
        newest = {log: exchange.newest_checkpoint(conn, log) for log in (KEYS, *(() if audit is None else audit[:1]))}
        lacking = [
            log
            for log, found in newest.items()
            if found is not None and not signed_by_all(found[1], exchange.origin(log), keys)
        ]
        for log in lacking:
            lease.check(conn, signers(log), log)
    for log in lacking:
        signed = signers(log).renew()
        if signed is not None:
            writer.run(SignedAgain(log, signed))
            observe.log("checkpoint_signed_again", log=log)
    return kids


def spent(directory: Roster, signers: Signers, now: int) -> list[tuple[KeyUse, str]]:
    """The keys at hand of which nothing counts that they sign from now on; but for the first token key, from which
    cursors and nonces are derived.
    """
    first = directory.exchange_keys(KeyUse.TOKEN)[0].kid
    ended = [(use, one.key.kid) for use in USES for one in directory.tenures(use) if one.ends_at <= now]
    return [(use, kid) for use, kid in ended if kid != first and signers.find(use, kid) is not None]


_REFUSALS: Final = frozenset(
    {
        ErrorCode.ACT_SCHEMA,
        ErrorCode.KEY_NOT_VALID,
        ErrorCode.KEY_REUSED,
        ErrorCode.KEY_UNSUITABLE,
        ErrorCode.STATEMENT_OUT_OF_SEQUENCE,
    }
)
"""What the fold says of the change itself: asking again would change nothing."""


def _write(path: Path, raw: bytes) -> None:
    """Put a file there whole or not at all."""
    draft = path.with_name(path.name + ".new")
    draft.write_bytes(raw)
    draft.replace(path)

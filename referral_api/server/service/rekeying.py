"""How the next key of the exchange comes onto the keys log while the exchange runs (docs/protocol.md R-37).

Whoever holds the key files asks with a file beside them: the new key as `<use>.<thumbprint>.pem`, and what is wanted as
`<use>.<thumbprint>.asked`. The process that writes finds it, has its writer put the key's entry and the `rekey` act on
the log, and answers in `<use>.<thumbprint>.json`: when what begins and ends. Nobody has to stop for it.

Must never: announce a key that is not here whole, take the place of a key that the asker did not mean, or say that a key
may be deleted while anything counts that it signs.

Implements: docs/protocol.md R-37; docs/decisions/0025.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, KeyUse
from referral_api.formats.act import parse_act
from referral_api.formats.key_entry import build_key_entry
from referral_api.formats.keys import SigningKey
from referral_api.formats.parties import EXCHANGE, Tenure
from referral_api.formats.rekeying import FOREVER
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import b64u, canonical, parse
from referral_api.server import observe
from referral_api.server.service.batch import Batch, Done
from referral_api.server.service.exchange import Exchange
from referral_api.server.service.founding import exchange_act
from referral_api.server.service.ledger import Entry, store
from referral_api.server.service.writer import Writer
from referral_api.server.storage.keyfiles import load_signers
from referral_api.server.storage.logbook import KEYS

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

    def answer(self, keys_dir: Path) -> Path:
        """Where it is answered."""
        return self.path(keys_dir).with_suffix(".json")

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
        return cls(KeyUse(use), kid, int(members["notice_s"]), int(members["overlap_s"]))


class Rekeying:
    """The job that puts a key's entry and the act that names it on the keys log; once, however often it is run."""

    def __init__(self, exchange: Exchange, asked: Asked, key: SigningKey) -> None:
        self._exchange = exchange
        self._asked = asked
        self._key = key

    def __call__(self, batch: Batch) -> Done[dict[str, Any]]:
        """Announce the key; what is answered. Raises what the fold raises."""
        use, exchange = self._asked.use, self._exchange
        keymap = batch.keymap or exchange.keymap
        known = next((one for one in keymap.tenures(use) if one.key.kid == self._key.kid), None)
        if known is not None:
            return Done(_described(keymap, use, known))
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
        return Done(_described(grown, use, grown.tenures(use)[-1]), also=(place,))


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
            said = writer.run(Rekeying(exchange, asked, _key(keys_dir, asked))).result
            observe.log("rekey_announced", use=asked.use.value, kid=asked.kid)
        except ReferralError as refusal:
            if refusal.code not in _REFUSALS:
                # The database, the writer or the files are not ready: the next look is as good as this one.
                observe.log("rekey_waits", use=asked.use.value, fault=refusal.code.value)
                continue
            said = {"refused": refusal.code.value, "facts": dict(refusal.facts)}
            observe.log("rekey_refused", use=asked.use.value, fault=refusal.code.value)
        with suppress(OSError):
            _write(asked.answer(keys_dir), canonical({**said, "kid": asked.kid, "use": asked.use.value, "v": 1}))
            path.unlink(missing_ok=True)


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


def _key(keys_dir: Path, asked: Asked) -> SigningKey:
    key = load_signers(keys_dir).find(asked.use, asked.kid)
    if key is None:
        raise ReferralError(ErrorCode.UNAVAILABLE, reason="keys-missing", use=asked.use.value)
    return key


def spent(keys_dir: Path, now: int) -> list[tuple[KeyUse, str]]:
    """The keys of which nothing counts any more that they sign from now on, by what was answered; but for the first
    token key, from which cursors and nonces are derived.

    Raises MALFORMED for an answer that is none, OSError.
    """
    found: list[tuple[KeyUse, str]] = []
    signers = load_signers(keys_dir)
    for one in answers(keys_dir):
        use, kid = KeyUse(one["use"]), one.get("replaces")
        is_kept = use is KeyUse.TOKEN and one["first"] == kid
        if kid is not None and not is_kept and one["until"] <= now and signers.find(use, kid) is not None:
            found.append((use, kid))
    return found


def answers(keys_dir: Path) -> list[dict[str, Any]]:
    """What was answered to every change that was asked for here. Raises MALFORMED, OSError."""
    found: list[dict[str, Any]] = []
    for path in sorted(keys_dir.glob("*.json")):
        members = parse(path.read_bytes(), max_bytes=MAX_BYTES)
        if not isinstance(members, dict) or not {"kid", "use", "v"} <= members.keys() or members["v"] != 1:
            raise ReferralError(ErrorCode.MALFORMED, reason="members")
        found.append(members)
    return found


def _described(keymap: KeyMap, use: KeyUse, tenure: Tenure) -> dict[str, Any]:
    held = keymap.tenures(use)
    until = next(one.ends_at for one in held if one.key.kid == tenure.replaces)
    return {"first": held[0].key.kid, "from": tenure.begins_at, "replaces": tenure.replaces, "until": until}


def _write(path: Path, raw: bytes) -> None:
    """Put a file there whole or not at all."""
    draft = path.with_name(path.name + ".new")
    draft.write_bytes(raw)
    draft.replace(path)

"""The backup key of a party: made here, kept on paper or on a USB stick, and put back on a new workstation.

Bundles are sealed to it like to a workstation. It is 32 bytes: as twenty-four words of BIP-39, which check themselves,
or as a file sealed under a passphrase. What it costs to have one says the threat model: whoever finds it reads all that
is sealed to it for a year.

Must never: keep the private half on the machine that made it, or put back a key that the keys log does not name ours.

Implements: R-32; design §5 (one yearly backup key); BIP-39.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from mnemonic import Mnemonic

from referral_api.client import renewal, sealing
from referral_api.client.compartment import (
    Kdf,
    open_compartment,
    parse_compartment,
    parse_header,
    passphrase_bytes,
    seal_with_passphrase,
)
from referral_api.client.keystore import CredentialKeys, Secret
from referral_api.client.profile import Language, Profile, corrupt
from referral_api.client.session import Session
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import KeyUse, Kid
from referral_api.formats.keys import Alg
from referral_api.formats.statement_rules import BACKUP_LIFE
from referral_api.formats.strict_json import canonical, parse

WORDS: Final = 24
MAX_FILE_BYTES: Final = 8 * 1024
_KIND: Final = "backup"
_BOUND: Final = frozenset({"alg", "created_at", "issuer", "kid", "party", "root"})
_LISTS: Final = {"es": "spanish", "en": "english"}


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup key while it is in memory: to be written down, and then listed."""

    secret: Secret = field(repr=False)
    kid: Kid


def new_backup(now: int) -> Backup:
    """A fresh backup key."""
    key = sealing.generate_enc_key(Alg.HPKE_9)
    return Backup(Secret(Alg.HPKE_9, key.seed, now), key.kid)


def words_of(backup: Backup, lang: Language) -> list[str]:
    """The key as twenty-four words of the list in this language (BIP-39: 256 bits and 8 of check)."""
    return unicodedata.normalize("NFC", Mnemonic(_LISTS[lang]).to_mnemonic(backup.secret.secret)).split()


def parse_words(text: str, now: int) -> Backup:
    """The key of twenty-four words, in either list, accents and capitals aside.

    Raises MALFORMED: `words` (`found`, not twenty-four), `word` (`at`, which is none of a list), `checksum` (a word is
    another than was written down).
    """
    given = [_plain(word) for word in text.split()]
    if len(given) != WORDS:
        raise ReferralError(ErrorCode.MALFORMED, reason="words", found=len(given))
    nearest = 0
    for lang in _LISTS.values():
        known = {_plain(word): word for word in Mnemonic(lang).wordlist}
        strange = next((at for at, word in enumerate(given) if word not in known), None)
        if strange is not None:
            nearest = max(nearest, strange)
            continue
        try:
            seed = bytes(Mnemonic(lang).to_entropy([known[word] for word in given]))
        except ValueError:
            raise ReferralError(ErrorCode.MALFORMED, reason="checksum") from None
        return _of(Secret(Alg.HPKE_9, seed, now))
    raise ReferralError(ErrorCode.MALFORMED, reason="word", at=nearest + 1)


def same_word(typed: str, word: str) -> bool:
    """Whether it is this word, accents and capitals aside."""
    return _plain(typed.strip()) == _plain(word)


def build_file(backup: Backup, profile: Profile, passphrase: str, kdf: Kdf | None = None) -> bytes:
    """The key as a file, sealed under a passphrase. Raises LOCKED (`too-short`, `minimum`)."""
    bound = {
        "alg": backup.secret.alg.value,
        "compartment": _KIND,
        "created_at": backup.secret.created_at,
        "issuer": profile.issuer,
        "kid": backup.kid,
        "party": profile.party,
        "root": profile.root,
    }
    sealed = seal_with_passphrase(bound, backup.secret.secret, passphrase, kdf)
    return canonical({"backup": sealed.wire(), "v": 1}) + b"\n"


def parse_file(raw: bytes, profile: Profile, passphrase: str) -> Backup:
    """The key of such a file. Raises KEYSTORE_CORRUPT, LOCKED (`wrong-secret`), WRONG_ROOT (another exchange's)."""
    try:
        document = parse(raw, max_bytes=MAX_FILE_BYTES)
    except ReferralError:
        raise corrupt("syntax") from None
    if not isinstance(document, dict) or document.keys() != {"backup", "v"} or document["v"] != 1:
        raise corrupt("members")
    sealed = parse_compartment(document["backup"])
    header = parse_header(sealed.header, _KIND, _BOUND, passphrase=True)
    if (header["issuer"], header["root"]) != (profile.issuer, profile.root):
        raise ReferralError(ErrorCode.WRONG_ROOT, reason="issuer")
    secret = open_compartment(sealed, header, passphrase_bytes(passphrase))
    try:
        found = _of(Secret(Alg(header["alg"]), secret, int(header["created_at"])))
    except (ReferralError, ValueError, TypeError):
        raise corrupt("contents") from None
    if found.kid != header["kid"]:
        raise corrupt("contents")
    return found


def list_backup(session: Session, keys: CredentialKeys, backup: Backup) -> renewal.Renewed:
    """Have the backup key listed, so that senders seal to it: a keyholder's statement. Raises as `renewal.rotate`."""
    party, now = renewal.own_party(session), session.now()
    private = sealing.enc_private_key(backup.secret.alg, backup.secret.secret)
    until = now + int(BACKUP_LIFE.total_seconds())
    listed = {"from": now, "kid": backup.kid, "until": until, "use": "backup"}
    proposal: dict[str, Any] = {"credentials": [], "enc": [listed]}
    turn, code = renewal.propose(session, keys, party, [private], proposal, use=KeyUse.BACKUP)
    return renewal.Renewed((backup.kid,), turn, code, keys)


def restore(session: Session, keys: CredentialKeys, keep: renewal.Keep, backup: Backup) -> CredentialKeys:
    """Put a backup key into this keystore: what is pending for the party, and was sealed to it, opens here from now on.

    Raises KEY_NOT_VALID: `no-entry` (the keys log does not know it, or as another party's), `revoked`.
    """
    session.sync_keys()
    record = session.keymap.get_key(backup.kid)
    if record.party != session.profile.party or record.use is not KeyUse.BACKUP:
        raise ReferralError(ErrorCode.KEY_NOT_VALID, reason="no-entry", kid=backup.kid)
    if record.revoked:
        raise ReferralError(ErrorCode.KEY_NOT_VALID, reason="revoked", kid=backup.kid)
    held: Sequence[Secret] = keys.enc
    if all(one.secret != backup.secret.secret for one in held):
        # From when it is here, not from when it was made: an ended one leaves again after a day (renewal.py).
        keys = replace(keys, enc=(*held, replace(backup.secret, created_at=session.now())))
        keep(keys)
    return keys


def _of(secret: Secret) -> Backup:
    return Backup(secret, sealing.enc_private_key(secret.alg, secret.secret).kid)


def _plain(word: str) -> str:
    """A word without accents and capitals: what is written by hand at night is not always with them."""
    spread = unicodedata.normalize("NFKD", word.lower())
    return "".join(one for one in spread if not unicodedata.combining(one))

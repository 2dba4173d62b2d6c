"""Before anything is sealed or opened on this machine: its library is tried on known answers.

Must never: pass over a wrong answer, or use a key that anybody else has.

Implements: design §15 (self-test).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

from cryptography.cobblestone import Cobblestone256Decryptor
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm

from referral_api.client import sealing
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.contents import ATTACHMENT_CIPHER
from referral_api.formats.keys import ENCRYPTION_ALGS
from referral_api.formats.signed import self_test as signature_self_test
from referral_api.formats.strict_json import parse, unb64u

_SELF_TEST_BYTES = 64 * 1024


def self_test() -> None:
    """Prove on known answers that this machine's library verifies, decapsulates and opens attachments; run at start.

    Raises SELF_TEST_FAILED (`what`: `signatures`, `HPKE-9-KE`, `HPKE-10-KE`, `cobblestone-256`).
    """
    signature_self_test()
    known = files("referral_api.client").joinpath("self_test.json").read_bytes()
    _check_known_answers(parse(known, max_bytes=_SELF_TEST_BYTES))


def _check_known_answers(known: Mapping[str, Mapping[str, str]]) -> None:
    for alg in sorted(ENCRYPTION_ALGS):
        sealed, seed, secret = (unb64u(known[alg][name]) for name in ("sealed", "seed", "secret"))
        try:
            opened = sealing.decapsulate(sealing.enc_private_key(alg, seed), sealed, sealing.RECIPIENT_INFO)
        except (ReferralError, UnsupportedAlgorithm):
            opened = b""
        if opened != secret:
            raise ReferralError(ErrorCode.SELF_TEST_FAILED, what=alg.value)
    key, context, text, plaintext = (unb64u(known["cobblestone"][n]) for n in ("key", "context", "text", "plaintext"))
    try:
        decryptor = Cobblestone256Decryptor(key, context)
        opened = decryptor.update(text) + decryptor.finalize()
    except InvalidTag:
        opened = b""
    if opened != plaintext:
        raise ReferralError(ErrorCode.SELF_TEST_FAILED, what=ATTACHMENT_CIPHER)

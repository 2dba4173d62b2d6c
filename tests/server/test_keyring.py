"""Which of the exchange's keys a host uses, and which it says are missing, while one is replaced (R-37)."""

from __future__ import annotations

import json

import pytest

from referral_api.domain.errors import ErrorCode
from referral_api.domain.words import KeyUse
from referral_api.formats.keys import SigningKey
from referral_api.server.service.doctor.house import match_keys
from referral_api.server.service.keyring import LOOK_AGAIN_S, Keyring
from referral_api.server.storage.keyfiles import Signers
from tests.auditlog.refusals import refused
from tests.formats.parties_world import NOW, Log
from tests.formats.test_rekeying import FROM, UNTIL, announced, first_key

USES = (KeyUse.TOKEN, KeyUse.RECEIPT, KeyUse.ACT, KeyUse.LOG)


class Host:
    """A host's key files and clock, before a keys log."""

    def __init__(self, log: Log, /, **instead: SigningKey) -> None:
        """`instead` are keys in the place of the first ones, by use."""
        self.now = NOW
        self.files = {use: [instead.get(use.value) or first_key(use.value)] for use in USES}
        self.log = log
        self.keyring = Keyring(lambda: log.keymap, self.read, lambda: self.now)

    def read(self) -> Signers:
        return Signers({use: tuple(self.files[use]) for use in USES})

    def at(self, now: int) -> list[tuple[str, str]]:
        """What is missing at a time, once the files have been looked at again."""
        self.now = now + LOOK_AGAIN_S
        self.keyring.look()
        return [(one.kid, one.status) for one in self.keyring.missing]

    def doctor(self, now: int) -> str:
        """What `admin doctor` makes of it."""
        return match_keys(self.read(), self.log.keymap, now).level.value


@pytest.mark.parametrize("use", ["token", "receipt", "act", "log"])
def test_a_key_that_was_not_brought_is_missed_from_its_announcement_until_it_is_there(
    use: str, capfd: pytest.CaptureFixture[str]
) -> None:
    log, new = announced(use)
    host, old = Host(log), first_key(use)
    assert host.at(NOW) == host.at(NOW + 60) == [(new.kid, "coming")]
    assert host.keyring.signer(KeyUse(use), FROM - 1).kid == old.kid
    assert host.at(FROM) == [(new.kid, "another-signs")]
    assert host.keyring.signer(KeyUse(use), FROM).kid == old.kid
    assert host.at(UNTIL) == [(new.kid, "none-signs")]
    assert refused(ErrorCode.UNAVAILABLE, host.keyring.signer, KeyUse(use), UNTIL) == "keys-missing"
    assert [host.doctor(now) for now in (NOW, FROM, UNTIL)] == ["warning", "problem", "problem"]
    host.files[KeyUse(use)].append(new)
    assert host.at(UNTIL + 60) == []
    assert host.keyring.signer(KeyUse(use), UNTIL + 60) is new
    assert host.doctor(UNTIL) == "ok"
    said = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [(one["event"], one["use"], one["kid"]) for one in said] == [("key_missing", use, new.kid)] * 4
    assert [one["status"] for one in said] == ["coming", "another-signs", "none-signs", "no-more"]


@pytest.mark.parametrize("use", ["receipt", "act", "log"])
def test_the_key_before_is_missed_only_where_both_sign(use: str) -> None:
    """A checkpoint carries both keys' lines; of the others the newer one alone is used."""
    log, new = announced(use)
    host, old = Host(log, **{use: new}), first_key(use)
    assert host.at(NOW) == [(old.kid, "none-signs")]
    assert host.at(FROM) == ([(old.kid, "another-signs")] if use == "log" else [])
    assert host.at(UNTIL) == []


def test_no_other_key_takes_the_first_token_key_s_place() -> None:
    """Cursors and nonces would be other ones at this host than at the others."""
    log, new = announced("token", **{"from": NOW, "until": NOW})
    host = Host(log)
    host.files[KeyUse.TOKEN].append(new)
    assert host.keyring.first_token_key().kid == first_key("token").kid
    host.keyring.check()
    without = Host(log, token=new)
    assert without.at(NOW) == []
    assert refused(ErrorCode.UNAVAILABLE, without.keyring.first_token_key) == "keys-missing"
    assert refused(ErrorCode.UNAVAILABLE, without.keyring.check) == "keys-missing"

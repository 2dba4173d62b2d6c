"""Which command meets which lies, and with what exit code it ends: the table of tests/cli/test_liar.py.

An auditor's verb ends with 1 where something false was shown, and with 3 where something was withheld (decision 0021);
every other command with 5 where something did not verify. Where nothing of the protocol was answered at all, the code
is the network's, 3, or with a token that is none, 4. `ENDS` has the lies that end otherwise, a line each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType

from referral_api.cli.output import Exit
from tests.liar import Lie
from tests.liar_scene import NEWCOMER
from tests.world import NATIONAL, OTHER_UNIT, UNIT

FALSE, WITHHELD = int(Exit.UNEXPECTED), int(Exit.UNREACHABLE)
NOT_VERIFIED, AWAY, NO_TOKEN = int(Exit.VERIFICATION_FAILED), int(Exit.UNREACHABLE), int(Exit.NOT_ENROLLED)
WAITS = int(Exit.PARTLY)
UNWELL = int(Exit.PROBLEMS)

COSIGNATURES = ("cosignatures", "audit cosignatures")
NO_QUORUM = ("strangers'", "in their names", "fewer", "none", "one twice", "one line twice", "without time")
"""Nothing in these is false; but they are no quorum."""
ENDS: Mapping[str, tuple[int, int]] = {
    "no answer": (AWAY, AWAY),
    "no answer: nonsense": (AWAY, FALSE),
    "token: a portal's page": (AWAY, AWAY),
    "token: a redirect": (AWAY, AWAY),
    "token: nonsense": (NO_TOKEN, NO_TOKEN),
    "token: a bearer token": (NO_TOKEN, NO_TOKEN),
    "records: one left out": (NOT_VERIFIED, WITHHELD),
    "records: none": (NOT_VERIFIED, WITHHELD),
    "records: one without its receipt": (NOT_VERIFIED, WITHHELD),
    "view: receipt withheld": (NOT_VERIFIED, WITHHELD),
    **{f"{log}: {what}": (NOT_VERIFIED, WITHHELD) for log in COSIGNATURES for what in NO_QUORUM},
    "cosignatures: of the future": (0, 0),
    "audit cosignatures: of the future": (0, 0),
    "cosigned: long ago": (0, 0),
    "cosigned: withheld": (0, WITHHELD),
}
"""By a lie, or a family of them: how a command ends, and how an auditor's verb. Of all others: 5, and 1."""


@dataclass(frozen=True)
class Row:
    """A command line: whose, its words, families of lies or single ones, and what must have become of the referral.

    `ends`: the exit codes that are this command's own, by lie or family, and why in a comment. `untold`: lies of its
    families that it asks nothing about.
    """

    seat: str
    words: tuple[str, ...]
    families: tuple[str, ...]
    before: str = "submitted"
    ends: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    untold: frozenset[str] = frozenset()

    @property
    def judges(self) -> bool:
        """An auditor's verb: what is false is what it was asked to find, and ends it with 1 (decision 0021)."""
        return self.seat == "auditor"

    def end(self, lie: Lie) -> int:
        """The exit code with which it ends in front of this lie."""
        for name in (lie.name, lie.family):
            if name in self.ends:
                return self.ends[name]
        for name in (lie.name, lie.family):
            if name in ENDS:
                return ENDS[name][self.judges]
        return FALSE if self.judges else NOT_VERIFIED

    def lies(self, *tables: Mapping[str, Lie]) -> Iterator[Lie]:
        """The lies of its families that it is told."""
        for lie in (lie for table in tables for lie in table.values()):
            if {lie.name, lie.family} & {*self.families} and lie.name not in self.untold:
                yield lie


NETWORK = ("no answer", "token")
LOGS = ("no answer", "keys log", "audit log", "tiles", "records", "growth")
KEYS = ("no answer", "keys log")
ACT = ("no answer", "view", "receipt")
_AT_REST = frozenset(f"consistency: {what}" for what in ("wrong", "short", "too long", "no hashes"))
"""From a size to itself there is nothing to prove, and these change nothing."""
_NO_SUCH_TERM = {"consistency: a term that is not": WITHHELD}
"""Who only reads on finds no log there; who verifies, that it does not begin as such a log must."""

_NOT_TOLD = {"records: one left out": 0, "records: none": 0, "audit log: leaf changed": 0}
"""Whoever has it searched cannot tell what was left out; `audit verify` does, or the same in a mirror. Nor does one who
asks for some records look at the leaf of another.
"""
_THIS_YEAR = datetime.now(UTC).year
_ONE_OF_EACH = (
    "no answer: a portal's page", "no answer: nonsense", "token: a bearer token", "keys log: fork",
    "audit log: rollback", "audit log: partial tile at a fuller path", "records: one left out",
    "records: one with another's receipt", "consistency: a term that is not",
)  # fmt: skip
"""`audit explain --full` verifies as `audit verify` does; and what that found of every lie is explained too."""

AUDITOR: dict[str, Row] = {
    # A token is asked for in one place, and there are only so many in a minute.
    "audit verify": Row("auditor", ("audit", "verify"), ("token", *LOGS), untold=_AT_REST),
    "audit explain": Row("auditor", ("audit", "explain", "--full"), _ONE_OF_EACH),
    "audit mirror": Row("auditor", ("audit", "mirror", "OUT"), LOGS, ends=_NO_SUCH_TERM, untold=_AT_REST),
    "audit records": Row("auditor", ("audit", "records", "--limit", "1000"), LOGS, ends=_NO_SUCH_TERM, untold=_AT_REST),
    "audit referral": Row(
        "auditor",
        ("audit", "referral", "REF"),
        (*LOGS, "view"),
        # That a reading is left out of a search only `audit verify` can tell; of acts the view tells.
        ends={**_NO_SUCH_TERM, "records: one left out": 0, "records: none": FALSE},
        untold=_AT_REST,
    ),
    "audit keys": Row("auditor", ("audit", "keys"), (*NETWORK, "keys log")),
    "audit statistics": Row(
        "auditor", ("audit", "statistics", "--year", str(_THIS_YEAR - 1)), ("no answer", "keys log", "statistics")
    ),
    "audit exposure": Row(
        "auditor",
        ("audit", "exposure", "--credential", "READER", "--since", "2020-01-01", "--until", "2100-01-01"),
        LOGS,
        ends={**_NO_SUCH_TERM, **_NOT_TOLD},
        untold=_AT_REST,
    ),
    "audit overrides": Row(
        "auditor",
        ("audit", "overrides", "--year", str(_THIS_YEAR)),
        LOGS,
        ends={**_NO_SUCH_TERM, **_NOT_TOLD},
        untold=_AT_REST,
    ),
}
"""An auditor's verbs, which are told every lie of these families; `audit explain` goes over each report again."""
_NEW = frozenset({"view: acknowledgement left out", "view: receipt of another act"})
"""Of a referral that nobody has acknowledged yet there is one receipt."""
_LOOKED = ("no answer", "view")
"""Of an act for which the referral is in no state, what is believed is the view."""
ROWS: dict[str, Row] = {
    "audit pack": Row(
        "operator", ("audit", "pack", "REF", "--out", "OUT"), ("no answer", "pack"), ends={"pack": FALSE}
    ),
    "send": Row("operator", ("send", "emergencia.json", "--unit", UNIT), ("keys log", "no answer", "receipt")),
    "copy": Row(
        "operator",
        ("copy", "REF", "--unit", NATIONAL),
        ("no answer", "view", "bundle", "receipt"),
        # It looks up to whom it seals before anything else, and nonsense there is a false keys log.
        ends={"no answer: nonsense": NOT_VERIFIED},
        untold=_NEW,
    ),
    "timeline": Row("operator", ("timeline", "REF"), ("no answer", "view"), "accepted"),
    "withdraw": Row("operator", ("withdraw", "REF", "--reason", "consent_withdrawn"), ACT, untold=_NEW),
    "calls": Row("operator", ("calls", "--month", "2026-10", "--total", "512"), ("no answer", "receipt")),
    "outbox flush": Row(
        "operator", ("outbox", "flush"), ("no answer", "receipt", "growth"), "queued", untold=frozenset(_NO_SUCH_TERM)
    ),
    "outbox reseal": Row("operator", ("outbox", "reseal", "ACT"), ("no answer", "keys log", "receipt"), "stale"),
    "outbox resend": Row("operator", ("outbox", "resend", "REF"), ("no answer", "receipt")),
    # Of several referrals one is false, and it says which; the others are listed all the same.
    "list": Row("officer", ("list",), ("no answer", "keys log", "inbox", "view", "hint")),
    "inbox list": Row("officer", ("inbox", "list"), ("no answer", "inbox")),
    "inbox watch": Row("officer", ("inbox", "watch", "--once", "--wait", "0"), ("no answer", "keys log", "inbox")),
    "show": Row("officer", ("show", "REF"), ("no answer", "view", "bundle", "hint"), untold=_NEW),
    "ack": Row("officer", ("ack", "REF"), ("no answer", "view", "bundle", "receipt"), untold=_NEW),
    "accept": Row("officer", ("accept", "REF"), ACT, "acknowledged"),
    "decline": Row("officer", ("decline", "REF", "--reason", "conflict_of_interest"), ACT, "acknowledged"),
    "status": Row("officer", ("status", "REF", "--to", "registered"), ACT, "accepted"),
    "receipt-failed": Row("officer", ("receipt-failed", "REF", "--reason", "cannot_decrypt"), ACT, untold=_NEW),
    "note": Row("officer", ("note", "REF", "passphrase"), ACT, "accepted"),
    "transfer": Row(
        "officer",
        ("transfer", "REF", "--to", NATIONAL, "--reason", "jurisdiction"),
        ("no answer", "keys log", "view", "bundle"),
        "acknowledged",
    ),
    "refuse-transfer": Row("operator", ("refuse-transfer", "REF", "--reason", "no_capacity"), _LOOKED, untold=_NEW),
    "escalate": Row("operator", ("escalate", "REF"), ACT, untold=_NEW),
    "readdress": Row("operator", ("readdress", "REF", "--unit", OTHER_UNIT), _LOOKED, untold=_NEW),
    "consent-withdrawn": Row("operator", ("consent-withdrawn", "REF"), ACT, untold=_NEW),
    "answer-notice": Row("officer", ("answer-notice", "REF", "--reply", "already_acted"), _LOOKED, "accepted"),
    "ask": Row("officer", ("ask", "REF", "--topic", "timing"), ACT, "accepted"),
    "answer": Row("officer", ("answer", "REF", "--reply", "not_known"), _LOOKED, "accepted"),
    "supplement": Row("operator", ("supplement", "REF", "emergencia.json"), ACT, untold=_NEW),
    "reopen": Row("officer", ("reopen", "REF", "--reason", "new_information"), _LOOKED, "accepted"),
    "phone": Row("operator", ("phone", "REF", "--at", "00:00", "--unit", UNIT), ACT, untold=_NEW),
    "close": Row("officer", ("close", "REF", "--outcome", "not_located"), ACT, "accepted"),
    "hold": Row(
        "officer",
        ("hold", "REF", "--on", "--basis", "audit", "--review-at", f"{_THIS_YEAR + 1}-01-31"),
        ACT,
        "accepted",
    ),
    "purge": Row("officer", ("purge", "REF", "--reason", "court_order"), ACT, "accepted"),
    # What cannot be reached is a finding like any other; what is false ends it as it ends every command.
    "doctor": Row(
        "operator",
        ("doctor", "--person"),
        ("no answer", "token", "ping", "keys log"),
        ends={
            **dict.fromkeys(("no answer", "no answer: nonsense"), UNWELL),
            **dict.fromkeys(("token: a portal's page", "token: a redirect"), UNWELL),
            **dict.fromkeys(("token: nonsense", "token: a bearer token"), UNWELL),
        },
    ),
    "loss": Row("operator", ("loss",), ("no answer", "token")),
    "whoami": Row("operator", ("whoami",), ("no answer", "token", "ping")),
    "units list": Row("operator", ("units", "list"), (*KEYS, "presence")),
    "units show": Row("operator", ("units", "show", UNIT), (*KEYS, "presence")),
    "units suggest": Row("operator", ("units", "suggest", "--ubigeo", "200101"), (*KEYS, "presence")),
    "keys show": Row("operator", ("keys", "show"), KEYS),
    "keys rewrap": Row("officer", ("keys", "rewrap", "REF"), ("no answer", "keys log", "view", "bundle"), untold=_NEW),
    "keys remove": Row("officer", ("keys", "remove", "--station", "st2"), KEYS),
    "keys review": Row("officer", ("keys", "review"), KEYS),
    "keys watch": Row("officer", ("keys", "watch", "--once"), KEYS),
    "keys object": Row("officer", ("keys", "object", "A" * 43, "--reason", "not_ours"), KEYS),
    "keys rotate": Row("officer", ("keys", "rotate", "--now"), KEYS),
    "keys revoke": Row("officer", ("keys", "revoke", "A" * 43), KEYS),
    "keys backup": Row("officer", ("keys", "backup", "--out", "OUT", "--backup-passphrase-file", "passphrase"), KEYS),
    "keys recover": Row("officer", ("keys", "recover", "--words-file", "palabras"), KEYS),
    "invite": Row("registrar", ("invite", "--entry", "entidad.json", "--out", "OUT"), ("no answer", "receipt")),
    "enrol": Row(NEWCOMER, ("enrol",), ("no answer", "enrolment")),
    "enrolments": Row("registrar", ("enrolments",), ("no answer", "enrolments")),
    "approve": Row("registrar", ("approve", NEWCOMER, "--code-file", "digits"), ("no answer", "enrolments", "receipt")),
}
"""Everybody else's commands. The lies of a family are dealt out to those that could meet them: every call of the client
meets every lie in tests/story/test_liar.py.
"""
_UNCOSIGNED = {"cosigned: withheld": 0} | {f"audit cosignatures: {what}": 0 for what in NO_QUORUM}
"""A copy that no quorum has cosigned yet is a copy all the same, and says nothing else of itself."""
_AHEAD = {f"{log}: of the future": WITHHELD for log in COSIGNATURES}
"""Only these ask when."""
_PACKS = {
    "cosigned pack": FALSE,
    **{
        f"cosigned pack: cosignatures {what}": WITHHELD
        for what in ("by strangers", "in their names", "of one", "taken away")
    },
}
"""What is not a quorum is missing, and the pack is kept; what is under a witness's name and not its own is false."""
_QUORUM = ("cosignatures: forged", "cosignatures: fewer")
_COSIGNED = (*COSIGNATURES, "cosigned")
_LONG = ("long log", "long keys log")
_FORK = "keys log: fork of what is cosigned"
_KEYS_TILES = frozenset(
    f"long keys log: {what}" for what in ("partial tile at a full path", "full tile swapped", "full tile emptied")
)
"""Whoever replicates the keys log has its leaves; its tiles are read by who verifies or copies it."""
_BELOW = frozenset(
    f"long log: {what}"
    for what in (
        "partial bundle at a full path", "full bundle swapped", "leaves across bundles", "records of another bundle",
        "partial tile at a full path", "full tile swapped", "full tile emptied",
    )
)  # fmt: skip
"""Growth is proved by the tiles above, and which full ones it takes hangs on the sizes."""
_ELSEWHERE = {"long log: leaves across bundles": 0}
"""Not of this referral: what is shown of it is true."""
WITNESSED: dict[str, Row] = {
    "audit verify": Row("auditor", ("audit", "verify"), (*_LONG, *_COSIGNED), ends=_AHEAD),
    "audit mirror": Row("auditor", ("audit", "mirror", "OUT"), (*_LONG, *_COSIGNED), ends=_UNCOSIGNED),
    "audit records": Row(
        "auditor", ("audit", "records", "--limit", "1000"), (*_LONG, "cosignatures"), untold=_KEYS_TILES
    ),
    "audit referral": Row(
        "auditor", ("audit", "referral", "REF"), (*_LONG, "cosignatures"), ends=_ELSEWHERE, untold=_KEYS_TILES
    ),
    "audit keys": Row("auditor", ("audit", "keys"), ("long keys log", "cosignatures", _FORK), untold=_KEYS_TILES),
    "audit witnesses": Row("auditor", ("audit", "witnesses"), ("long log", *_COSIGNED), ends=_AHEAD, untold=_BELOW),
    "audit pack": Row("operator", ("audit", "pack", "REF", "--out", "OUT"), ("cosigned pack",), ends=_PACKS),
    "receipt upgrade": Row(
        "operator",
        ("receipt", "upgrade", "ACT", "--wait", "1"),
        ("cosignatures", "receipt: of another act"),
        # It shows every time to whoever reads it, and judges none.
        untold=frozenset({"cosignatures: of the future"}),
    ),
    "send": Row(
        "operator", ("send", "emergencia.json", "--unit", UNIT), (*_QUORUM, "long keys log"), untold=_KEYS_TILES
    ),
    "note": Row("officer", ("note", "REF", "passphrase"), _QUORUM),
    "units list": Row("operator", ("units", "list"), (*_QUORUM, "long keys log"), untold=_KEYS_TILES),
}
"""In front of an exchange with witnesses and long logs: run by tests/story/test_liar_witnessed.py, with every lie of
these families (tests/lies_witnessed.py).
"""
SILENT = {
    "outbox list": "reads the outbox", "receipt show": "reads the outbox", "receipt verify": "judges a file",
    "audit verify-pack": "judges a file", "audit db": "reads the operator's own database",
}  # fmt: skip
"""Commands that make no call here, and why; all of `admin` and `witness` are the operators' own."""


def dealt(name: str, *tables: Mapping[str, Lie]) -> list[Lie]:
    """The lies that one of the other commands is told: its share of each family, and at least one."""
    mine: list[Lie] = []
    for family in ROWS[name].families:
        every = [one for table in tables for one in table.values() if one.family == family and not one.slow]
        every = [lie for lie in every if _meets(lie)]
        share = [lie for at, lie in enumerate(every) if name == (those := _meets(lie))[at % len(those)]]
        mine += share or [next(lie for lie in every if name in _meets(lie))]
    return mine


def _meets(lie: Lie) -> list[str]:
    return [name for name, row in ROWS.items() if lie.family in row.families and lie.name not in row.untold]

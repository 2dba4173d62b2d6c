"""Notes that travelled sealed beside the acts of a referral: opened with a person's keys, and printed under the blocks
that say how anybody may be reached, because a note can hold a number too.

A note that cannot be opened is shown as that, with the reason: what somebody sealed for us must not seem unsent.

Must never: leave a note out, print one without safe contact above it, or open a bundle that its unit has not asked for.

Implements: R-52 (each opening is on the record); R8 and R11 of the field.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from referral_api.cli.invocation import Invocation
from referral_api.cli.output import EXIT_OF, Exit, Fault, Screen, harmless
from referral_api.client import talking
from referral_api.client.delivery import Opened
from referral_api.client.sdk import Client
from referral_api.client.talking import Further
from referral_api.client.view import Referral, ShownAct
from referral_api.domain.catalogue import text_of
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.policy import Relation
from referral_api.domain.words import Act
from referral_api.formats.bodies import sealed_of
from referral_api.formats.contents import NoteBody

UNREAD = "not-retrieved"
"""The code of a note whose unit has not fetched the bundle yet: notes follow it."""
PURGED = "purged"
"""The code of a note that is gone, on schedule or because two persons said so: nothing is wrong with that."""
_ENVELOPES = frozenset({Act.SUBMIT, Act.SUPPLEMENT, Act.TRANSFER, Act.REWRAP})
"""Acts beside which the referral itself travels, and no note."""


@dataclass(frozen=True, slots=True)
class Note:
    """A note and the act that it came with; `code` says why it is closed where `body` is None."""

    shown: ShownAct
    body: NoteBody | None
    code: str | None = None


def addressed(referral: Referral, party: str) -> list[ShownAct]:
    """The acts with a note for this party beside them, in log order: the other side's, where it is a side."""
    if referral.relation not in (Relation.SENDER, Relation.RECIPIENT):
        return []
    reached = (None, party) if referral.relation == Relation.RECIPIENT else (None, *referral.chronicle.deliveries)
    return [
        one
        for one in referral.acts
        if one.accepted
        and one.act.act not in _ENVELOPES
        and one.act.party != party
        and one.act.unit in reached
        and sealed_of(one.act.body) is not None
    ]


def open_all(client: Client, referral: Referral) -> list[Note]:
    """Every note for this client's party, opened or told why not. The bundle has been opened before."""
    return [_open(client, referral, shown) for shown in addressed(referral, client.profile.party)]


def read(
    call: Invocation, client: Client, referral: Referral
) -> tuple[tuple[Opened, list[Further]] | None, list[Note]]:
    """The notes, and the referral with its supplements, whose blocks belong above them, with a person's keys, where
    there are any notes.

    A unit that has not fetched the bundle gets them closed: a look at what happened must not count as its retrieval.
    """
    sealed = addressed(referral, client.profile.party)
    delivery = referral.chronicle.deliveries.get(client.profile.party)
    if not sealed:
        return None, []
    if delivery is not None and delivery.retrieved_at is None:
        return None, [Note(one, None, UNREAD) for one in sealed]
    try:
        with _person(call, client) as person:
            opened = person.open_referral(referral)
            further = talking.read_supplements(person.session, person.keys, referral)
            return (opened, further), open_all(person, referral)
    except Fault:
        code = ErrorCode.LOCKED.value  # Nobody is there to unlock the keys.
    except ReferralError as error:
        code = _code(error)
    return None, [Note(one, None, code) for one in sealed]


def status_of(notes: Sequence[Note]) -> Exit:
    """The exit code: 5 where a note is false, 8 where one stayed closed for another reason."""
    closed = [one.code for one in notes if one.code is not None and one.code != PURGED]
    if any(code != UNREAD and EXIT_OF[ErrorCode(code)] is Exit.VERIFICATION_FAILED for code in closed):
        return Exit.VERIFICATION_FAILED
    return Exit.PARTLY if closed else Exit.OK


def data(notes: Sequence[Note]) -> list[dict[str, Any]]:
    """Notes as JSON members."""
    return [
        {
            "act": one.shown.act.id,
            "what": one.shown.act.act.value,
            "at": one.shown.at,
            "by": one.shown.act.iss,
            "unit": one.shown.act.unit,
            **one.shown.term.members(),
            "index": one.shown.index,
            "opened": one.body is not None,
            "code": one.code,
            "text": None if one.body is None else one.body.text,
            "case_number": None if one.body is None else one.body.case_number,
            "contact": None if one.body is None else one.body.contact,
        }
        for one in notes
    ]


def lines(screen: Screen, notes: Sequence[Note]) -> list[str]:
    """Notes as lines; every line of a stranger's text is indented, so that none passes for one of ours."""
    shown = [screen.say("note.title")] if notes else []
    for one in notes:
        act = one.shown.act
        shown.append(
            screen.say("note.head", at=screen.at(one.shown.at), what=screen.say(f"act.{act.act.value}"), by=act.iss)
        )
        if one.body is None:
            shown.append(screen.say("note.closed", words=_why(screen, one.code or ""), code=one.code))
            continue
        shown += [f"    {harmless(line)}" for line in one.body.text.splitlines()]
        if one.body.case_number is not None:
            shown.append(screen.say("note.case_number", number=one.body.case_number))
        if one.body.contact is not None:
            shown.append(screen.say("note.contact", contact=one.body.contact))
    return shown


def _open(client: Client, referral: Referral, shown: ShownAct) -> Note:
    try:
        body = client.open_note(referral, shown).document.contents.body
    except ReferralError as error:
        return Note(shown, None, _code(error))
    return Note(shown, body) if isinstance(body, NoteBody) else Note(shown, None, ErrorCode.WRONG_TYPE.value)


def _person(call: Invocation, client: Client) -> AbstractContextManager[Client]:
    """Whoever reads already, where that is a person with keys to open with: nobody types a passphrase twice."""
    return nullcontext(client) if client.keys.enc else call.person()


def _code(error: ReferralError) -> str:
    return PURGED if "purged_at" in error.facts else error.code.value


def _why(screen: Screen, code: str) -> str:
    if code == PURGED:
        return screen.say("note.purged")
    return screen.say("note.unread") if code == UNREAD else text_of(ErrorCode(code), screen.lang).title

"""What a verb needs to know before it signs: which delivery, which question, which code, which words.

What can be chosen in only one way is chosen; where there are several, they are listed, and nothing is signed. A refusal
says in words how the delivery stands, and which commands are possible instead.

Must never: choose between two, or send before a code or a note that is wanted is there.

Implements: R-54, R-65, R-76; design §7 (allowed next acts), §12.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

from referral_api.cli import acting, nexts, remarks
from referral_api.cli.invocation import Invocation, read_file
from referral_api.cli.output import Exit, Fault
from referral_api.client import correcting, talking
from referral_api.client.outbox import Entry, Progress
from referral_api.client.sdk import Client
from referral_api.client.talking import Open
from referral_api.client.view import Referral
from referral_api.domain import lifecycle
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.policy import Relation
from referral_api.domain.words import UUID7, Act, PartyId, Role, State
from referral_api.formats.codelists import codes, label
from referral_api.formats.contents import MAX_NOTE_CHARACTERS, SHORT_TEXT, says_something

_INDENT = "\n    "
_NOT_NOW = frozenset({ErrorCode.ILLEGAL_TRANSITION, ErrorCode.STALE_HEAD})


def check_code(call: Invocation, list_name: str, code: str, note: Path | None = None) -> str:
    """A code of a list, with the note that it demands. Raises Fault, before anything is asked."""
    rows = codes(list_name)
    if code not in rows:
        listed = [f"{one.code}: {label(list_name, one.code, call.screen.lang)}" for one in rows.values()]
        raise Fault("no-such-code", given=code, codes=_INDENT.join(listed))
    if rows[code].note_required and note is None:
        raise Fault("note-required", code=code, words=label(list_name, code, call.screen.lang))
    return code


def relation(call: Invocation, given: str) -> dict[str, str]:
    """`TYPE:REF` as the relation of a submission. Raises Fault."""
    kind, _, ref = given.partition(":")
    check_code(call, "relation_type", kind)
    if re.fullmatch(UUID7, ref) is None:
        raise Fault("relation-unreadable", given=given)
    return {"type": kind, "ref": ref}


def demand_earlier(client: Client, ref: str) -> None:
    """That an earlier referral is our own: a relation to nothing would leave out whoever must be told of it one day.

    What went out from here is known offline; with nobody to ask, a referral that is not is believed. Raises NOT_FOUND.
    """
    if any(entry.outgoing.ref == ref for entry in client.outbox.entries()):
        return
    try:
        found = client.referral(ref)
    except ReferralError as error:
        if error.code not in (ErrorCode.UNREACHABLE, ErrorCode.UNAVAILABLE):
            raise
        return
    if found.relation is not Relation.SENDER:
        raise ReferralError(ErrorCode.NOT_FOUND)


def note_text(path: Path | None) -> str | None:
    """The words of a note's file. Raises Fault; TOO_LARGE (`limit`, characters), MALFORMED (`note-empty`)."""
    if path is None:
        return None
    try:
        text = read_file(path).decode("utf-8").strip()
    except UnicodeDecodeError:
        raise Fault("file-unreadable", path=path) from None
    if len(text) > MAX_NOTE_CHARACTERS:
        raise ReferralError(ErrorCode.TOO_LARGE, limit=MAX_NOTE_CHARACTERS)
    if not says_something(text):
        raise ReferralError(ErrorCode.MALFORMED, where="/note", reason="note-empty")
    return text


def moment(text: str, now: int) -> int:
    """A time that somebody typed, as Unix seconds: ISO 8601 (without an offset: of this machine), or a bare HH:MM.

    A bare time is the latest one that is not in the future. Raises Fault.
    """
    here = datetime.fromtimestamp(now, UTC).astimezone()
    try:
        if len(text) <= len("HH:MM") and ":" in text:
            hour, minute = (int(part) for part in text.split(":"))
            at = here.replace(hour=hour, minute=minute, second=0, microsecond=0)
            at = at if at <= here else at - timedelta(days=1)
        else:
            at = datetime.fromisoformat(text)
            at = at if at.tzinfo is not None else at.replace(tzinfo=here.tzinfo)
    except ValueError:
        raise Fault("time-unreadable", given=text) from None
    return int(at.timestamp())


def past(text: str, now: int) -> int:
    """A `moment` at which something has happened. Raises Fault for one that is still to come."""
    at = moment(text, now)
    if at > now:
        raise Fault("time-to-come", given=text)
    return at


def demand_status(call: Invocation, referral: Referral, digest: str) -> None:
    """That a status to be corrected is our own on this referral. Raises Fault, which lists those that there are."""
    unit = next(iter(referral.chronicle.deliveries))
    try:
        correcting.demand_reported(referral, unit, digest)
    except ReferralError:
        screen = call.screen
        listed = []
        for one in correcting.reported(referral, unit):
            body: Any = one.act.body
            words = label("investigation_status", body.code, screen.lang)
            listed.append(f"{words} · {screen.at(one.at)} · {one.act.digest}")
        raise Fault("no-such-status", given=digest, statuses=_INDENT.join(listed) or "—") from None


def the_unit(referral: Referral, act: Act, unit: str | None) -> PartyId:
    """The delivery that an act is about: the unit's own, the one that is named, or the only one where it is possible.

    A delivery that its unit does not know of yet is meant only where it is named. Raises NOT_FOUND, NOT_PERMITTED;
    Fault where several are possible.
    """
    deliveries = referral.chronicle.deliveries
    if referral.relation is Relation.RECIPIENT:
        return PartyId(next(iter(deliveries)))
    if referral.relation is not Relation.SENDER:
        raise ReferralError(ErrorCode.NOT_PERMITTED, act=act.value)
    if unit is not None:
        if unit not in deliveries:
            raise Fault("no-such-delivery", Exit.NOT_FOUND, unit=unit, units=", ".join(deliveries))
        return PartyId(unit)
    known = [one for one in deliveries.values() if one.state is not State.HELD]
    possible = [
        one for one in known if act in lifecycle.allowed(Role.HOTLINE, one.state, open_questions=one.open_questions)
    ]
    found = possible or known
    if len(found) != 1:
        raise Fault("which-unit", units=", ".join(one.unit for one in found or deliveries.values()))
    return PartyId(found[0].unit)


def the_question(
    call: Invocation, client: Client, referral: Referral, kinds: Collection[Act], answers: str | None, unit: str | None
) -> Open:
    """The open question that is answered: the one named by its digest, or the only one of these kinds.

    Raises ILLEGAL_TRANSITION (`no-such-question`) where there is none; Fault where there are several.
    """
    party, signer = client.profile.party, client.keys.credential
    there = talking.open_questions(referral, party, signer, kinds, unit)
    found = [one for one in there if answers in (None, one.question.digest)]
    if len(found) == 1:
        return found[0]
    if not there or (answers is not None and not found):
        raise ReferralError(ErrorCode.ILLEGAL_TRANSITION, reason="no-such-question")
    raise Fault("which-question", questions=_INDENT.join(acting.question_line(call.screen, one) for one in found))


@contextmanager
def explaining(call: Invocation, client: Client, referral: Referral, act: Act, unit: str | None) -> Iterator[None]:
    """Let a refusal for how things stand say how they stand, and what is possible instead."""
    try:
        yield
    except ReferralError as error:
        if error.code not in _NOT_NOW:
            raise
        raise _explained(call, client, referral, act, unit, error) from None


def refused(call: Invocation, client: Client, entry: Entry) -> None:
    """Raise the exchange's refusal of an act, with how things stand there now: they had changed meanwhile."""
    if entry.state is not Progress.REFUSED or entry.code not in _NOT_NOW:
        return
    outgoing = entry.outgoing
    error = ReferralError(entry.code, act=outgoing.act.value, id=outgoing.id)
    referral = client.referral(str(outgoing.ref))
    unit = client.profile.party if referral.relation is Relation.RECIPIENT else None
    raise _explained(call, client, referral, outgoing.act, unit, error)


def _explained(
    call: Invocation, client: Client, referral: Referral, act: Act, unit: str | None, error: ReferralError
) -> ReferralError:
    deliveries = [one for one in referral.chronicle.deliveries.values() if unit in (None, one.unit)]
    screen, signer = call.screen, client.keys.credential
    listed = [one for own in deliveries for one in nexts.commands(screen, referral, own, signer)]
    possible = list(dict.fromkeys(one for own in deliveries for one in nexts.may(referral, own, signer)))
    told = {"act": act.value} | {name: value for name, value in error.facts.items() if name != "allowed"}
    return ReferralError(
        error.code,
        **told | {"ref": referral.ref, "allowed": [one.value for one in possible]},
        states=[f"{own.unit}: {screen.say(f'state.{own.state.value}')}" for own in deliveries],
        commands=listed or [nexts.PENDING],
    )


def perform(
    call: Invocation,
    ref: str,
    act: Act,
    body: Mapping[str, Any],
    follow: str | None = None,
    *,
    unit: str | None = None,
    note: Path | None = None,
    case_number: str | None = None,
    more: Sequence[str] = (),
    first: Callable[[Invocation, Referral], None] = lambda _call, _referral: None,
) -> NoReturn:
    """One signed act on one delivery, with a note sealed beside it where there is one; print what became of it. `first`
    asks what must be asked of a referral as it stands, before anything is signed.
    """
    text = note_text(note)
    if case_number is not None and re.fullmatch(SHORT_TEXT, case_number) is None:
        raise Fault("case-number-unreadable")
    with call.person() as client:
        referral = client.referral(ref)
        if case_number is not None and referral.relation is Relation.SENDER:
            raise Fault("case-number-of-unit")
        place = the_unit(referral, act, unit)
        first(call, referral)
        with explaining(call, client, referral, act, place):
            entry = client.pen.act(referral, act, body, unit=place, note=text, case_number=case_number)
        refused(call, client, entry)
    also, said = remarks.passed_on(call.screen, referral, place) if act is Act.NOTE else ([], [])
    acting.show_entries(call, [entry], [*also, follow or f"referral timeline {ref}"], more=[*said, *more])


def answering(
    call: Invocation,
    ref: str,
    act: Act,
    kinds: Collection[Act],
    body: Mapping[str, Any],
    *,
    answers: str | None,
    unit: str | None = None,
    note: Path | None = None,
) -> NoReturn:
    """One signed answer to an open question of these kinds; print what became of it."""
    text = note_text(note)
    with call.person() as client:
        referral = client.referral(ref)
        with explaining(call, client, referral, act, unit):
            asked = the_question(call, client, referral, kinds, answers, unit)
            members = {**body, "answers": asked.question.digest}
            entry = client.pen.act(referral, act, members, unit=asked.unit, note=text)
        refused(call, client, entry)
    also, said = remarks.passed_on(call.screen, referral, asked.unit)
    acting.show_entries(call, [entry], [*also, f"referral timeline {ref}"], more=said)

"""What an officer reads of a referral, in the order in which it must be read.

First who vouches for it and what is wrong with it, then what must not be done and how each person may be reached
without harm, and only then the rest with its names, addresses and numbers. A number that has grown old, leads to a
suspect or was replaced by a later supplement takes a step of its own to be seen. Labels of members are texts,
labels of codes are those of the code lists.

Must never: print a number before the blocks that say how it may be used, give out a hidden one in any form, or leave
another member of the referral out.

Implements: R-87; R8, R10 and R11 of the field (safe contact, handling codes); R-81, R-83, R-86 (warnings).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeAlias, get_args

from rich.text import Text

from referral_api.cli import notes
from referral_api.cli.output import Screen, harmless
from referral_api.client.delivery import Opened
from referral_api.client.sealing import OpenedBundle
from referral_api.domain.catalogue import text_of
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Basis, IdentityLevel, Urgency
from referral_api.formats.codelists import codes, label
from referral_api.formats.contents import BundleBody
from referral_api.formats.fields import Coded, Document
from referral_api.formats.referral_body import ReferralBody
from referral_api.formats.referral_contacts import Reach, Why, hidden_in, reaches, without
from referral_api.formats.referral_later import superseded, with_suspects

Line: TypeAlias = str | Text
_ENUMERATIONS: dict[type, str] = {Urgency: "urgency", Basis: "sharing_basis", IdentityLevel: "identity_level"}
_LITERAL_LISTS = {
    "trafficking_status": "htcds_2_0/trafficking_status",
    "status_decided_by": "htcds_2_0/trafficking_status_decision_making_org",
    "lang": "language",
    "languages": "language",
    "interpreter_lang": "language",
}
"""Members whose type is a few values or a pattern, although a list has words for them."""
_SHOWN_FIRST = frozenset({"do_not", "safe_contact", "schema_version"})
_INDENT = "  "


@dataclass(frozen=True, slots=True)
class Reading:
    """An opened referral as it may be read now: how each person may be reached, and what stays hidden."""

    bundle: OpenedBundle
    body: ReferralBody
    faults: tuple[ReferralError, ...]
    reaches: tuple[Reach, ...]
    hidden: Mapping[str, Why]

    @property
    def ref(self) -> str:
        """Its id."""
        return str(self.bundle.referral.contents.ref)

    @property
    def phone(self) -> str:
        """The hotline's duty phone: who verifies a contact anew."""
        return str(self.body.hotline_contact.duty_phone)


def read(opened: Opened, later: Sequence[ReferralBody | None], now: int, *, reveal: bool = False) -> Reading:
    """How an opened referral may be read at `now` (unix seconds) after its supplements (None: one that stayed closed);
    `reveal` is somebody's step to see what is hidden.
    """
    return read_body(opened.bundle, opened.body, later, now, faults=opened.faults, reveal=reveal)


def read_body(
    bundle: OpenedBundle,
    body: ReferralBody,
    later: Sequence[ReferralBody | None],
    now: int,
    *,
    earlier: Sequence[ReferralBody] = (),
    faults: tuple[ReferralError, ...] = (),
    reveal: bool = False,
) -> Reading:
    """The same of any bundle that holds a body: a supplement, too, has people in it who may be reached so or not, and
    in what came `earlier` there may be suspects.
    """
    written_at = datetime.fromtimestamp(bundle.referral.contents.issued_at_s, UTC)
    known = [one for one in later if one is not None]
    judged, gone = with_suspects(body, [*earlier, *known]), superseded(body, known)
    is_closed = len(known) < len(later)
    found = tuple(reaches(judged, written_at, datetime.fromtimestamp(now, UTC), superseded=gone, unread=is_closed))
    return Reading(bundle, body, faults, found, {} if reveal else hidden_in(body, found))


def lines(screen: Screen, reading: Reading, told: Sequence[notes.Note] = ()) -> list[Line]:
    """The whole referral as lines, with the notes that came after it below the blocks on how to reach anybody."""
    contents = reading.bundle.referral.contents
    urgency = label("urgency", reading.body.urgency.value, screen.lang).upper()
    shown: list[Line] = [
        screen.say("show.verified", party=contents.party, issuer=contents.issuer, at=screen.at(contents.issued_at_s)),
        screen.say("show.ref", ref=contents.ref, urgency=urgency),
        *warnings(screen, reading),
        "",
        *handling(screen, reading),
    ]
    if told:
        shown += ["", *notes.lines(screen, told)]
    shown += ["", *tree(screen, reading)]
    bundled = contents.body
    if isinstance(bundled, BundleBody) and bundled.attachments:
        shown += ["", screen.say("show.attachments")]
        shown += [f"{_INDENT}{one.id}  {harmless(one.name)}  {one.size}" for one in bundled.attachments]
    return shown


def data(reading: Reading) -> dict[str, Any]:
    """What was opened, as JSON members: the blocks that come first, what is wrong, and the referral without what is
    hidden.
    """
    return {
        **handling_data(reading),
        "warnings": [_fault_data(fault) for fault in reading.faults],
        "referral": document(reading),
    }


def document(reading: Reading) -> dict[str, Any]:
    """The referral as its JSON members, without what is hidden."""
    return without(reading.body.wire(), reading.hidden)


def tree(screen: Screen, reading: Reading) -> Iterator[Line]:
    """Every member of the referral as lines, those that must come first apart."""
    return _tree(screen, reading, reading.body, 0, "")


def handling_data(reading: Reading) -> dict[str, Any]:
    """What must come first, as JSON members; without the block, only the hotline may reach her. `hidden` are places in
    the referral whose values were left out.
    """
    return {
        "safe_contact": [_reach_data(reading, one) for one in reading.reaches],
        "do_not": list(reading.body.do_not or ()),
        "hidden": sorted(reading.hidden),
    }


def handling(screen: Screen, reading: Reading) -> Iterator[Line]:
    """What must come first, as lines: what must not be done, and how each person may be reached without harm."""
    yield screen.say("show.do_not")
    for code in reading.body.do_not or ():
        yield _red(f"{_INDENT}✖ {label('do_not', code, screen.lang)}")
    if not reading.body.do_not:
        yield _INDENT + screen.say("show.do_not_none")
    yield screen.say("show.safe_contact")
    for reach in reading.reaches:
        who = screen.say("field.reporter") if reach.who == "reporter" else reach.who
        if reach.block is None:
            yield f"{_INDENT}{who}: {screen.say('show.no_safe_contact')}"
            yield from _validity(screen, reading, reach)
        else:
            yield f"{_INDENT}{who}:"
            yield from _validity(screen, reading, reach)
            yield from _tree(screen, reading, reach.block, 2, f"{reach.place}/safe_contact")
        yield from _feared(screen, reading, reach.who)


def warnings(screen: Screen, reading: Reading) -> Iterator[Line]:
    """What the sender's software let through, each with what to do about it, and whom to ask."""
    for fault in reading.faults:
        yield _red(screen.say("care.fault", words=text_of(fault.code, screen.lang).title))
        if fault.code is ErrorCode.FLOOR_NOT_MET:
            least = label("urgency", str(fault.facts["least"]), screen.lang).upper()
            yield screen.say(
                "care.place", place=screen.say("field.urgency"), words=screen.say("why.floor", least=least)
            )
            continue
        for where, reason in fault.facts.get("findings", [(fault.facts.get("where"), fault.facts.get("reason"))]):
            place = _place(screen, reading.body, str(where))
            yield screen.say("care.place", place=place, words=screen.say(f"why.{reason}"))
    if reading.faults:
        yield screen.say("care.ask", phone=reading.phone)


def _validity(screen: Screen, reading: Reading, reach: Reach) -> Iterator[Line]:
    if reach.valid_until is None and reach.why is None:
        return
    at = "—" if reach.valid_until is None else screen.at(int(reach.valid_until.timestamp()))
    if reach.why is None:
        # Only what its hotline says that it verified is called that.
        is_verified = reach.block is not None and reach.block.last_verified_at is not None
        yield _INDENT * 2 + screen.say("care.until" if is_verified else "care.good_until", at=at)
    else:
        yield _red(_INDENT * 2 + screen.say(f"care.{reach.why}", at=at, phone=reading.phone))


def _feared(screen: Screen, reading: Reading, who: str) -> Iterator[Line]:
    """That whoever answers for a child is a suspect, beside how she may be reached."""
    for victim in reading.body.victims:
        if victim.ref == who and victim.guardian is not None and victim.guardian.is_suspect == "yes":
            relationship = _scalar(screen, victim.guardian.relationship, ["guardian_relationship", "answer_gap"])
            yield _red(_INDENT * 2 + screen.say("care.guardian", relationship=relationship))


def _reach_data(reading: Reading, reach: Reach) -> dict[str, Any]:
    block = None
    if reach.block is not None:
        prefix = f"{reach.place}/safe_contact"
        block = without(reach.block.wire(), [one.removeprefix(prefix) for one in reading.hidden])
    until = None if reach.valid_until is None else int(reach.valid_until.timestamp())
    return {"who": reach.who, "safe_contact": block, "valid_until": until, "unsafe": reach.why}


def _fault_data(fault: ReferralError) -> dict[str, Any]:
    facts = fault.facts
    pairs = facts.get("findings", [(facts["where"], facts["reason"])] if "where" in facts else [])
    told: dict[str, Any] = {
        "code": fault.code.value,
        "findings": [{"where": one[0], "reason": one[1]} for one in pairs],
    }
    return told | ({"least": facts["least"]} if "least" in facts else {})


def _tree(screen: Screen, reading: Reading, document: Document, depth: int, place: str) -> Iterator[Line]:
    for name, field in type(document).model_fields.items():
        value = getattr(document, name)
        if name not in document.model_fields_set or (name in _SHOWN_FIRST and not isinstance(value, bool)):
            continue
        lists = [_LITERAL_LISTS[name]] if name in _LITERAL_LISTS else list(_lists(field.annotation, field.metadata))
        title = _INDENT * depth + screen.say(f"field.{field.alias or name}")
        within = f"{place}/{field.alias or name}"
        if within in reading.hidden:
            yield _red(f"{title}: {screen.say('care.hidden', ref=reading.ref)}")
        elif name == "is_suspect" and value == "yes":
            yield _red(f"{title}: {_scalar(screen, value, lists)}")
        else:
            yield from _member(screen, reading, title, value, lists, depth, within)


def _member(
    screen: Screen, reading: Reading, title: str, value: Any, lists: list[str], depth: int, place: str
) -> Iterator[Line]:
    if isinstance(value, Document):
        yield f"{title}:"
        yield from _tree(screen, reading, value, depth + 1, place)
    elif isinstance(value, tuple) and any(isinstance(one, Document) for one in value):
        for number, one in enumerate(value, 1):
            yield f"{title} {getattr(one, 'ref', number)}:"
            yield from _tree(screen, reading, one, depth + 1, f"{place}/{number - 1}")
    elif isinstance(value, tuple):
        yield f"{title}: {', '.join(_scalar(screen, one, lists) for one in value) or '—'}"
    else:
        yield f"{title}: {_scalar(screen, value, lists)}"


def _place(screen: Screen, body: ReferralBody, pointer: str) -> str:
    """A pointer into the referral in the words of its members."""
    words: list[str] = []
    steps = pointer.split("/")[1:]
    for before, step in zip(["", *steps], steps, strict=False):
        if before == "victims":
            words[-1:] = [f"{words[-1]} {body.victims[int(step)].ref}"]
        elif not step.isdecimal():
            words.append(screen.say(f"field.{step}"))
    return " · ".join(words)


def _scalar(screen: Screen, value: Any, lists: list[str]) -> str:
    if isinstance(value, bool):
        return screen.say("yes" if value else "no")
    if isinstance(value, StrEnum) and type(value) in _ENUMERATIONS:
        return label(_ENUMERATIONS[type(value)], value.value, screen.lang)
    if hasattr(value, "timestamp"):
        return screen.at(int(value.timestamp()))
    for name in lists:
        if value in codes(name):
            return label(name, value, screen.lang)
    return harmless(str(value))


def _lists(annotation: Any, metadata: Any) -> Iterator[str]:
    """The code lists that a member's values come from, wherever in its type they are named."""
    for one in (*metadata, *get_args(annotation)):
        if isinstance(one, Coded):
            yield from (*one.lists, *(("answer_gap",) if one.gaps else ()))
        elif not isinstance(one, type):
            yield from _lists(one, getattr(one, "__metadata__", ()))


def _red(line: str) -> Text:
    return Text(line, style="bold red")

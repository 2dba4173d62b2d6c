"""What an officer reads of a referral, in the order in which it must be read.

First who vouches for it, then what must not be done and how each person may be reached without harm, and only then the
rest with its names, addresses and numbers. Labels of members are texts, labels of codes are those of the code lists.

Must never: print a number before the blocks that say how it may be used, or leave a member of the referral out.

Implements: R8 and R11 of the field (safe contact, handling codes); R-81, R-83 (warnings).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, get_args

from referral_api.cli import notes
from referral_api.cli.output import Screen, harmless
from referral_api.client.delivery import Opened
from referral_api.domain.catalogue import text_of
from referral_api.domain.words import Basis, IdentityLevel, Urgency
from referral_api.formats.codelists import codes, label
from referral_api.formats.contents import BundleBody
from referral_api.formats.fields import Coded, Document
from referral_api.formats.referral_body import ReferralBody

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


def lines(screen: Screen, opened: Opened, told: Sequence[notes.Note] = ()) -> list[str]:
    """The whole referral as lines, with the notes that came after it below the blocks on how to reach anybody."""
    body, contents = opened.body, opened.bundle.referral.contents
    shown = [
        screen.say("show.verified", party=contents.party, issuer=contents.issuer, at=screen.at(contents.issued_at_s)),
        screen.say("show.ref", ref=contents.ref, urgency=label("urgency", body.urgency.value, screen.lang).upper()),
    ]
    if opened.warning is not None:
        shown.append(screen.say("show.warning", words=text_of(opened.warning.code, screen.lang).title))
    shown += ["", *handling(screen, body)]
    if told:
        shown += ["", *notes.lines(screen, told)]
    shown += ["", *tree(screen, body)]
    bundled = contents.body
    if isinstance(bundled, BundleBody) and bundled.attachments:
        shown += ["", screen.say("show.attachments")]
        shown += [f"{_INDENT}{one.id}  {harmless(one.name)}  {one.size}" for one in bundled.attachments]
    return shown


def tree(screen: Screen, document: Document) -> Iterator[str]:
    """Every member of a document as lines, those that must come first apart."""
    return _tree(screen, document, 0)


def handling_data(body: ReferralBody) -> dict[str, Any]:
    """What must come first, as JSON members."""
    return {"safe_contact": safe_contacts(body), "do_not": list(body.do_not or ())}


def safe_contacts(body: ReferralBody) -> list[dict[str, Any]]:
    """How each person may be reached, as JSON members; without the block, only the hotline may reach her."""
    blocks = [(victim.ref, victim.safe_contact) for victim in body.victims]
    blocks.append(("reporter", body.reporter.safe_contact))
    return [
        {"who": who, "safe_contact": None if contact is None else contact.wire()}
        for who, contact in blocks
        if contact is not None or who != "reporter"
    ]


def handling(screen: Screen, body: ReferralBody) -> Iterator[str]:
    """What must come first, as lines: what must not be done, and how each person may be reached without harm."""
    yield screen.say("show.do_not")
    for code in body.do_not or ():
        yield f"{_INDENT}✖ {label('do_not', code, screen.lang)}"
    if not body.do_not:
        yield _INDENT + screen.say("show.do_not_none")
    yield screen.say("show.safe_contact")
    for victim in body.victims:
        if victim.safe_contact is None:
            yield f"{_INDENT}{victim.ref}: {screen.say('show.no_safe_contact')}"
        else:
            yield f"{_INDENT}{victim.ref}:"
            yield from _tree(screen, victim.safe_contact, 2)
    if body.reporter.safe_contact is not None:
        yield f"{_INDENT}{screen.say('field.reporter')}:"
        yield from _tree(screen, body.reporter.safe_contact, 2)


def _tree(screen: Screen, document: Document, depth: int) -> Iterator[str]:
    for name, field in type(document).model_fields.items():
        value = getattr(document, name)
        if name not in document.model_fields_set or (name in _SHOWN_FIRST and not isinstance(value, bool)):
            continue
        lists = [_LITERAL_LISTS[name]] if name in _LITERAL_LISTS else list(_lists(field.annotation, field.metadata))
        title = _INDENT * depth + screen.say(f"field.{field.alias or name}")
        yield from _member(screen, title, value, lists, depth)


def _member(screen: Screen, title: str, value: Any, lists: list[str], depth: int) -> Iterator[str]:
    if isinstance(value, Document):
        yield f"{title}:"
        yield from _tree(screen, value, depth + 1)
    elif isinstance(value, tuple) and any(isinstance(one, Document) for one in value):
        for number, one in enumerate(value, 1):
            yield f"{title} {getattr(one, 'ref', number)}:"
            yield from _tree(screen, one, depth + 1)
    elif isinstance(value, tuple):
        yield f"{title}: {', '.join(_scalar(screen, one, lists) for one in value) or '—'}"
    else:
        yield f"{title}: {_scalar(screen, value, lists)}"


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

"""The search of the disk can fail: a piece of a purged text is found wherever it was left (R-107, R4 of the field)."""

from __future__ import annotations

from pathlib import Path

import pytest

from referral_api.domain.words import Act, Role
from referral_api.formats.strict_json import unb64u
from tests.lifetime.house import DAY, House
from tests.lifetime.parcels import Parcel, Wanted, marks_in, parcel, submission
from tests.simulation.search import LeftOnDiskError, search

LINE, LOCAL = "linea-1818", "pnp-local"


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Whoever uses it closes it."""
    return House.found(tmp_path, {LINE: Role.HOTLINE, LOCAL: Role.POLICE_UNIT})


def sent(house: House) -> tuple[list[Parcel], list[Parcel]]:
    """A referral with a note and a supplement, taken back before it was read and purged; and one that nobody reads."""
    operator = house.desks[LINE].people[0]
    first, second = (submission(house, operator, Wanted([(LOCAL, "action")], retention="short")) for _ in range(2))
    beside = [
        parcel(house, operator, act, {}, ref=first.ref, unit=LOCAL, prev=first.digest, to=[LOCAL])
        for act in (Act.NOTE, Act.SUPPLEMENT)
    ]
    gone = [first, *beside]
    body = {"reason": "safety_risk"}
    back = parcel(house, operator, Act.WITHDRAW, body, ref=first.ref, unit=LOCAL, prev=first.digest)
    for one in (*gone, back, second):
        house.send(operator, one.raw, **one.beside)
    house.clock.ahead_s += 30 * DAY
    house.turn()
    house.close()
    return gone, [second]


def mark_of(one: Parcel) -> bytes:
    (mark,) = marks_in(one.beside["sealed"])
    return mark


def test_every_text_has_a_mark_of_its_own_and_any_piece_of_it_tells(house: House) -> None:
    gone, kept = sent(house)
    assert len({mark_of(one) for one in (*gone, *kept)}) == 4
    text = gone[0].beside["sealed"]
    start = text.index(b'"ciphertext":"') + 14 + 5_000
    piece = text[start + 7 : start + 107]
    assert marks_in(piece) == {mark_of(gone[0])}
    raw = unb64u(text[start : start + 2_000].decode())
    assert marks_in(raw) == marks_in(raw.hex().encode()) == {mark_of(gone[0])}
    key = text.index(b'"encrypted_key":"') + 17
    assert marks_in(text[key : key + 64]) == {mark_of(gone[0])}, "a wrapped key that is left is found too"


def test_what_was_purged_is_nowhere_and_what_was_planted_is_found(house: House, tmp_path: Path) -> None:
    gone, kept = sent(house)
    texts = {mark_of(one): one.act.value for one in (*gone, *kept)}
    assert search(tmp_path, texts, {mark_of(one) for one in kept}) == 3
    with pytest.raises(LeftOnDiskError, match="not found where it is"):
        search(tmp_path, texts, texts)
    with pytest.raises(LeftOnDiskError, match="after its purge"):
        search(tmp_path, texts, ())
    for one in gone:
        planted = tmp_path / "data" / "left.bin"
        planted.write_bytes(b"\0" * 4_001 + one.beside["sealed"][20_000:20_100])
        with pytest.raises(LeftOnDiskError, match=f"after its purge.*{one.act.value}"):
            search(tmp_path, texts, {mark_of(one) for one in kept})
        planted.unlink()

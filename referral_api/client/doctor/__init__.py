"""The doctor: one examination of a workstation, its keys, and its way to the exchange, as findings (design §12).

Each check stands alone: what one of them finds broken stops only those that could say nothing without it. With
nothing unlocked it sees the machine, the way, and the directory as last replicated; the service's key file adds what
takes a credential; the person's passphrase is asked for only where that was wanted, and adds the keys themselves.

Must never: end at a fault of what it examines, mend anything, or take part in a referral.

Implements: design §5, §7, §12; R-30, R-94, R-101.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from referral_api.client.doctor import calls, machine, standing
from referral_api.client.doctor.machine import Room
from referral_api.client.doctor.way import Way, look_at_way
from referral_api.client.keystore import CredentialKeys, Keystore
from referral_api.client.profile import ProfileDir
from referral_api.client.sdk import Client
from referral_api.client.session import ANSWER_S
from referral_api.domain.errors import ReferralError
from referral_api.domain.findings import Finding, Level, failed, found
from referral_api.domain.words import CredentialKind

__all__ = ["Means", "Room", "examine"]
WITH_KEYS = "referral doctor --person"


@dataclass(frozen=True, slots=True)
class Means:
    """What an examination may use. `passphrase` is asked when the person's compartment is opened; None: it stays shut.

    `options` are those of `Client`, as every command gives them.
    """

    profile_dir: Path
    service_key: Path
    passphrase: Callable[[], str] | None = None
    room: Room = field(default_factory=Room)
    options: dict[str, Any] = field(default_factory=dict)


def examine(means: Means) -> Iterator[Finding]:
    """Every finding, in the order in which things depend on each other. Raises only what `passphrase` raises."""
    directory = ProfileDir(means.profile_dir)
    yield from machine.look_at_programs()
    place = list(machine.look_at_folder(directory, means.room))
    yield from place
    keystore, findings = machine.look_at_keystore(directory)
    yield from findings
    if keystore is None:
        return
    service, findings = machine.open_service(keystore, means.service_key)
    yield from findings
    person, findings = _open_person(keystore, means.passphrase)
    yield from findings
    with Client(means.profile_dir, person or service, **means.options) as client:
        # What a call brings has to be kept: a folder that takes nothing would end it in the midst.
        writes = all(one.code != "unwritable" for one in place)
        yield from _examine_client(client, person, float(means.options.get("answer_s", ANSWER_S)), writes=writes)


def _open_person(
    keystore: Keystore, passphrase: Callable[[], str] | None
) -> tuple[CredentialKeys | None, list[Finding]]:
    if not keystore.has(CredentialKind.PERSON):
        return None, []
    if passphrase is None:
        return None, [found("passphrase", Level.UNKNOWN, WITH_KEYS)]
    try:
        return keystore.unlock_person(passphrase()), [found("passphrase", Level.OK)]
    except ReferralError as error:
        return None, [failed("passphrase", error, WITH_KEYS)]


def _examine_client(
    client: Client, person: CredentialKeys | None, answer_s: float, *, writes: bool
) -> Iterator[Finding]:
    session, directory, profile = client.session, client.directory, client.profile
    pins = machine.look_at_pins(directory)
    yield pins
    way = Way()
    yield from look_at_way(session, way, answer_s)
    if pins.level is Level.OK and way.answers and writes:
        try:
            yield from _examine_calls(client)
        except OSError as error:
            # The disk was good a moment ago, and what a call brought could not be kept.
            yield found("unwritable", Level.PROBLEM, "df -h", errno=error.errno)
    now = session.now()
    yield from machine.look_at_outbox(directory, session.ambient.now())
    if pins.level is not Level.OK:
        return
    replica, finding = standing.read_replica(profile, directory)
    yield finding
    if replica is None:
        return
    yield standing.look_at_witnesses(directory, replica, now)
    yield from standing.look_at_party(profile, replica, now)
    if person is not None:
        yield from standing.look_at_own_keys(person, replica.keymap, profile, now)
    yield from standing.look_at_others(replica.keymap, standing.sealing_map(directory, replica), profile, now)


def _examine_calls(client: Client) -> Iterator[Finding]:
    if client.session.credential is None:
        yield found("access.unseen", Level.UNKNOWN, WITH_KEYS)
        return
    access = calls.look_at_access(client.session, client.session.credential)
    yield access
    if access.level is Level.OK:
        yield calls.look_at_growth(client.session)
        yield from calls.look_at_losses(client.session)

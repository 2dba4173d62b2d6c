"""The exchange's books: the database and its engine, what was signed over it, and the directory that it folds to.

Everything is read over connections that cannot write, beside a running exchange; of a signer's state only the bytes of
its file are read, before the database is, so that whatever it has signed must be there.

Must never: take the signer's lock or the lease, or wait for either.

Implements: design §5, §9; R-33, R-93, R-97, R-101.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from referral_api.auditlog.checkpoint import TrustPolicy, verify_checkpoint
from referral_api.auditlog.keyslog import log_keys
from referral_api.auditlog.policy import genesis_policy, states_the_same
from referral_api.domain.errors import ReferralError
from referral_api.domain.findings import Finding, Level, at_least, at_most, failed, found
from referral_api.domain.terms import is_audit
from referral_api.domain.words import CredentialKind, Role
from referral_api.formats.parties import Approver
from referral_api.formats.statements import KeyMap
from referral_api.server.service import clock_watch
from referral_api.server.service.directory import INVITATION_LIFE_S
from referral_api.server.service.doctor.house import Premises
from referral_api.server.service.exchange import Directory
from referral_api.server.storage import enrolments, lease, logbook
from referral_api.server.storage.database import Connection, Database
from referral_api.server.storage.engine import ask_engine, is_durable, look_at_file
from referral_api.server.storage.enrolments import EnrolmentState
from referral_api.server.storage.signer_state import SignerState, read_state, state_path

DAY_S: Final = 24 * 3600
ENDS_SOON_S: Final = 30 * DAY_S
"""How long before a credential ends its party is to be told."""
REGISTRARS_END_S: Final = 60 * DAY_S
"""The same of the registrar's persons: as long before as a yearly review shows what ends."""
QUORUM_WARNING_S: Final = 900
QUORUM_PROBLEM_S: Final = 3600
"""A running exchange shows every log to its witnesses each ten minutes (R-101)."""
MOST_NAMES: Final = 16
ANOTHER_PERSON: Final = "referral invite --kind person --out invitation.json"
REVIEW: Final = "referral keys review --sign"
_SEALED_TO: Final = frozenset({Role.HOTLINE, Role.POLICE_UNIT})
_OPEN: Final = (EnrolmentState.COMPLETED, EnrolmentState.RECOVERING, EnrolmentState.LISTED)
_NEWEST: Final = 64
"""How many of the newest logs are compared: there is one a year."""


def open_database(premises: Premises) -> tuple[Database | None, list[Finding]]:
    """The database, opened for reading, if it can be, and what its file says."""
    findings: list[Finding] = []
    if premises.database_file is not None:
        with suppress(OSError):
            # Before it is opened: whoever opens a resting file for reading has to write its log's index.
            wal, mode = look_at_file(premises.database_file)
            level = Level.OK if wal and not mode & 0o077 else Level.PROBLEM
            findings.append(found("database.file", level, wal=wal, mode=f"{mode:04o}"))
    try:
        return Database.look(premises.database), findings
    except ReferralError as error:
        reason = str(error.facts.get("reason"))
        command = f"referral admin migrate --config {premises.config}" if reason == "schema-behind" else ""
        return None, [*findings, failed("database", error, command)]


def look_at_engine(database: Database) -> Finding:
    """Whether what is committed is durable."""
    settings = ask_engine(database)
    told = [f"{name}={value}" for name, value in settings.items() if name != "version"]
    level = Level.OK if is_durable(settings) else Level.PROBLEM
    return found("database.engine", level, engine=database.dialect, version=settings["version"], settings=told)


def look_at_slack(database: Database, premises: Premises) -> Iterator[Finding]:
    """Whether a purge may have left pieces in a file that was too large to be written anew (R-107)."""
    size = database.slack_bytes()
    if size:
        command = f"sqlite3 {premises.database_file} VACUUM"
        yield found("database.slack", Level.WARNING, command, size_bytes=size)


def read_states(premises: Premises, names: Sequence[str]) -> Mapping[str, bytes | None]:
    """The bytes of each log's signer state, None where it cannot be read; absent where there is none."""
    states: dict[str, bytes | None] = {}
    for name in names:
        try:
            states[name] = state_path(premises.signer_dir, name).read_bytes()
        except FileNotFoundError:
            continue
        except OSError:
            states[name] = None
    return states


def _parse_state(raw: bytes | None, name: str, keymap: KeyMap) -> SignerState | str:
    """What a signer's state says, or why it says nothing. Whoever reads it trusts every key the log ever had."""
    if raw is None:
        return "signer-state-unreadable"
    first, *others = log_keys(keymap, name)
    try:
        return read_state(raw, name=name, policy=TrustPolicy(first, others=tuple(others)))
    except ReferralError as error:
        return str(error.facts.get("reason"))


def look_at_signer(
    conn: Connection, premises: Premises, states: Mapping[str, bytes | None], keymap: KeyMap
) -> Iterator[Finding]:
    """Of each log that goes on: what was signed here against what the database holds, and whose turn it is."""
    names = [name for name in logbook.names(conn)[-_NEWEST:] if logbook.following(conn, name) is None]
    elsewhere = 0
    for name in names:
        state = _parse_state(states[name], name, keymap) if name in states else None
        reason, size, signed = _standing(conn, name, state)
        if reason in ("signer-fenced", "signer-state-missing") and premises.several_hosts:
            elsewhere += 1
            continue
        level = Level.OK if reason is None else Level.PROBLEM
        if level is Level.OK and name != names[-1] and name != logbook.KEYS:
            continue
        yield found(
            "signer" if reason is None else "signer.closed", level, log=name, size=size, signed=signed, reason=reason
        )
    if elsewhere:
        yield found("signer.elsewhere", Level.NOTE, count=elsewhere)


def _standing(conn: Connection, name: str, state: SignerState | str | None) -> tuple[str | None, int, int]:
    """Why this host may not sign a log (None: it may), its size, and how much of it is signed."""
    size, holder = logbook.size(conn, name), lease.find_holder(conn, name)
    if not isinstance(state, SignerState):
        # A log that nobody has claimed is begun by whoever signs the keys log.
        return (state or "signer-state-missing" if size and holder is not None else state), size, 0
    signed = state.frontier.size
    if holder is not None and not holder.is_held_by(state.claim):
        return "signer-fenced", size, signed
    if holder is not None and holder.signed > signed:
        return "signer-state-rolled-back", size, signed
    if signed > size:
        return "database-shorter", size, signed
    try:
        differs = logbook.frontier_at(conn, name, signed) != state.frontier
    except ReferralError:
        differs = True
    return ("database-differs" if differs else None), size, signed


def look_at_clock(database: Database, premises: Premises, observed: float) -> Finding:
    """The clock against the newest leaf, as a start would judge it."""
    newest = clock_watch.newest_leaf_s(database)
    seen = {"newest_at": newest, "apart_s": int(observed) - newest}
    if not newest:
        return found("host.clock", Level.UNKNOWN, "", **seen)
    try:
        clock_watch.demand_right(premises.data_dir, newest, observed)
    except ReferralError as error:
        reason = str(error.facts["reason"])
        command = f"referral admin clock --config {premises.config}"
        return found("host.clock-wrong", Level.PROBLEM, command, **seen, reason=reason)
    return found("host.clock", Level.OK, **seen)


def match_genesis(premises: Premises, keymap: KeyMap) -> Finding:
    """Whether the settings are those of the genesis act."""
    stated = genesis_policy(keymap.genesis)
    wrong = [name for name in ("issuer", "environment") if getattr(premises, name) != getattr(keymap, name)]
    given = premises.policy
    named = given is not None and given.rule() is not None
    if named != (stated.rule() is not None) or (given is not None and named and not states_the_same(given, stated)):
        wrong.append("witness_policy")
    return found(
        "settings.differ" if wrong else "settings",
        Level.PROBLEM if wrong else Level.OK,
        differs=wrong,
        environment=keymap.environment,
    )


def look_at_quorum(conn: Connection, keymap: KeyMap, now: int) -> Iterator[Finding]:
    """How long it is since a quorum of witnesses has cosigned each log's newest checkpoint."""
    policy = genesis_policy(keymap.genesis)
    if policy.rule() is None:
        yield found("witnesses.none", Level.NOTE)
        return
    newest = logbook.newest_audit(conn)
    for name in [logbook.KEYS, *([newest[0]] if newest is not None else [])]:
        trust = policy.trust(*log_keys(keymap, name))
        stored, latest = logbook.latest_witnessed(conn, name), logbook.latest_checkpoint(conn, name)
        behind = (0 if latest is None else latest.size) - (0 if stored is None else stored.size)
        times: list[int] = []
        if stored is not None:
            times = sorted((one.cosigned_s for one in verify_checkpoint(stored.note, trust).cosignatures), reverse=True)
        if not times:
            yield found("quorum.never", Level.PROBLEM, log=name)
            continue
        # The last of those that suffice: an older line of a witness that is away does not count against the others.
        since = times[min(trust.rule.threshold if trust.rule is not None else 1, len(times)) - 1]
        level = at_most(now - since, warning=QUORUM_WARNING_S, problem=QUORUM_PROBLEM_S)
        yield found("quorum", level, log=name, since_at=since, since_s=now - since, behind=behind)


def look_at_directory(keymap: KeyMap, now: int) -> Iterator[Finding]:
    """Registrar persons, keyholders, and whose keys or credentials end."""
    parties = keymap.parties()
    registrars = [
        one
        for party in parties
        if party.role is Role.REGISTRAR
        for one in party.credentials
        if one.kind is CredentialKind.PERSON and keymap.able(one, now)
    ]
    required = keymap.genesis.registrars_required
    level = at_least(len(registrars), warning=required, problem=required)
    first = "referral admin approve" if not registrars else ANOTHER_PERSON
    yield found("registrars", level, first, persons=len(registrars), required=required)
    # Once they have all ended nobody can let anybody in any more, ever: this is told early, and not as a warning.
    lasting = sum(one.valid_until - now >= REGISTRARS_END_S for one in registrars)
    level = Level.OK if lasting >= required else Level.PROBLEM
    yield found("registrars.ending", level, REVIEW, lasting=lasting, required=required, days=REGISTRARS_END_S // DAY_S)
    holders = {party.id: len(keymap.keyholders(party, now)) for party in parties}
    none, one = ([party for party, count in holders.items() if count == wanted] for wanted in (0, 1))
    recover = f"referral invite --recover {none[0]} --out invitation.json" if none else ""
    yield _named("keyholders.none", none, Level.PROBLEM, recover)
    yield _named("keyholders.one", one, Level.WARNING, ANOTHER_PERSON, total=len(parties))
    away = [one.id for one in parties if one.role in _SEALED_TO and not keymap.sealable(one.id, now)]
    yield _named("parties.unreachable", away, Level.PROBLEM, "referral keys rotate", total=len(parties))
    ending = sorted(
        {one.party for party in parties for one in party.credentials if one.valid_until - now < ENDS_SOON_S}
    )
    yield _named("credentials.ending", ending, Level.WARNING, REVIEW, days=ENDS_SOON_S // DAY_S)
    waiting = [one.party for one in keymap.pending() if one.waits_for is not Approver.KEYHOLDER]
    yield _named("statements.waiting", waiting, Level.WARNING, "referral enrolments")


def look_at_enrolments(conn: Connection, now: int) -> Finding:
    """Enrolments that wait for somebody for longer than an invitation is valid."""
    waiting = [one for state in _OPEN for one in enrolments.enrolments_in(conn, state)]
    old = sorted({one.party for one in waiting if now - one.created_at > INVITATION_LIFE_S})
    return _named("enrolments.old", old, Level.WARNING, "referral enrolments", hours=INVITATION_LIFE_S // 3600)


def fold(conn: Connection) -> KeyMap:
    """The directory of this database."""
    return Directory.load(conn).current


def logs_of(conn: Connection) -> list[str]:
    """Every log."""
    return [name for name in logbook.names(conn) if name == logbook.KEYS or is_audit(name)]


def _named(code: str, parties: Sequence[str], level: Level, command: str, **more: int) -> Finding:
    names = list(parties[:MOST_NAMES])
    return found(code, level if parties else Level.OK, command, count=len(parties), parties=names, **more)

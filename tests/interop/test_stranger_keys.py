"""The stranger's client and the exchange read one keys log alike: whatever anybody writes there, and while keys change.

The client was written from docs/protocol.md; where that left two readings open it says now which one holds. The first
tests hand it logs full of sensible, senseless and false leaves (tests/formats/histories.py); the others let it follow
an exchange on which keys are changed, renewed and given back, and hold what it knows against what the exchange knows.
"""

from __future__ import annotations

import random
from base64 import b64decode
from dataclasses import replace
from typing import Any

import pytest

from referral_api.auditlog.checkpoint import sign_checkpoint
from referral_api.auditlog.keyslog import seal_keys_at
from referral_api.client.outbox import Entry
from referral_api.client.sdk import Client
from referral_api.domain.errors import ReferralError
from referral_api.domain.words import Act, KeyUse
from referral_api.formats.keys import Alg, SigningKey
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import b64u
from referral_api.server.service.founding import exchange_signs
from referral_api.server.storage.keyfiles import USES
from tests.client.test_key_histories import FOUNDING, Trial
from tests.formats.histories import FLAWS, LATER, PARTIES, PEOPLE, WHAT, Written
from tests.formats.parties_world import DAY, EXCHANGE_ACT, EXCHANGE_CREDENTIAL, Log, act, genesis_body, key
from tests.formats.test_rekeying import entry, rekey
from tests.interop.key_maps import told
from tests.interop.programs import run
from tests.story.test_renewal import CHEAP, later, opened, recovering
from tests.story.test_server_keys import go_to, keymap_of, rotate
from tests.world import ISSUER, PASSPHRASE, World

pytestmark = pytest.mark.interop
__all__ = ["opened"]
HISTORIES, STEPS, ASKED = 24, 60, 10

# Logs that anybody might write.


class Proposed(Trial):
    """A history with every leaf that was proposed, taken or not."""

    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.proposed = [(self.leaves[0], True)]

    def propose(self, written: Written) -> None:
        before = len(self.leaves)
        super().propose(written)
        self.proposed.append((written[0], len(self.leaves) > before))


def lived(rng: random.Random, needed: int) -> Proposed:
    trial = Proposed(needed)
    trial.live(FOUNDING)
    trial.live(
        [
            (rng.choice(WHAT), rng.randrange(len(PEOPLE)), rng.randrange(6), rng.randrange(48), rng.choice(LATER),
             rng.choice(FLAWS))
            for _ in range(STEPS)
        ]
    )  # fmt: skip
    return trial


def questions(rng: random.Random, trial: Proposed) -> dict[str, Any]:
    """Whom one may seal to and whose signatures hold, asked about where something begins or ends."""
    edges = {moment + by for moment in trial.moments for by in (-61, -60, -1, 0, 3600, 3601, DAY)}
    moments = rng.sample(sorted(edges), ASKED)
    return {
        "sealable": [(party, moment) for party in PARTIES for moment in moments],
        "seal": [
            (one.id, moment, moment + lag, one_set["kids"])
            for one in PEOPLE
            for one_set in trial.naive.seals.get(one.id, [])
            for moment in moments
            for lag in (0, 3600, 8 * DAY)
        ],
    }


def signs(trial: Proposed, credential: str, iat: int, time: int, kids: list[Any]) -> list[str] | None:
    try:
        return [alg.value for alg in seal_keys_at(trial.door, trial.leaves, credential, iat, time, kids).require]
    except ReferralError:
        return None


def test_a_stranger_takes_and_refuses_what_the_exchange_does_in_any_history_of_keys(node: str) -> None:
    """R-30 to R-33: the same leaves count, the same people are in effect, and the same keys are good when."""
    rng = random.Random(3)  # noqa: S311 - nothing secret is drawn
    trials = [lived(rng, 1 + number % 2) for number in range(HISTORIES)]
    asked = [questions(rng, trial) for trial in trials]
    jobs = [
        {"leaves": [leaf.decode() for leaf, _ in trial.proposed]} | ask
        for trial, ask in zip(trials, asked, strict=True)
    ]
    answers = run(node, "stranger/histories.mjs", "", jobs)
    held = 0
    for trial, ask, answer in zip(trials, asked, answers, strict=True):
        taken = [verdict == "taken" for verdict in answer["verdicts"]]
        assert taken == [stood for _, stood in trial.proposed]
        assert answer["map"] == told(trial.door)
        assert answer["sealable"] == [[one.kid for one in trial.door.sealable(*ask)] for ask in ask["sealable"]]
        found = [None if isinstance(one, str) else one for one in answer["seal"]]
        assert found == [signs(trial, *question) for question in ask["seal"]]
        held += sum(one is not None for one in found)
    assert held > 100 * HISTORIES, "most of what was asked about could sign"


def rekeyed(rng: random.Random) -> list[tuple[bytes, bool]]:
    """Changes of the exchange's own keys, most of them such as no exchange makes; whether each was taken.

    The exchange was founded with an act key of a second algorithm, so that its acts are by whole sets of keys (R-37).
    """
    second = key("exchange/act/2", Alg.ES256)
    keys = [*genesis_body()["keys"], {"kid": second.kid, "jwk": second.public.jwk, "use": "act"}]
    log = Log.__new__(Log)
    leaf = act(Act.GENESIS, EXCHANGE_CREDENTIAL, genesis_body(keys=keys), [EXCHANGE_ACT, second])
    log.leaves, log.keymap = [leaf], KeyMap.start(leaf)
    proposed, signers = [(leaf, True)], list[SigningKey]((EXCHANGE_ACT, second))
    made: dict[str, SigningKey] = {one.kid: one for one in signers}

    def propose(leaf: bytes) -> None:
        try:
            log.put(leaf)
        except ReferralError:
            proposed.append((leaf, False))
        else:
            proposed.append((leaf, True))

    for number in range(STEPS):
        use = rng.choice(("token", "receipt", "act", "act", "act", "log"))
        new = key(f"next/{number}", rng.choice((Alg.ED25519, Alg.ED25519, Alg.ES256)))
        made[new.kid] = new
        now = log.keymap.clock + rng.choice((0, 0, DAY, DAY, 3 * DAY, 40 * DAY, -60))
        if use != "act" and new.alg is not Alg.ED25519:
            continue
        propose(entry(log, use, new))
        held = [one.key for one in log.keymap.tenures(KeyUse(use))]
        begins = now + rng.choice((0, DAY - 1, DAY, DAY, DAY, 2 * DAY, 90 * DAY, 90 * DAY + 1))
        times = {"from": begins, "until": begins + rng.choice((0, DAY - 1, DAY, DAY, DAY, 90 * DAY, 90 * DAY + 1))}
        replaces = rng.choice([one for one in held[-2:] if one.public.alg is new.alg] or held).kid
        acts = [one.key for one in log.keymap.tenures(KeyUse.ACT)]
        by = rng.choice((signers, [made[one.kid] for one in acts[-2:]], [made[one.kid] for one in rng.sample(acts, 2)]))
        if len({one.alg for one in by}) == len(by):
            propose(rekey(use, new, replaces=replaces, iat=now, signers=by, **times))
            if proposed[-1][1]:
                signers = by
    return proposed


def test_a_stranger_takes_and_refuses_the_same_changes_of_the_exchanges_own_keys(node: str) -> None:
    """R-37."""
    rng = random.Random(5)  # noqa: S311 - nothing secret is drawn
    histories = [rekeyed(rng) for _ in range(HISTORIES)]
    jobs = [{"leaves": [leaf.decode() for leaf, _ in one], "sealable": [], "seal": []} for one in histories]
    for one, answer in zip(histories, run(node, "stranger/histories.mjs", "", jobs), strict=True):
        assert [verdict == "taken" for verdict in answer["verdicts"]] == [stood for _, stood in one], answer["verdicts"]
        keymap = KeyMap.start(one[0][0])
        for leaf, stood in one[1:]:
            if stood:
                keymap.extend(leaf)
        assert answer["map"] == told(keymap)


# An exchange on which keys change.


def private(secret: Any) -> dict[str, Any]:
    """A key as the stranger's client keeps it: of Ed25519 the PKCS #8 form of the seed, else the seed itself."""
    own = secret.signing_key()
    raw = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20" if own.alg is Alg.ED25519 else b""
    return {"jwk": own.public.jwk, "kid": own.kid, "secret": b64u(raw + secret.secret)}


class Stranger:
    """The stranger's client with a credential of the world's; it keeps its pins from one run to the next."""

    def __init__(self, node: str, world: World, name: str) -> None:
        self.node, self.world = node, world
        client = world.client(name)
        keys = client.keys
        self.profile: dict[str, Any] = {
            "exchange": ISSUER,
            "server": world.server.url,
            "root": b64u(keymap_of(world).root),
            "party": client.session.profile.party,
            "credentials": [
                {"id": keys.credential, "access": private(keys.access), "seal": [private(one) for one in keys.seal]}
            ],
            "enc": [],
        }

    def follow(self, *entries: Entry, refs: list[str] | None = None) -> tuple[list[str], list[list[str]]]:
        """Its verdicts on acts with receipts, and what it verified of each referral; it knows the same keys."""
        job = {
            "profile": self.profile,
            "ahead_s": self.world.clock.ahead_s,
            "acts": [
                {"act": one.outgoing.jws.decode(), "receipt": _text(one.receipt), "proof": _text(one.proof)}
                for one in entries
            ],
            "refs": refs or [],
        }
        answer = run(self.node, "stranger/follow.mjs", "", job)
        assert answer["map"] == told(keymap_of(self.world))
        self.profile["state"] = answer["state"]
        return answer["verdicts"], answer["views"]


def _text(raw: bytes | None) -> str:
    assert raw is not None
    return raw.decode()


def test_a_stranger_follows_an_exchange_that_changes_every_key_of_its_own(node: str, sqlite_world: World) -> None:
    """R-37, R-94: what was signed before, between and after counts for who followed and for who was away."""
    world = sqlite_world
    faithful, away = Stranger(node, world, "operator"), Stranger(node, world, "colleague")
    own, sent = world.submit("colleague"), [world.submit()]
    assert (faithful.follow(*sent)[0], away.follow(own)[0]) == (["accepted"], ["accepted"])
    changes = [rotate(world, use) for use in USES]
    for moment in (0, max(begins for _, begins, _ in changes), max(ends for _, _, ends in changes) + 1):
        go_to(world, moment or int(world.clock()))
        sent.append(world.submit())
        assert faithful.follow(*sent)[0] == ["accepted"] * len(sent)
    assert away.follow(own, world.submit("colleague"))[0] == ["accepted", "accepted"]
    # The next change, and what else the exchange signs, is by the act key that followed.
    rotate(world, KeyUse.RECEIPT)
    kid = world.client("stranger").keys.access.signing_key().kid
    runtime, now = world.server.runtime, int(world.clock())
    exchange_signs(runtime.exchange, runtime.writer, Act.REVOKE, {"kid": kid, "reason": "compromised", "at": now}, now)
    faithful.follow(*sent)


def test_a_stranger_believes_no_log_key_that_has_ended(node: str, sqlite_world: World) -> None:
    """R-37: of a checkpoint the end alone counts, at the time of what it covers."""
    world = sqlite_world
    old = world.server.runtime.exchange.keyring.signing()[0]
    _, _, ends = rotate(world, KeyUse.LOG)
    go_to(world, ends)
    entry = world.submit()
    head, _, note = _text(entry.proof).partition("\n\n")
    text = note.partition("\n\n")[0].split("\n")
    forged = sign_checkpoint(text[0], int(text[1]), b64decode(text[2]), old).decode()
    lie = replace(entry, proof=f"{head}\n\n{forged}".encode())
    verdicts, _ = Stranger(node, world, "operator").follow(lie, entry)
    assert verdicts == ["signature-invalid ended", "accepted"]


def test_a_stranger_knows_the_keys_of_who_has_renewed_them(node: str, sqlite_world: World) -> None:
    """R-32 d, R-33: a workstation's at once, a person's once a keyholder has approved; both sets sign in their time."""
    world = sqlite_world
    hotline = Stranger(node, world, "operator")
    ref = str(world.submit().outgoing.ref)
    client = world.second_officer
    renewed = client.identity.rotate_seal(PASSPHRASE, kdf=CHEAP)
    hotline.follow()
    assert keymap_of(world).find_pending("pnp-trata-piura") is not None
    world.acknowledge("second_officer", ref)
    world.after(world.officer.approve(world.officer.applicants()[0], renewed.code))
    client.sync_keys()
    world.act("second_officer", ref, Act.ACCEPT)
    _, views = hotline.follow(refs=[ref])
    who = client.keys.credential
    assert views == [[f"submit {world.operator.keys.credential}", f"ack {who}", f"accept {who}"]]
    later(world, 30)
    hotline.profile["server"] = world.server.url
    assert world.client("officer").identity.rotate(PASSPHRASE, kdf=CHEAP) is not None
    world.check()
    _, views = hotline.follow(refs=[ref])
    assert [one.partition(" ")[0] for one in views[0]][-1] == "overdue"  # the exchange's own moves no head.


def test_a_stranger_knows_a_unit_that_was_given_back_its_keys(
    node: str, sqlite_world: World, opened: list[Client]
) -> None:
    """R-32 e: revoked, waiting for a day, and in effect."""
    world = sqlite_world
    hotline = Stranger(node, world, "operator")
    heir, joined = recovering(world, opened)
    world.after(world.registrar.approve(world.registrar.applicants()[0], joined.code))
    hotline.follow()
    world.clock.ahead_s += DAY + 5
    world.restart()
    world.after(world.second_registrar.approve(world.second_registrar.applicants()[0], joined.code))
    ref = str(world.submit().outgoing.ref)
    world.after(heir.acknowledge(world.after(heir.open(ref))))
    _, views = hotline.follow(refs=[ref])
    assert views[0][-1] == f"ack {heir.keys.credential}"

"""Verify an evidence pack in ten numbered steps, with nothing but its bytes and one digest known from elsewhere.

The steps (`Step`) are those of R-89, and of `verificador.html`, which takes most of them in a browser.

Steps go on after a fault wherever they can, because who holds a bad pack needs to know everything that is wrong.

Must never: extract a file, call a step held that was not taken, or pass over in silence what no pack can show.

Implements: R-89; design §9, §14 (vectors shared with the page).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial

from referral_api.auditlog.checkpoint import TrustPolicy, VerifiedCheckpoint, verify_checkpoint
from referral_api.auditlog.container import read_archive
from referral_api.auditlog.evidence import Chronicle, event_of
from referral_api.auditlog.keyslog import demand_in_time, parse_leaves, seal_keys_at
from referral_api.auditlog.leaf import Leaf, LeafKind, parse_leaf
from referral_api.auditlog.merkle import Frontier, leaf_hash, verify_inclusion
from referral_api.auditlog.pack import (
    KEYS,
    MANIFEST,
    PAGES,
    Bundle,
    Manifest,
    bundles_of,
    is_own_page,
    read_manifest,
    stated_policy,
    terms_of,
    verify_listed,
)
from referral_api.auditlog.policy import Policy, format_policy
from referral_api.auditlog.proof import parse_proof
from referral_api.auditlog.records import Retrieved, ServerRecord, kind_of, parse_record
from referral_api.auditlog.report import MAX_FAULTS_TOLD, Verdict
from referral_api.auditlog.trail import REFUSED_BY_THE_FOLD, role_of, verify_logged_receipt
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import Act, CredentialKind
from referral_api.formats.act import RawAct, parse_act, verify_act
from referral_api.formats.bodies import sealed_of
from referral_api.formats.parties import EXCHANGE, SKEW_S
from referral_api.formats.receipt import Receipt
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import sha256_b64u, unb64u

_ABSENT = frozenset({ErrorCode.NOT_FOUND, ErrorCode.NOT_WITNESSED})

_NO_FINDING = frozenset({ErrorCode.UNREACHABLE, ErrorCode.UNAVAILABLE})


class Step(StrEnum):
    """The steps, in their order."""

    ARCHIVE = "archive"
    """One spelling, nothing that could be read in two ways."""
    MANIFEST = "manifest"
    """Every file is listed, every listed file there, with its digest."""
    KEYS_LOG = "keys-log"
    """Its first leaf is the root, and every later one is signed by who may sign it."""
    CHECKPOINTS = "checkpoints"
    """Each log's key has signed its head; the keys log's is that of the leaves at hand."""
    WITNESSES = "witnesses"
    """As many witnesses as the policy asks for have cosigned."""
    INCLUSION = "inclusion"
    """Each leaf stands in its log where it says, and commits to the act or record beside it."""
    SIGNATURES = "signatures"
    """Each act is signed with its credential's keys of that time, all that its statement requires."""
    RECORDS = "records"
    """Each record of the exchange is about this referral, and of its leaf's kind and time."""
    RECEIPTS = "receipts"
    """Each receipt is the exchange's, answers this act and names this place."""
    STATES = "states"
    """Acts and retrievals fold to the states that the receipts claim."""


class Unchecked(StrEnum):
    """What a verified pack does not show, told with every result."""

    ROOT = "root"
    """Nobody said which root is the right one: it was taken from the pack, which vouches for itself."""
    WITNESSES = "witnesses"
    """No witnesses are named: that the exchange shows everybody the same log, nobody else has confirmed."""
    OMISSION = "omission"
    """That nothing is missing on which nothing else builds, or is kept from who reads: only the whole log can show."""
    SEALED = "sealed"
    """What was sealed: the bundle, notes and attachments are not in a pack."""
    ORDER = "order"
    """Which of a key's end and an act came first in the logs; it is judged by their times."""
    VIEW = "view"
    """What happened on deliveries that are not the reader's."""
    PAGES = "pages"
    """A page of the pack is not the one that this program comes with; nobody vouches for it."""


@dataclass(frozen=True, slots=True)
class PackFault:
    """One thing that does not hold: at which step, in which file (None: the pack as a whole), and why."""

    step: Step
    file: str | None
    error: ReferralError
    missing: bool = False


@dataclass(slots=True)
class PackReport:
    """What was verified. `counts` says how many times each step was taken; `faults` what did not hold."""

    counts: dict[Step, int] = field(default_factory=lambda: dict.fromkeys(Step, 0))
    faults: list[PackFault] = field(default_factory=list)
    unchecked: list[Unchecked] = field(default_factory=list)
    manifest: Manifest | None = None
    chronicle: Chronicle = field(default_factory=Chronicle)
    """The referral as its acts and records fold."""
    heads: dict[str, VerifiedCheckpoint] = field(default_factory=dict)
    """The signed head of each log, by the log's name."""

    def hold(self, step: Step, file: str | None, judge: Callable[[], None]) -> bool:
        """Take a step once; note its fault. True if it held. Raises UNREACHABLE and UNAVAILABLE: no findings."""
        self.counts[step] += 1
        try:
            judge()
        except ReferralError as error:
            if error.code in _NO_FINDING:
                raise
            missing = error.code in _ABSENT
            told = any(fault.step is step and fault.missing is missing for fault in self.faults)
            if len(self.faults) < MAX_FAULTS_TOLD or not told:
                self.faults.append(PackFault(step, file, error, missing))
            return False
        return True

    def outcome(self, step: Step) -> Verdict:
        """What came of a step: failed before incomplete, and never ok where it was not taken once."""
        mine = [fault for fault in self.faults if fault.step is step]
        if any(not fault.missing for fault in mine):
            return Verdict.FAILED
        if mine:
            return Verdict.INCOMPLETE
        return Verdict.OK if self.counts[step] else Verdict.NOT_REACHED

    @property
    def verdict(self) -> Verdict:
        """What came of all of it; `OK` only where every step was taken and held, under a root that somebody gave."""
        outcomes = {self.outcome(step) for step in Step}
        if Verdict.FAILED in outcomes:
            return Verdict.FAILED
        taken = all(self.counts[step] for step in Step if step not in _NOT_IN_EVERY_PACK)
        whole = taken and Verdict.INCOMPLETE not in outcomes and Unchecked.ROOT not in self.unchecked
        return Verdict.OK if whole else Verdict.INCOMPLETE


_NOT_IN_EVERY_PACK = frozenset({Step.WITNESSES, Step.RECORDS})
"""Without a policy nobody has to cosign; a referral that nobody has fetched yet has no records."""


def verify_pack(raw: bytes, root: bytes | None = None, policy: Policy | None = None) -> PackReport:
    """Verify a pack against a root (32 bytes; None: the pack's own, which the report then says) and a policy of
    witnesses (None: the one that the genesis act states). Raises nothing: everything is in the report.
    """
    return _Examination(raw, root, policy).run()


class _Examination:
    def __init__(self, raw: bytes, root: bytes | None, policy: Policy | None) -> None:
        self._raw = raw
        self._root = root
        self._policy = policy
        self._report = PackReport(unchecked=[Unchecked.OMISSION, Unchecked.SEALED, Unchecked.ORDER])
        self._contents: dict[str, bytes] = {}
        self._leaves: list[bytes] = []
        self._time = 0
        self._sealed: dict[str, str] = {}
        """For every accepted act with ciphertext beside it: the ciphertext's digest."""

    def run(self) -> PackReport:
        report = self._report
        manifest = self._open()
        if manifest is None:
            return report
        keymap = self._keys_log(manifest)
        if keymap is None:
            return report
        report.chronicle.only = manifest.unit
        for log in ("keys", *(term.log for term in terms_of(self._contents))):
            self._checkpoint(log, keymap)
        for bundle in bundles_of(self._contents):
            self._bundle(bundle, manifest, keymap)
        report.hold(Step.STATES, None, partial(self._any_state, manifest))
        return report

    # Steps 1 and 2: what is a pack, and is it whole?

    def _open(self) -> Manifest | None:
        report, contents = self._report, self._contents
        if not report.hold(Step.ARCHIVE, None, lambda: contents.update(read_archive(self._raw))):
            return None
        read: list[Manifest] = []
        if not report.hold(Step.MANIFEST, MANIFEST, lambda: read.append(read_manifest(self._file(MANIFEST)))):
            return None
        manifest = report.manifest = read[0]
        for name in sorted((contents.keys() | manifest.files.keys() | {*PAGES}) - {MANIFEST}):
            report.hold(Step.MANIFEST, name, partial(verify_listed, manifest, contents, name))
        if any(not is_own_page(name, contents[name]) for name in PAGES if name in contents):
            report.unchecked.append(Unchecked.PAGES)
        if manifest.unit is not None:
            report.unchecked.append(Unchecked.VIEW)
        return manifest

    def _file(self, name: str) -> bytes:
        if name not in self._contents:
            raise ReferralError(ErrorCode.NOT_FOUND, what="file", file=name)
        return self._contents[name]

    # Step 3: whose keys?

    def _keys_log(self, manifest: Manifest) -> KeyMap | None:
        """The fold of the whole keys log from its root, every signature verified."""
        folded: list[KeyMap] = []
        if self._root is None:
            self._report.unchecked.insert(0, Unchecked.ROOT)

        def judge() -> None:
            self._leaves = parse_leaves(self._file(f"{KEYS}/entries"))
            keymap = KeyMap.start(self._leaves[0], root=self._root)
            if (keymap.issuer, keymap.root) != (manifest.issuer, unb64u(manifest.root)):
                raise ReferralError(ErrorCode.WRONG_ROOT, reason="manifest")
            for leaf in self._leaves[1:]:
                keymap.extend(leaf)
            folded.append(keymap)

        self._report.hold(Step.KEYS_LOG, f"{KEYS}/entries", judge)
        return folded[0] if folded else None

    # Steps 4 and 5: whose logs, and who else has seen them?

    def _checkpoint(self, log: str, keymap: KeyMap) -> None:
        report, folder = self._report, KEYS if log == "keys" else log.replace("/", "-")
        believed: list[TrustPolicy] = []

        def judge_policy() -> None:
            stated = stated_policy(keymap, log)
            believed.append((self._policy or stated).trust(*(one.key for one in stated.logs)))
            if self._file(f"{folder}/policy") != format_policy(stated):
                raise ReferralError(ErrorCode.TAMPERED, what="policy")

        def judge_checkpoint() -> None:
            checkpoint = verify_checkpoint(self._file(f"{folder}/checkpoint"), replace(believed[0], quorum=0))
            if log == "keys":
                frontier = Frontier().extend([leaf_hash(leaf) for leaf in self._leaves])
                if (checkpoint.size, checkpoint.root) != (frontier.size, frontier.root()):
                    raise ReferralError(ErrorCode.TAMPERED, what="keys-log")
                demand_in_time(keymap, checkpoint, keymap.clock)
            report.heads[log] = checkpoint

        def judge_quorum() -> None:
            cosignatures = report.heads[log].cosignatures
            believed[0].verify_quorum({one.key for one in cosignatures if one.cosigned_s})

        report.hold(Step.CHECKPOINTS, f"{folder}/policy", judge_policy)
        if not believed or not report.hold(Step.CHECKPOINTS, f"{folder}/checkpoint", judge_checkpoint):
            return
        if believed[0].rule is not None:
            report.hold(Step.WITNESSES, f"{folder}/checkpoint", judge_quorum)
        elif Unchecked.WITNESSES not in report.unchecked:
            report.unchecked.append(Unchecked.WITNESSES)

    # Steps 6 to 10: leaf by leaf, in log order.

    def _bundle(self, bundle: Bundle, manifest: Manifest, keymap: KeyMap) -> None:
        report = self._report
        leaves: list[Leaf] = []
        proof_name = f"{bundle.place}.tlog-proof"
        if not report.hold(Step.INCLUSION, proof_name, lambda: leaves.append(self._included(bundle, keymap))):
            return
        leaf = leaves[0]
        if bundle.record is not None:
            read: list[ServerRecord] = []
            judge = partial(self._read_record, bundle.record, leaf, manifest)
            if report.hold(Step.RECORDS, f"{bundle.place}.record.json", lambda: read.append(judge())):
                self._retrieved(bundle, read[0])
        elif bundle.act is not None:
            self._act(bundle, bundle.act, leaf, manifest, keymap)

    def _included(self, bundle: Bundle, keymap: KeyMap) -> Leaf:
        """The leaf, once it stands in its log and commits to what lies beside it."""
        content = bundle.record if bundle.act is None else bundle.act
        if content is None or bundle.proof is None:
            raise ReferralError(ErrorCode.NOT_FOUND, what="record" if content is None else "proof")
        if (bundle.act is not None and bundle.record is not None) or (
            bundle.act is None and bundle.receipt is not None
        ):
            raise ReferralError(ErrorCode.TAMPERED, what="leaf-of-record", reason="two")
        log = f"audit/{bundle.term}"
        head = self._report.heads.get(log)
        if head is None:
            raise ReferralError(ErrorCode.NOT_INCLUDED, reason="checkpoint")
        proof = parse_proof(bundle.proof)
        if proof.raw_checkpoint != self._contents[f"audit-{bundle.term}/checkpoint"]:
            raise ReferralError(ErrorCode.NOT_INCLUDED, reason="checkpoint")
        if proof.index != bundle.index or proof.extra is None:
            raise ReferralError(ErrorCode.NOT_INCLUDED, reason="index" if proof.index != bundle.index else "leaf")
        verify_inclusion(proof.index, head.size, leaf_hash(proof.extra), proof.hashes, head.root)
        leaf = parse_leaf(proof.extra)
        if leaf.digest != sha256_b64u(content):
            raise ReferralError(ErrorCode.TAMPERED, what="record", digest=leaf.digest)
        if leaf.logged_s < self._time:
            raise ReferralError(ErrorCode.TAMPERED, what="time", reason="backwards")
        demand_in_time(keymap, head, leaf.logged_s)
        self._time = leaf.logged_s
        return leaf

    def _read_record(self, raw: bytes, leaf: Leaf, manifest: Manifest) -> ServerRecord:
        record = parse_record(raw)
        if kind_of(record) is not leaf.kind or record.t != leaf.logged_s:
            raise ReferralError(ErrorCode.TAMPERED, what="leaf-of-record")
        if getattr(record, "ref", None) != manifest.ref:
            raise ReferralError(ErrorCode.TAMPERED, what="record", reason="ref")
        if isinstance(record, Retrieved) and (
            self._sealed.get(record.act) != record.digest or record.unit not in (None, record.party)
        ):
            raise ReferralError(ErrorCode.TAMPERED, what="retrieved", digest=record.digest)
        return record

    def _retrieved(self, bundle: Bundle, record: ServerRecord) -> None:
        if isinstance(record, Retrieved) and record.sealed == "bundle" and record.unit is not None:
            step = partial(self._report.chronicle.retrieved, record.unit, record.t)
            self._report.hold(Step.STATES, f"{bundle.place}.record.json", step)

    def _act(self, bundle: Bundle, raw: bytes, leaf: Leaf, manifest: Manifest, keymap: KeyMap) -> None:
        report, name, receipt_name = self._report, f"{bundle.place}.act.json", f"{bundle.place}.receipt.json"
        signed: list[tuple[RawAct, CredentialKind]] = []
        receipts: list[Receipt] = []

        def judge_signatures() -> None:
            signed.append(self._verify_act(raw, leaf, manifest, keymap))

        def judge_receipt() -> None:
            log = f"audit/{bundle.term}"
            receipts.append(verify_logged_receipt(log, bundle.index, signed[0][0], leaf, bundle.receipt, keymap))

        if not report.hold(Step.SIGNATURES, name, judge_signatures):
            return
        act, kind = signed[0]
        # The exchange's own acts answer nobody, so they may carry no receipt.
        answered = bundle.receipt is not None or act.party != EXCHANGE
        if answered and not report.hold(Step.RECEIPTS, receipt_name, judge_receipt):
            return
        receipt = receipts[0] if receipts else None
        report.hold(Step.STATES, name, lambda: self._fold(act, kind, leaf, receipt, manifest, keymap))

    def _verify_act(self, raw: bytes, leaf: Leaf, manifest: Manifest, keymap: KeyMap) -> tuple[RawAct, CredentialKind]:
        act = parse_act(raw)
        if act.aud != keymap.issuer:
            raise ReferralError(ErrorCode.WRONG_AUDIENCE)
        if act.ref != manifest.ref:
            raise ReferralError(ErrorCode.TAMPERED, what="act", reason="ref", digest=act.digest)
        if leaf.kind is not (LeafKind.ERASE if act.act is Act.ERASE else LeafKind.ACT):
            raise ReferralError(ErrorCode.TAMPERED, what="leaf-of-record")
        if act.iat > leaf.logged_s + SKEW_S:
            raise ReferralError(ErrorCode.TAMPERED, what="time", reason="before-signed")
        kids = [one.kid for one in act.jws.signatures]
        seal = seal_keys_at(keymap, self._leaves, act.iss, act.iat, leaf.logged_s, kids)
        verify_act(act, seal.keys, required=seal.require)
        return act, seal.kind

    def _fold(
        self,
        act: RawAct,
        kind: CredentialKind,
        leaf: Leaf,
        receipt: Receipt | None,
        manifest: Manifest,
        keymap: KeyMap,
    ) -> None:
        chronicle = self._report.chronicle
        event = event_of(act, role_of(act, keymap), leaf.logged_s)
        if receipt is None or receipt.accepted:
            chronicle.accept(event, kind)
            if (sealed := sealed_of(act.body)) is not None:
                self._sealed[act.digest] = sealed.sha256
        elif receipt.refusal in REFUSED_BY_THE_FOLD and manifest.relation == "auditor":
            # Only who sees everything can say that it was refused without cause.
            chronicle.refuse(event)
        if receipt is not None:
            chronicle.verify_receipt(receipt)

    def _any_state(self, manifest: Manifest) -> None:
        """A pack without the delivery that it is about shows nothing, however well all the rest of it holds."""
        deliveries = self._report.chronicle.deliveries
        if not deliveries or (manifest.unit is not None and manifest.unit not in deliveries):
            raise ReferralError(ErrorCode.NOT_FOUND, what="delivery")

"""Packs over a keys log on which people renew, propose, object and recover (R-32 b to e)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from referral_api.auditlog.checkpoint import sign_checkpoint
from referral_api.auditlog.keyslog import log_origin
from referral_api.auditlog.merkle import Frontier, leaf_hash
from referral_api.auditlog.pack import build_pack
from referral_api.domain.words import Act
from tests.auditlog.packs import evidence_of, told
from tests.client.world import OFFICER, REGISTRAR
from tests.formats import parties_world as pw

UNIT = str(OFFICER.party)
CLERK = pw.person(UNIT, "cl1aaa")
RENEWED = replace(CLERK, generation=2)
HEIR = pw.person(UNIT, "he1aaa", keyholder=True)
DESK = pw.enc_listed("clerk/1", "st5")
NEWER = pw.enc_listed("clerk/2", "st5") | {"from": pw.NOW + 1}


class Story:
    """The keys log of the story told, and what the people of its unit and the registrar write behind it."""

    def __init__(self) -> None:
        base = told().exchange.log
        self.log = pw.Log.__new__(pw.Log)
        self.log.leaves, self.log.keymap = list(base.leaves), base.keymap.copy()
        party = base.keymap.find_party(UNIT)
        assert party is not None
        self.enc = [one.wire() for one in party.body.enc]

    def body(self, credentials: Sequence[Any], *enc: dict[str, Any]) -> dict[str, Any]:
        return self.log.next_body(UNIT, credentials, enc=[*self.enc, *enc])

    def clerk(self) -> None:
        """The keyholder takes in a clerk with a workstation, who is no keyholder."""
        self.log.put(*CLERK.entries(), pw.enc_entry(UNIT, "clerk/1", CLERK.seals))
        self.log.put(OFFICER.sign(Act.STATEMENT, self.body([OFFICER, CLERK], DESK)))

    def renewal(self) -> None:
        """The clerk renews the workstation's key alone, and proposes seal keys twice; the first time it is voided."""
        self.log.put(pw.enc_entry(UNIT, "clerk/2", CLERK.seals))
        self.log.put(CLERK.sign(Act.STATEMENT, self.body([OFFICER, CLERK], DESK, NEWER)))
        self.log.put(*RENEWED.entries())
        for later, verdict in enumerate((Act.OBJECT, Act.APPROVE_STATEMENT)):
            proposed = CLERK.sign(Act.STATEMENT, self.body([OFFICER, RENEWED], DESK, NEWER), iat=pw.NOW + later)
            self.log.put(proposed)
            said = {"statement": pw.digest(proposed), "reason": "not_authorised"}
            self.log.put(OFFICER.sign(verdict, said if verdict is Act.OBJECT else pw.approval(UNIT, proposed)))

    def recovery(self) -> None:
        """The registrar gives the unit another keyholder a day later; she signs next."""
        self.log.put(*HEIR.entries())
        body = self.body([RENEWED, HEIR], DESK, NEWER)
        statement = REGISTRAR.sign(Act.STATEMENT, body, iat=pw.NOW)
        late = self.log.keymap.clock + pw.DAY
        self.log.put(statement, REGISTRAR.sign(Act.APPROVE_STATEMENT, pw.approval(UNIT, statement), iat=late))
        self.log.put(HEIR.sign(Act.STATEMENT, self.body([RENEWED, HEIR], NEWER), iat=late))

    def pack(self, leaf: bytes | None = None) -> bytes:
        """The story's pack over this log, and over one leaf more that nobody would have taken."""
        story = told()
        leaves = [*self.log.leaves, *([] if leaf is None else [leaf])]
        log = pw.Log.__new__(pw.Log)
        log.leaves, log.keymap = leaves, self.log.keymap
        evidence = evidence_of(replace(story.exchange, log=log), story.ref, "auditor", None)
        edge = Frontier().extend([leaf_hash(one) for one in leaves])
        checkpoint = sign_checkpoint(log_origin(pw.ISSUER, "keys"), edge.size, edge.root(), pw.key("exchange/log"))
        return build_pack(replace(evidence, keys_checkpoint=checkpoint), self.log.keymap)

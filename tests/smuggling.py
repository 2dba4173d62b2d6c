"""Referrals and supplements as software of another make sends them: sealed, signed, accepted, and nothing checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from referral_api.client import addressing, submission
from referral_api.client.outbox import Entry
from referral_api.client.sdk import Client
from referral_api.client.sealing import Recipient
from referral_api.domain.words import Act, ActId, PartyId, ReferralId
from referral_api.formats.bundle import SealedBundle, SealRole
from referral_api.formats.contents import BundleBody
from tests.signing import sign
from tests.world import UNIT, World


def smuggle(world: World, body: Mapping[str, Any], by: str = "operator", unit: str = UNIT) -> str:
    """Send this body to one unit for action; the referral's id."""
    client = world.client(by)
    ref, (_, act, bundle) = seal_unchecked(client, body, unit)
    answer = world.after(world.caller(by).call("PUT", f"/v1/referrals/{ref}", {"act": act, "bundle": bundle}))
    assert answer.status == 201, answer.body
    return ref


def seal_unchecked(client: Client, body: Mapping[str, Any], unit: str) -> tuple[str, tuple[str, str, str]]:
    """The referral's id; the act's id and text, and the bundle's text."""
    client.sync_keys()
    session = client.session
    ref = ReferralId(session.ambient.referral_id())
    recipients = [
        Recipient(one.key, one.party, SealRole.ACTION) if one.party == unit else one
        for one in addressing.recipients_for(session, PartyId(unit), session.now())
    ]
    sealed = submission.seal_beside(session, client.keys, ref, BundleBody(dict(body)), recipients)
    said = body["consent"]
    members: dict[str, Any] = {
        "bundle": {"sha256": sealed.sha256, "size": sealed.size},
        "to": [{"unit": unit, "role": "action"}],
        "urgency": body["urgency"],
        "basis": said["basis"],
        "identity_level": said["identity_level"],
        "retention_class": "standard",
        "created_at": session.now(),
        "phone_alert": {"made": False},
    }
    act_id, act = sign(client, Act.SUBMIT, members, ref)
    return ref, (act_id, act, sealed.raw.decode())


def supplement_unchecked(client: Client, ref: str, body: Mapping[str, Any], unit: str = UNIT) -> Entry:
    """A supplement to one unit, sealed and sent with nothing checked before sealing."""
    pen, session = client.pen, client.session
    referral = client.referral(ref)
    role = SealRole(referral.chronicle.deliveries[PartyId(unit)].role.value)

    def sealed(_: ActId) -> SealedBundle:
        recipients = addressing.recipients_as(session, PartyId(unit), role, session.now())
        return submission.seal_beside(session, client.keys, ReferralId(ref), BundleBody(dict(body)), recipients)

    return pen.enclose(referral, Act.SUPPLEMENT, {}, unit, sealed)

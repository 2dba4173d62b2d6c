"""What a party says about keeping a referral: `hold` keeps it, `purge` asks for its going before its time.

Must never: purge by one person's word, or keep anything without a basis and a day on which that is looked at again.

Implements: R-77, R-107; rules R1 and R2 of the field.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from referral_api.cli import acting, choices
from referral_api.cli.invocation import invocation
from referral_api.cli.output import Fault
from referral_api.client import forgetting
from referral_api.client.outbox import Progress
from referral_api.client.view import Referral
from referral_api.domain.deliveries import MAX_REVIEW_S
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.policy import Relation
from referral_api.domain.words import Act, PartyId

Ref = Annotated[str, typer.Argument()]
Unit = Annotated[str | None, typer.Option("--unit", "-u")]


def register(app: typer.Typer) -> None:
    """Add these verbs to the command."""
    app.command("hold")(hold)
    app.command("purge")(purge)


def hold(
    ctx: typer.Context,
    ref: Ref,
    on: Annotated[bool, typer.Option("--on/--off")],
    hold_basis: Annotated[str | None, typer.Option("--basis")] = None,
    review_at: Annotated[datetime | None, typer.Option("--review-at", formats=["%Y-%m-%d"])] = None,
    unit: Unit = None,
) -> None:
    """Keep a referral from being purged, with a basis and a day of review, or let it go again."""
    call = invocation(ctx)
    if hold_basis is not None:
        choices.check_code(call, "hold_basis", hold_basis)
    with call.person() as client:
        body: dict[str, Any] = {"on": on}
        if on:
            if hold_basis is None or review_at is None:
                raise Fault("hold-incomplete")
            body |= {"basis": hold_basis, "review_at": int(review_at.replace(tzinfo=UTC).timestamp())}
            if body["review_at"] <= client.session.now():
                raise Fault("day-past", day=review_at.date())
            if body["review_at"] > client.session.now() + MAX_REVIEW_S:
                raise Fault("day-too-far", day=review_at.date(), days=MAX_REVIEW_S // 86_400)
        else:
            referral = client.referral(ref)
            # Why it was kept is why it need not be any more.
            body["basis"] = hold_basis or forgetting.own_hold(referral, client.profile.party, unit).basis
        entry = client.act(ref, Act.HOLD, body, unit=unit)
    acting.show_entry(call, entry, f"referral timeline {ref}")


def purge(
    ctx: typer.Context,
    ref: Ref,
    reason: Annotated[str, typer.Option()],
    unit: Unit = None,
) -> None:
    """Ask that a referral's ciphertext go before its time. Another person must agree."""
    call = invocation(ctx)
    choices.check_code(call, "purge_reason", reason)
    with call.person() as client:
        referral = client.referral(ref)
        of = _one_of(referral, client.profile.party, unit)
        call.confirm("ask.purge", ref=ref, unit=of)
        entry = client.act(ref, Act.PURGE_REQUEST, {"reason": reason}, unit=of)
    command = f"referral approve {ref} --answers {entry.outgoing.digest}"
    if referral.relation is Relation.SENDER:
        command += f" --unit {of}"
    if entry.state is not Progress.REFUSED:
        call.screen.talk("purge.agree")
    acting.show_entry(call, entry, command)


def _one_of(referral: Referral, party: str, unit: str | None) -> PartyId:
    """The delivery that is meant. Raises Fault where that must be said; ILLEGAL_TRANSITION where it cannot be asked."""
    found = forgetting.purgeable(referral, party, unit)
    if len(found) > 1:
        raise Fault("purge-which", units=", ".join(found))
    if found:
        return found[0]
    holds = [one for named in referral.chronicle.deliveries for one in forgetting.holds_of(referral, named)]
    reason = {"reason": "held"} if holds else {}
    raise ReferralError(ErrorCode.ILLEGAL_TRANSITION, act=Act.PURGE_REQUEST.value, **reason)

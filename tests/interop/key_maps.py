"""A key map in plain words, as the stranger's client tells it too (tests/interop/stranger/lib/keyslog.mjs)."""

from __future__ import annotations

from typing import Any

from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import b64u
from tests.vectors.make_keys_log_vectors import own_keys


def told(keymap: KeyMap) -> dict[str, Any]:
    """Everything that the log says: parties, what waits, what is revoked, and how the exchange's keys changed."""
    return {
        "root": b64u(keymap.root),
        "size": keymap.size,
        "time": keymap.clock,
        "parties": {party.id: _party(party) for party in keymap.parties()},
        "pending": {one.party: one.digest for one in keymap.pending()},
        "revoked": sorted(kid for kid, record in keymap._keys.items() if record.revoked),
        "exchange": own_keys(keymap).get("exchange", {}),
    }


def _party(party: Any) -> dict[str, Any]:
    return {
        "role": party.role.value,
        "seq": party.seq,
        "statement": party.statement,
        "index": party.index,
        "effect_index": party.effect_index,
        "enc": [key.kid for key in party.enc],
        "credentials": [
            {
                "id": one.id,
                "access": one.access,
                "seal": list(one.seal),
                "from": one.valid_from,
                "until": one.valid_until,
            }
            for one in party.credentials
        ],
    }

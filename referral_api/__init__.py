"""Sealed, signed and provable referrals between a counter-trafficking hotline and police units.

Floors, each knowing only those below it (pyproject.toml enforces it):

    cli         the command `referral`
    server      the exchange: stores ciphertext it cannot open    |  client   the user's machine: holds the keys
    auditlog    the Merkle log as mathematics
    formats     the bytes: what is signed, sealed or hashed, and how that is checked
    domain      the rules as tables; standard library only

Five minutes: docs/life-of-a-referral.md, tests/story/test_life_of_a_referral.py, server/service/acts.py (the door),
then the import contracts of pyproject.toml and docs/permissions.md.
"""

__version__ = "0.1.0"

"""What a birthdate says of a person's age on the day on which a referral was written, as roughly as it is known.

A child whom a slip of the hand made an adult would be without every safeguard; so a birthdate that contradicts the age
group is found, and of the ages that it leaves the youngest counts (rule R8 of the field).

Must never: read a clock, or make a person older than she may be.

Implements: R-81, R-83; rule R8 of the field.
"""

from __future__ import annotations

from datetime import date, timedelta

from referral_api.domain.clocks import CHILD_SAFEGUARDS
from referral_api.formats.referral_people import Victim, age_group_of

_ADULT, _UNKNOWN = "adult", "unknown"


def ages_of(birthdate: str, on: date) -> range:
    """The ages in whole years, from the youngest, that a rough birthdate leaves on a day; none is below 0."""
    year, *rest = (int(part) for part in birthdate.split("-"))
    first = last = date(year, rest[0] if rest else 1, rest[1] if len(rest) > 1 else 1)
    if not rest:
        last = date(year, 12, 31)
    elif len(rest) == 1:
        last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return range(max(_age(last, on), 0), max(_age(first, on), 0) + 1)


def _age(born: date, on: date) -> int:
    return on.year - born.year - ((on.month, on.day) < (born.month, born.day))


def contradicts(victim: Victim, on: date) -> bool:
    """Whether a birthdate and the age group cannot both be: no age that it leaves is of that group, or one who is
    called an adult may be a child. A group that is unknown contradicts nothing.
    """
    if victim.birthdate is None or victim.age_group == _UNKNOWN:
        return False
    groups = {age_group_of(age) for age in ages_of(victim.birthdate, on)}
    return groups != {_ADULT} if victim.age_group == _ADULT else victim.age_group not in groups


def protected_group(victim: Victim, on: date) -> str:
    """The age group that floors go by: her own, or a child's where her birthdate leaves that she is one."""
    if victim.birthdate is None or victim.age_group in CHILD_SAFEGUARDS:
        return victim.age_group
    return age_group_of(ages_of(victim.birthdate, on)[0])

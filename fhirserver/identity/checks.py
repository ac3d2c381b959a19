"""Check digits of identifiers, by the names under which a NamingSystem asks for them.

Luhn: ISO/IEC 7812-1 annex B. NPI: Luhn behind the prefix 80840 (45 CFR 162.406). NHS number: modulus 11 of
the NHS Data Dictionary. Verhoeff: the dihedral group D5 (J. Verhoeff, 1969), as in Aadhaar numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

Check = Callable[[str], bool]

_NPI_PREFIX: Final = "80840"


def luhn(value: str) -> bool:
    """Digits, the last one for the check; at least two."""
    return _digits(value) and len(value) > 1 and _luhn_sum(value) % 10 == 0


def npi(value: str) -> bool:
    """Ten digits that begin with 1 or 2."""
    return (
        _digits(value) and len(value) == 10 and value[0] in "12" and _luhn_sum(_NPI_PREFIX + value) % 10 == 0
    )


def nhs_number(value: str) -> bool:
    """Ten digits without blanks, weighted 10 to 2; a remainder that leaves 10 is never issued."""
    if not (_digits(value) and len(value) == 10):
        return False
    weighted = sum(int(digit) * weight for digit, weight in zip(value, range(10, 1, -1), strict=False))
    return (11 - weighted % 11) % 11 == int(value[9])


def verhoeff(value: str) -> bool:
    """Digits, the last one for the check; at least two."""
    if not (_digits(value) and len(value) > 1):
        return False
    state = 0
    for place, digit in enumerate(reversed(value)):
        state = _product(state, _turned(int(digit), place))
    return state == 0


def _digits(value: str) -> bool:
    return value.isascii() and value.isdigit()


def _luhn_sum(value: str) -> int:
    total = 0
    for place, digit in enumerate(reversed(value)):
        doubled = int(digit) * (1 + place % 2)
        total += doubled - 9 if doubled > 9 else doubled
    return total


def _product(a: int, b: int) -> int:
    """In D5: 0 to 4 are rotations, 5 to 9 reflections."""
    turn = a + b if a < 5 else a - b
    return turn % 5 + (5 if (a < 5) != (b < 5) else 0)


def _turned(digit: int, times: int) -> int:
    """The permutation (0 1 5 8 9 4 2 7)(3 6), some times."""
    for _ in range(times % 8):
        digit = _PERMUTATION[digit]
    return digit


_PERMUTATION: Final = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)

CHECKS: Final[dict[str, Check]] = {
    "luhn": luhn,
    "npi": npi,
    "nhs-number": nhs_number,
    "verhoeff": verhoeff,
}

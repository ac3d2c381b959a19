"""Check digits: published examples, and every single wrong digit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.identity.checks import CHECKS

VALID = {
    "luhn": ["79927398713", "4111111111111111", "00"],
    "npi": ["1234567893", "1245319599"],
    "nhs-number": ["9434765919", "4010232137"],
    "verhoeff": ["2363", "758722", "123451", "1428570", "1234567890120", "84736430954837284567892"],
}
INVALID = {
    "luhn": ["79927398710", "", "0", "7992739871a", "٧٩٩٢٧٣٩٨٧١٣"],
    "npi": ["1234567890", "123456789", "3234567893", "808401234567893"],
    "nhs-number": ["9434765918", "943 476 5919", "943476591", "8100000000"],
    "verhoeff": ["2364", "", "3", "123452"],
}


@pytest.mark.parametrize(("check", "value"), [(name, one) for name, all_ in VALID.items() for one in all_])
def test_valid(check: str, value: str) -> None:
    assert CHECKS[check](value)


@pytest.mark.parametrize(("check", "value"), [(name, one) for name, all_ in INVALID.items() for one in all_])
def test_invalid(check: str, value: str) -> None:
    assert not CHECKS[check](value)


@pytest.mark.parametrize("check", CHECKS)
def test_one_wrong_digit_is_found(check: str) -> None:
    for value in VALID[check]:
        for place, digit in enumerate(value):
            for other in "0123456789":
                if other != digit:
                    assert not CHECKS[check](value[:place] + other + value[place + 1 :])


@given(st.text(alphabet="0123456789", min_size=1, max_size=20))
def test_verhoeff_and_luhn_take_exactly_one_check_digit(body: str) -> None:
    for check in (CHECKS["verhoeff"], CHECKS["luhn"]):
        assert sum(check(f"{body}{digit}") for digit in range(10)) == 1


@given(st.text(alphabet="0123456789", min_size=2, max_size=20), st.data())
def test_verhoeff_finds_neighbours_that_changed_places(body: str, data: st.DataObject) -> None:
    check = CHECKS["verhoeff"]
    whole = next(f"{body}{digit}" for digit in range(10) if check(f"{body}{digit}"))
    place = data.draw(st.integers(0, len(whole) - 2))
    swapped = whole[:place] + whole[place + 1] + whole[place] + whole[place + 2 :]
    assert check(swapped) == (swapped == whole)

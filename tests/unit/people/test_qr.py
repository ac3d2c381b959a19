"""QR codes: equal, module by module, to those that an independent encoder made of the same text and mask."""

from hashlib import sha256

import pytest

from fhirserver.pages import qr


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (1, "729c029637be0809"),
        (120, "dec8b08a96051848"),
        (300, "fbf9eefdfd39b45b"),
        (858, "534c41351aa1d243"),
    ],
)
def test_symbols_are_those_of_another_encoder(length: int, expected: str) -> None:
    text = ("otpauth://totp/abc%20" * 60)[:length]
    assert sha256(repr(qr.modules(text, 0)).encode()).hexdigest()[:16] == expected


def test_longer_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="too many"):
        qr.svg("x" * 859)


def test_the_picture_is_as_large_as_the_symbol_and_its_margin() -> None:
    assert 'viewBox="0 0 29 29"' in qr.svg("x")

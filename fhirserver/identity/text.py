"""Names as they are compared: Latin letters in lower case, whatever script and accents they came in.

The same name is written in many ways where it was put into Latin letters by ear or by different tables:
`skeleton` is alike for most of them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from unicodedata import category, normalize

_CYRILLIC: Final = (
    "а a б b в v г g д d е e ж zh з z и i й i к k л l м m н n о o п p р r с s т t у u ф f х kh ц ts ч ch ш sh"
    " щ shch ъ - ы y ь - э e ю yu я ya ё e і i ї i є e ґ g ў u ј j љ lj њ nj ћ c ђ dj џ dz"
)
_GREEK: Final = (
    "α a β v γ g δ d ε e ζ z η i θ th ι i κ k λ l μ m ν n ξ x ο o π p ρ r σ s ς s τ t υ y φ f χ ch ψ ps ω o"
)
_ARABIC: Final = (
    "ا a أ a إ i آ a ب b ت t ث th ج j ح h خ kh د d ذ dh ر r ز z س s ش sh ص s ض d ط t ظ z ع - غ gh ف f ق q ك k"
    " ل l م m ن n ه h و u ي i ى a ة a ء - ئ - ؤ u پ p چ ch ژ zh گ g ک k ی i"
)
_LATIN: Final = "ł l ø o đ d æ ae œ oe ð d þ th ħ h ŧ t ß ss ı i ä ae ö oe ü ue å aa"


def _pairs(text: str) -> dict[int, str]:
    words = text.split()
    return {
        ord(letter): "" if latin == "-" else latin
        for letter, latin in zip(words[::2], words[1::2], strict=True)
    }


_WHOLE: Final = _pairs(_LATIN) | _pairs("й i ї i ё e")
"""Letters whose marks make others of them; of all others marks are taken away."""
_LETTERS: Final = _pairs(_CYRILLIC) | _pairs(_GREEK) | _pairs(_ARABIC)
_SAME_SOUND: Final = tuple(
    (re.compile(pattern), to)
    for pattern, to in (
        (r"tsch|tch|cz", "ch"),
        (r"sch|sz", "sh"),
        (r"ph", "f"),
        (r"kh|gh|ch(?=r)", "h"),
        (r"ck|q|c(?![hei])", "k"),
        (r"x", "ks"),
        (r"c(?=[ei])", "s"),
        (r"w", "v"),
        (r"dj|dzh|zh", "j"),
        (r"th|dh", "t"),
        (r"z|ts", "s"),
        (r"ou|oo|ue", "u"),
        (r"oe", "o"),
        (r"ae|aa", "a"),
        (r"y|j(?=[aeiou])|ie|ee|ei|ey", "i"),
        (r"ff$|v$", "f"),
        (r"(.)\1+", r"\1"),
    )
)
_VOWELS: Final = re.compile(r"(?<=.)[aeiou]")
_DIGRAPHS: Final = (("ae", "a"), ("oe", "o"), ("ue", "u"), ("aa", "a"))


@lru_cache(maxsize=32_768)
def words(text: str) -> tuple[str, ...]:
    """The words of a name or an address: letters and digits. All punctuation but an apostrophe parts them."""
    text = normalize("NFC", text).casefold().translate(_WHOLE)
    kept = [
        char if char.isalnum() else "" if category(char) == "Mn" or char in "'’`´ʼʻ." else " "
        for char in normalize("NFKD", text)
    ]
    return tuple("".join(kept).translate(_LETTERS).split())


@lru_cache(maxsize=32_768)
def plain(word: str) -> str:
    """Without the second letters of umlauts, which some leave out: mueller and muller are one."""
    for digraph, vowel in _DIGRAPHS:
        word = word.replace(digraph, vowel)
    return word


@lru_cache(maxsize=32_768)
def skeleton(word: str) -> str:
    """The consonants by their sound, behind the first letter's."""
    for pattern, to in _SAME_SOUND:
        word = pattern.sub(to, word)
    return _VOWELS.sub("", word)

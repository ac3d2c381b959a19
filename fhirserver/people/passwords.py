"""Passwords: which ones are good enough, and how they are kept.

argon2id (RFC 9106) in threads of their own, few enough that sign-ins cannot take all memory and processors.
Rules after NIST SP 800-63B section 5.1.1.2: long, not a common one, nothing about composition.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from base64 import b64decode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Final, TypeVar
from unicodedata import normalize

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from fhirserver.errors import Unavailable

T = TypeVar("T")

LENGTH_MIN: Final = 12
LENGTH_MAX: Final = 512
THREADS: Final = 2
QUEUE_MAX: Final = 64
"""More than this many waiting hashes (of some 0.1 s each) are refused: 503."""

_hasher: Final = PasswordHasher(time_cost=2, memory_cost=64 * 1024, parallelism=1)
_pool: Final = ThreadPoolExecutor(THREADS, "argon2")
_NOBODY: Final = (
    "$argon2id$v=19$m=65536,t=2,p=1$qQkG6Vb8H4ucP3Ob4V5GYw$XP0vMBP1RVvS/E2rWRhC8cACblELdF04aSjhP86Y6oo"
)
"""Of nobody's password: what one is compared with where there is none, so that the answer takes as long.

Made once: it would take a tenth of a second of every start.
"""
_running = 0

_LEET: Final = str.maketrans("0134578@$!|", "oieastbasii")
_ROWS: Final = (
    *("abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop"),
    *("azertyuiop", "qsdfghjklm", "1qaz2wsx3edc4rfv5tgb6yhn7ujm", "1q2w3e4r5t6y7u8i9o0p", "qazwsxedcrfvtgb"),
)
_RUN: Final = 3


def problem(password: str, *about: str) -> str | None:
    """Why a password will not do, for people; None when it will. `about`: names that guess nothing."""
    if len(password) < LENGTH_MIN:
        return f"Use at least {LENGTH_MIN} characters. A few words in a row are easy to remember."
    if len(password) > LENGTH_MAX:
        return f"Use at most {LENGTH_MAX} characters."
    if _substance(password, about) < _SUBSTANCE_MIN:
        return "That one would be guessed quickly: it is made of common words, names, years or keys in a row."
    return None


_SUBSTANCE_MIN: Final = 7
_WORDS: Final = sorted(
    Path(__file__).with_name("common_words.txt").read_text().split(), key=len, reverse=True
)
"""Of which weak passwords are made; longer ones are taken out first."""


def _substance(password: str, about: tuple[str, ...]) -> int:
    """How much there is to guess: a common word counts 2, a name or year 1, a run of keys or a repetition no
    more than its first part, every other character 1."""
    plain = normalize("NFKC", password).casefold()
    names = {part for text in about for part in re.split(r"[\W_]+", text.casefold()) if len(part) > 2}
    short = re.sub(r"^\d+|\d+$", "1", plain)
    forms = (plain, plain.translate(_LEET), short, short.translate(_LEET))
    return min(_count(form, names) for form in forms)


def _count(text: str, names: set[str]) -> int:
    text = re.sub(r"[\W_]+", "", text)
    count = 0
    for word in (*sorted(names, key=len, reverse=True), *_WORDS):
        if word in text:
            count += 1 if word in names else 2
            text = text.replace(word, " ")
    text, years = re.subn(r"(?:19|20)\d\d", " ", text)
    text = re.sub(r"(.{1,6}?)\1+", r"\1", text)
    return count + min(years, 1) + len(_without_runs(text).replace(" ", ""))


def _without_runs(text: str) -> str:
    """The text with each run along the alphabet, the digits or a keyboard row cut to its first character."""
    kept: list[str] = []
    run = 1
    for before, char in pairwise(f" {text}"):
        run = run + 1 if _next_to(before, char) else 1
        kept.append(char)
        if run == _RUN:
            del kept[-_RUN + 1 :]
        elif run > _RUN:
            kept.pop()
    return "".join(kept)


def _next_to(first: str, second: str) -> bool:
    return any(first + second in row or second + first in row for row in _ROWS)


# -- how they are kept


async def _in_thread(work: Callable[..., T], *arguments: str) -> T:
    global _running
    if _running >= QUEUE_MAX:
        raise Unavailable("too many people sign in at once; try again", headers={"Retry-After": "5"})
    _running += 1
    try:
        return await asyncio.get_running_loop().run_in_executor(_pool, work, *arguments)
    finally:
        _running -= 1


async def hashed(password: str) -> str:
    """As argon2id text (PHC), with a salt of its own."""
    return await _in_thread(_hasher.hash, _normal(password))


async def matches(stored: str | None, password: str) -> bool:
    """Whether it is the password; None is nobody's, and takes as long to find out."""
    found = await _in_thread(_verify, stored or _NOBODY, _normal(password))
    return found and stored is not None


def is_dated(stored: str) -> bool:
    """Whether the password should be hashed anew, now that it is known."""
    return not stored.startswith("$argon2id$") or _hasher.check_needs_rehash(stored)


def is_readable(stored: str) -> bool:
    """Whether it is a hash that `matches` understands; for accounts that come from elsewhere."""
    return bool(re.match(r"\$argon2(id|i|d)\$", stored) or _PBKDF2.fullmatch(stored))


def _normal(password: str) -> str:
    return normalize("NFKC", password)[: 4 * LENGTH_MAX]


_PBKDF2: Final = re.compile(r"pbkdf2_(sha256|sha512|sha1)\$(\d{1,8})\$([^$]{1,64})\$([A-Za-z0-9+/=]{1,128})")


def _verify(stored: str, password: str) -> bool:
    if legacy := _PBKDF2.fullmatch(stored):
        name, rounds, salt, expected = legacy.groups()
        made = hashlib.pbkdf2_hmac(name, password.encode(), salt.encode(), int(rounds))
        return hmac.compare_digest(made, b64decode(expected))
    try:
        return _hasher.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False

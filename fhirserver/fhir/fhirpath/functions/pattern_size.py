"""How large a regular expression grows when it is compiled, before it is.

Counted repetitions are unrolled by the engine: `(?:a{1000}){1000}` is a million nodes. What cannot be
counted, or needs memory without end while it runs (recursion), is not offered.
"""

from __future__ import annotations

from typing import Final

import regex

UNROLLED_MAX: Final = 5_000
"""Characters, sets and groups, each as often as it must be there."""
_TOKEN: Final = regex.compile(
    r"""
      \\.
    | (?P<set>\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\\[])*+\])
    | (?P<other>\[)
    | (?P<count>\{(?P<least>\d+)(?:,\d*)?\})
    | (?P<mark>\(\?(?:[aimsu]+(?:-[ims]+)?\)|P=\w+\)))
    | (?P<open>\((?:\?(?:[:=!>]|<[=!]|P?<\w+>|[aimsu]+(?:-[ims]+)?:))?(?!\?))
    | (?P<special>\()
    | (?P<close>\))
    | .
    """,
    regex.DOTALL | regex.VERBOSE,
)
"""Every character belongs to a token. Sets within sets, comments and the flag for free spacing, which would
let a pattern look otherwise than it is read, are among what is not offered."""


def require_size(text: str) -> None:
    """Raise ValueError for a pattern that is too large when it is unrolled, or that cannot be judged."""
    sums, last = [0], 0
    for token in _TOKEN.finditer(text):
        match token.lastgroup:
            case "open":
                sums.append(1)
                last = 0
                continue
            case "close":
                last = sums.pop()
                if not sums:
                    raise ValueError(f"unbalanced parenthesis at position {token.start()}")
                sums[-1] += last
            case "count":
                times = int(token["least"][:9])
                if times > 1:
                    sums[-1] += last * (times - 1)
                    last *= times
            case "other":
                raise ValueError(
                    f"a set has no set within it, and an end; write \\[ (position {token.start()})"
                )
            case "special":
                raise ValueError(f"(?{text[token.start() + 2 : token.start() + 3]} is not offered")
            case _:
                last = 1
                sums[-1] += 1
        if sums[-1] > UNROLLED_MAX:
            raise ValueError(f"unrolled it has more than {UNROLLED_MAX} parts")

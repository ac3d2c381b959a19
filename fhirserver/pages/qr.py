"""QR codes as SVG: bytes at error correction level L, up to version 20 (858 bytes). ISO/IEC 18004:2015

Enough for the key of an authenticator app, without a library or an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from typing import Final

VERSION_MAX: Final = 20
QUIET: Final = 4
"""Light modules around the symbol: section 6.3.8."""

# Level L by version: error correction codewords of a block, and blocks (table 9).
_CHECKS: Final = (7, 10, 15, 20, 26, 18, 20, 24, 30, 18, 20, 24, 26, 30, 22, 24, 28, 30, 28, 28)
_BLOCKS: Final = (1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 4, 6, 6, 6, 6, 7, 8)

_MASKS: Final[tuple[Callable[[int, int], bool], ...]] = (
    lambda row, column: (row + column) % 2 == 0,
    lambda row, column: row % 2 == 0,
    lambda row, column: column % 3 == 0,
    lambda row, column: (row + column) % 3 == 0,
    lambda row, column: (row // 2 + column // 3) % 2 == 0,
    lambda row, column: row * column % 2 + row * column % 3 == 0,
    lambda row, column: (row * column % 2 + row * column % 3) % 2 == 0,
    lambda row, column: ((row + column) % 2 + row * column % 3) % 2 == 0,
)
"""Table 10."""

Grid = list[list[bool]]


def svg(text: str) -> str:
    """The picture of a text. Raises ValueError for one that is too long."""
    rows = modules(text)
    size = len(rows) + 2 * QUIET
    path = "".join(
        f"M{column + QUIET} {row + QUIET}h1v1h-1z"
        for row, line in enumerate(rows)
        for column, dark in enumerate(line)
        if dark
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" shape-rendering="crispEdges">'
        f'<rect width="{size}" height="{size}" fill="#fff"/><path d="{path}"/></svg>'
    )


def modules(text: str, mask: int | None = None) -> Grid:
    """The rows of modules, True for dark, under the mask that gives the calmest picture."""
    data = text.encode()
    version = next((v for v in range(1, VERSION_MAX + 1) if len(data) <= _bytes_max(v)), None)
    if version is None:
        raise ValueError(f"{len(data)} bytes are too many for a QR code here")
    bits = [bit for word in _codewords(data, version) for bit in _bits(word, 8)]
    candidates = range(len(_MASKS)) if mask is None else (mask,)
    return min((_drawn(version, bits, one) for one in candidates), key=_penalty)


def _bits(value: int, length: int) -> list[bool]:
    return [bool(value >> shift & 1) for shift in range(length - 1, -1, -1)]


# -- codewords, sections 7.4 to 7.6


def _words(version: int) -> int:
    """All codewords of a version, data and error correction."""
    size = 17 + 4 * version
    reserved = sum(map(sum, _patterns(version)[1]))
    return (size * size - reserved) // 8


def _data_words(version: int) -> int:
    return _words(version) - _CHECKS[version - 1] * _BLOCKS[version - 1]


def _length_bits(version: int) -> int:
    return 8 if version < 10 else 16


def _bytes_max(version: int) -> int:
    return (8 * _data_words(version) - 4 - _length_bits(version)) // 8


def _codewords(data: bytes, version: int) -> list[int]:
    """Data and error correction, the blocks woven into each other."""
    total = _data_words(version)
    bits = [*_bits(0b0100, 4), *_bits(len(data), _length_bits(version))]
    bits += [bit for byte in data for bit in _bits(byte, 8)]
    bits += [False] * min(4, 8 * total - len(bits))
    bits += [False] * (-len(bits) % 8)
    words = [int("".join("01"[bit] for bit in bits[at : at + 8]), 2) for at in range(0, len(bits), 8)]
    words += [(0xEC, 0x11)[index % 2] for index in range(total - len(words))]
    count = _BLOCKS[version - 1]
    short = total // count
    lengths = [short + (index >= count - total % count) for index in range(count)]
    starts = [sum(lengths[:index]) for index in range(count)]
    blocks = [words[start : start + length] for start, length in zip(starts, lengths, strict=True)]
    checks = [_remainder(block, _CHECKS[version - 1]) for block in blocks]
    return [*_woven(blocks), *_woven(checks)]


def _woven(blocks: list[list[int]]) -> Iterator[int]:
    for index in range(max(map(len, blocks))):
        yield from (block[index] for block in blocks if index < len(block))


@cache
def _powers() -> tuple[list[int], list[int]]:
    """Exponentials and logarithms in GF(256) modulo x^8 + x^4 + x^3 + x^2 + 1."""
    exponentials, logarithms, value = [0] * 255, [0] * 256, 1
    for power in range(255):
        exponentials[power], logarithms[value] = value, power
        value = value << 1 ^ (0x11D if value & 0x80 else 0)
    return exponentials, logarithms


def _product(a: int, b: int) -> int:
    exponentials, logarithms = _powers()
    return exponentials[(logarithms[a] + logarithms[b]) % 255] if a and b else 0


@cache
def _generator(degree: int) -> tuple[int, ...]:
    """(x - 2^0) ... (x - 2^(degree - 1)), without its leading 1."""
    found = [1]
    for power in range(degree):
        root = _powers()[0][power]
        shifted = [*found, 0]
        found = [a ^ _product(b, root) for a, b in zip(shifted, [0, *found], strict=True)]
    return tuple(found[1:])


def _remainder(block: list[int], degree: int) -> list[int]:
    """Reed-Solomon error correction of a block."""
    rest = [0] * degree
    for word in block:
        factor = word ^ rest[0]
        rest = [a ^ _product(b, factor) for a, b in zip([*rest[1:], 0], _generator(degree), strict=True)]
    return rest


# -- the picture, sections 6.3 and 7.7 to 7.10


@cache
def _patterns(version: int) -> tuple[Grid, Grid]:
    """Modules that are the same in all symbols of a version, and which ones they and the formats take."""
    size = 17 + 4 * version
    dark, taken = ([[False] * size for _ in range(size)] for _ in range(2))

    def put(row: int, column: int, value: bool) -> None:
        if 0 <= row < size and 0 <= column < size:
            dark[row][column], taken[row][column] = value, True

    for at in range(size):
        put(6, at, at % 2 == 0)
        put(at, 6, at % 2 == 0)
    for row, column in ((3, 3), (3, size - 4), (size - 4, 3)):
        for down in range(-4, 5):
            for right in range(-4, 5):
                put(row + down, column + right, max(abs(down), abs(right)) not in (2, 4))
    centres = _alignments(version)
    for row in centres:
        for column in centres:
            if (row, column) not in {(6, 6), (6, size - 7), (size - 7, 6)}:
                for down in range(-2, 3):
                    for right in range(-2, 3):
                        put(row + down, column + right, max(abs(down), abs(right)) != 1)
    for places in _format_places(size):
        for row, column in places:
            put(row, column, False)
    put(size - 8, 8, True)
    if version >= 7:
        number = version << 12 | _checked(version, 0x1F25, 12)
        for index, bit in enumerate(reversed(_bits(number, 18))):
            put(size - 11 + index % 3, index // 3, bit)
            put(index // 3, size - 11 + index % 3, bit)
    return dark, taken


def _alignments(version: int) -> list[int]:
    """Annex E: evenly from 6 to the other side, at even distances."""
    if version == 1:
        return []
    count = version // 7 + 2
    last = 10 + 4 * version
    step = -(-(last - 6) // (2 * (count - 1))) * 2
    return [6, *(last - step * index for index in range(count - 2, -1, -1))]


def _format_places(size: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The two places of the 15 format bits, the most significant one first."""
    columns, rows = (0, 1, 2, 3, 4, 5, 7, 8), (7, 5, 4, 3, 2, 1, 0)
    first = [*((8, column) for column in columns), *((row, 8) for row in rows)]
    second = [
        *((size - 1 - index, 8) for index in range(7)),
        *((8, size - 8 + index) for index in range(8)),
    ]
    return first, second


def _checked(value: int, polynomial: int, degree: int) -> int:
    """The remainder of value * x^degree by a polynomial over GF(2)."""
    rest = value << degree
    while rest.bit_length() > degree:
        rest ^= polynomial << (rest.bit_length() - degree - 1)
    return rest


def _drawn(version: int, bits: list[bool], mask: int) -> Grid:
    fixed, taken = _patterns(version)
    grid = [list(line) for line in fixed]
    size = len(grid)
    for (row, column), bit in zip(_zigzag(size, taken), [*bits, *[False] * 7], strict=False):
        grid[row][column] = bit
    for row in range(size):
        for column in range(size):
            if not taken[row][column]:
                grid[row][column] ^= _MASKS[mask](row, column)
    level_and_mask = 0b01 << 3 | mask
    format_ = (level_and_mask << 10 | _checked(level_and_mask, 0x537, 10)) ^ 0x5412
    for places in _format_places(size):
        for (row, column), bit in zip(places, _bits(format_, 15), strict=True):
            grid[row][column] = bit
    return grid


def _zigzag(size: int, taken: Grid) -> Iterator[tuple[int, int]]:
    """The free modules in the order of the data: pairs of columns from the right, up and down in turn."""
    upward = True
    for right in (*range(size - 1, 6, -2), 5, 3, 1):
        for row in range(size - 1, -1, -1) if upward else range(size):
            for column in (right, right - 1):
                if not taken[row][column]:
                    yield row, column
        upward = not upward


def _penalty(grid: Grid) -> int:
    """How hard to read: long runs, blocks of one colour, and more of one colour than of the other."""
    lines = [*grid, *map(list, zip(*grid, strict=True))]
    runs = 0
    for line in lines:
        length = 1
        for before, after in pairwise(line):
            length = length + 1 if before == after else 1
            runs += 3 if length == 5 else length > 5
    blocks = sum(
        grid[row][column] == grid[row + 1][column] == grid[row][column + 1] == grid[row + 1][column + 1]
        for row in range(len(grid) - 1)
        for column in range(len(grid) - 1)
    )
    dark = sum(map(sum, grid))
    return runs + 3 * blocks + abs(dark * 20 // len(grid) ** 2 - 10) * 10

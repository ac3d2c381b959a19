"""What stands above and below what among codes; docs/adr/0012-code-systems-in-memory.md has the figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping


class Hierarchy:
    """Which codes stand directly below which; codes without either are not in it."""

    __slots__ = ("_down", "_up")

    def __init__(self, edges: Iterable[tuple[str, str]]) -> None:
        """`edges` are pairs of a code and one above it; cycles and repetitions do no harm."""
        self._up: dict[str, tuple[str, ...]] = {}
        self._down: dict[str, tuple[str, ...]] = {}
        pairs = list(dict.fromkeys(edges))
        _collect(self._up, pairs)
        _collect(self._down, ((upper, lower) for lower, upper in pairs))

    def __bool__(self) -> bool:
        return bool(self._up)

    def parents(self, code: str) -> tuple[str, ...]:
        return self._up.get(code, ())

    def children(self, code: str) -> tuple[str, ...]:
        return self._down.get(code, ())

    def edges(self) -> Iterator[tuple[str, str]]:
        """Pairs of a code and one directly above it."""
        return ((lower, upper) for lower, uppers in self._up.items() for upper in uppers)

    def below(self, code: str) -> frozenset[str]:
        """The code and all that stand below it."""
        return _reached(self._down, code)

    def above(self, code: str) -> frozenset[str]:
        """The code and all that stand above it."""
        return _reached(self._up, code)


def _collect(into: dict[str, tuple[str, ...]], pairs: Iterable[tuple[str, str]]) -> None:
    grown: dict[str, list[str]] = {}
    for one, other in pairs:
        if one in grown:
            grown[one].append(other)
        elif one in into:
            grown[one] = [*into[one], other]
        else:
            into[one] = (other,)
    into.update({one: tuple(others) for one, others in grown.items()})


def _reached(edges: Mapping[str, tuple[str, ...]], start: str) -> frozenset[str]:
    found = {start}
    pending = [start]
    while pending:
        fresh = [code for code in edges.get(pending.pop(), ()) if code not in found]
        found.update(fresh)
        pending.extend(fresh)
    return frozenset(found)

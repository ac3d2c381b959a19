"""Applying and checking the corrections to the official search parameters.

``search_params/corrections.json`` is written by hand: rows ``{url, reason, <field>: <value>...}``, each
field replacing that of the parameter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .paths import Checker, PathError

Json = dict[str, Any]

TEXTS = {"id", "string", "uri"}
INDEXABLE = {
    "token": {"code", "CodeableConcept", "Coding", "Identifier", "ContactPoint", "boolean", *TEXTS},
    "reference": {"Reference", "canonical", "uri", "Resource"},
    "date": {"date", "dateTime", "instant", "Period", "Timing"},
    "quantity": {"Quantity", "Age", "Duration", "Money", "Range", "SampledData"},
    "number": {"integer", "decimal"},
    "string": {"string", "markdown", "HumanName", "Address"},
    "uri": {"uri", "url", "canonical"},
    "special": {"Location.position"},
}
"""What a parameter of each type can be made from: https://hl7.org/fhir/R4/search.html#table.
Resource stands for ``Bundle.entry[0].resource``, the target itself in place of a reference to it."""


class CorrectionError(Exception):
    """A correction that names no parameter, changes nothing, or gives no reason."""


def corrected(rows: Iterable[Json], corrections: Iterable[Json]) -> list[Json]:
    """The parameters with the corrections applied. Raises CorrectionError."""
    by_url = {row["url"]: row for row in rows}
    for correction in corrections:
        url, reason = correction.get("url"), correction.get("reason")
        if url not in by_url or not reason:
            raise CorrectionError(f"{url}: unknown parameter or no reason")
        changes = {key: value for key, value in correction.items() if key not in ("url", "reason")}
        unchanged = [key for key, value in changes.items() if by_url[url].get(key) == value]
        if unchanged or not changes:
            raise CorrectionError(f"{url}: {unchanged or 'nothing'} to change")
        by_url[url] = {**by_url[url], **changes}
    return list(by_url.values())


def defects(rows: Iterable[Json], table: Mapping[str, Json]) -> Iterator[str]:
    """What is wrong with each parameter on each of its bases, as lines for people; none when all work."""
    checker = Checker(table)
    found = list(rows)
    kinds = {row["url"]: row["type"] for row in found}
    for row in found:
        if row["expression"] is not None:
            for base in row["base"]:
                for defect in _defects(row, base, kinds, checker):
                    yield f"{row['url'].rpartition('/')[2]} on {base}: {defect}"


def _defects(row: Json, base: str, kinds: Mapping[str, str], checker: Checker) -> Iterator[str]:
    try:
        types = checker.types(row["expression"], base, base)
    except PathError as error:
        yield f"{row['expression']}: {error}"
        return
    if not types:
        yield f"{row['expression']} selects nothing"
    if row["type"] != "composite":
        yield from _misfits(types, row["type"], row["expression"])
        return
    for component in row["component"]:
        for context in sorted(types):
            try:
                selected = checker.types(component["expression"], context, base)
            except PathError as error:
                yield f"component {component['expression']}: {error}"
            else:
                yield from _misfits(selected, kinds[component["url"]], component["expression"])


def _misfits(types: Iterable[str], kind: str, expression: str) -> Iterator[str]:
    wrong = sorted(set(types) - INDEXABLE[kind])
    if wrong:
        yield f"{expression} selects {', '.join(wrong)}, which a {kind} parameter cannot use"

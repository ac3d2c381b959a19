"""What the server does not do today as the specification has it. Nothing else may be refused, or differ.

Each line goes when the server learns what it names: a test fails as soon as a line is not true any more.
"""

from __future__ import annotations

from collections.abc import Iterable

REFUSED: dict[str, str] = {
    "token :text": "texts of codes",
    "token :above": "subsumption",
    "token :below": "subsumption",
    "token :in": "value sets",
    "token :not-in": "value sets",
    "token :of-type": "identifiers by their type",
    "uri :above": "URIs by their beginnings",
    "uri :below": "URIs by their beginnings",
    "reference :above": "hierarchies, and versions of canonicals",
    "reference :below": "hierarchies, and versions of canonicals",
    "context-type-quantity with system|": "a system without a code as a part of a composite",
    "context-type-value with system|": "a system without a code as a part of a composite",
    "relationship with system|": "a system without a code as a part of a composite",
    "characteristic-value with system|": "a system without a code as a part of a composite",
    "chromosome-variant-coordinate with system|": "a system without a code as a part of a composite",
    "referenceseqid-variant-coordinate with system|": "a system without a code as a part of a composite",
    "combo-code-value-concept with system|": "a system without a code as a part of a composite",
    "combo-code-value-quantity with system|": "a system without a code as a part of a composite",
    "component-code-value-concept with system|": "a system without a code as a part of a composite",
    "component-code-value-quantity with system|": "a system without a code as a part of a composite",
    "Bundle composition": "the resource within the Bundle",
    "Bundle message": "the resource within the Bundle",
    "chain by canonical URL": "chains by canonical URL",
    "chain over many types": "chains without a type that mean many",
    "_list": "lists",
    "_filter": "filters",
    "_text": "words in narratives",
    "_content": "words in contents",
    "_contained": "contained resources",
    "phonetic": "names by their sound",
    "include by canonical URL": "includes by canonical URL",
    "include iterated": "includes of what is included",
    "revinclude of all": "wildcards in reverse includes",
    "sort over a reference": "sorting by what a reference leads to",
    "sort by combo-code": "sorting by two parameters at once",
    "sort by combo-data-absent-reason": "sorting by two parameters at once",
    "sort by combo-value-concept": "sorting by two parameters at once",
    "sort by combo-value-quantity": "sorting by two parameters at once",
    "sort by phonetic": "sounds, which have no order",
    "sort by composition": "resources within Bundles, which have no order",
    "sort by message": "resources within Bundles, which have no order",
    "sort by deceased": "sorting by an expression that is more than a path",
}


DIFFERENT: dict[str, str] = {
    "sort by token": "of several values the first counts, not the one that comes first in the order",
    "sort by reference": "as for tokens",
    "sort by uri": "as for tokens",
    "part in a batch": "entries of a batch ignore _summary and _elements",
    "include of all": "a wildcard does not follow canonical URLs",
    "chain into a contained resource": "chains do not look into contained resources, by design",
}
"""Searches that are answered, and answered otherwise than the specification says."""


def refused(labels: Iterable[str]) -> str | None:
    """The first of the labels that is expected to be refused."""
    return next((label for label in labels if label in REFUSED), None)


def different(labels: Iterable[str]) -> str | None:
    """The first of the labels under which answers are expected to differ."""
    return next((label for label in labels if label in DIFFERENT), None)

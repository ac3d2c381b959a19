"""What the server refuses today, by a 400, where the specification has it. Nothing else may be refused.

Each line goes when the server learns what it names: a test fails as soon as one is not refused any more.
"""

from __future__ import annotations

EXPECTED: dict[str, str] = {
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
    "phonetic": "names by their sound",
}


def expected(*labels: str) -> str | None:
    """The first of the labels that is expected to be refused."""
    return next((label for label in labels if label in EXPECTED), None)

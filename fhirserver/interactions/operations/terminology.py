"""The operations of a terminology service: https://hl7.org/fhir/R4/terminology-service.html

Inputs that R4 defines and that are not here are not offered: what stands in `context` or was so on a `date`.
"""

from __future__ import annotations

from typing import Final

from fhirserver.interactions.operations.definition import OFFICIAL, Operation, Parameter

_LANGUAGE: Final = Parameter(
    "displayLanguage", "code", 0, 1, "Show displays in this language where there are any."
)

EXPAND: Final = Operation(
    id="ValueSet-expand",
    code="expand",
    title="Codes of a value set",
    description="Every code of a value set, or a page of them: worked out from its definition and those that"
    " it draws on. One of url, valueSet and the place of a value set says which.",
    inputs=(
        Parameter("url", "uri", 0, 1, "The canonical URL of the value set, perhaps with |version."),
        Parameter("valueSet", "ValueSet", 0, 1, "The value set itself."),
        Parameter("valueSetVersion", "string", 0, 1, "Which version of the value set, beside url."),
        Parameter(
            "filter", "string", 0, 1, "Words that each begin a word of the code or of one of its texts."
        ),
        Parameter("offset", "integer", 0, 1, "How many codes to leave out before the page."),
        Parameter("count", "integer", 0, 1, "How many codes the page holds at most; 0 for the total alone."),
        Parameter("includeDesignations", "boolean", 0, 1, "With all texts of each code."),
        Parameter("includeDefinition", "boolean", 0, 1, "With the definition of the value set."),
        Parameter("activeOnly", "boolean", 0, 1, "Without codes that are no longer in use."),
        Parameter("excludeNested", "boolean", 0, 1, "false: codes below those above them, in one page."),
        Parameter("excludeNotForUI", "boolean", 0, 1, "true: without codes that only group others."),
        _LANGUAGE,
        Parameter("exclude-system", "canonical", 0, None, "A code system whose codes are left out."),
        Parameter(
            "system-version", "canonical", 0, None, "system|version, where the value set names no version."
        ),
        Parameter(
            "check-system-version", "canonical", 0, None, "The same; refused if the value set names another."
        ),
        Parameter("force-system-version", "canonical", 0, None, "The same, whatever the value set names."),
    ),
    outputs=(Parameter("return", "ValueSet", 1, 1, "The value set with its expansion."),),
    types=("ValueSet",),
    type=True,
    instance=True,
    defined=f"{OFFICIAL}ValueSet-expand",
)

_ASKED: Final = (
    Parameter("display", "string", 0, 1, "The display that came with the code, to be checked too."),
    Parameter("coding", "Coding", 0, 1, "Instead of code."),
    Parameter(
        "codeableConcept", "CodeableConcept", 0, 1, "Instead of code: one of its codings must be valid."
    ),
    Parameter("abstract", "boolean", 0, 1, "true: codes that only group others are valid, too."),
    _LANGUAGE,
)
_JUDGED: Final = (
    Parameter("result", "boolean", 1, 1, "Whether the code is valid, and its display if one was given."),
    Parameter("message", "string", 0, 1, "Why it is not, or that this is unknown; hints where it is."),
    Parameter("display", "string", 0, 1, "What the code should be displayed as."),
    Parameter(
        "x-unknown-system",
        "uri",
        0,
        1,
        "The code system or value set that is not held, for which reason the validity is unknown.",
    ),
)

VALIDATE_IN_VALUE_SET: Final = Operation(
    id="ValueSet-validate-code",
    code="validate-code",
    title="Whether a code is in a value set",
    description="Whether a code is in a value set, and what it should be displayed as. One of url, valueSet"
    " and the place of a value set says in which, one of code, coding and codeableConcept what.",
    inputs=(
        Parameter("url", "uri", 0, 1, "The canonical URL of the value set, perhaps with |version."),
        Parameter("valueSet", "ValueSet", 0, 1, "The value set itself."),
        Parameter("valueSetVersion", "string", 0, 1, "Which version of the value set, beside url."),
        Parameter("code", "code", 0, 1, "The code; without a system that of the only one that has it."),
        Parameter("system", "uri", 0, 1, "The code system of the code."),
        Parameter("systemVersion", "string", 0, 1, "Its version, where the value set names none."),
        *_ASKED,
    ),
    outputs=_JUDGED,
    types=("ValueSet",),
    type=True,
    instance=True,
    defined=f"{OFFICIAL}ValueSet-validate-code",
)

VALIDATE_IN_SYSTEM: Final = Operation(
    id="CodeSystem-validate-code",
    code="validate-code",
    title="Whether a code is in a code system",
    description="Whether a code is in a code system, and what it should be displayed as. One of url,"
    " codeSystem and the place of a code system says in which, one of code, coding and codeableConcept what.",
    inputs=(
        Parameter("url", "uri", 0, 1, "The URL of the code system."),
        Parameter("codeSystem", "CodeSystem", 0, 1, "The code system itself."),
        Parameter("code", "code", 0, 1, "The code."),
        Parameter("version", "string", 0, 1, "Which version of the code system, beside url."),
        *_ASKED,
    ),
    outputs=_JUDGED,
    types=("CodeSystem",),
    type=True,
    instance=True,
    defined=f"{OFFICIAL}CodeSystem-validate-code",
)

LOOKUP: Final = Operation(
    id="CodeSystem-lookup",
    code="lookup",
    title="What a code is",
    description="All that is known of a code: code and system or a coding say which.",
    inputs=(
        Parameter("code", "code", 0, 1, "The code, beside system."),
        Parameter("system", "uri", 0, 1, "The code system of the code."),
        Parameter("version", "string", 0, 1, "Its version."),
        Parameter("coding", "Coding", 0, 1, "Instead of code and system."),
        _LANGUAGE,
        Parameter(
            "property",
            "code",
            0,
            None,
            "What is to be told: designation, lang.X, definition, parent, child, inactive, or a property of"
            " the code system. Everything, if none is named.",
        ),
    ),
    outputs=(
        Parameter("name", "string", 1, 1, "A name of the code system."),
        Parameter("version", "string", 0, 1, "The version that this is from."),
        Parameter("display", "string", 1, 1, "What the code should be displayed as."),
        Parameter(
            "designation",
            "part",
            0,
            None,
            "Another text.",
            parts=(
                Parameter("language", "code", 0, 1, "Its language."),
                Parameter("use", "Coding", 0, 1, "What it is for."),
                Parameter("value", "string", 1, 1, "The text."),
            ),
        ),
        Parameter(
            "property",
            "part",
            0,
            None,
            "A property, or a code above or below.",
            parts=(
                Parameter("code", "code", 1, 1, "Which property it is."),
                Parameter("value", "Element", 0, 1, "Its value."),
                Parameter("description", "string", 0, 1, "What a value that is a code is displayed as."),
            ),
        ),
    ),
    types=("CodeSystem",),
    type=True,
    defined=f"{OFFICIAL}CodeSystem-lookup",
)

SUBSUMES: Final = Operation(
    id="CodeSystem-subsumes",
    code="subsumes",
    title="Whether one code is above another",
    description="Whether what is true of one code of a system is true of another.",
    inputs=(
        Parameter("codeA", "code", 0, 1, "One code."),
        Parameter("codeB", "code", 0, 1, "The other code."),
        Parameter("system", "uri", 0, 1, "Their code system, unless its place says which."),
        Parameter("version", "string", 0, 1, "Its version."),
        Parameter("codingA", "Coding", 0, 1, "Instead of codeA."),
        Parameter("codingB", "Coding", 0, 1, "Instead of codeB."),
    ),
    outputs=(Parameter("outcome", "code", 1, 1, "equivalent, subsumes, subsumed-by or not-subsumed."),),
    types=("CodeSystem",),
    type=True,
    instance=True,
    defined=f"{OFFICIAL}CodeSystem-subsumes",
)

TERMINOLOGY: Final = (EXPAND, VALIDATE_IN_VALUE_SET, LOOKUP, VALIDATE_IN_SYSTEM, SUBSUMES)

"""The operations on consents, each a value: docs/explanation/consent.md."""

from __future__ import annotations

from typing import Final

from fhirserver.interactions.operations.definition import Operation, Parameter

_PATH: Final = ("string", "uri")
_ACTOR: Final = "Who asks: a Practitioner, PractitionerRole, Patient, RelatedPerson or Device."
_PURPOSE: Final = Parameter(
    "purpose", "code", 0, 1, "The purpose of use of v3-ActReason; TREAT if none is given."
)
_ACTION: Final = Parameter(
    "action", "code", 0, 1, "access (if none is given), collect, use, disclose, correct."
)
_DECIDED: Final = (
    Parameter("decision", "code", 1, 1, "permit, deny, or no-consent."),
    Parameter(
        "default", "code", 1, 1, "permit or deny: what holds for the purpose where no consent decides."
    ),
    Parameter("consent", "Reference", 0, 1, "The Consent that decides."),
    Parameter("provision", "string", 0, 1, "Where in it."),
    Parameter("evaluatedAt", "instant", 1, 1, "By which clock."),
)

REVOKE: Final = Operation(
    id="Consent-revoke",
    code="revoke",
    title="Revoke a consent",
    description="Makes a Consent inactive, which takes effect with the next request of anybody. If-Match is"
    " honoured.",
    inputs=(Parameter("reason", "string", 0, 1, "Why; it is kept as an extension of the Consent."),),
    outputs=(Parameter("return", "Consent", 1, 1, "The Consent as it is now."),),
    types=("Consent",),
    instance=True,
    affects_state=True,
)

BREAK_GLASS: Final = Operation(
    id="break-glass",
    code="break-glass",
    title="Break the glass",
    description="Lets the caller see, for at most 15 minutes, what consents deny, by requests for the purpose"
    " of use BTG. For roles that may claim it.",
    inputs=(
        Parameter("reason", "string", 1, 1, "Why, in ten characters or more; it is recorded."),
        Parameter("patient", "Reference", 0, 1, "About whom; without, about everybody.", _PATH),
    ),
    outputs=(Parameter("until", "instant", 1, 1, "When it ends; to ask again meanwhile prolongs nothing."),),
    system=True,
    affects_state=True,
    action="r",
)

CHECK: Final = Operation(
    id="Consent-check-access",
    code="check-access",
    title="Whether consents permit",
    description="What the consents of a patient and the policies say of an access, as every request is"
    " decided. For who keeps consents.",
    inputs=(
        Parameter("patient", "Reference", 0, 1, "Whose data; not needed with a resource.", _PATH),
        Parameter("actor", "Reference", 1, 1, _ACTOR, _PATH),
        _ACTION,
        _PURPOSE,
        Parameter("resource", "Reference", 0, 1, "The resource that is asked for.", _PATH),
        Parameter("type", "code", 0, 1, "Without a resource, any one of this type, whatever it says."),
    ),
    outputs=_DECIDED,
    types=("Consent",),
    type=True,
)

EXPLAIN_ACCESS: Final = Operation(
    id="Resource-explain-access",
    code="explain-access",
    title="Why a resource may be seen, or not",
    description="What each consent and policy says of a resource. For who keeps consents.",
    inputs=(Parameter("actor", "string", 1, 1, _ACTOR), _ACTION, _PURPOSE),
    outputs=(
        *_DECIDED,
        Parameter(
            "said",
            "part",
            0,
            None,
            "What each says that says something.",
            parts=(
                Parameter("consent", "Reference", 1, 1),
                Parameter("provision", "string", 1, 1),
                Parameter("decision", "code", 1, 1),
            ),
        ),
    ),
    instance=True,
)

SIMULATE: Final = Operation(
    id="Consent-simulate",
    code="simulate",
    title="What a consent would change",
    description="Which resources of a patient's record would be hidden or shown, and to whom, if a Consent"
    " were in force; of those that the caller may see. Changes nothing. For who keeps consents, and for whom"
    " they are about.",
    inputs=(
        Parameter("consent", "Consent", 1, 1, "The Consent, as if active; with an id in place of that one."),
        Parameter("patient", "Reference", 0, 1, "For a policy: whose record is looked at.", _PATH),
        Parameter("actor", "Reference", 0, None, "For whom; else who the Consent names and others.", _PATH),
        _ACTION,
        _PURPOSE,
    ),
    outputs=(
        Parameter("evaluatedAt", "instant", 1, 1, "By which clock."),
        Parameter("warning", "string", 0, None, "What of the Consent would not be enforced."),
        Parameter(
            "change",
            "part",
            1,
            None,
            "What would change for somebody.",
            parts=(
                Parameter("actor", "Reference", 0, 1, "For whom."),
                Parameter("anybody", "string", 0, 1, "In place of an actor: for anybody who is not named."),
                Parameter("hidden", "integer", 1, 1, "How many resources would be hidden."),
                Parameter("hiddenResource", "Reference", 0, None, "Which, a hundred at most."),
                Parameter("shown", "integer", 1, 1, "How many would be shown."),
                Parameter("shownResource", "Reference", 0, None, "Which, a hundred at most."),
            ),
        ),
    ),
    types=("Consent",),
    type=True,
)

ACTIVE: Final = Operation(
    id="Patient-active-consents",
    code="active-consents",
    title="The consents in force of a patient",
    description="The Consents of a patient that are enforced now, as a search gives them.",
    outputs=(Parameter("return", "Bundle", 1, 1, "A searchset of Consents."),),
    types=("Patient",),
    instance=True,
)

EXPIRING: Final = Operation(
    id="Consent-expiring",
    code="expiring",
    title="Consents that are about to end",
    description="The Consents that are enforced now and whose period ends soon, as a search gives them.",
    inputs=(Parameter("days", "positiveInt", 0, 1, "How soon; 30 if it is not given."),),
    outputs=(Parameter("return", "Bundle", 1, 1, "A searchset of Consents."),),
    types=("Consent",),
    type=True,
)

CONSENT: Final = (REVOKE, BREAK_GLASS, CHECK, EXPLAIN_ACCESS, SIMULATE, ACTIVE, EXPIRING)

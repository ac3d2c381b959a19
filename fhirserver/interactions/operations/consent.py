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

CONSENT: Final = (REVOKE, CHECK, EXPLAIN_ACCESS, ACTIVE, EXPIRING)

"""The operations of this server, each a value; what they do is in the module of the same name."""

from __future__ import annotations

from functools import cache
from typing import Final

from fhirserver.fhir import json
from fhirserver.interactions.operations.consent import CONSENT
from fhirserver.interactions.operations.definition import OFFICIAL, Operation, Parameter
from fhirserver.interactions.operations.disclosures import DISCLOSURES
from fhirserver.interactions.operations.identity import IDENTITY
from fhirserver.interactions.operations.records import RECORDS
from fhirserver.interactions.operations.terminology import TERMINOLOGY

VERSIONS: Final = Operation(
    id="CapabilityStatement-versions",
    code="versions",
    title="FHIR versions",
    description="The FHIR versions that this server speaks.",
    outputs=(
        Parameter("version", "code", 1, None, "A version, major and minor."),
        Parameter("default", "code", 1, 1, "The one that is spoken unasked."),
    ),
    system=True,
    defined=f"{OFFICIAL}CapabilityStatement-versions",
)

_RESULT: Final = Parameter("[type]", "Element", 0, None, "A value, named by its type.")

EXPLAIN: Final = Operation(
    id="explain",
    code="explain",
    title="Explain a search",
    description="How a search of the type is understood and answered: for administrators, and for everybody"
    " where nobody has to sign in. The parameters are those of the search, which is executed.",
    outputs=(
        Parameter("search", "uri", 1, 1, "The parameters that took effect."),
        Parameter("condition", "string", 0, None, "What must hold, as it was parsed, and what leads to it."),
        Parameter("strategy", "string", 1, 1, "In which order ways to the matches are tried."),
        Parameter("sql", "string", 1, 1, "The statement of the first page, or that counts."),
        Parameter("argument", "string", 0, None, "What stands for $1 and so on in it."),
        Parameter("plan", "string", 1, 1, "The steps of the database, each with the rows that it gave."),
        Parameter(
            "rows", "integer", 1, 1, "The rows of the answer: for a page one more if there is another."
        ),
        Parameter("read", "integer", 1, 1, "The rows of tables that were looked at for it."),
        Parameter("milliseconds", "decimal", 1, 1, "How long the statement took, being measured."),
        Parameter("advice", "string", 0, None, "What would make it read less; none where it reads little."),
    ),
    type=True,
    open=True,
)

STATUS: Final = Operation(
    id="SearchParameter-status",
    code="status",
    title="How far a search parameter is built",
    description=(
        "Whether a search parameter that was defined on this server can be searched by, and how far its index"
        " entries have come."
    ),
    outputs=(
        Parameter(
            "status",
            "code",
            1,
            1,
            "pending, building, complete, failed (and tried again), dropping, or inactive.",
        ),
        Parameter("percentage", "integer", 1, 1, "0 to 100; 100 only when complete."),
        Parameter("code", "code", 0, 1, "The name in searches."),
        Parameter("url", "uri", 0, 1, "The canonical URL."),
        Parameter("type", "code", 0, None, "A resource type that it searches; none where R4's own answers."),
        Parameter("seen", "decimal", 0, 1, "Versions of resources that were looked at."),
        Parameter("total", "decimal", 0, 1, "Versions of resources that there are, an estimate."),
        Parameter("error", "string", 0, 1, "Why the last try failed."),
    ),
    types=("SearchParameter",),
    instance=True,
)

VALIDATE: Final = Operation(
    id="Resource-validate",
    code="validate",
    title="Validate a resource",
    description="Everything that is wrong with a resource: its structure, invariants, codes, extensions and"
    " references, by the profiles asked for and those that it claims.",
    inputs=(
        Parameter(
            "resource", "Resource", 0, 1, "What is validated; without it, the instance as it is stored."
        ),
        Parameter(
            "mode", "code", 0, 1, "create, update, delete or profile: what is meant to be done with it."
        ),
        Parameter("profile", "uri", 0, None, "The canonical URL of a profile, with or without version."),
    ),
    outputs=(Parameter("return", "OperationOutcome", 1, 1, "The issues; at least one of information."),),
    type=True,
    instance=True,
    raw=True,
    defined=f"{OFFICIAL}Resource-validate",
)

INSTALL_PACKAGE: Final = Operation(
    id="install-package",
    code="install-package",
    title="Install a FHIR package",
    description="Installs a FHIR package, an implementation guide for example: all of it, or nothing. Its"
    " archive is the body, or `package`, or is fetched by `name` and `version` from the registries of this"
    " server. For administrators, and for everybody where nobody has to sign in.",
    inputs=(
        Parameter("package", "Binary", 0, 1, "The archive, a .tgz."),
        Parameter("name", "string", 0, 1, "Of a package that a registry has, such as hl7.fhir.us.core."),
        Parameter("version", "string", 0, 1, "Its version, 1.0.x for the highest of them; else the latest."),
        Parameter("without", "string", 0, None, "Name of a package that is not needed, though depended on."),
        Parameter("without-dependencies", "boolean", 0, 1, "Install nothing that the package depends on."),
        Parameter("examples", "boolean", 0, 1, "Install its examples too."),
        Parameter("overwrite", "boolean", 0, 1, "Also write over what people have changed."),
        Parameter("skip-invalid", "boolean", 0, 1, "Leave out resources that are not valid, instead of all."),
    ),
    outputs=(
        Parameter(
            "package", "string", 1, None, "What is here now, as name@version; the one asked for first."
        ),
        Parameter("created", "integer", 1, 1, "Resources that are new."),
        Parameter("updated", "integer", 1, 1, "Resources that were here in another form."),
        Parameter("unchanged", "integer", 1, 1, "Resources that were here already."),
        Parameter("deleted", "integer", 1, 1, "Resources of an earlier archive of the same version."),
        Parameter("without", "string", 0, None, "What is depended on and not here, as name@version."),
        Parameter("invalid", "string", 0, None, "What was left out because it is not valid, and why."),
        Parameter("not-searchable", "string", 0, None, "A search parameter that is only kept, and why."),
        Parameter("not-judged-by", "string", 0, None, "A profile that is only kept, and why."),
    ),
    system=True,
    affects_state=True,
)

DOCREF: Final = Operation(
    id="docref",
    code="docref",
    title="The documents of a patient",
    description="The references to the documents about a patient: with dates all about care in that time,"
    " without the current one of each type. No document is generated on demand.",
    inputs=(
        Parameter("patient", "id", 1, 1, "Whose documents; nobody's where there is no such patient."),
        Parameter("start", "dateTime", 0, 1, "Documents about care on or after this date."),
        Parameter("end", "dateTime", 0, 1, "Documents about care on or before this date."),
        Parameter(
            "type",
            "Coding",
            0,
            None,
            "Documents of any of these types; in a URL as system|code.",
            also=("CodeableConcept",),
        ),
        Parameter("on-demand", "boolean", 0, 1, "Only what is generated on demand, which is nothing here."),
        Parameter("profile", "canonical", 0, None, "Documents whose content.format is any of these."),
    ),
    outputs=(Parameter("return", "Bundle", 1, 1, "A searchset of DocumentReferences."),),
    types=("DocumentReference",),
    type=True,
    defined="http://hl7.org/fhir/us/core/OperationDefinition/docref",
)

FHIRPATH: Final = Operation(
    id="fhirpath",
    code="fhirpath",
    title="Try a FHIRPath expression",
    description="What an expression gives for a resource: the one in the request, or the instance as it is"
    " stored. resolve() finds what the caller may see on this server. Parameters and answer are those of the"
    " FHIRPath Lab.",
    inputs=(
        Parameter("expression", "string", 1, 1, "The expression."),
        Parameter("context", "string", 0, 1, "An expression: the other one runs for each of its results."),
        Parameter("resource", "Resource", 0, 1, "The resource; not for an instance."),
        Parameter(
            "variables",
            "part",
            0,
            None,
            "Variables, a part for each: its name without %, and its value.",
            parts=(Parameter("[name]", "Element", 0, None, "The value of the variable of this name."),),
        ),
        Parameter("validate", "boolean", 0, 1, "Is taken for true: an expression that does not fit fails."),
        Parameter("terminologyserver", "string", 0, 1, "Is not asked: this server is."),
        Parameter(
            "debug_trace", "boolean", 0, 1, "Is not offered: what trace() tells is always in the result."
        ),
    ),
    outputs=(
        Parameter(
            "parameters",
            "part",
            1,
            1,
            "What was evaluated, by what.",
            parts=(
                Parameter("evaluator", "string", 1, 1, "Name, version, and version of FHIR."),
                Parameter("expression", "string", 1, 1),
                Parameter("context", "string", 0, 1),
                Parameter("resource", "Resource", 0, 1),
                Parameter("expectedReturnType", "string", 0, 1, "The types of the results, where known."),
            ),
        ),
        Parameter(
            "result",
            "part",
            0,
            None,
            "The results for one context, whose place is its value; a part for each, named by its type, and"
            " one named trace for each call of trace().",
            parts=(
                _RESULT,
                Parameter("trace", "part", 0, None, "What trace() told.", parts=(_RESULT,)),
            ),
        ),
    ),
    system=True,
    type=True,
    instance=True,
)

OPERATIONS: Final = (
    *(VERSIONS, EXPLAIN, STATUS, DOCREF, FHIRPATH, VALIDATE, INSTALL_PACKAGE),
    *RECORDS,
    *TERMINOLOGY,
    *IDENTITY,
    *CONSENT,
    *DISCLOSURES,
)


@cache
def definition(id_: str, version: str) -> bytes | None:
    """The OperationDefinition of this id as JSON; None when this server has no such operation."""
    found = next((one for one in OPERATIONS if one.id == id_), None)
    return None if found is None else json.dumps(found.resource(version))

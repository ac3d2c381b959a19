"""The CapabilityStatement against its definition, its invariants, and the tables that it speaks for."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fhirpathpy import compile as fhirpath

from fhirserver.fhir import json as exact
from fhirserver.fhir.structure import COMPARTMENTS, ENDPOINT_TYPES
from fhirserver.fhir.validate import issues
from fhirserver.http.negotiate import Format, negotiate
from fhirserver.interactions import run
from fhirserver.interactions.capabilities import MODES, document, statement
from fhirserver.interactions.capabilities.searches import announced
from fhirserver.interactions.capabilities.statement import Offer
from fhirserver.interactions.operations.terminology import EXPAND
from fhirserver.interactions.table import TABLE
from fhirserver.params import fulltext
from fhirserver.params.registry import SearchParam, r4
from fhirserver.settings import Settings, data_path
from fhirserver.store.packages import Announced
from fhirserver.terminology.official import code_system

BASE = "https://example.org/fhir"
OFFER = Offer.of(Settings())
WITH_GUIDE = Offer.of(
    Settings(),
    Announced.of(
        ["http://example.org/guide|2.0.0", "http://example.org/guide|1.0.0"],
        ["http://example.org/server|1.0.0", "http://example.org/server|2.0.0"],
        {
            "Patient": ["http://example.org/p|2", "http://example.org/p|1"],
            "Observation": ["http://example.org/o|1", "http://example.org/plain"],
        },
    ),
)


def made(mode: str = "full", **settings: Any) -> dict[str, Any]:
    return json.loads(document(Offer.of(Settings(**settings)), r4(), BASE, mode).body)


FULL = made()
REST = FULL["rest"][0]
RESOURCES = {resource["type"]: resource for resource in REST["resource"]}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("settings", [{}, {"auth": "smart", "cors_origins": ("*",)}])
def test_statements_are_valid(mode: str, settings: dict[str, Any]) -> None:
    body = document(Offer.of(Settings(**settings)), r4(), BASE, mode).body
    assert issues(exact.loads(body)) == []


def contexts(resource: Any, path: str) -> Iterator[Any]:
    """The elements at a dotted path below the resource."""
    head, _, rest = path.partition(".")
    if not head:
        yield resource
    for child in resource.get(head, []) if head else []:
        yield from contexts(child, rest)


INVARIANTS = [
    (path, key, expression)
    for path, key, _, expression in json.loads((data_path("conformance") / "invariants.json").read_text())
    if path.partition(".")[0] in ("CapabilityStatement", "TerminologyCapabilities")
]


@pytest.mark.parametrize(("path", "key", "expression"), INVARIANTS, ids=[key for _, key, _ in INVARIANTS])
def test_official_invariants_hold(path: str, key: str, expression: str) -> None:
    kind, _, below = path.partition(".")
    holds = fhirpath(expression)
    for mode in MODES:
        resource = made(mode)
        if resource["resourceType"] == kind:
            assert all(holds(context) == [True] for context in contexts(resource, below)), key


def test_the_sixteen_invariants_are_those() -> None:
    keys = {key for _, key, _ in INVARIANTS}
    assert keys >= {f"cpb-{number}" for number in (0, 1, 2, 3, 7, 9, 12, 14, 15, 16)}
    assert keys >= {f"tcp-{number}" for number in range(6)}


def test_what_the_invariants_mean() -> None:
    assert re.fullmatch("[A-Z][A-Za-z0-9_]{0,254}", FULL["name"])  # cpb-0
    assert FULL["rest"] and FULL["software"]["name"] and FULL["implementation"]["url"] == BASE  # cpb-1, 2, 14
    assert (
        FULL["kind"] == "instance" and "messaging" not in FULL and "document" not in FULL
    )  # cpb-3, 7, 15, 16
    assert len(RESOURCES) == len(REST["resource"])  # cpb-9
    for resource in RESOURCES.values():  # cpb-12
        names = [param["name"] for param in resource["searchParam"]]
        assert len(names) == len(set(names)), resource["type"]


def test_every_endpoint_is_described_once_in_order() -> None:
    assert list(RESOURCES) == sorted(ENDPOINT_TYPES)
    assert "Parameters" not in RESOURCES


def test_interactions_are_the_codes_of_the_table() -> None:
    by_type = {row.code for row in TABLE if row.code and row.shape.startswith(":type")}
    system = {row.code for row in TABLE if row.code and not row.shape.startswith(":type")}
    for name, resource in RESOURCES.items():
        never = {"update", "patch", "delete"} if name == "AuditEvent" else set()
        assert {item["code"] for item in resource["interaction"]} == by_type - never
    assert {item["code"] for item in REST["interaction"]} == system | {"batch"}


@pytest.mark.parametrize(
    ("handler", "claim", "without"),
    [
        ("vread", "readHistory", False),
        ("create", "conditionalCreate", False),
        ("update_conditional", "conditionalUpdate", False),
        ("delete_conditional", "conditionalDelete", "not-supported"),
        ("read", "conditionalRead", "not-supported"),
        ("search", "searchParam", None),
    ],
)
def test_what_has_no_handler_is_not_claimed(
    monkeypatch: pytest.MonkeyPatch, handler: str, claim: str, without: object
) -> None:
    monkeypatch.delitem(run.HANDLERS, handler)
    resource = statement.resource(OFFER, r4(), "Patient", [])
    codes = {item["code"] for item in resource["interaction"]}
    assert resource.get(claim) == without
    assert codes == {
        row.code for row in TABLE if row.code and row.shape.startswith(":type") and row.name != handler
    }


def test_settings_show() -> None:
    resource = made(update_create=False, conditional_delete="multiple", referential_integrity=True)["rest"][
        0
    ]["resource"][0]
    assert resource["updateCreate"] is False
    assert resource["conditionalDelete"] == "multiple"
    assert resource["referencePolicy"] == ["literal", "logical", "enforced"]
    default = RESOURCES["Account"]
    assert default["updateCreate"] is True and default["conditionalDelete"] == "single"
    assert default["referencePolicy"] == ["literal", "logical"]


def test_security_says_who_may_come_in() -> None:
    assert REST["security"]["cors"] is False and "service" not in REST["security"]
    security = made(auth="smart", cors_origins=("https://app.example",))["rest"][0]["security"]
    assert security["cors"] is True and "description" not in security
    assert security["service"][0]["coding"][0]["code"] == "SMART-on-FHIR"


def test_formats_are_those_that_are_negotiated() -> None:
    assert [name for name in FULL["format"] if "/" in name] == [known.media_type for known in Format]
    assert [negotiate(None, name).format for name in FULL["format"]] == [*Format, *Format]


def test_search_parameters_are_those_of_the_registry() -> None:
    for name, resource in RESOURCES.items():
        known = {
            (param.code, param.url, param.type)
            for param in r4().for_type(name).values()
            if param.expression is not None or param.code in fulltext.CODES
        }
        shown = {(p["name"], p["definition"], p["type"]) for p in resource["searchParam"]}
        assert shown == known
        assert {"_id", "_lastUpdated", "_tag", "_profile", "_security", "_source"} <= {
            p["name"] for p in resource["searchParam"]
        }
    assert not {"_text", "_query"} & {p["name"] for p in REST["searchParam"]}


def test_full_text_is_announced_as_far_as_it_is_on() -> None:
    for mode, codes in (("none", set()), ("narrative", {"_text"}), ("content", {"_text", "_content"})):
        registry = fulltext.offered(r4(), mode)
        (patient, binary) = (
            {param.code for param in announced(registry, name)} & fulltext.CODES
            for name in ("Patient", "Binary")
        )
        assert patient == codes
        assert binary == codes - {"_text"}


def test_a_new_parameter_shows_at_once() -> None:
    added = SearchParam("shoe-size", "number", ("Patient",), "Patient.extension.value", "http://x.example/sp")
    resource = statement.resource(OFFER, r4().with_params([added]), "Patient", [])
    assert {"name": "shoe-size", "definition": "http://x.example/sp", "type": "number"} in resource[
        "searchParam"
    ]


def test_includes_and_their_reverse_are_two_sides_of_the_same() -> None:
    registry = r4()
    forward = {
        value
        for resource in RESOURCES.values()
        for value in resource.get("searchInclude", [])
        if value != "*"
    }
    for target, resource in RESOURCES.items():
        for value in resource.get("searchRevInclude", []):
            assert value in forward
            source, code = value.split(":")
            param = registry.get(source, code)
            assert param is not None and param.type == "reference"
            assert not param.targets or {target, "Resource"} & set(param.targets)
    backwards = {value for resource in RESOURCES.values() for value in resource.get("searchRevInclude", [])}
    assert forward == backwards
    assert "Observation:patient" in RESOURCES["Patient"]["searchRevInclude"]
    assert "Observation:patient" not in RESOURCES["Practitioner"]["searchRevInclude"]
    assert "Bundle:composition" not in forward
    assert "QuestionnaireResponse:questionnaire" in RESOURCES["Questionnaire"]["searchRevInclude"]
    assert "PlanDefinition:depends-on" in RESOURCES["Library"]["searchRevInclude"]
    assert "PlanDefinition:depends-on" not in RESOURCES["Patient"]["searchRevInclude"]


def test_compartments_are_canonical() -> None:
    prefix = "http://hl7.org/fhir/CompartmentDefinition/"
    names = {url.removeprefix(prefix) for url in REST["compartment"]}
    assert names == {"device", "encounter", "patient", "practitioner", "relatedPerson"}
    assert {name.lower() for name in names} == {name.lower() for name in COMPARTMENTS}


def test_normative_leaves_out_what_is_for_trial_and_nothing_else() -> None:
    def paths(element: Any, path: str = "") -> Iterator[str]:
        if isinstance(element, list):
            for item in element:
                yield from paths(item, path)
        elif isinstance(element, dict):
            for name, value in element.items():
                yield f"{path}.{name}".lstrip(".")
                yield from paths(value, f"{path}.{name}".lstrip("."))

    full, normative = (
        set(paths(json.loads(document(WITH_GUIDE, r4(), BASE, mode).body))) for mode in ("full", "normative")
    )
    gone = full - normative
    assert {path for path in gone if not path.startswith("rest.security.")} == statement.TRIAL_USE
    assert normative <= full


def test_what_packages_announce() -> None:
    found = json.loads(document(WITH_GUIDE, r4(), BASE, "full").body)
    assert issues(found, "CapabilityStatement") == []
    assert found["instantiates"] == ["http://example.org/server"]
    assert found["implementationGuide"] == [
        "http://example.org/guide|1.0.0",
        "http://example.org/guide|2.0.0",
    ]
    profiles = {one["type"]: one.get("supportedProfile") for one in found["rest"][0]["resource"]}
    assert profiles["Patient"] == ["http://example.org/p", "http://example.org/p|1", "http://example.org/p|2"]
    assert profiles["Observation"] == ["http://example.org/o", "http://example.org/plain"]
    assert profiles["Practitioner"] is None
    assert not {"instantiates", "implementationGuide"} & FULL.keys()


def test_terminology_claims_what_its_operations_do() -> None:
    resource = made("terminology")
    assert resource["resourceType"] == "TerminologyCapabilities" and resource["kind"] == "instance"
    assert not {"translation", "closure"} & resource.keys()
    assert resource["codeSearch"] == "explicit"
    told = {one["name"] for one in resource["expansion"]["parameter"]}
    assert told == {one.name for one in EXPAND.inputs} - {"url", "valueSet"}
    systems = [one["uri"] for one in resource["codeSystem"]]
    assert len(systems) == len(set(systems)) > 1060
    assert {"http://unitsofmeasure.org", "urn:iso:std:iso:4217"} <= set(systems)
    assert "http://snomed.info/sct" not in systems
    assert all(code_system(one, None) is not None for one in systems)


def test_the_same_bytes_are_served_again() -> None:
    assert document(OFFER, r4(), BASE, "full") is document(Offer.of(Settings()), r4(), BASE, "full")
    other = document(OFFER, r4(), "http://other.example/fhir", "full")
    assert other.etag != document(OFFER, r4(), BASE, "full").etag
    assert json.loads(other.body)["implementation"]["url"] == "http://other.example/fhir"


def test_a_base_cannot_break_out_of_its_string() -> None:
    base = 'http://x.example/"},"status":"draft'
    body = document(OFFER, r4(), base, "full").body
    assert json.loads(body)["implementation"]["url"] == base
    assert issues(exact.loads(document(OFFER, r4(), BASE, "full").body)) == []


def test_the_date_is_when_the_software_changed() -> None:
    assert FULL["date"] == FULL["software"]["releaseDate"] == statement.built()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", FULL["date"])

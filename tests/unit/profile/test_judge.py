"""What a profile demands, rule by rule, on small resources."""

from __future__ import annotations

import time
from typing import Any

import pytest

from fhirserver.fhir.profile.definition import read
from fhirserver.fhir.profile.library import Library
from fhirserver.fhir.profile.terms import BuiltIn
from fhirserver.fhir.profile.validate import examine
from tests.support.guides import Codes
from tests.unit.profile.making import (
    CORE,
    MINE,
    UCUM,
    Json,
    coding,
    element,
    errors,
    judged,
    observation,
    profile,
)


class TestElements:
    def test_cardinality(self) -> None:
        mine = profile(element("Observation.subject", min=1), element("Observation.note", max="1"))
        notes = [{"text": "a"}, {"text": "b"}]
        assert errors(observation(note=notes), mine) == ["Observation.note", "Observation.subject"]

    def test_fixed_values_are_exact_and_patterns_a_part(self) -> None:
        wanted = coding("a")
        fixed = profile(element("Observation.code", fixedCodeableConcept=wanted))
        pattern = profile(element("Observation.code", patternCodeableConcept=wanted))
        more = {**wanted, "text": "t"}
        assert errors(observation(code=wanted), fixed) == []
        assert errors(observation(code=more), fixed) == ["Observation.code"]
        assert errors(observation(code=more), pattern) == []
        assert errors(observation(code=coding("b")), pattern) == ["Observation.code"]

    def test_a_fixed_primitive_has_no_extensions(self) -> None:
        """What the fixed value lacks must be missing: ElementDefinition.fixed[x]. A pattern may have more."""
        held = observation(_status={"extension": [{"url": "urn:e", "valueString": "x"}]})
        fixed = profile(element("Observation.status", fixedCode="final"))
        assert errors(held, fixed) == ["Observation.status"]
        assert errors(observation(_status={"id": "a"}), fixed) == ["Observation.status"]
        assert errors(held, profile(element("Observation.status", patternCode="final"))) == []

    def test_types_of_a_choice(self) -> None:
        mine = profile(element("Observation.value[x]", type=[{"code": "Quantity"}]))
        assert errors(observation(valueString="a"), mine) == ["Observation.value.ofType(string)"]
        assert errors(observation(valueQuantity={"value": 1}), mine) == []

    def test_bounds(self) -> None:
        mine = profile(
            element("Observation.value[x]", type=[{"code": "integer"}], minValueInteger=1, maxValueInteger=5)
        )
        assert [errors(observation(valueInteger=n), mine) for n in (1, 5)] == [[], []]
        assert all(errors(observation(valueInteger=n), mine) for n in (0, 6))

    def test_length(self) -> None:
        mine = profile(element("Observation.code.text", maxLength=3))
        assert errors(observation(code={"text": "four"}), mine) == ["Observation.code.text"]

    def test_a_value_that_only_has_an_extension(self) -> None:
        why = [{"url": CORE + "data-absent-reason", "valueCode": "unknown"}]
        mine = profile(element("Observation.issued", min=1))
        assert errors(observation(_issued={"extension": why}), mine) == []

    def test_elements_that_repeat_by_content_reference(self) -> None:
        mine = profile(element("Observation.referenceRange.text", min=1))
        inner = {"code": {"text": "x"}, "valueString": "y", "referenceRange": [{"low": {"value": 1}}]}
        assert errors(observation(component=[inner]), mine) == [
            "Observation.component[0].referenceRange[0].text"
        ]

    @pytest.mark.parametrize(
        ("resource", "where"),
        [
            (
                {
                    "resourceType": "Questionnaire",
                    "status": "draft",
                    "item": [
                        {
                            "linkId": "1",
                            "type": "group",
                            "item": [{"linkId": "2", "type": "group", "text": "a"}],
                        }
                    ],
                },
                "Questionnaire.item[0].item[0]",
            ),
            (
                {
                    "resourceType": "Parameters",
                    "parameter": [{"name": "a", "part": [{"name": "b"}]}],
                },
                "Parameters.parameter[0].part[0]",
            ),
            (
                {
                    "resourceType": "ValueSet",
                    "status": "draft",
                    "compose": {"include": [{"system": "urn:a"}], "exclude": [{"version": "1"}]},
                },
                "ValueSet.compose.exclude[0]",
            ),
        ],
    )
    def test_invariants_by_content_reference(self, resource: Json, where: str) -> None:
        """ElementDefinition.contentReference brings across all rules, invariants among them."""
        assert errors(resource) == [where]

    def test_profiles_of_types(self) -> None:
        low = {"low": {"value": 1, "comparator": "<"}}
        assert errors(observation(referenceRange=[low])) != []

    def test_invariants_of_types_and_profiles(self) -> None:
        mine = profile(
            element(
                "Observation",
                constraint=[
                    {"key": "my-1", "severity": "error", "human": "h", "expression": "subject.exists()"},
                    {"key": "my-2", "severity": "warning", "human": "h", "expression": "note.exists()"},
                ],
            )
        )
        assert judged(observation(), mine) == [("error", "Observation"), ("warning", "Observation")]
        assert errors(observation(component=[{"code": {"text": "x"}}], valueString="a")) == []

    def test_every_issue_is_found(self) -> None:
        mine = profile(element("Observation.note.time", min=1))
        notes = [{"text": str(n)} for n in range(500)]
        assert len(errors(observation(note=notes), mine)) == 500


BY_CODE = {"discriminator": [{"type": "value", "path": "code.coding.code"}], "rules": "open"}


def sliced(slicing: Json, *slices: Json, path: str = "Observation.component") -> Json:
    return profile(element(path, slicing=slicing), *slices)


def slice_(name: str, code: str, **more: Any) -> list[Json]:
    return [
        element("Observation.component", sliceName=name, **more),
        element("Observation.component.code.coding.code", fixedCode=code),
    ]


def component(code: str) -> Json:
    return {"code": coding(code), "valueString": "x"}


class TestSlices:
    def test_cardinality_of_slices(self) -> None:
        mine = sliced(BY_CODE, *slice_("a", "a", min=1, max="1"), *slice_("b", "b", max="1"))
        assert errors(observation(component=[component("a"), component("z")]), mine) == []
        assert errors(observation(component=[component("z")]), mine) == ["Observation.component"]
        assert errors(observation(), mine) == ["Observation.component"]
        twice = observation(component=[component("a"), component("b"), component("b")])
        assert errors(twice, mine) == ["Observation.component[2]"]

    def test_closed(self) -> None:
        mine = sliced({**BY_CODE, "rules": "closed"}, *slice_("a", "a"))
        assert errors(observation(component=[component("a"), component("z")]), mine) == [
            "Observation.component[1]"
        ]

    def test_open_at_end(self) -> None:
        mine = sliced({**BY_CODE, "rules": "openAtEnd"}, *slice_("a", "a"))
        assert errors(observation(component=[component("a"), component("z")]), mine) == []
        assert errors(observation(component=[component("z"), component("a")]), mine) == [
            "Observation.component[1]"
        ]

    def test_ordered(self) -> None:
        mine = sliced({**BY_CODE, "ordered": True}, *slice_("a", "a"), *slice_("b", "b"))
        assert errors(observation(component=[component("a"), component("b")]), mine) == []
        assert errors(observation(component=[component("b"), component("a")]), mine) == [
            "Observation.component[1]"
        ]

    def test_slices_of_slices(self) -> None:
        inner = {"discriminator": [{"type": "exists", "path": "interpretation"}], "rules": "closed"}
        mine = sliced(
            BY_CODE,
            *slice_("a", "a", slicing=inner),
            element("Observation.component", sliceName="a/b", max="1"),
            element("Observation.component.interpretation", min=1),
        )
        told = {**component("a"), "interpretation": [{"text": "high"}]}
        assert errors(observation(component=[told]), mine) == []
        assert errors(observation(component=[component("a")]), mine) == ["Observation.component[0]"]
        assert errors(observation(component=[told, told]), mine) == ["Observation.component[1]"]

    def test_by_pattern(self) -> None:
        mine = sliced(
            {"discriminator": [{"type": "pattern", "path": "$this"}], "rules": "open"},
            element("Observation.category", sliceName="a", min=1, patternCodeableConcept=coding("a")),
            path="Observation.category",
        )
        assert errors(observation(category=[coding("a")]), mine) == []
        assert errors(observation(category=[coding("b")]), mine) == ["Observation.category"]

    def test_by_type(self) -> None:
        mine = profile(element("Observation.valueQuantity.unit", min=1))
        assert errors(observation(valueQuantity={"value": 1}), mine) == [
            "Observation.value.ofType(Quantity).unit"
        ]
        assert errors(observation(valueString="a"), mine) == []

    def test_by_type_of_what_is_referred_to(self) -> None:
        mine = sliced(
            {"discriminator": [{"type": "type", "path": "resolve()"}], "rules": "open"},
            element(
                "Observation.performer",
                sliceName="one",
                min=1,
                type=[{"code": "Reference", "targetProfile": [CORE + "Patient"]}],
            ),
            path="Observation.performer",
        )
        assert errors(observation(performer=[{"reference": "Patient/1"}]), mine) == []
        assert errors(observation(performer=[{"reference": "Practitioner/1"}]), mine) == [
            "Observation.performer"
        ]

    def test_by_profile_of_what_is_referred_to(self) -> None:
        named = profile(element("Patient.name", min=1), type_="Patient", url="urn:named")
        mine = sliced(
            {"discriminator": [{"type": "profile", "path": "resolve()"}], "rules": "open"},
            element(
                "Observation.performer",
                sliceName="named",
                min=1,
                type=[{"code": "Reference", "targetProfile": ["urn:named"]}],
            ),
            path="Observation.performer",
        )
        patient = {"resourceType": "Patient", "id": "p"}
        performer = [{"reference": "#p"}]
        held = observation(contained=[{**patient, "name": [{"text": "a"}]}], performer=performer)
        assert errors(held, mine, named) == []
        held = observation(contained=[patient], performer=performer)
        assert errors(held, mine, named) == ["Observation.performer"]


class TestReferences:
    def test_targets(self) -> None:
        named = profile(element("Patient.name", min=1), type_="Patient", url="urn:named")
        types = [{"code": "Reference", "targetProfile": ["urn:named"]}]
        mine = profile(element("Observation.subject", type=types))
        assert errors(observation(subject={"reference": "Patient/1"}), mine, named) == []
        assert errors(observation(subject={"reference": "Group/1"}), mine, named) == ["Observation.subject"]
        assert errors(observation(subject={"type": "Group", "display": "g"}), mine, named) == [
            "Observation.subject"
        ]
        held = observation(contained=[{"resourceType": "Patient", "id": "p"}], subject={"reference": "#p"})
        assert errors(held, mine, named) == ["Observation.subject"]
        held["contained"][0]["name"] = [{"text": "a"}]
        assert errors(held, mine, named) == []

    def test_where_the_target_is(self) -> None:
        types = [{"code": "Reference", "targetProfile": [CORE + "Patient"], "aggregation": ["contained"]}]
        mine = profile(element("Observation.subject", type=types))
        assert errors(observation(subject={"reference": "Patient/1"}), mine) == ["Observation.subject"]
        held = observation(contained=[{"resourceType": "Patient", "id": "p"}], subject={"reference": "#p"})
        assert errors(held, mine) == []


class TestBindings:
    GENDER = "http://hl7.org/fhir/ValueSet/administrative-gender"
    SYSTEM = "http://hl7.org/fhir/administrative-gender"

    @pytest.mark.parametrize(
        ("strength", "severity"),
        [("required", ["error"]), ("extensible", ["warning"]), ("preferred", []), ("example", [])],
    )
    def test_strengths(self, strength: str, severity: list[str]) -> None:
        mine = profile(element("Observation.code", binding={"strength": strength, "valueSet": self.GENDER}))
        assert judged(observation(code=coding("male", self.SYSTEM)), mine) == []
        found = judged(observation(code=coding("x", self.SYSTEM)), mine)
        assert [one for one, path in found if path == "Observation.code"] == severity

    def test_text_alone(self) -> None:
        for strength, severity in (("required", "error"), ("extensible", "warning")):
            mine = profile(
                element("Observation.code", binding={"strength": strength, "valueSet": self.GENDER})
            )
            assert judged(observation(), mine) == [(severity, "Observation.code")]

    def test_the_largest_value_set(self) -> None:
        largest = {"url": CORE + "elementdefinition-maxValueSet", "valueCanonical": self.GENDER}
        binding = {"strength": "preferred", "valueSet": "urn:unknown", "extension": [largest]}
        mine = profile(element("Observation.code", binding=binding))
        assert errors(observation(code=coding("x", self.SYSTEM)), mine) == ["Observation.code"]

    def test_what_is_not_held_is_a_warning(self) -> None:
        mine = profile(element("Observation.code", binding={"strength": "required", "valueSet": "urn:x"}))
        found = examine(observation(code=coding("x")), Library([read(mine)]), BuiltIn(), [MINE])
        assert {one.severity for one in found if "urn:x" in one.diagnostics} == {"warning"}

    @pytest.mark.parametrize("broken", [["urn:s"], {"a": "b"}, 4711, None, True])
    @pytest.mark.parametrize("part", ["system", "code", "display"])
    def test_parts_of_codes_that_are_no_strings(self, part: str, broken: Any) -> None:
        """Defects of structure, which are said once; the judge walks over them."""
        mine = profile(
            element("Observation.code", binding={"strength": "required", "valueSet": self.GENDER}),
            element("Observation.value[x]", binding={"strength": "required", "valueSet": self.GENDER}),
        )
        one = {"system": self.SYSTEM, "code": "male", "display": "Male", part: broken}
        held = observation(code={"coding": [one]}, valueQuantity={"value": 1, **one})
        for terms in (Codes([]), BuiltIn()):
            found = examine(held, Library([read(mine)]), terms, [MINE])
            assert f"Observation.code.coding[0].{part}" in {one.expression for one in found}

    def test_units_by_their_systems(self) -> None:
        """A unit without a binding is still a code of the system that the quantity names."""
        terms = Codes([])
        for code, system, expected in (
            ("mg", UCUM, []),
            ("mcg", UCUM, ["error"]),
            ("ml/hr", UCUM, ["error"]),
            ("mg", "urn:x", ["warning"]),
        ):
            unit = {"value": 1, "system": system, "code": code}
            for held in ({"valueQuantity": unit}, {"referenceRange": [{"low": unit}]}):
                found = examine(observation(**held), Library(), terms, advice=False)
                assert [one.severity for one in found if f"'{code}'" in one.diagnostics] == expected


PATIENT = {"resourceType": "Patient", "id": "p", "active": True}


class TestBundles:
    @staticmethod
    def bundle(kind: str, *entries: Json) -> Json:
        return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}

    def test_full_urls(self) -> None:
        held = {"fullUrl": "http://example.org/fhir/Patient/p", "resource": PATIENT}
        assert errors(self.bundle("collection", held)) == []
        wrong = {"fullUrl": "http://example.org/fhir/Patient/q", "resource": PATIENT}
        assert errors(self.bundle("collection", wrong)) == ["Bundle.entry[0].fullUrl"]
        wrong = {"fullUrl": "Patient/p", "resource": PATIENT}
        assert "Bundle.entry[0].fullUrl" in errors(self.bundle("collection", wrong))

    def test_entries_without_a_full_url(self) -> None:
        """Bundle.entry.fullUrl: every entry has one, but in transactions and batches; the outcome of a search
        has no identity that it could state."""
        nameless = {"resource": PATIENT}
        assert errors(self.bundle("collection", nameless)) == ["Bundle.entry[0]"]
        request = {"request": {"method": "PUT", "url": "Patient/p"}}
        for kind in ("transaction", "batch"):
            assert errors(self.bundle(kind, {**nameless, **request})) == []
        for kind in ("transaction-response", "batch-response"):
            assert errors(self.bundle(kind, {**nameless, "response": {"status": "200"}})) == []
        outcome = {
            "resourceType": "OperationOutcome",
            "issue": [{"severity": "warning", "code": "not-found"}],
        }
        assert errors(self.bundle("searchset", {"resource": outcome, "search": {"mode": "outcome"}})) == []
        assert errors(self.bundle("searchset", {"resource": PATIENT, "search": {"mode": "match"}})) == [
            "Bundle.entry[0]"
        ]

    def test_references_by_urn_stay_inside(self) -> None:
        urn = "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"
        held = {"fullUrl": urn, "resource": {"resourceType": "Patient", "active": True}}
        seen = {
            "fullUrl": urn[:-1] + "1",
            "resource": observation(subject={"reference": urn}),
        }
        assert errors(self.bundle("collection", held, seen)) == []
        assert errors(self.bundle("collection", seen)) == ["Bundle.entry[0].resource"]

    def test_resources_of_entries_by_what_they_claim(self) -> None:
        mine = profile(element("Patient.name", min=1), type_="Patient")
        patient = {**PATIENT, "meta": {"profile": [MINE]}}
        held = self.bundle("collection", {"fullUrl": "http://e.org/Patient/p", "resource": patient})
        assert errors(held, mine, asked=CORE + "Bundle") == ["Bundle.entry[0].resource.name"]

    def test_a_target_in_the_bundle(self) -> None:
        named = profile(element("Patient.name", min=1), type_="Patient", url="urn:named")
        types = [{"code": "Reference", "targetProfile": ["urn:named"]}]
        mine = profile(element("Observation.subject", type=types))
        seen = {**observation(subject={"reference": "Patient/p"}), "id": "o", "meta": {"profile": [MINE]}}
        held = self.bundle(
            "collection",
            {"fullUrl": "http://e.org/Patient/p", "resource": PATIENT},
            {"fullUrl": "http://e.org/Observation/o", "resource": seen},
        )
        assert errors(held, mine, named, asked=CORE + "Bundle") == ["Bundle.entry[1].resource.subject"]

    def test_what_comes_first_in_documents_and_messages(self) -> None:
        entry = {"fullUrl": "http://e.org/Patient/p", "resource": PATIENT}
        for kind in ("document", "message"):
            found = errors({**self.bundle(kind, entry), "identifier": {"system": "urn:s", "value": "1"}})
            assert "Bundle" in found

    def test_documents_hold_what_they_refer_to(self) -> None:
        seen = {
            "fullUrl": "http://e.org/Observation/o",
            "resource": observation(subject={"reference": "Patient/p"}),
        }
        found = examine(self.bundle("document", seen), Library(), BuiltIn())
        assert ("warning", "Bundle.entry[0].resource") in [(one.severity, one.expression) for one in found]


class TestContained:
    def test_what_nobody_refers_to(self) -> None:
        held = observation(contained=[{"resourceType": "Patient", "id": "p", "active": True}])
        assert errors(held) == ["Observation"]
        held["subject"] = {"reference": "#p"}
        assert errors(held) == []

    def test_what_it_claims(self) -> None:
        mine = profile(element("Patient.name", min=1), type_="Patient")
        patient = {**PATIENT, "meta": {"profile": [MINE]}}
        held = observation(contained=[patient], subject={"reference": "#p"})
        assert errors(held, mine, asked=CORE + "Observation") == ["Observation.contained[0].name"]


def test_narratives_that_act() -> None:
    div = '<div xmlns="http://www.w3.org/1999/xhtml"><script>x</script></div>'
    assert errors(observation(text={"status": "generated", "div": div})) == ["Observation.text.div"]


def invariant(key: str, expression: str) -> Json:
    return {"key": key, "severity": "error", "human": key, "expression": expression}


def test_invariants_that_take_their_time() -> None:
    """Each is within its limits; all together are not."""
    heavy = "(0|1|2|3|4|5|6|7|8|9)" + ".select((0|1|2|3|4|5|6|7|8|9)" * 5 + ")" * 5
    rules = [invariant(f"x-{number}", f"{heavy}.exists()") for number in range(200)]
    mine = profile(element("Observation", constraint=[*rules, invariant("x-last", "false")]))
    before = time.monotonic()
    library = Library([read(mine)])
    found = [one for one in examine(observation(), library, BuiltIn(), [MINE]) if one.code == "not-supported"]
    assert time.monotonic() - before < 10
    assert any("not all of them" in one.diagnostics for one in found)


def test_contexts_that_take_their_time() -> None:
    heavy = "(0|1|2|3|4|5|6|7|8|9)" + ".select((0|1|2|3|4|5|6|7|8|9)" * 5 + ")" * 5
    context = [{"type": "fhirpath", "expression": f"Observation.where({heavy}.exists())"}]
    mine = profile(type_="Extension", context=context)
    given = observation(extension=[{"url": MINE, "valueString": str(number)} for number in range(200)])
    before = time.monotonic()
    examine(given, Library([read(mine)]), BuiltIn())
    assert time.monotonic() - before < 10


@pytest.mark.parametrize("rest", ["", ".not()", " and true", ".select(iif($this, true, false))"])
def test_an_invariant_that_asks_what_nobody_knows(rest: str) -> None:
    rule = invariant(
        "x-1", f"code.where(memberOf('urn:nowhere')).exists() and code.memberOf('urn:nowhere'){rest}"
    )
    library = Library([read(profile(element("Observation", constraint=[rule])))])
    found = examine(observation(code=coding("a")), library, BuiltIn(), [MINE])
    assert [one.severity for one in found if "x-1" in one.diagnostics] == ["warning"]
    either = invariant("x-1", "code.memberOf('urn:nowhere') or status = 'final'")
    assert errors(observation(code=coding("a")), profile(element("Observation", constraint=[either]))) == []


def test_must_support_is_advice() -> None:
    mine = profile(
        element("Observation.subject", mustSupport=True),
        element("Observation.code.coding", mustSupport=True),
        element("Observation.status", mustSupport=True),
    )
    found = examine(observation(), Library([read(mine)]), BuiltIn(), [MINE])
    (said,) = [one for one in found if "must-support" in one.diagnostics]
    assert said.severity == "information"
    assert "Observation.subject" in said.diagnostics
    assert "Observation.code.coding" in said.diagnostics
    assert "Observation.status" not in said.diagnostics


def test_a_profile_that_cannot_be_judged_by() -> None:
    mine = profile(element("Observation.nose", min=1))
    found = examine(observation(), Library([read(mine)]), BuiltIn(), [MINE])
    assert [one.severity for one in found if "no element" in one.diagnostics] == ["warning"]


def test_a_profile_of_another_type() -> None:
    mine = profile(element("Patient.name", min=1), type_="Patient")
    assert errors(observation(), mine) == ["Observation.meta.profile"]

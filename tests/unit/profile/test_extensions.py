"""Extensions: where they may stand, what is in them, and what nobody defined."""

from __future__ import annotations

import copy

import pytest

from fhirserver.fhir.profile.definition import read
from fhirserver.fhir.profile.library import Library
from fhirserver.fhir.profile.terms import BuiltIn
from fhirserver.fhir.profile.validate import examine
from tests.unit.profile.making import (
    CORE,
    UCUM,
    Json,
    element,
    errors,
    extended,
    extension,
    judged,
    profile,
)

EXTENDED: Json = {"extension": [extended("urn:e")]}
AGE: Json = {"value": 1, "_value": EXTENDED, "system": UCUM, "code": "a"}


class TestExtensions:
    def test_contexts(self) -> None:
        eye = extension("urn:eye", "Patient.contact")
        patient = {
            "resourceType": "Patient",
            "contact": [{"extension": [extended("urn:eye")], "name": {"text": "a"}}],
        }
        assert errors(patient, eye, asked=CORE + "Patient") == []
        patient = {"resourceType": "Patient", "extension": [extended("urn:eye")]}
        assert errors(patient, eye, asked=CORE + "Patient") == ["Patient.extension[0]"]

    @pytest.mark.parametrize("context", ["HumanName", "Element", "Patient.name"])
    def test_types_as_contexts(self, context: str) -> None:
        patient = {"resourceType": "Patient", "name": [{"extension": [extended("urn:e")], "text": "a"}]}
        assert errors(patient, extension("urn:e", context), asked=CORE + "Patient") == []

    def test_primitives_as_contexts(self) -> None:
        patient = {"resourceType": "Patient", "_birthDate": {"extension": [extended("urn:e")]}}
        for context in ("Patient.birthDate", "date"):
            assert errors(patient, extension("urn:e", context), asked=CORE + "Patient") == []
        assert errors(patient, extension("urn:e", "string"), asked=CORE + "Patient") != []

    @pytest.mark.parametrize(
        ("context", "held"),
        [
            ("HumanName.family", {"name": [{"family": "a", "_family": EXTENDED}]}),
            ("HumanName.family", {"contact": [{"name": {"family": "a", "_family": EXTENDED}}]}),
            ("HumanName.period", {"name": [{"text": "a", "period": {"start": "2020", **EXTENDED}}]}),
            ("Period.start", {"name": [{"text": "a", "period": {"start": "2020", "_start": EXTENDED}}]}),
            ("CodeableConcept.coding", {"maritalStatus": {"coding": [{"code": "x", **EXTENDED}]}}),
            ("Resource.language", {"language": "en", "_language": EXTENDED}),
            ("Quantity.value", {"extension": [{"url": "urn:x", "valueAge": AGE}]}),
        ],
    )
    def test_parts_of_types_as_contexts(self, context: str, held: Json) -> None:
        patient = {"resourceType": "Patient", "active": True, **held}
        assert errors(patient, extension("urn:e", context), asked=CORE + "Patient") == []
        assert errors(patient, extension("urn:e", "Address.city"), asked=CORE + "Patient") != []

    @pytest.mark.parametrize(
        ("held", "where"),
        [
            ({"birthDate": "2020-01-01"}, "birthDate"),
            ({"name": [{"text": "a"}]}, "name[0].text"),
            ({"name": [{"given": ["a", "b"]}]}, "name[0].given[1]"),
        ],
    )
    def test_extensions_of_primitives_that_have_a_value(self, held: Json, where: str) -> None:
        """Also where nothing is demanded of the value itself."""
        reason = {"url": CORE + "data-absent-reason", "valueString": "a code is needed"}
        patient = copy.deepcopy({"resourceType": "Patient", **held})
        inner = patient["name"][0] if "name" in patient else patient
        key = where.rpartition(".")[2].partition("[")[0]
        companion = {"extension": [reason]}
        inner[f"_{key}"] = [None, companion] if key == "given" else companion
        assert errors(patient) == [f"Patient.{where}.extension[0].value.ofType(string)"]

    def test_an_extension_as_context(self) -> None:
        outer = {"url": "urn:outer", "extension": [extended("urn:e")]}
        inner = extension("urn:e", "urn:outer", kind="extension")
        patient = {"resourceType": "Patient", "extension": [outer]}
        assert errors(patient, inner, asked=CORE + "Patient") == []
        patient = {"resourceType": "Patient", "extension": [{**outer, "url": "urn:other"}]}
        assert errors(patient, inner, asked=CORE + "Patient") != []

    @pytest.mark.parametrize(
        ("condition", "kept"),
        [
            ("gender = 'male'", True),
            ("gender = 'female'", False),
            ("deceased.exists()", False),
            ("deceased", False),  # neither true nor false
            ("%extension.value = 'x'", True),
            ("%extension.valueString = 'x'", True),  # as R4's own speak of it
            ("%extension.valueString = 'y'", False),
        ],
    )
    def test_conditions_of_contexts(self, condition: str, kept: bool) -> None:
        """StructureDefinition.contextInvariant: all must be true of the element that the extension is in."""
        mine = {**extension("urn:e", "Patient"), "contextInvariant": ["gender.exists()", condition]}
        patient = {"resourceType": "Patient", "gender": "male", "extension": [extended("urn:e")]}
        assert errors(patient, mine, asked=CORE + "Patient") == ([] if kept else ["Patient.extension[0]"])

    def test_a_condition_of_a_context_that_cannot_be_evaluated(self) -> None:
        mine = {**extension("urn:e", "Patient"), "contextInvariant": ["gender ="]}
        patient = {"resourceType": "Patient", "extension": [extended("urn:e")]}
        found = examine(patient, Library([read(mine)]), BuiltIn())
        assert [one.severity for one in found if "gender =" in one.diagnostics] == ["information"]

    def test_conditions_on_parts_of_resources(self) -> None:
        """R4's own, which is only for items that are answered with a number."""
        unit = {"url": CORE + "questionnaire-unit", "valueCoding": {"system": UCUM, "code": "kg"}}
        items = [{"linkId": type_, "type": type_, "extension": [unit]} for type_ in ("decimal", "string")]
        held = {"resourceType": "Questionnaire", "status": "draft", "item": items}
        assert errors(held) == ["Questionnaire.item[1].extension[0]"]

    def test_types_of_values(self) -> None:
        mine = extension("urn:e", "Patient", element("Extension.value[x]", type=[{"code": "code"}]))
        patient = {"resourceType": "Patient", "extension": [extended("urn:e")]}
        assert errors(patient, mine, asked=CORE + "Patient") == ["Patient.extension[0].value.ofType(string)"]

    def test_cardinality_by_the_profile(self) -> None:
        mine = extension("urn:e", "Patient")
        wants = profile(
            element(
                "Patient.extension",
                sliceName="e",
                min=1,
                max="1",
                type=[{"code": "Extension", "profile": ["urn:e"]}],
            ),
            type_="Patient",
        )
        patient = {"resourceType": "Patient", "active": True}
        assert errors(patient, wants, mine) == ["Patient.extension"]
        assert errors({**patient, "extension": [extended("urn:e")]}, wants, mine) == []
        assert errors({**patient, "extension": [extended("urn:e")] * 2}, wants, mine) == [
            "Patient.extension[1]"
        ]

    def test_parts(self) -> None:
        mine = extension(
            "urn:e",
            "Patient",
            element("Extension.extension", sliceName="a", min=1),
            element("Extension.extension.url", fixedUri="a"),
            element("Extension.value[x]", max="0"),
        )
        held = {"resourceType": "Patient", "extension": [{"url": "urn:e", "extension": [extended("a")]}]}
        assert errors(held, mine, asked=CORE + "Patient") == []
        held = {"resourceType": "Patient", "extension": [{"url": "urn:e", "extension": [extended("b")]}]}
        assert set(errors(held, mine, asked=CORE + "Patient")) == {
            "Patient.extension[0].extension",
            "Patient.extension[0].extension[0].url",
        }

    def test_what_nobody_defined(self) -> None:
        patient = {"resourceType": "Patient", "extension": [extended("urn:x")]}
        assert judged(patient) == []
        patient = {"resourceType": "Patient", "modifierExtension": [extended("urn:x")]}
        assert errors(patient) == ["Patient.modifierExtension[0]"]

    def test_a_modifier_in_its_place(self) -> None:
        mine = extension("urn:e", "Patient")
        mine["differential"]["element"][0]["isModifier"] = True
        patient = {"resourceType": "Patient", "extension": [extended("urn:e")]}
        assert errors(patient, mine, asked=CORE + "Patient") == ["Patient.extension[0]"]
        patient = {"resourceType": "Patient", "modifierExtension": [extended("urn:e")]}
        assert errors(patient, mine, asked=CORE + "Patient") == []

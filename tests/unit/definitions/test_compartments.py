"""Compartments: https://hl7.org/fhir/R4/compartmentdefinition.html"""

from typing import Any

from fhirserver.fhir.structure import COMPARTMENTS, ENDPOINT_TYPES


def test_all_five() -> None:
    sizes = {name: len(types) for name, types in COMPARTMENTS.items()}
    assert sizes == {"Device": 32, "Encounter": 25, "Patient": 66, "Practitioner": 59, "RelatedPerson": 32}
    assert COMPARTMENTS["Patient"]["Observation"] == ("subject", "performer")
    assert COMPARTMENTS["Patient"]["Patient"] == ("link",)
    assert COMPARTMENTS["Encounter"]["Encounter"] == ("{def}",)
    assert "Medication" not in COMPARTMENTS["Patient"]


def test_members_are_reference_parameters(parameters: list[dict[str, Any]]) -> None:
    kinds = {(base, row["code"]): row["type"] for row in parameters for base in row["base"]}
    for name, types in COMPARTMENTS.items():
        assert set(types) <= ENDPOINT_TYPES
        for kind, codes in types.items():
            for code in codes:
                own = code == "{def}" and kind == name
                assert own or kinds[kind, code] == "reference", (name, kind, code)

"""FHIRPath Patch: the official cases, what no case covers, and that a failure changes nothing."""

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from fhirserver import errors
from fhirserver.fhir import xml
from fhirserver.fhir.patch_fhirpath import apply
from fhirserver.fhir.validate import validate

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p",
    "contained": [{"resourceType": "Organization", "id": "o", "name": "Clinic"}],
    "active": True,
    "name": [
        {
            "given": ["Ann", None, "Bea"],
            "_given": [None, {"extension": [{"url": "u", "valueCode": "n"}]}, None],
        },
        {"family": "Smith"},
    ],
    "birthDate": "1970-01-01",
    "_birthDate": {"extension": [{"url": "time", "valueString": "noon"}]},
    "deceasedBoolean": False,
    "managingOrganization": {"reference": "#o"},
}


def operation(type_: str, path: str, **parts: Any) -> dict[str, Any]:
    """One parameter of a patch; `parts` are the parts as they are, without their names."""
    made = [
        {"name": "type", "valueCode": type_},
        {"name": "path", "valueString": path},
        *({"name": name, **part} for name, part in parts.items()),
    ]
    return {"name": "operation", "part": made}


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Parameters", **({"parameter": list(operations)} if operations else {})}


def patched(*operations: dict[str, Any], resource: dict[str, Any] = PATIENT) -> dict[str, Any]:
    validate(patch(*operations))
    before = copy.deepcopy(resource)
    try:
        return apply(resource, patch(*operations))
    finally:
        assert resource == before


def name(text: str) -> dict[str, Any]:
    return {"valueString": text}


def number(value: int) -> dict[str, Any]:
    return {"valueInteger": value}


def read(element: etree._Element) -> dict[str, Any]:
    return xml.from_xml(etree.tostring(element[0], with_tail=False), depth_max=64)


def test_official_cases(shared_data: Path) -> None:
    cases = list(etree.parse(shared_data / "patch" / "fhir-patch-tests.xml").getroot().iter("case"))
    assert len(cases) == 33
    for case in cases:
        resource, document = read(case.find("input")), read(case.find("diff"))
        if case.find("error") is not None:
            with pytest.raises(errors.Unprocessable):
                apply(resource, document)
        else:
            assert apply(resource, document) == read(case.find("output")), case.get("name")


ADDED = operation("add", "Patient", name=name("gender"), value={"valueCode": "other"})


@pytest.mark.parametrize(
    ("operations", "key", "expected"),
    [
        ((operation("add", "Patient.name[1]", name=name("given"), value={"valueString": "Al"}),), "name.1",
         {"family": "Smith", "given": ["Al"]}),
        ((operation("delete", "Patient.name[0].given[0]"),), "name.0",
         {"given": [None, "Bea"], "_given": [{"extension": [{"url": "u", "valueCode": "n"}]}, None]}),
        ((operation("delete", "name.given.where(extension.exists())"),), "name.0", {"given": ["Ann", "Bea"]}),
        ((operation("move", "name[0].given", source=number(1), destination=number(0)),), "name.0",
         {"given": [None, "Ann", "Bea"], "_given": [{"extension": [{"url": "u", "valueCode": "n"}]},
          None, None]}),
        ((operation("insert", "Patient.name.where(family = 'Smith').given", index=number(0),
                    value={"valueString": "Al"}),), "name.1", {"family": "Smith", "given": ["Al"]}),
        ((operation("replace", "Patient.deceased", value={"valueDateTime": "2020"}),),
         "deceasedDateTime", "2020"),
        ((operation("replace", "Patient.deceased", value={"valueDateTime": "2020"}),), "deceasedBoolean",
         None),
        ((operation("replace", "Patient.birthDate", value={"valueDate": "1971"}),), "_birthDate", None),
        ((operation("delete", "Patient.birthDate.extension"),), "_birthDate", None),
        ((operation("delete", "Patient.birthDate.extension"),), "birthDate", "1970-01-01"),
        ((operation("add", "Patient.active", name=name("extension"),
                    value={"part": [
                        {"name": "url", "valueUri": "u"}, {"name": "value", "valueBoolean": True}]}),),
         "_active", {"extension": [{"url": "u", "valueBoolean": True}]}),
        ((operation("add", "Patient.name[0].given[2]", name=name("id"), value={"valueString": "x"}),),
         "name.0._given", [None, {"extension": [{"url": "u", "valueCode": "n"}]}, {"id": "x"}]),
        ((operation("replace", "managingOrganization.resolve().name", value={"valueString": "Ward"}),),
         "contained.0.name", "unreachable"),
        ((operation("replace", "Patient.contained[0].name", value={"valueString": "Ward"}),),
         "contained.0.name", "Ward"),
        ((operation("add", "Patient", name=name("contained"),
                    value={"resource": {"resourceType": "Patient", "id": "g"}}),), "contained.1.id", "g"),
        ((operation("delete", "Patient.name[1].family"),), "name.1", "pruned"),
        ((operation("delete", "Patient.photo"),), "photo", None),
        ((ADDED, operation("replace", "Patient.gender", value={"valueCode": "male"})), "gender", "male"),
        ((operation("add", "Patient", name=name("multipleBirthInteger"), value={"valueInteger": 2}),),
         "multipleBirthInteger", 2),
    ],
)  # fmt: skip
def test_operations(operations: tuple[dict[str, Any], ...], key: str, expected: Any) -> None:
    if expected == "unreachable":  # what resolve() leads to has no place of its own
        with pytest.raises(errors.Unprocessable):
            patched(*operations)
        return
    found: Any = patched(*operations)
    if expected == "pruned":
        assert len(found["name"]) == 1
        return
    for step in key.split("."):
        found = found[int(step)] if step.isdigit() else found.get(step)
    assert found == expected


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ({"name": "operatoin"}, errors.Invalid, "is named operation"),
        ({"name": "operation"}, errors.Invalid, "needs 'type'"),
        (operation("ad", "Patient"), errors.Invalid, "did you mean add"),
        (operation("add", "Patient"), errors.Invalid, "'add' needs 'name'"),
        (operation("delete", "Patient.name", index=number(1)), errors.Invalid, "has no 'index'"),
        (operation("insert", "Patient.name", index=name("1"), value={}), errors.Invalid, "valueInteger"),
        (operation("delete", "Patient.nam"), errors.Invalid,
         r"no element 'nam'; did you mean name.*character 9"),
        (operation("delete", "Patient.("), errors.Invalid, "character"),
        (operation("delete", "%x"), errors.Invalid, "not defined"),
        (operation("delete", "Patient.name"), errors.Unprocessable,
         "finds 2 elements, not one, when deleting"),
        (operation("delete", "Patient"), errors.Unprocessable, "cannot be deleted"),
        (operation("replace", "Patient", value={"valueString": "x"}), errors.Unprocessable,
         "cannot be replaced"),
        (operation("replace", "Patient.photo", value={"valueString": "x"}), errors.Unprocessable,
         "no elements"),
        (operation("replace", "'a'", value={"valueString": "x"}), errors.Unprocessable, "no element of the"),
        (operation("replace", "Patient.active", value={"valueString": "x"}), errors.Invalid, "takes boolean"),
        (operation("replace", "Patient.name[0]", value={"valueString": "x"}), errors.Invalid,
         "takes HumanName"),
        (operation("replace", "Patient.deceased", value={"valueString": "x"}), errors.Invalid,
         "takes boolean or dateTime"),
        (operation("replace", "Patient.active", value={}), errors.Invalid, "the value is empty"),
        (operation("add", "Patient", name=name("active"), value={"valueBoolean": True}), errors.Unprocessable,
         "does not repeat"),
        (operation("add", "Patient", name=name("deceased"), value={"valueDateTime": "2020"}),
         errors.Unprocessable, "does not repeat"),
        (operation("add", "Patient", name=name("gendr"), value={"valueCode": "x"}), errors.Unprocessable,
         "did you mean gender"),
        (operation("add", "Patient", name=name("contact"), value={"part": [{"name": "nam"}]}), errors.Invalid,
         "did you mean name"),
        (operation("add", "Patient", name=name("gender"), value={"part": []}), errors.Invalid, "not parts"),
        (operation("insert", "Patient.name", index=number(3), value={"valueHumanName": {"text": "x"}}),
         errors.Unprocessable, "beyond the end of the list of 2"),
        (operation("insert", "Patient.active", index=number(0), value={"valueBoolean": True}),
         errors.Unprocessable, "is no list"),
        (operation("insert", "Patient.name[0]", index=number(0), value={"valueHumanName": {"text": "x"}}),
         errors.Invalid, "that of a list"),
        (operation("move", "Patient.name", source=number(0), destination=number(2)), errors.Unprocessable,
         "destination 2 is not in the list"),
        (operation("delete", "Patient.name.where(('" + "x" * 3000 + "').matches('(x+x+)+y'))"),
         errors.TooCostly, "operation 1"),
    ],
)  # fmt: skip
def test_refused(bad: dict[str, Any], error: type[errors.FhirError], message: str) -> None:
    """The second operation fails: the first is undone with it."""
    before = copy.deepcopy(PATIENT)
    with pytest.raises(error, match=message) as caught:
        apply(PATIENT, patch(ADDED, bad))
    assert before == PATIENT
    if error is not errors.TooCostly:
        assert (caught.value.issues[0].expression or "").startswith("Parameters.parameter[1]")


def test_limits() -> None:
    with pytest.raises(errors.TooCostly, match="at most"):
        apply(PATIENT, patch(*[ADDED] * 1_001))
    with pytest.raises(errors.Invalid, match="Parameters"):
        apply(PATIENT, {"resourceType": "Patient"})


PATHS = st.sampled_from(
    ["Patient", "Patient.name", "Patient.name[0]", "Patient.name[0].given", "Patient.name.given[1]",
     "Patient.active",
     "Patient.name[1].family", "Patient.birthDate", "Patient.birthDate.extension", "Patient.deceased",
     "Patient.managingOrganization", "Patient.contained", "Patient.contained[0].name", "descendants()",
      "id", "1"]
)  # fmt: skip
VALUES = st.sampled_from(
    [{"valueString": "x"}, {"valueBoolean": True}, {"valueDateTime": "2020"},
     {"valueHumanName": {"text": "x"}},
     {"_valueString": {"extension": [{"url": "u", "valueCode": "x"}]}}, {"part": [{"name": "text",
      "valueString": "y"}]},
     {"resource": {"resourceType": "Group"}}, {"valueInteger": 1}]
)  # fmt: skip
SMALL = st.integers(-1, 3).map(number)
OPERATIONS = st.one_of(
    st.builds(
        lambda path, called, value: operation("add", path, name=name(called), value=value),
        PATHS,
        st.sampled_from(["given", "name", "extension", "gender", "deceased", "family", "contained", "id"]),
        VALUES,
    ),
    st.builds(
        lambda path, index, value: operation("insert", path, index=index, value=value), PATHS, SMALL, VALUES
    ),
    st.builds(lambda path: operation("delete", path), PATHS),
    st.builds(lambda path, value: operation("replace", path, value=value), PATHS, VALUES),
    st.builds(lambda path, a, b: operation("move", path, source=a, destination=b), PATHS, SMALL, SMALL),
)


@given(st.lists(OPERATIONS, max_size=6))
def test_whatever_is_sent_is_applied_or_refused(operations: list[dict[str, Any]]) -> None:
    before = copy.deepcopy(PATIENT)
    try:
        found = apply(PATIENT, patch(*operations))
        assert found["resourceType"] == "Patient"
        aligned(found)
    except errors.FhirError as error:
        assert error.status in (400, 422)
    assert before == PATIENT


def aligned(value: Any) -> None:
    """Lists of values and of their companions have one length; nothing is left empty."""
    if isinstance(value, list):
        assert value
        for item in value:
            aligned(item)
    if isinstance(value, dict):
        assert value
        for key, item in value.items():
            aligned(item)
            other = value.get("_" + key)
            if isinstance(item, list) and other is not None:
                assert len(other) == len(item)

"""What is said to a search that is written wrongly, and to one that can find nothing."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.errors import FhirError
from fhirserver.params import spelling
from fhirserver.params.registry import r4
from fhirserver.search.doubts import doubts
from fhirserver.search.parse import Limits, parse
from fhirserver.search.query import SearchQuery

LOINC = "http://loinc.org"


def read(url: str) -> SearchQuery:
    type_, _, query = url.partition("?")
    params = [(name, value.replace("%2B", "+")) for name, value in parse_qsl(query.replace("+", "%2B"))]
    return parse(r4(), Limits(own_bases=("http://here/fhir",)), type_, params)


def refusal(url: str) -> str:
    with pytest.raises(FhirError) as caught:
        read(url)
    assert caught.value.status == 400
    return str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "Patient?_type=Group",
        "Patient?_sort=_has",
        "Patient?_sort=_filter",
        "Patient?identifier=|",
        "Observation?value-quantity=5.",
        "RiskAssessment?probability=٥",
    ],
)
def test_nothing_wrong_is_suggested(url: str) -> None:
    refused = refusal(url)
    assert "alike" not in refused and "did you mean" not in refused, refused


def test_types_are_named_where_several_are_searched() -> None:
    assert "[base]?_type=" in refusal("Patient?_type=Patient")


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        # names
        ("Patient?famly=x", "family"),
        ("Patient?Birthdate=1970", "birthdate"),
        ("Patient?birthDate=1970", "birthdate"),
        ("Encounter?_lastupdated=2020", "_lastUpdated"),
        ("Observation?patinet=1", "patient"),
        ("Patient?count=5", "_count"),
        ("Patient?sort=name", "_sort"),
        ("Patient?_includes=Patient:organization", "_include"),
        ("Observation?patient.nmae=x", "name"),
        ("Patient?_has:Observation:patient:cod=x", "code"),
        ("Patient?_has:Observaton:patient:code=x", "Observation"),
        ("Patient?_sort=brithdate", "birthdate"),
        ("Patient?_include=Patient:organisation", "organization"),
        ("Patient?_revinclude=Observations:subject", "Observation"),
        # modifiers
        ("Patient?name:exakt=x", ":exact"),
        ("Patient?name:contain=x", ":contains"),
        ("Observation?subject:patient=1", ":Patient"),
        ("Observation?subject:Pateint=1", ":Patient"),
        ("Observation?code:nott=x", ":not"),
        ("Patient?gender:mising=true", ":missing"),
    ],
)
def test_names_that_are_alike(url: str, meant: str) -> None:
    said = refusal(url)
    hint = said.partition("alike: ")[2] or said.partition("did you mean ")[2]
    assert meant in hint.rstrip("?").split(", "), said


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("Observation?date=01/02/2020", "2020-01-02 or 2020-02-01"),
        ("Observation?date=ge13.02.2020", "ge2020-02-13"),
        ("Observation?date=2020/1/2", "2020-01-02"),
        ("Observation?date=20200102", "2020-01-02"),
        ("Observation?date=2020-01-02 10:30", "2020-01-02T10:30"),
        ("Observation?date=2020-01-02T10", "2020-01-02T10:00"),
        ("Observation?date=2020-01-02T10:30:00+0100", "2020-01-02T10:30:00+01:00"),
        ("Observation?date=>=2020-01-02", "ge2020-01-02"),
        ("Observation?date=<2020", "lt2020"),
        ("Observation?date==2020", "2020"),
        ("Observation?date=!=2020", "ne2020"),
        ("Observation?date=GE2020", "ge2020"),
        ("Observation?date=ge 2020", "ge2020"),
        ("Observation?date=ge:2020", "ge2020"),
        ("Patient?_lastUpdated=>1/2/2020", "gt2020-01-02 or gt2020-02-01"),
        ("RiskAssessment?probability=>0.5", "gt0.5"),
        ("Observation?value-quantity=5mg", "5||mg"),
        ("Observation?value-quantity=>=5.4 mmol/L", "ge5.4||mmol/L"),
        ("Observation?value-quantity=5|mg", "5||mg"),
        ("Observation?value-quantity=<5", "lt5"),
        ("Observation?code-value-quantity=8480-6$>140", "gt140"),
        ("Observation?patient=Patient:1", "Patient/1"),
        ("Observation?patient=Patient|1", "Patient/1"),
        ("Observation?patient=patient/1", "Patient/1"),
        ("Observation?subject=Pateint/1", "Patient/1"),
        ("Patient?_id=Patient/1", "1"),
        ("Patient?_id=http://here/fhir/Patient/1", "1"),
        (f"Observation?code={LOINC}|a|b", f"{LOINC}|a\\|b"),
    ],
)
def test_values_that_were_probably_meant(url: str, meant: str) -> None:
    said = refusal(url)
    assert said.endswith(f"; did you mean {meant}?"), said
    for one in meant.split(" or "):
        name, _, value = url.partition("?")[2].partition("=")
        composite = value.rpartition("$")[0] + "$" if "$" in value else ""
        read(f"{url.partition('?')[0]}?{name}={composite}{one}")


@pytest.mark.parametrize(
    "url",
    [
        "Observation?date=yesterday",
        "Observation?date=2020-02-30",
        "Observation?date=31/31/2020",
        "Observation?value-quantity=much",
        "Observation?patient=Patient/",
        "Observation?patient=no/such",
        "Patient?qqqqqqqq=1",
        "Patient?name:qqqqqqqq=1",
        "Patient?_sort:desc=name",
    ],
)
def test_nothing_is_suggested_for_nonsense(url: str) -> None:
    said = refusal(url)
    assert "did you mean" not in said and "alike" not in said


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"Observation?code={LOINC}:8480-6", f"did you mean {LOINC}|8480-6?"),
        (f"Observation?code={LOINC}/8480-6", f"did you mean {LOINC}|8480-6?"),
        ("Observation?code=loinc|8480-6", f"did you mean {LOINC}|8480-6?"),
        ("Observation?code=SNOMED-CT|1", "did you mean http://snomed.info/sct|1?"),
        ("Observation?code=https://www.loinc.org/|8480-6", f"did you mean {LOINC}|8480-6?"),
        ("Observation?code=mine|1", "which is a URI"),
        ("Patient?gender=M", "female, male, other, unknown; nothing has 'M'"),
        ("Observation?status=done,complete", "nothing has 'done'"),
        ("Patient?active=yes", "true or false"),
        ("Observation?subject:Patient.gender=F", "nothing has 'F'"),
        ("Patient?_has:Observation:patient:status=done", "nothing has 'done'"),
    ],
)
def test_doubts_about_what_finds_nothing(url: str, said: str) -> None:
    assert said in doubts(read(url))[0]


@pytest.mark.parametrize(
    "url",
    [
        "Observation?code=8480-6",
        f"Observation?code={LOINC}|8480-6",
        "Observation?code=urn:oid:1.2.3|4",
        "Observation?code=http://example.org/codes|4",
        "DocumentReference?format=urn:ihe:iti:xds-sd:pdf:2008",
        "Patient?identifier=http://example.org:8080/1",
        "Patient?identifier=mrn|1",
        "Patient?gender=MALE",
        "Patient?active=true",
        "Patient?deceased=true",
        "Patient?name=http://x:y",
        "ValueSet?url=http://x:y",
        "Observation?status=http://hl7.org/fhir/observation-status|final",
    ],
)
def test_no_doubts_about_what_may_well_be(url: str) -> None:
    assert doubts(read(url)) == []


@given(st.text(max_size=40))
def test_hints_never_fail(text: str) -> None:
    for hint in (spelling.of_date, spelling.of_number, spelling.of_reference, spelling.of_token):
        found = hint(text)
        assert found is None or not found or found.startswith("; did you mean ")
    spelling.of_quantity(text, lambda _: True)

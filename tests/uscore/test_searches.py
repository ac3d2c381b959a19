"""Every search that US Core's CapabilityStatements ask for, on real charts, against a literal reading.

The packages are read, not a list: each parameter and each combination, in each spelling of its values,
with each comparator, as OR list and as AND list, by GET and by POST.
"""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.uscore.chart import Params, found, search
from tests.uscore.custom import built
from tests.uscore.derive import searches, unwitnessed
from tests.uscore.literal import Clause, Literal, path_of
from tests.uscore.packages import VERSIONS, Definition, package

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEARCHES = {
    "3.1.1": (1939, 1022, 136),
    "5.0.1": (2592, 1366, 192),
    "6.1.0": (2784, 1482, 212),
    "7.0.0": (3073, 1604, 280),
}
"""How many searches each version makes, of how many shapes, and how many of them find nothing: comparisons
that exclude the date which they are made of."""

OWN = {
    ("CareTeam", "role"),
    ("Condition", "asserted-date"),
    ("Encounter", "discharge-disposition"),
    ("Goal", "description"),
    ("Patient", "ethnicity"),
    ("Patient", "gender-identity"),
    ("Patient", "race"),
}
"""The parameters that US Core defines itself; all others are R4's."""

ENDLESS = {("CarePlan", "date eq"), ("CarePlan", "date eb")}
"""Shapes that find nothing: every CarePlan of the charts has a start alone."""

WITHOUT_DATA = {
    "3.1.1": set(),
    "5.0.1": {
        # the expression looks for a nested extension, which this extension does not have
        ("Condition", "asserted-date"),
        ("Condition", "patient", "asserted-date"),
        # another extension than that of later versions, which the charts have
        ("Patient", "gender-identity"),
        # no response of the charts has a tag
        ("QuestionnaireResponse", "_tag"),
        ("QuestionnaireResponse", "patient", "_tag"),
        ("QuestionnaireResponse", "patient", "_tag", "authored"),
    },
    "6.1.0": set(),
    "7.0.0": set(),
}
"""What no resource of the charts has values for: type and codes."""


class Asked:
    """What the server answered; versions ask the same, which is asked once."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.answers: dict[tuple[str, Params], list[str]] = {}

    async def found(self, resource_type: str, params: Params) -> list[str]:
        key = resource_type, params
        if key not in self.answers:
            self.answers[key] = found(await search(self.http, resource_type, params))
        return self.answers[key]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asked(http: httpx.AsyncClient) -> Asked:
    return Asked(http)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own(http: httpx.AsyncClient, chart: Literal, igs: Path) -> dict[tuple[str, str], Definition]:
    """US Core's own parameters that the server was taught, by type and code."""
    return await built(http, package(igs, "7.0.0"))


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_search_of_the_package(
    asked: Asked,
    chart: Literal,
    own: dict[tuple[str, str], Definition],
    igs: Path,
    version: str,
) -> None:
    """Each finds what the literal reading finds; of each shape at least one finds something."""
    wrong: list[str] = []
    matches: dict[tuple[str, tuple[str, ...], str], int] = {}
    made = empty = 0
    for demands in package(igs, version).types:
        for one in searches(demands.as_built(own), chart):
            if any((one.type, code) in OWN and (one.type, code) not in own for code in one.codes):
                continue
            expected = sorted(map(path_of, chart.found(one.type, one.clauses)))
            answered = await asked.found(one.type, one.params)
            if answered != expected:
                wrong.append(f"{one.type} {one.params}: {len(answered)} for {len(expected)}")
            shape = one.type, one.codes, one.shape
            matches[shape] = matches.get(shape, 0) + len(answered)
            made += 1
            empty += not answered
    assert wrong == []
    assert {(type_, shape) for (type_, _, shape), count in matches.items() if count == 0} == ENDLESS
    assert (made, len(matches), empty) == SEARCHES[version]


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_the_charts_cannot_show(chart: Literal, igs: Path, version: str) -> None:
    """Every other parameter and combination of the package is asked with values of a resource."""
    without = {
        (demands.type, *codes)
        for demands in package(igs, version).types
        for codes in unwitnessed(demands, chart)
    }
    assert without == WITHOUT_DATA[version]


@pytest.mark.parametrize("version", VERSIONS)
async def test_own_parameters_are_answered_or_refused(
    http: httpx.AsyncClient, own: dict[tuple[str, str], Definition], igs: Path, version: str
) -> None:
    """Never ignored: what the server does not know is 400, under any handling of the caller's."""
    theirs = {(one.base, one.code) for one in package(igs, version).definitions if one.derived_from is None}
    assert theirs <= OWN
    for base, code in theirs - set(own):
        answer = await http.get(f"/{base}?{code}=x")
        assert answer.status_code == 400, (base, code)
        assert code in answer.json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_patient_can_be_spelt_in_four_ways(
    asked: Asked, http: httpx.AsyncClient, chart: Literal, igs: Path, version: str
) -> None:
    """The id, its path, its URL, and by `subject` where the type has that parameter."""
    statement = (await http.get("/metadata")).json()["rest"][0]
    names = {
        one["type"]: {param["name"] for param in one.get("searchParam", ())} for one in statement["resource"]
    }
    for demands in package(igs, version).types:
        if not any(param.code == "patient" for param in demands.params):
            continue
        param = demands.param("patient")
        seen = 0
        for patient in chart.of("Patient"):
            path = path_of(patient)
            expected = sorted(map(path_of, chart.found(demands.type, [Clause(param, path)])))
            spellings = [("patient", text) for text in (patient["id"], path, f"{chart.base}/{path}")]
            if "subject" in names[demands.type]:
                spellings += [("subject", path), ("subject:Patient", patient["id"])]
            for spelling in spellings:
                assert await asked.found(demands.type, (spelling,)) == expected, (demands.type, spelling)
            seen += len(expected)
        assert seen == len(chart.of(demands.type)) or demands.type in ("Device", "ServiceRequest"), (
            demands.type
        )


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_server_announces_what_the_package_asks_for(
    http: httpx.AsyncClient, own: dict[tuple[str, str], Definition], igs: Path, version: str
) -> None:
    statement = (await http.get("/metadata")).json()["rest"][0]
    offered = {one["type"]: one for one in statement["resource"]}
    for demands in package(igs, version).types:
        mine = offered[demands.type]
        kinds = {param["name"]: param["type"] for param in mine["searchParam"]}
        for param in demands.params:
            if (demands.type, param.code) in OWN and (demands.type, param.code) not in own:
                continue
            assert kinds.get(param.code) == param.type, (demands.type, param.code)
        for include in demands.includes:
            assert ":".join(include.split(":")[:2]) in mine["searchInclude"], include
        assert set(demands.reverse_includes) <= set(mine["searchRevInclude"])

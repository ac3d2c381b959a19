"""Resources whose values meet, miss and straddle what the tests ask for; the same ones in every run."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

from tests.db.search import oracle

NUMBERS = ["0", "1", "1.0", "2", "2.0", "1.95", "2.05", "5.4", "5.40", "100", "1e2", "95", "105", "-3"]
NUMBERS += ["0.001", "1000", "99.5", "5.40e-3", "0.0054"]
DATES = ["2019", "2020", "2020-01", "2020-02", "2020-02-29", "2020-03-01", "2021", "2023-11-14", "1950-05-05"]
DATES += ["2020-02-29T12:00:00Z", "2020-02-29T12:00:00+01:00", "2020-02-29T12:00Z"]
DATES += ["2020-02-29T12:00:00.473Z", "2020-02-29T12:00:00.000Z"]
TEXTS = ["Müller", "muller", "MULLER", "Mul", "straße", "Strasse", "van  den Berg", "den", "100%", "a_b"]
TEXTS += ["D'Angelo", "D’Angelo", "Saint-Exupéry", "Carreno Quinones", "Łukasz", "Østergård", "Ærø"]
TEXTS += [
    "J. R.",
    "García-López y Vega",
    "Ångström",
    "ﬁn",
    "İstanbul",
    "日本",
    "O'Neil",
    "x" * 700 + "tail",
    "x" * 650,
]
SYSTEMS = [None, "urn:a", "http://b"]
CODES = [None, "A", "a", "b", "8480-6", "final", "x|y", "q,r", "ß"]
UNITS = [None, "g", "mg", "kg", "ug", "m", "cm", "[in_i]"]


def population() -> list[dict[str, Any]]:
    """Resources whose values meet, miss and straddle what is asked for."""
    pick = random.Random(20260101)
    found: list[dict[str, Any]] = []
    for index in range(160):
        found.append(_observation(pick, index))
    for index in range(160):
        found.append(_patient(pick, index))
    for index in range(60):
        found.append(_risk(pick, index))
    for index in range(80):
        found.append(_encounter(pick, index))
    return found


def _coding(pick: random.Random) -> dict[str, Any]:
    system, code = pick.choice(SYSTEMS), pick.choice(CODES)
    return {k: v for k, v in (("system", system), ("code", code), ("display", "d")) if v is not None}


def _concept(pick: random.Random) -> dict[str, Any]:
    return {"coding": [_coding(pick) for _ in range(pick.randint(0, 2))], "text": "t"}


def _quantity(pick: random.Random) -> dict[str, Any]:
    unit = pick.choice(UNITS)
    found: dict[str, Any] = {"value": Decimal(pick.choice(NUMBERS))}
    if pick.random() < 0.2:
        found["comparator"] = pick.choice(["<", "<=", ">", ">="])
    if unit is not None:
        found |= {"unit": unit, "code": unit}
        if pick.random() < 0.8:
            found["system"] = "http://unitsofmeasure.org"
    return found


def _observation(pick: random.Random, index: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "resourceType": "Observation",
        "id": f"o{index}",
        "status": "final",
        "code": _concept(pick),
    }
    if pick.random() < 0.7:
        found["valueQuantity"] = _quantity(pick)
    if pick.random() < 0.4:
        found["component"] = [
            {"code": _concept(pick), "valueQuantity": _quantity(pick)} for _ in range(pick.randint(1, 3))
        ]
    if pick.random() < 0.8:
        found |= _effective(pick, "effectiveDateTime", "effectivePeriod")
    return found


def _effective(pick: random.Random, point: str, period: str) -> dict[str, Any]:
    if pick.random() < 0.6:
        return {point: pick.choice(DATES)}
    ends = sorted((pick.choice(DATES) for _ in range(2)), key=lambda text: oracle.date_range(text).lo)
    chosen = {"start": ends[0], "end": ends[1]}
    if pick.random() < 0.4:
        del chosen[pick.choice(["start", "end"])]
    return {period: chosen}


def _patient(pick: random.Random, index: int) -> dict[str, Any]:
    found: dict[str, Any] = {"resourceType": "Patient", "id": f"p{index}"}
    if pick.random() < 0.8:
        found["name"] = [
            {"family": pick.choice(TEXTS), "given": [pick.choice(TEXTS)]} for _ in range(pick.randint(1, 2))
        ]
    if pick.random() < 0.7:
        found["birthDate"] = pick.choice([d for d in DATES if len(d) <= 10])
    if pick.random() < 0.7:
        found["identifier"] = [
            {k: v for k, v in (("system", pick.choice(SYSTEMS)), ("value", pick.choice(CODES[1:]))) if v}
            for _ in range(pick.randint(1, 2))
        ]
    if pick.random() < 0.5:
        found["maritalStatus"] = _concept(pick)
    return found


def _risk(pick: random.Random, index: int) -> dict[str, Any]:
    """RiskAssessment.prediction.probability is the number parameter with a Range."""
    predictions: list[dict[str, Any]] = []
    for _ in range(pick.randint(0, 2)):
        if pick.random() < 0.6:
            predictions.append({"probabilityDecimal": Decimal(pick.choice(NUMBERS))})
        else:
            low, high = sorted(Decimal(pick.choice(NUMBERS)) for _ in range(2))
            predictions.append({"probabilityRange": {"low": {"value": low}, "high": {"value": high}}})
    return {"resourceType": "RiskAssessment", "id": f"r{index}", "status": "final", "prediction": predictions}


def _encounter(pick: random.Random, index: int) -> dict[str, Any]:
    found: dict[str, Any] = {"resourceType": "Encounter", "id": f"e{index}", "status": "finished"}
    locations = [{"location": {"display": "x"}} for _ in range(pick.randint(0, 2))]
    for location in locations:
        if pick.random() < 0.8:
            ends = sorted((pick.choice(DATES) for _ in range(2)), key=lambda text: oracle.date_range(text).lo)
            location["period"] = {"start": ends[0], "end": ends[1]}  # type: ignore[assignment]
    return found | ({"location": locations} if locations else {})


RESOURCES = population()

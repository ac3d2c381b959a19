"""Vital signs as correlated trajectories: https://hl7.org/fhir/R4/observation-vitalsigns.html.

Height follows a growth curve, weight follows height and a drifting body mass, blood pressure follows
age, body mass, hypertension and its treatment, the heart follows fever.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from fhirserver.demo import measures
from fhirserver.demo.chart import Chart, Visit
from fhirserver.demo.concepts import SOCIAL_HISTORY, VITAL_SIGNS, Concept, snomed
from fhirserver.demo.measures import Measure
from fhirserver.demo.person import Person

_AGE_POINTS = (0.0, 0.5, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0)
_HEIGHT_SHARE = (0.29, 0.39, 0.44, 0.51, 0.60, 0.67, 0.74, 0.80, 0.87, 0.94, 0.985, 1.0)
_BODY_MASS_SHARE = (0.58, 0.76, 0.75, 0.71, 0.69, 0.68, 0.69, 0.73, 0.78, 0.84, 0.91, 1.0)
_SMOKING: tuple[Concept, ...] = (
    snomed("266919005", "Never smoked tobacco"),
    snomed("8517006", "Ex-smoker"),
    snomed("449868002", "Smokes tobacco daily"),
)


def _along(shares: tuple[float, ...], age: float) -> float:
    """Linear interpolation of a growth curve; 1.0 from the last point on."""
    place = bisect_right(_AGE_POINTS, age)
    if place >= len(_AGE_POINTS):
        return shares[-1]
    left, right = _AGE_POINTS[place - 1], _AGE_POINTS[place]
    part = (age - left) / (right - left)
    return shares[place - 1] + part * (shares[place] - shares[place - 1])


@dataclass(slots=True)
class Body:
    """The patient's body: constants drawn once, and what the diseases do to it."""

    person: Person
    adult_height: float
    body_mass: float
    systolic: float
    pulse: float
    smoking: Concept
    diseases: dict[str, datetime] = field(default_factory=dict)

    def has(self, disease: str, when: datetime) -> bool:
        """Whether the disease had begun by then."""
        onset = self.diseases.get(disease)
        return onset is not None and onset <= when

    def height(self, age: float) -> float:
        """Height in cm."""
        return self.adult_height * _along(_HEIGHT_SHARE, age)

    def weight(self, age: float, drift: float) -> float:
        """Weight in kg: adults gain slowly until sixty."""
        gain = min(max(age - 20, 0), 40) * 0.08
        mass = (self.body_mass + gain + drift) * _along(_BODY_MASS_SHARE, age)
        return mass * (self.height(age) / 100) ** 2

    def pressure(self, age: float, when: datetime, noise: float) -> float:
        """Systolic pressure in mmHg; treatment lowers it over the first year and a half."""
        value = self.systolic - max(18 - age, 0) * 1.7 + max(age - 30, 0) * 0.35
        value += (self.body_mass - 24) * 0.5
        onset = self.diseases.get("hypertension")
        if onset is not None and onset <= when:
            treated = min((when - onset).days / 540, 1.0)
            value += 26 - 19 * treated
        return value + noise


def body(chart: Chart, person: Person, diseases: dict[str, datetime]) -> Body:
    """Draws the constants of a body."""
    chance = chart.chance
    mean = 163.0 if person.gender == "female" else 176.0
    smoking = chance.weighted(_SMOKING, (62, 24, 14)) if person.age(person.last_day) > 16 else _SMOKING[0]
    return Body(
        person=person,
        adult_height=chance.normal(mean, 6.5),
        body_mass=chance.normal(27.5 if "diabetes" in diseases else 23.8, 2.6),
        systolic=chance.normal(114, 6),
        pulse=chance.normal(71, 6),
        smoking=smoking,
        diseases=diseases,
    )


def record(chart: Chart, body: Body, visit: Visit) -> None:
    """Files the vital signs that are taken at this kind of visit."""
    chance = chart.chance
    age = body.person.age(visit.start.date())
    drift = chance.normal(0, 0.35)
    heat = chance.normal(1.9 if visit.fever else 0.0, 0.25)
    wanted = chart.scale
    if visit.kind in ("wellness", "follow-up"):
        height, weight = body.height(age), body.weight(age, drift)
        if visit.kind == "wellness":
            _measured(chart, visit, measures.HEIGHT, height)
            mass = weight / (height / 100) ** 2
            if age >= 2 and (wanted >= 1 or chance.hit(wanted)):
                _measured(chart, visit, measures.BODY_MASS, mass)
            elif age < 2:
                _measured(chart, visit, measures.HEAD, 34 + 14 * min(age, 2) ** 0.5 * 0.75)
        _measured(chart, visit, measures.WEIGHT, weight)
    if age >= 3 and (wanted >= 1 or chance.hit(wanted)):
        pressure(chart, visit, body.pressure(age, visit.start, chance.normal(0, 5)))
    if wanted >= 1 or chance.hit(wanted):
        _measured(chart, visit, measures.HEART_RATE, _pulse(chart, body, age, heat))
    if visit.kind != "follow-up" and (wanted >= 1 or chance.hit(wanted)):
        _measured(chart, visit, measures.TEMPERATURE, 36.7 + heat)
        _measured(chart, visit, measures.RESPIRATION, max(14 + max(8 - age, 0) * 1.6 + heat * 2, 10))
    if visit.kind in ("emergency", "inpatient"):
        _measured(chart, visit, measures.SATURATION, min(97 - heat * 1.5 + chance.normal(0.5, 0.8), 100))
    if visit.kind == "wellness" and age >= 16:
        _observed(chart, visit, SOCIAL_HISTORY, measures.SMOKING, "valueCodeableConcept", body.smoking)


def at_home(chart: Chart, body: Body, first: datetime, last: datetime, count: int) -> None:
    """Files `count` measurements taken at home, evenly spread over the time between two visits."""
    step = (last - first) / max(count, 1)
    performer = [chart.subject]
    for number in range(count):
        when = first + step * number
        visit = Visit(when, when, "home", at=when.isoformat(), performer=performer)
        visit.issued = (when + timedelta(seconds=20)).isoformat(timespec="milliseconds")
        age = body.person.age(when.date())
        match number % 3:
            case 0:
                pressure(chart, visit, body.pressure(age, when, chart.chance.normal(0, 6)))
            case 1:
                _measured(chart, visit, measures.HEART_RATE, _pulse(chart, body, age, 0.0))
            case _:
                _measured(chart, visit, measures.WEIGHT, body.weight(age, chart.chance.normal(0, 0.3)))


def pressure(chart: Chart, visit: Visit, systolic: float) -> None:
    """Files a blood pressure panel, whose two values are components."""
    diastolic = min(systolic * 0.42 + 26 + chart.chance.normal(0, 4), systolic - 15)
    _observed(
        chart, visit, VITAL_SIGNS, measures.BLOOD_PRESSURE, "component",
        [
            {"code": measures.SYSTOLIC.code, "valueQuantity": measures.SYSTOLIC.quantity(systolic)},
            {"code": measures.DIASTOLIC.code, "valueQuantity": measures.DIASTOLIC.quantity(diastolic)},
        ],
    )  # fmt: skip


def _pulse(chart: Chart, body: Body, age: float, heat: float) -> float:
    return body.pulse + max(12 - age, 0) * 3.5 + heat * 9 + chart.chance.normal(0, 4)


def _measured(chart: Chart, visit: Visit, measure: Measure, value: float) -> None:
    _observed(chart, visit, VITAL_SIGNS, measure.code, "valueQuantity", measure.quantity(value))


def _observed(
    chart: Chart, visit: Visit, category: list[Concept], code: Concept, element: str, value: Any
) -> None:
    id_ = chart.chance.uuid()
    resource: dict[str, Any] = {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "category": category,
        "code": code,
        "subject": chart.subject,
    }
    if visit.reference:
        resource["encounter"] = visit.reference
    resource["effectiveDateTime"] = visit.at
    resource["issued"] = visit.issued
    resource["performer"] = visit.performer
    resource[element] = value
    chart.resources.append(resource)

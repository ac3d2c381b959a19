"""Laboratory panels: correlated results, each an Observation, grouped by a DiagnosticReport.

https://hl7.org/fhir/R4/diagnosticreport.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fhirserver.demo import measures as m
from fhirserver.demo.chance import Chance
from fhirserver.demo.chart import Chart, Visit
from fhirserver.demo.concepts import INTERPRETATION, LABORATORY, Concept, loinc, status
from fhirserver.demo.measures import Measure
from fhirserver.demo.vitals import Body

Results = list[tuple[Measure, float]]

_REPORT_CATEGORY = [status("v2-0074", "LAB", "Laboratory")]


def _glucose(chance: Chance, body: Body, visit: Visit) -> Results:
    mean = 6.9 if body.has("diabetes", visit.start) else 5.3
    a1c = max(chance.normal(mean, 0.45 if mean < 6 else 0.8), 4.2)
    fasting = max(28.7 * a1c - 46.7 - 14 + chance.normal(0, 8), 62)
    return [(m.A1C, a1c), (m.GLUCOSE, fasting)]


def filtration(creatinine: float, age: float, female: bool) -> float:
    """Estimated filtration rate in mL/min/1.73 m2 by the CKD-EPI equation of 2021."""
    kappa, alpha = (0.7, -0.241) if female else (0.9, -0.302)
    ratio = creatinine / kappa
    rate = 142 * min(ratio, 1.0) ** alpha * max(ratio, 1.0) ** -1.2 * 0.9938**age
    return rate * 1.012 if female else rate


def _metabolic(chance: Chance, body: Body, visit: Visit) -> Results:
    female = body.person.gender == "female"
    age = body.person.age(visit.start.date())
    ill = body.has("kidney", visit.start)
    creatinine = max(chance.normal((1.5 if ill else 0.85) + (0 if female else 0.12), 0.12), 0.35)
    sodium = chance.normal(140, 2)
    results: Results = [
        (m.SODIUM, sodium),
        (m.POTASSIUM, chance.normal(4.5 if ill else 4.2, 0.3)),
        (m.CHLORIDE, sodium - 37.5 + chance.normal(0, 1.5)),
        (m.BICARBONATE, chance.normal(22 if ill else 25, 1.5)),
        (m.UREA, creatinine * 14.5 + chance.normal(0, 2)),
        (m.CREATININE, creatinine),
        (m.CALCIUM, chance.normal(9.4, 0.3)),
    ]
    if age >= 18:
        results.append((m.EGFR, min(filtration(creatinine, age, female), 130)))
    return results


def _lipid(chance: Chance, body: Body, visit: Visit) -> Results:
    onset = body.diseases.get("lipids")
    raised = 0.0
    if onset is not None and onset <= visit.start:
        raised = 55 - 45 * min((visit.start - onset).days / 365, 1.0)
    low = max(chance.normal(108 + raised, 14), 45)
    high = max(chance.normal(58 if body.person.gender == "female" else 48, 8), 25)
    fats = max(chance.normal(105 + raised * 0.9 + (body.body_mass - 24) * 5, 25), 40)
    return [(m.CHOLESTEROL, low + high + fats / 5), (m.TRIGLYCERIDE, fats), (m.HDL, high), (m.LDL, low)]


def _count(chance: Chance, body: Body, visit: Visit) -> Results:
    mean = 13.4 if body.person.gender == "female" else 15.0
    if body.has("anemia", visit.start):
        mean -= 3.0
    hemoglobin = chance.normal(mean, 0.6)
    cell_volume = chance.normal(78 if body.has("anemia", visit.start) else 90, 3)
    hematocrit = hemoglobin * 3 + chance.normal(0, 0.6)
    cells = hematocrit * 10 / cell_volume
    return [
        (m.HEMOGLOBIN, hemoglobin),
        (m.HEMATOCRIT, hematocrit),
        (m.ERYTHROCYTES, cells),
        (m.CELL_VOLUME, cell_volume),
        (m.CELL_HEMOGLOBIN, hemoglobin * 10 / cells),
        (m.LEUKOCYTES, chance.normal(13.0 if visit.fever else 7.0, 1.6)),
        (m.PLATELETS, chance.normal(250, 45)),
    ]


def _liver(chance: Chance, body: Body, visit: Visit) -> Results:
    alanine = max(chance.normal(26 + (body.body_mass - 24) * 1.5, 8), 6)
    return [
        (m.ALT, alanine),
        (m.AST, max(alanine * 0.8 + chance.normal(3, 3), 8)),
        (m.BILIRUBIN, max(chance.normal(0.7, 0.25), 0.2)),
    ]


def _thyroid(chance: Chance, body: Body, visit: Visit) -> Results:
    onset = body.diseases.get("thyroid")
    untreated = onset is not None and 0 <= (visit.start - onset).days < 120
    stimulating = max(chance.normal(8.5, 1.5) if untreated else chance.normal(2.1, 0.6), 0.2)
    return [(m.THYROTROPIN, stimulating), (m.THYROXINE, max(1.5 - stimulating * 0.09, 0.4))]


def _albumin(chance: Chance, body: Body, visit: Visit) -> Results:
    return [(m.ALBUMIN_RATIO, max(chance.normal(120, 45), 5))]


def _inflammation(chance: Chance, body: Body, visit: Visit) -> Results:
    return [(m.REACTIVE_PROTEIN, max(chance.normal(64 if visit.fever else 3, 18), 0.3))]


_PANELS: dict[str, tuple[Concept, Callable[[Chance, Body, Visit], Results]]] = {
    "glucose": (loinc("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood"), _glucose),
    "metabolic": (loinc("51990-0", "Basic metabolic panel - Blood"), _metabolic),
    "lipid": (loinc("24331-1", "Lipid 1996 panel - Serum or Plasma"), _lipid),
    "count": (loinc("58410-2", "CBC panel - Blood by Automated count"), _count),
    "liver": (loinc("24325-3", "Hepatic function 2000 panel - Serum or Plasma"), _liver),
    "thyroid": (loinc("3016-3", "Thyrotropin [Units/volume] in Serum or Plasma"), _thyroid),
    "albumin": (loinc("14959-1", "Microalbumin/Creatinine [Mass Ratio] in Urine"), _albumin),
    "inflammation": (loinc("1988-5", "C reactive protein [Mass/volume] in Serum or Plasma"), _inflammation),
}


def report(chart: Chart, body: Body, visit: Visit, panel: str) -> None:
    """Files the panel's Observations and the DiagnosticReport that refers to them."""
    code, draw = _PANELS[panel]
    references: list[dict[str, str]] = []
    unusual: list[str] = []
    for measure, value in draw(chart.chance, body, visit):
        finding = measure.interpret(value)
        if finding != "N":
            unusual.append(f"{measure.display} {'high' if finding == 'H' else 'low'}")
        references.append(_result(chart, visit, measure, value, finding))
    conclusion = "; ".join(unusual) if unusual else "All results within their reference ranges"
    chart.add(
        "DiagnosticReport",
        status="final",
        category=_REPORT_CATEGORY,
        code=code,
        subject=chart.subject,
        encounter=visit.reference,
        effectiveDateTime=visit.at,
        issued=visit.issued,
        performer=visit.performer,
        result=references,
        conclusion=conclusion,
    )


def _result(chart: Chart, visit: Visit, measure: Measure, value: float, finding: str) -> dict[str, str]:
    id_ = chart.chance.uuid()
    resource: dict[str, Any] = {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "category": LABORATORY,
        "code": measure.code,
        "subject": chart.subject,
        "encounter": visit.reference,
        "effectiveDateTime": visit.at,
        "issued": visit.issued,
        "performer": visit.performer,
        "valueQuantity": measure.quantity(value),
        "interpretation": INTERPRETATION[finding],
    }
    if measure.range:
        resource["referenceRange"] = measure.range
    chart.resources.append(resource)
    return chart.refer("Observation", id_, measure.display)

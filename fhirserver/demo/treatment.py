"""What is diagnosed and done: conditions, prescriptions, procedures, vaccines, allergies, plans."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from fhirserver.demo import concepts as c
from fhirserver.demo.chart import Chart, Visit
from fhirserver.demo.concepts import Concept, snomed, status
from fhirserver.demo.hospitals import Hospital
from fhirserver.demo.illnesses import Chronic, Medication
from fhirserver.demo.person import Person

_COMMUNITY = [status("medicationrequest-category", "community", "Community")]
_THERAPY = snomed("387713003", "Surgical procedure")
_ARM = snomed("368208006", "Left upper arm structure")
_INTRAMUSCULAR = snomed("78421000", "Intramuscular route")
_SEVERITY = (snomed("255604002", "Mild"), snomed("6736007", "Moderate"), snomed("24484000", "Severe"))
_REACTIONS = (
    (snomed("271807003", "Eruption of skin"), "mild"),
    (snomed("247472004", "Wheal"), "mild"),
    (snomed("267036007", "Dyspnea"), "moderate"),
    (snomed("39579001", "Anaphylaxis"), "severe"),
)
_ALLERGIES: tuple[tuple[Concept, str], ...] = (
    (snomed("91936005", "Allergy to penicillin"), "medication"),
    (snomed("91935009", "Allergy to peanuts"), "food"),
    (snomed("300913006", "Shellfish allergy"), "food"),
    (snomed("91930004", "Allergy to eggs"), "food"),
    (snomed("232350006", "House dust mite allergy"), "environment"),
    (snomed("232347008", "Dander (animal) allergy"), "environment"),
    (snomed("418689008", "Allergy to grass pollen"), "environment"),
    (snomed("419263009", "Allergy to tree pollen"), "environment"),
    (snomed("424213003", "Allergy to bee venom"), "environment"),
    (snomed("300916003", "Latex allergy"), "environment"),
)
_VACCINES: tuple[tuple[str, str, float, int], ...] = (
    ("08", "Hep B, adolescent or pediatric", 0.1, 1),
    ("20", "DTaP", 0.2, 1),
    ("10", "IPV", 0.2, 1),
    ("133", "Pneumococcal conjugate PCV 13", 0.2, 1),
    ("49", "Hib (PRP-OMP)", 0.2, 1),
    ("20", "DTaP", 0.4, 2),
    ("10", "IPV", 0.4, 2),
    ("133", "Pneumococcal conjugate PCV 13", 0.4, 2),
    ("03", "MMR", 1.0, 1),
    ("21", "varicella", 1.0, 1),
    ("83", "Hep A, ped/adol, 2 dose", 1.1, 1),
    ("20", "DTaP", 4.2, 3),
    ("03", "MMR", 4.2, 2),
    ("115", "Tdap", 11.3, 1),
    ("62", "HPV, quadrivalent", 11.4, 1),
    ("114", "meningococcal MCV4P", 11.5, 1),
    ("113", "Td (adult) preservative free", 21.5, 1),
    ("113", "Td (adult) preservative free", 31.5, 2),
    ("113", "Td (adult) preservative free", 41.5, 3),
    ("121", "zoster", 60.5, 1),
    ("33", "pneumococcal polysaccharide PPV23", 66.0, 1),
)
_INFLUENZA = c.concept(c.CVX, "140", "Influenza, seasonal, injectable, preservative free")


def condition(
    chart: Chart, visit: Visit, code: Concept, onset: datetime, abated: datetime | None, *, problem: bool
) -> dict[str, str]:
    """Files a Condition and returns a reference to it; an abated one is resolved."""
    id_ = chart.add(
        "Condition",
        clinicalStatus=c.CLINICAL["resolved" if abated else "active"],
        verificationStatus=c.CONFIRMED,
        category=c.PROBLEM if problem else c.DIAGNOSIS,
        severity=chart.chance.weighted(_SEVERITY, (5, 4, 1)),
        code=code,
        subject=chart.subject,
        encounter=visit.reference,
        onsetDateTime=onset.isoformat() if not problem else onset.date().isoformat(),
        abatementDateTime=abated.isoformat() if abated else None,
        recordedDate=visit.at,
        recorder=visit.performer[0],
    )
    return chart.refer("Condition", id_, code["text"])


def prescribe(
    chart: Chart, visit: Visit, drug: Medication, reason: dict[str, str], days: int, *, active: bool
) -> None:
    """Files a MedicationRequest: https://hl7.org/fhir/R4/medicationrequest.html."""
    each = {"value": drug.amount, "unit": drug.unit, "system": c.UCUM, "code": f"{{{drug.unit}}}"}
    times = "once" if drug.frequency == 1 else f"{drug.frequency} times"
    dosage: dict[str, Any] = {
        "sequence": 1,
        "text": f"{drug.amount} {drug.unit} {times} daily{' as needed' if drug.as_needed else ''}",
        "timing": {"repeat": {"frequency": drug.frequency, "period": Decimal("1.0"), "periodUnit": "d"}},
        "asNeededBoolean": drug.as_needed,
        "route": drug.route,
        "doseAndRate": [{"type": status("dose-rate-type", "ordered", "Ordered"), "doseQuantity": each}],
    }
    total = drug.frequency * drug.amount * min(days, 90)
    chart.add(
        "MedicationRequest",
        identifier=[{"system": c.OWN + "prescription", "value": f"RX{chart.chance.below(10**9):09d}"}],
        status="active" if active else "completed",
        intent="order",
        category=_COMMUNITY,
        medicationCodeableConcept=drug.code,
        subject=chart.subject,
        encounter=visit.reference,
        authoredOn=visit.at,
        requester=visit.performer[0],
        reasonReference=[reason],
        dosageInstruction=[dosage],
        dispenseRequest={
            "validityPeriod": {
                "start": visit.start.date().isoformat(),
                "end": (visit.start + timedelta(days=days)).date().isoformat(),
            },
            "numberOfRepeatsAllowed": 3 if days > 90 else 0,
            "quantity": {**each, "value": total},
            "expectedSupplyDuration": c.quantity(min(days, 90), "days", "d"),
        },
    )


def perform(
    chart: Chart, visit: Visit, code: Concept, place: dict[str, str], reason: dict[str, str] | None
) -> None:
    """Files a completed Procedure: https://hl7.org/fhir/R4/procedure.html."""
    begun = visit.start + timedelta(minutes=15)
    done = begun + timedelta(minutes=10 + chart.chance.below(50))
    chart.add(
        "Procedure",
        status="completed",
        category=_THERAPY if visit.kind == "inpatient" else None,
        code=code,
        subject=chart.subject,
        encounter=visit.reference,
        performedPeriod={"start": begun.isoformat(), "end": done.isoformat()},
        performer=[{"actor": visit.performer[0]}],
        location=place,
        reasonReference=[reason] if reason else None,
    )


def vaccinate(chart: Chart, person: Person, visit: Visit, previous: date, place: dict[str, str]) -> None:
    """Files the Immunizations that fell due since the previous check-up, and most years influenza."""
    before, now = person.age(previous), person.age(visit.start.date())
    for code, display, due, dose in _VACCINES:
        if before < due <= now:
            _immunize(chart, visit, c.concept(c.CVX, code, display), dose, place)
    if now > 0.5 and chart.chance.hit(0.55):
        _immunize(chart, visit, _INFLUENZA, 1, place)


def _immunize(chart: Chart, visit: Visit, vaccine: Concept, dose: int, place: dict[str, str]) -> None:
    chance = chart.chance
    chart.add(
        "Immunization",
        status="completed",
        vaccineCode=vaccine,
        patient=chart.subject,
        encounter=visit.reference,
        occurrenceDateTime=visit.at,
        recorded=visit.at,
        primarySource=True,
        location=place,
        lotNumber=f"{chance.pick('ABCDEFGHKL')}{chance.below(10**5):05d}",
        expirationDate=(visit.start + timedelta(days=200 + chance.below(400))).date().isoformat(),
        site=_ARM,
        route=_INTRAMUSCULAR,
        doseQuantity=c.quantity(Decimal("0.5"), "mL", "mL"),
        performer=[{"actor": visit.performer[0]}],
        protocolApplied=[{"doseNumberPositiveInt": dose}],
    )


def allergies(chart: Chart, person: Person, visit: Visit) -> None:
    """Files the AllergyIntolerances: most people have none, some one or two."""
    chance = chart.chance
    first = chance.below(len(_ALLERGIES))
    for number in range(chance.weighted((0, 1, 2), (70, 22, 8))):
        code, category = _ALLERGIES[(first + number * 3) % len(_ALLERGIES)]
        manifestation, severity = chance.weighted(_REACTIONS, (5, 4, 3, 1))
        onset = person.born + timedelta(days=int(person.age(visit.start.date()) * 365 * chance.random()))
        chart.add(
            "AllergyIntolerance",
            clinicalStatus=status("allergyintolerance-clinical", "active", "Active"),
            verificationStatus=status("allergyintolerance-verification", "confirmed", "Confirmed"),
            type="allergy",
            category=[category],
            criticality="high" if severity == "severe" else "low",
            code=code,
            patient=chart.subject,
            encounter=visit.reference,
            onsetDateTime=onset.isoformat()[:7],
            recordedDate=visit.at,
            recorder=visit.performer[0],
            reaction=[{"manifestation": [manifestation], "severity": severity}],
        )


def plan(chart: Chart, visit: Visit, disease: Chronic, reason: dict[str, str], hospital: Hospital) -> None:
    """Files CareTeam, Goal and CarePlan for a lasting disease: https://hl7.org/fhir/R4/careplan.html."""
    began = visit.start.date().isoformat()
    title = f"{disease.code['text']} management plan"
    organization = chart.share(hospital.organization, hospital.name)
    team = chart.add(
        "CareTeam",
        status="active",
        name=f"{disease.code['text']} care team",
        subject=chart.subject,
        encounter=visit.reference,
        period={"start": began},
        participant=[
            {"role": [snomed("116154003", "Patient")], "member": chart.subject},
            {
                "role": [snomed("223366009", "Healthcare professional")],
                "member": visit.performer[0],
                "onBehalfOf": organization,
            },
        ],
        reasonReference=[reason],
        managingOrganization=[organization],
    )
    goal = chart.add(
        "Goal",
        lifecycleStatus="active",
        achievementStatus=status("goal-achievement", "in-progress", "In Progress"),
        description={"text": disease.goal},
        subject=chart.subject,
        startDate=began,
        expressedBy=visit.performer[0],
        addresses=[reason],
    )
    chart.add(
        "CarePlan",
        status="active",
        intent="plan",
        category=[snomed("734163000", "Care plan")],
        title=title,
        subject=chart.subject,
        encounter=visit.reference,
        period={"start": began},
        created=visit.at,
        author=visit.performer[0],
        careTeam=[chart.refer("CareTeam", team)],
        addresses=[reason],
        goal=[chart.refer("Goal", goal)],
        activity=[
            {"detail": {"code": activity, "status": "in-progress", "location": place}}
            for activity in disease.activities
            for place in (chart.share(hospital.places["clinic"], hospital.places["clinic"]["name"]),)
        ]
        or None,
    )

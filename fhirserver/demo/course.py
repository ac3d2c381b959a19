"""The course of one invented life: which diseases come, which visits follow, what each leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any

from fhirserver.demo import documents, laboratory, treatment, vitals
from fhirserver.demo.chance import Chance
from fhirserver.demo.chart import Chart, Link, Visit
from fhirserver.demo.concepts import ACT_CODE, OWN, Concept, coding, snomed, status
from fhirserver.demo.hospitals import Hospital, hospitals
from fhirserver.demo.illnesses import ACUTE, CHRONIC, Acute, Chronic
from fhirserver.demo.person import Person, draw, register
from fhirserver.demo.vitals import Body, body

_CLASS = {
    "AMB": coding(ACT_CODE, "AMB", "ambulatory"),
    "EMER": coding(ACT_CODE, "EMER", "emergency"),
    "IMP": coding(ACT_CODE, "IMP", "inpatient encounter"),
}
_KINDS: dict[str, tuple[str, Concept, str, str]] = {
    "wellness": ("AMB", snomed("162673000", "General examination of patient"), "clinic", "General practice"),
    "follow-up": ("AMB", snomed("390906007", "Follow-up encounter"), "clinic", "General practice"),
    "acute": ("AMB", snomed("185345009", "Encounter for symptom"), "clinic", "General practice"),
    "emergency": ("EMER", snomed("50849002", "Emergency room admission"), "emergency", "Emergency medicine"),
    "inpatient": ("IMP", snomed("32485007", "Hospital admission"), "ward", "General medicine"),
}
_SPECIALISTS = {
    "heart-failure": "Cardiology", "hypertension": "Cardiology", "diabetes": "Endocrinology",
    "thyroid": "Endocrinology", "asthma": "Pulmonary medicine", "obstruction": "Pulmonary medicine",
}  # fmt: skip
_WELL_CHILD = snomed("410620009", "Well child visit")
_PRIMARY = [
    {
        "coding": [
            {
                "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType",
                "code": "PPRF",
                "display": "primary performer",
            }
        ]
    }
]
_ADMISSION = status("diagnosis-role", "AD", "Admission diagnosis")
_HOME = status("discharge-disposition", "home", "Home")
_REVIEW = snomed("430193006", "Medication reconciliation")


@dataclass(slots=True)
class Life:
    """Everything that the visits of one patient share."""

    chart: Chart
    person: Person
    hospital: Hospital
    body: Body
    first_day: date
    diseases: list[tuple[Chronic, datetime]]
    problems: dict[str, dict[str, str]] = field(default_factory=dict)


def live(seed: int, index: int, link: Link, scale: float) -> Chart:
    """The complete chart of the patient with this number."""
    chance = Chance(f"patient/{seed}/{index}")
    all_hospitals = hospitals(seed, link)
    hospital = all_hospitals[chance.below(len(all_hospitals))]
    person = draw(chance)
    chart = Chart(chance, link, scale)
    register(chart, person, hospital, f"D{seed}-{index:07d}")
    diseases = _diseases(chance, person)
    years = min(person.age(person.last_day), 3 + 4.5 * chance.random())
    first_day = max(person.last_day - timedelta(days=int(years * 365.25)), person.born + timedelta(days=3))
    onsets = {disease.key: onset for disease, onset in diseases}
    life = Life(chart, person, hospital, body(chart, person, onsets), first_day, diseases)
    visits = _visits(life)
    previous = person.born
    for number, (visit, illness) in enumerate(visits):
        _attend(life, visit, illness, previous, first=number == 0)
        if visit.kind == "wellness":
            previous = visit.start.date()
    _monitor(life, visits)
    return chart


def _diseases(chance: Chance, person: Person) -> list[tuple[Chronic, datetime]]:
    age = person.age(person.last_day)
    found: list[tuple[Chronic, datetime]] = []
    for disease in CHRONIC:
        share = (age - disease.typical_age + 20) / 20
        if share > 0 and chance.hit(min(share, 1.3) * disease.chance):
            onset_age = max(disease.typical_age - 15, 1) + (age - max(disease.typical_age - 15, 1)) * max(
                chance.random(), 0.2
            )
            day = person.born + timedelta(days=int(min(onset_age, age) * 365.25))
            found.append((disease, datetime.combine(day, time(9), person.culture.zone)))
    return found


def _moment(life: Life, day: date) -> datetime:
    chance = life.chart.chance
    hour, minute, second = 8 + chance.below(9), chance.below(12) * 5, chance.below(60)
    return datetime.combine(day, time(hour, minute, second), life.person.culture.zone)


def _visits(life: Life) -> list[tuple[Visit, Acute | None]]:
    """Plans the visits in the order of time; there is at least one."""
    chance = life.chart.chance
    last = life.person.last_day - timedelta(days=1)
    visits: list[tuple[Visit, Acute | None]] = []
    day = life.first_day
    while day <= last:
        start = _moment(life, day)
        visits.append((Visit(start, start + timedelta(minutes=30), "wellness"), None))
        age = life.person.age(day)
        day += timedelta(days=(75 if age < 1 else 180 if age < 3 else 365) + chance.below(40))
    for _ in range(int((last - life.first_day).days / 365 * chance.between(0.3, 1.1))):
        illness = _illness(chance, life.person.age(last))
        visits.append((_ill(life, illness, _some_day(life, last)), illness))
    if life.diseases:
        for _ in range(int((last - life.first_day).days / 365 * min(len(life.diseases) * 0.45, 1.6))):
            start = _moment(life, _some_day(life, last))
            visits.append((Visit(start, start + timedelta(minutes=20), "follow-up"), None))
    visits.sort(key=lambda planned: planned[0].start)
    return visits


def _some_day(life: Life, last: date) -> date:
    return life.first_day + timedelta(days=life.chart.chance.below((last - life.first_day).days + 1))


def _illness(chance: Chance, age: float) -> Acute:
    possible = [illness for illness in ACUTE if illness.ages[0] <= age <= illness.ages[1]]
    return chance.weighted(possible, [illness.weight for illness in possible])


def _ill(life: Life, illness: Acute, day: date) -> Visit:
    chance = life.chart.chance
    start = _moment(life, day)
    match illness.setting:
        case "AMB":
            kind, length = "acute", timedelta(minutes=15 + chance.below(4) * 5)
        case "EMER":
            kind, length = "emergency", timedelta(minutes=60 + chance.below(180))
        case _:
            kind, length = "inpatient", timedelta(days=2 + chance.below(6), hours=chance.below(6))
    end = min(start + length, life.person.died) if life.person.died else start + length
    return Visit(start, end, kind, fever=chance.hit(illness.fever))


def _attend(life: Life, visit: Visit, illness: Acute | None, previous: date, *, first: bool) -> None:
    """Files what one visit leaves behind, the Encounter first."""
    chart, chance = life.chart, life.chart.chance
    due = [
        (disease, onset)
        for disease, onset in life.diseases
        if disease.key not in life.problems and onset <= visit.start
    ]
    encounter = _meet(life, visit)
    place = encounter["location"][0]["location"]
    vitals.record(chart, life.body, visit)
    if first:
        treatment.allergies(chart, life.person, visit)
    for disease, onset in due:
        _begin(life, visit, disease, onset, place)
    if illness is not None:
        encounter["diagnosis"] = [_diagnose(life, visit, illness, place)]
        encounter["reasonCode"] = [illness.code]
    if visit.kind == "follow-up":
        known = [disease for disease, _ in life.diseases if disease.key in life.problems]
        if known:
            _review(life, visit, chance.pick(known), place, encounter)
    if visit.kind == "wellness":
        _check_up(life, visit, previous, place)
    if visit.kind in ("emergency", "inpatient") or chance.hit(0.12):
        reason = encounter["reasonCode"][0] if "reasonCode" in encounter else encounter["type"][0]
        documents.letter(chart, life.person, visit, life.hospital, reason["text"])


def _meet(life: Life, visit: Visit) -> dict[str, Any]:
    chart, hospital = life.chart, life.hospital
    setting, kind, place_name, specialty = _KINDS[visit.kind]
    if visit.kind == "wellness" and life.person.age(visit.start.date()) < 18:
        kind = _WELL_CHILD
    if visit.kind == "follow-up" and life.diseases:
        specialty = _SPECIALISTS.get(life.diseases[0][0].key, specialty)
    doctor = hospital.doctor(specialty)
    performer = chart.share(doctor.practitioner, doctor.name)
    chart.share(hospital.places["clinic"], hospital.places["clinic"]["name"])
    chart.share(doctor.role, doctor.name)
    place = hospital.places[place_name]
    period = {"start": visit.start.isoformat(), "end": visit.end.isoformat()}
    id_ = chart.add(
        "Encounter",
        **{"class": _CLASS[setting]},
        identifier=[
            {"use": "official", "system": OWN + "visit", "value": f"V{chart.chance.below(10**9):09d}"}
        ],
        status="finished",
        type=[kind],
        subject=chart.subject,
        participant=[{"type": _PRIMARY, "period": period, "individual": performer}],
        period=period,
        hospitalization={"dischargeDisposition": _HOME} if visit.kind == "inpatient" else None,
        location=[{"location": chart.share(place, place["name"]), "status": "completed"}],
        serviceProvider=chart.share(hospital.organization, hospital.name),
    )
    encounter = chart.resources[-1]
    visit.open(id_, chart.refer("Encounter", id_), performer)
    return encounter


def _begin(life: Life, visit: Visit, disease: Chronic, onset: datetime, place: dict[str, str]) -> None:
    """A lasting disease enters the record: condition, drugs, examination, plan."""
    chart, chance = life.chart, life.chart.chance
    problem = treatment.condition(chart, visit, disease.code, onset, None, problem=True)
    life.problems[disease.key] = problem
    count = 1 + chance.below(min(len(disease.medications), 2)) if disease.medications else 0
    for drug in disease.medications[:count]:
        treatment.prescribe(chart, visit, drug, problem, 365, active=life.person.died is None)
    for procedure in disease.procedures[:1]:
        treatment.perform(chart, visit, procedure, place, problem)
    if disease.activities and chance.hit(0.6):
        treatment.plan(chart, visit, disease, problem, life.hospital)


def _diagnose(life: Life, visit: Visit, illness: Acute, place: dict[str, str]) -> dict[str, Any]:
    """A passing illness: condition, treatment, tests; returns the entry for Encounter.diagnosis."""
    chart = life.chart
    healed = visit.end + timedelta(days=illness.days)
    over = healed.date() <= life.person.last_day
    problem = treatment.condition(
        chart, visit, illness.code, visit.start - timedelta(days=1), healed if over else None, problem=False
    )
    if illness.medication:
        treatment.prescribe(chart, visit, illness.medication, problem, illness.days, active=not over)
    if illness.procedure:
        treatment.perform(chart, visit, illness.procedure, place, problem)
    for panel in illness.panels:
        _test(life, visit, panel)
    return {"condition": problem, "use": _ADMISSION, "rank": 1}


def _review(
    life: Life, visit: Visit, disease: Chronic, place: dict[str, str], encounter: dict[str, Any]
) -> None:
    """A follow-up of a lasting disease: its tests, its examination, a renewed prescription."""
    chart, chance = life.chart, life.chart.chance
    problem = life.problems[disease.key]
    encounter["reasonCode"] = [disease.code]
    encounter["reasonReference"] = [problem]
    for panel in disease.panels:
        _test(life, visit, panel)
    if disease.procedures and chance.hit(0.5):
        treatment.perform(chart, visit, chance.pick(disease.procedures), place, problem)
    if disease.medications and chance.hit(0.5):
        treatment.prescribe(chart, visit, disease.medications[0], problem, 180, active=False)


def _check_up(life: Life, visit: Visit, previous: date, place: dict[str, str]) -> None:
    """A yearly examination: vaccines, and for adults a round of tests."""
    chart, chance = life.chart, life.chart.chance
    age = life.person.age(visit.start.date())
    treatment.vaccinate(chart, life.person, visit, max(previous, visit.start.date() - timedelta(1100)), place)
    if age >= 18:
        if chance.hit(0.22):
            _test(life, visit, "lipid")
        if chance.hit(0.22):
            _test(life, visit, "metabolic")
        if age >= 40 and chance.hit(0.25):
            _test(life, visit, "glucose")
        if chance.hit(0.3):
            treatment.perform(chart, visit, _REVIEW, place, None)
    if chance.hit(0.15):
        _test(life, visit, "count")


def _test(life: Life, visit: Visit, panel: str) -> None:
    chart = life.chart
    if chart.scale >= 1 or chart.chance.hit(chart.scale):
        laboratory.report(chart, life.body, visit, panel)


def _monitor(life: Life, visits: list[tuple[Visit, Acute | None]]) -> None:
    """Adds measurements taken at home until the wanted multiple of observations is reached."""
    chart = life.chart
    if chart.scale <= 1 or not visits:
        return
    present = sum(resource["resourceType"] == "Observation" for resource in chart.resources)
    extra = round(present * (chart.scale - 1))
    vitals.at_home(chart, life.body, visits[0][0].start, visits[-1][0].start, extra)

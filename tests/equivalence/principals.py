"""Callers of every sort, drawn: patients, relatives, practitioners by role or care team, researchers and
services, with scopes of both versions, with and without constraints."""

from __future__ import annotations

from random import Random

from fhirserver.policy.roles import DEFAULTS
from tests.equivalence.hospital import PATIENTS, PEOPLE
from tests.equivalence.predicate import Caller
from tests.equivalence.twin import ROLES

ALL = {**DEFAULTS, **ROLES}
ACTIONS = ("rs", "rs", "rs", "cruds", "r", "s", "read", "*", "crus")
TYPES = ("*", "*", "*", "Observation", "Observation", "Patient", "Condition", "DiagnosticReport", "Device")
TYPES += (
    "CareTeam",
    "Encounter",
    "Organization",
    "MedicationRequest",
    "Group",
    "List",
    "Person",
    "Appointment",
)
_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
PARAMS = {
    "Observation": (
        *("category=laboratory", f"category={_CATEGORY}|vital-signs", "category=laboratory,survey"),
        *(
            "status=final",
            "code=http://loinc.org|8480-6",
            "combo-code=x1",
            "subject=Patient/anna",
            "date=ge2020",
        ),
        *(
            "category=laboratory&status=final",
            "_security=N",
            "code=|x1",
            "performer=Practitioner/d1",
            "date=ne2019",
        ),
        *(
            "identifier=urn:obs|1",
            "patient=bert",
            "status=final&category=laboratory",
            "code=x1&status=amended",
        ),
        *(
            "_security=N&category=survey,laboratory",
            "category=laboratory&date=ge2020",
            "combo-code=x1&status=final",
        ),
    ),
    "Condition": (
        "code=x1",
        "clinical-status=active&code=x1",
        "clinical-status=active",
        "encounter=Encounter/a0",
        "onset-date=lt2021",
    ),
    "Patient": (
        "active=true",
        "active=true&gender=female",
        "birthdate=ge1980",
        "family=Meyer",
        "gender=female",
        "birthdate=ne1990-01-31",
    ),
    "*": ("_security=R", "_tag=urn:tag|t1", "category=laboratory", "_id=a1,anna,b3", "status=active"),
    "DiagnosticReport": ("category=laboratory", "status=final"),
    "MedicationRequest": ("status=active", "intent=order"),
    "Encounter": ("class=AMB", "status=finished", "class=AMB&status=finished"),
}


def callers(pick: Random, count: int) -> list[Caller]:
    return [_caller(pick, number) for number in range(count)]


def scope(pick: Random, context: str) -> str:
    type_, actions = pick.choice(TYPES), pick.choice(ACTIONS)
    text = f"{context}/{type_}.{actions}"
    if actions not in ("read", "*") and type_ in PARAMS and pick.random() < 0.5:
        text += f"?{pick.choice(PARAMS[type_])}"
    return text


def _scopes(pick: Random, *contexts: str) -> tuple[str, ...]:
    found = [scope(pick, pick.choice(contexts)) for _ in range(pick.choice((1, 1, 2, 3)))]
    if pick.random() < 0.7:
        found.insert(0, f"{contexts[0]}/*.{pick.choice(('rs', 'cruds'))}")
    return tuple(dict.fromkeys(found))


def _named(*names: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((name, ALL[name]) for name in names)


def _caller(pick: Random, number: int) -> Caller:
    """The kinds in turn, so that few callers are of all kinds."""
    patient = pick.choice(PATIENTS)
    match number % 8:
        case 0:
            roles = _named(pick.choice(("patient", "owner")))
            return Caller(_scopes(pick, "patient", "user"), ("Patient", patient), patient, (patient,), roles)
        case 1:
            own = tuple(pick.sample(PATIENTS, pick.choice((1, 2))))
            return Caller(
                _scopes(pick, "patient", "user"),
                ("RelatedPerson", "r0"),
                own[0],
                own,
                _named("related-person"),
            )
        case 2 | 3:
            names = pick.sample(
                ("practitioner", "nurse", "registrar", "administrator", "laboratory", "registrar-lite"),
                pick.choice((1, 1, 2)),
            )
            context = pick.choice((None, patient))
            return Caller(
                _scopes(pick, "user", "patient"),
                ("Practitioner", pick.choice(PEOPLE)),
                context,
                (),
                _named(*names),
            )
        case 4 | 5:
            names = pick.choice((("ward",), ("ward-reader",), ("ward", "researcher")))
            context = pick.choice((None, None, patient))
            user = pick.choice((*(("Practitioner", one) for one in PEOPLE), ("PractitionerRole", "a0")))
            scopes = (*(("user/*.rs",) if pick.random() < 0.5 else ()), *_scopes(pick, "user", "patient"))
            return Caller(tuple(dict.fromkeys(scopes)), user, context, (), _named(*names))
        case 6:
            return Caller(_scopes(pick, "system"))
        case _:
            odd = pick.choice(
                (
                    Caller(_scopes(pick, "user"), ("Practitioner", "d1"), None, (), _named("researcher")),
                    Caller(
                        _scopes(pick, "user", "system"),
                        ("Practitioner", "d1"),
                        None,
                        (),
                        _named("practitioner"),
                    ),
                    Caller(
                        _scopes(pick, "patient"), ("Practitioner", "d2"), None, (), _named("practitioner")
                    ),
                    Caller(_scopes(pick, "user"), None, None, (), _named("administrator")),
                    Caller(("patient/*.rs",), ("Patient", patient), "bert", (patient,), _named("patient")),
                )
            )
            return odd


def writers(pick: Random, count: int) -> list[Caller]:
    """Callers that may write: in turn those who may write whatever they may see, and any."""
    return [_writer(pick, number) if number % 2 == 0 else _caller(pick, number) for number in range(count)]


def _writer(pick: Random, number: int) -> Caller:
    """Every letter in every scope and role, within a place or constraints."""
    patient, who = pick.choice(PATIENTS), ("Practitioner", pick.choice(PEOPLE))
    narrow = pick.choice(("", "", "?_security=R", "?_tag=urn:tag|t1"))
    match number // 2 % 4:
        case 0:
            return Caller(("patient/*.cruds",), ("Patient", patient), patient, (patient,), _named("owner"))
        case 1:
            return Caller((f"user/*.cruds{narrow}",), who, None, (), _named("ward"))
        case 2:
            some = pick.choice(PARAMS["Observation"])
            return Caller((f"system/Observation.cruds?{some}", "system/Condition.*", "system/CareTeam.cruds"))
        case _:
            roles = _named("administrator")
            return Caller((f"patient/*.cruds{narrow}", "user/Appointment.cruds"), who, patient, (), roles)

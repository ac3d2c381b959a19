"""Values of the data types, near the boundaries that searches have.

https://hl7.org/fhir/R4/datatypes.html
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any

UCUM = "http://unitsofmeasure.org"
TREE = "http://oracle.example/fhir/CodeSystem/tree"
"""A code system with a hierarchy; tests/oracle/population.py defines it."""
EXTENSION = {"url": "http://oracle.example/absent", "valueCode": "unknown"}
SYSTEMS = (TREE, TREE, "urn:oid:1.2.3", "http://oracle.example/other")
TREE_CODES = ("root", "a", "a1", "a1x", "a2", "b", "b1")
CODES = (*TREE_CODES, "A1", "x|y", "q,r", "$1", "back\\slash", "ß", "8480-6", "two words")
WORDS = (
    "Müller", "muller", "MULLER", "Mull", "straße", "Strasse", "van  den Berg", "den", "100%", "a_b",
    "D'Angelo", "D’Angelo", "Saint-Exupéry", "Carreno Quinones", "Łukasz", "Østergård", "Ærø", "J. R.",
    "García-López y Vega", "Ångström", "Angstrom", "ﬁn", "İstanbul", "日本", "O'Neil", "naïve", "tab\tbed",
    "x" * 300, "e\u0301te\u0301", "(bracket)", "Zürich;Bern", "a,b", "C$", "back\\slash", "ÑANDÚ",
    "Δelta", "Привет", "1,000",
)  # fmt: skip
URIS = (
    "http://uri.example/fhir", "http://uri.example/fhir/", "http://uri.example/fhir/a",
    "http://uri.example/fhir/a/b", "http://uri.example/fhirx", "http://URI.example/fhir/a",
    "urn:oid:1.2.3.4.5", "urn:oid:1.2.3.4", "https://uri.example/fhir/a?x=1,2",
    "http://uri.example/fhir/a%20b", "urn:uuid:53fefa32-fcbb-4ff8-8a92-55ee120877b7",
)  # fmt: skip
DAYS = (
    "2019", "2020", "2020-01", "2020-02", "2020-02-29", "2020-03-01", "2020-03-08", "2020-12-31", "2021",
    "1950-05-05",
)  # fmt: skip
TIMES = (
    "2020-02-29T12:00:00Z", "2020-02-29T12:00:00+01:00", "2020-02-29T12:00:00.473Z",
    "2020-02-29T12:00:00.000Z", "2020-02-29T00:00:00-05:00", "2020-03-01T04:59:59.999Z",
    "2020-03-01T05:00:00Z", "2020-12-31T23:59:59-05:00", "2021-01-01T05:00:00Z", "2021-01-01T00:00:00Z",
    "1950-05-05T23:30:00+14:00", "2020-03-08T07:00:00Z",
)  # fmt: skip
NUMBERS = (
    "0", "1", "1.0", "2", "2.0", "1.95", "2.05", "5.4", "5.40", "100", "95", "105", "-3", "0.001", "1000",
    "99.5", "0.0054", "100.5", "0.95", "123456789.123456789",
)  # fmt: skip
UNITS = (
    "g", "mg", "kg", "ug", "m", "cm", "[in_i]", "mm[Hg]", "a", "wk", "d", "h", "min", "mol/L", "mmol/L",
    "%", "1",
)  # fmt: skip


def meta(pick: Random) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if pick.random() < 0.7:
        made["tag"] = [coding(pick) for _ in range(pick.randint(1, 2))]
    if pick.random() < 0.7:
        made["security"] = [coding(pick)]
    if pick.random() < 0.7:
        made["profile"] = [pick.choice(URIS[2:5]) + pick.choice(("", "|1.0", "|1.1"))]
    if pick.random() < 0.7:
        made["source"] = pick.choice(URIS)
    return made or {"source": URIS[0]}


def narrative(pick: Random) -> dict[str, Any]:
    words = " ".join(
        pick.choice(("liver", "bone", "metastases", "Leber", "naïve", "heart failure")) for _ in "123"
    )
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{words}</p></div>'}


def no_value(pick: Random) -> dict[str, Any]:
    """What stands beside a primitive that has extensions and no value."""
    return {"extension": [EXTENSION]}


def bound(pick: Random, kind: str, codes: dict[str, list[str]] | None) -> Any:
    """A code of a required value set; of those without a list one that belongs to any of them."""
    system, code = "urn:ietf:bcp:13", "text/plain"
    if codes:
        system = pick.choice(sorted(codes))
        code = pick.choice(codes[system])
    if kind == "code":
        return code
    made = {"system": system, "code": code}
    return made if kind == "Coding" else {"coding": [made]}


def coding(pick: Random) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if pick.random() < 0.75:
        made["system"] = pick.choice(SYSTEMS)
    if pick.random() < 0.9:
        made["code"] = pick.choice(CODES)
    if pick.random() < 0.4 or not made:
        made["display"] = pick.choice(WORDS)
    return made


def concept(pick: Random) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if count := pick.choice((0, 1, 1, 1, 2)):
        made["coding"] = [coding(pick) for _ in range(count)]
    if pick.random() < 0.5 or not made:
        made["text"] = pick.choice(WORDS)
    return made


def identifier(pick: Random) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if pick.random() < 0.5:
        made["type"] = concept(pick)
    if pick.random() < 0.7:
        made["system"] = pick.choice(SYSTEMS)
    if pick.random() < 0.9 or not made:
        made["value"] = pick.choice(("AB1", "ab1", "000123", "x|y", "q,r", "root", "1.2.3"))
    return made


def contact(pick: Random) -> dict[str, Any]:
    value = pick.choice(("+1 (555) 010-99", "5550100", "a@x.example", "A@x.example"))
    return {"system": pick.choice(("phone", "email", "fax", "phone", "email")), "value": value}


def name(pick: Random) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for part, many in (
        ("family", False),
        ("given", True),
        ("prefix", True),
        ("suffix", True),
        ("text", False),
    ):
        if pick.random() < 0.5:
            made[part] = (
                [pick.choice(WORDS) for _ in range(pick.randint(1, 2))] if many else pick.choice(WORDS)
            )
    return made or {"use": "official"}


def address(pick: Random) -> dict[str, Any]:
    made: dict[str, Any] = {"use": pick.choice(("home", "work", "temp"))}
    for part in ("city", "district", "state", "postalCode", "country", "text"):
        if pick.random() < 0.5:
            made[part] = pick.choice(WORDS)
    if pick.random() < 0.5:
        made["line"] = [pick.choice(WORDS) for _ in range(pick.randint(1, 2))]
    return made


def quantity(pick: Random) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if pick.random() < 0.95:
        made["value"] = Decimal(pick.choice(NUMBERS))
        if pick.random() < 0.2:
            made["comparator"] = pick.choice(("<", "<=", ">", ">="))
    return made | unit(pick)


def unit(pick: Random) -> dict[str, Any]:
    chosen = pick.choice(UNITS)
    match pick.randrange(6):
        case 0:
            return {"unit": pick.choice(("tablets", chosen))}
        case 1:
            return {"unit": "drops", "system": "urn:oid:1.2.3", "code": "gtt"}
        case 2:
            return {"code": chosen, "system": UCUM}
        case _:
            return {"unit": chosen, "code": chosen, "system": UCUM}


def simple(pick: Random) -> dict[str, Any]:
    """A Quantity without comparator, its value there: https://hl7.org/fhir/R4/datatypes.html#SimpleQuantity"""
    return {"value": Decimal(pick.choice(NUMBERS))} | unit(pick)


def range_(pick: Random) -> dict[str, Any]:
    """Low and high in one unit, or one of them."""
    low, high = sorted(Decimal(pick.choice(NUMBERS)) for _ in range(2))
    measure = unit(pick)
    made = {"low": {"value": low} | measure, "high": {"value": high} | measure}
    if pick.random() < 0.4:
        del made[pick.choice(("low", "high"))]
    return made


def duration(pick: Random) -> dict[str, Any]:
    code = pick.choice(("a", "mo", "wk", "d", "h", "min"))
    return {"value": Decimal(pick.choice(NUMBERS)), "unit": code, "system": UCUM, "code": code}


def money(pick: Random) -> dict[str, Any]:
    made: dict[str, Any] = {"value": Decimal(pick.choice(NUMBERS)), "currency": pick.choice(("EUR", "USD"))}
    if pick.random() < 0.2:
        del made["currency"]
    return made


def day(pick: Random) -> str:
    return pick.choice(DAYS)


def moment(pick: Random) -> str:
    return pick.choice(DAYS + TIMES)


def instant(pick: Random) -> str:
    return pick.choice(TIMES)


def period(pick: Random) -> dict[str, Any]:
    """Its start before its end; either may be missing."""
    from tests.oracle.ranges import moments

    start, end = sorted((moment(pick) for _ in range(2)), key=lambda text: moments(text)[0])
    made = {"start": start, "end": end}
    if pick.random() < 0.4:
        del made[pick.choice(("start", "end"))]
    return made


def timing(pick: Random) -> dict[str, Any]:
    """Events, bounds, or nothing but how often."""
    made: dict[str, Any] = {}
    if pick.random() < 0.5:
        made["event"] = [moment(pick) for _ in range(pick.randint(1, 3))]
    if pick.random() < 0.4:
        made["repeat"] = {"boundsPeriod": period(pick), "frequency": 1}
    return made or {"code": {"text": "twice a day"}}


def sampled(pick: Random) -> dict[str, Any]:
    return {"origin": simple(pick), "period": Decimal(10), "dimensions": 1, "data": "1 2 E"}


def usage(pick: Random) -> dict[str, Any]:
    made: dict[str, Any] = {"code": coding(pick)}
    choices: tuple[tuple[str, Callable[[Random], Any]], ...] = (
        ("valueCodeableConcept", concept),
        ("valueQuantity", quantity),
        ("valueRange", range_),
    )
    key, maker = pick.choice(choices)
    return made | {key: maker(pick)}


def attachment(pick: Random) -> dict[str, Any]:
    made: dict[str, Any] = {"contentType": pick.choice(("text/xml", "text/xml; charset=UTF-8", "image/png"))}
    if pick.random() < 0.6:
        made["url"] = pick.choice(URIS)
    if pick.random() < 0.6:
        made["creation"] = moment(pick)
    return made | {"language": pick.choice(("en", "en-US", "de"))}


def _texts(pick: Random) -> str:
    return pick.choice(WORDS)


def _whole(pick: Random) -> int:
    return pick.choice((1, 2, 3, 10, 95, 99, 100, 101, 105, 1000))


MAKERS: dict[str, Callable[[Random], Any]] = {
    "string": _texts,
    "markdown": _texts,
    "xhtml": lambda pick: narrative(pick)["div"],
    "uri": lambda pick: pick.choice(URIS),
    "url": lambda pick: pick.choice(URIS),
    "oid": lambda pick: "urn:oid:1.2.3.4.5",
    "uuid": lambda pick: URIS[-1],
    "id": lambda pick: pick.choice(("a-1", "A-1", "b.2")),
    "code": lambda pick: pick.choice(("en", "EN", "de", "a1", "text/plain")),
    "boolean": lambda pick: pick.random() < 0.5,
    "integer": _whole,
    "positiveInt": _whole,
    "unsignedInt": _whole,
    "decimal": lambda pick: Decimal(pick.choice(NUMBERS)),
    "date": day,
    "dateTime": moment,
    "instant": instant,
    "time": lambda pick: "12:00:00",
    "base64Binary": lambda pick: "AAAA",
    "Coding": coding,
    "CodeableConcept": concept,
    "Identifier": identifier,
    "ContactPoint": contact,
    "HumanName": name,
    "Address": address,
    "Quantity": quantity,
    "Range": range_,
    "Duration": duration,
    "Age": duration,
    "Count": lambda pick: {"value": Decimal(_whole(pick)), "system": UCUM, "code": "1"},
    "Distance": lambda pick: {"value": Decimal(3), "unit": "km", "system": UCUM, "code": "km"},
    "Money": money,
    "Ratio": lambda pick: {"numerator": simple(pick), "denominator": simple(pick)},
    "Period": period,
    "Timing": timing,
    "SampledData": sampled,
    "UsageContext": usage,
    "Attachment": attachment,
    "Narrative": narrative,
    "Extension": lambda pick: dict(EXTENSION),
    "Annotation": lambda pick: {"text": pick.choice(WORDS)},
    "Signature": lambda pick: {
        "type": [coding(pick)],
        "when": instant(pick),
        "who": {"display": "somebody"},
    },
    "Expression": lambda pick: {"language": "text/fhirpath", "expression": "true"},
    "Meta": meta,
}

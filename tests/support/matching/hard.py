"""Invented people who are hard to tell apart, or hard to recognise: seeded, the same every time.

Households of couples and children, with twins, and with children who are called like a parent; and second
records of some: with other spellings, names that changed places or were joined by marriage, 1 January for an
unknown day, another address.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from fhirserver.demo.names import CULTURES, Culture

SEED = 20_260
Person = tuple[str, dict[str, Any]]

TRANSLITERATED = (
    ("Mohammed", "Muhammad"), ("Youssef", "Yusuf"), ("Fatima", "Fatimah"), ("Ahmed", "Ahmad"),
    ("Hussein", "Husain"), ("Sergei", "Sergey"), ("Юлия", "Yulia"), ("Дмитрий", "Dmitry"),
    ("Алексей", "Aleksei"), ("Наталья", "Natalia"), ("Γιώργος", "Giorgos"), ("Ελένη", "Eleni"),
    ("Jürgen", "Juergen"), ("Zoë", "Zoe"), ("Łukasz", "Lukasz"),
)  # fmt: skip
TRANSLITERATED_FAMILIES = (
    ("Чайковский", "Tchaikovsky"), ("Иванов", "Ivanov"), ("Müller", "Mueller"),
    ("Schröder", "Schroder"), ("Παπαδόπουλος", "Papadopoulos"), ("Khalil", "Halil"),
    ("Großmann", "Grossmann"), ("Søndergaard", "Sondergaard"), ("O'Brien", "OBrien"),
    ("van den Berg", "Vandenberg"), ("Núñez", "Nunez"), ("Çelik", "Celik"),
)  # fmt: skip
NICKNAMES = (
    ("Robert", "Bob"), ("William", "Bill"), ("Elizabeth", "Beth"), ("Margaret", "Peggy"),
    ("Katherine", "Kate"), ("Michael", "Mike"), ("Johannes", "Hans"), ("Alexander", "Sasha"),
    ("Theodore", "Ted"), ("Susan", "Sue"),
)  # fmt: skip
ALIKE_TWINS = (
    ("Anna", "female", "Hanna", "female"), ("Jan", "male", "Jana", "female"),
    ("Marie", "female", "Maria", "female"), ("Daniel", "male", "Daniela", "female"),
    ("Emil", "male", "Emilia", "female"), ("Jonas", "male", "Jonah", "male"),
    ("Lena", "female", "Lea", "female"), ("Paul", "male", "Paula", "female"),
    ("Erik", "male", "Erika", "female"), ("Tim", "male", "Tom", "male"),
    ("Mia", "female", "Pia", "female"), ("Ella", "female", "Stella", "female"),
)  # fmt: skip
SYLLABLES = [consonant + vowel for consonant in "bdfghklmnprstv" for vowel in "aeo"]


@dataclass
class Home:
    culture: Culture
    family: str
    place: dict[str, Any]
    phone: str


def hard(households: int = 600, seed: int = SEED) -> list[Person]:
    """Who it is, and a Patient, in a random order."""
    chance = random.Random(seed)
    people: list[Person] = []
    for number in range(households):
        for member, patient in enumerate(_household(chance)):
            who = f"{number}-{member}"
            people.append((who, patient))
            if chance.random() < 0.4:
                people.append((who, _again(chance, patient)))
    chance.shuffle(people)
    return [(who, {**patient, "id": f"h{number}"}) for number, (who, patient) in enumerate(people)]


# -- who there is


def _household(chance: random.Random) -> Iterator[dict[str, Any]]:
    home = _home(chance)
    born = date(1945, 1, 2) + timedelta(days=chance.randrange(18_000))
    first, second = _given(chance, home.culture, "male"), _given(chance, home.culture, "female")
    yield _patient(chance, home, first, "male", born)
    yield _patient(chance, home, second, "female", _later(chance, born, -2_000, 2_000))
    kind = chance.random()
    later = _later(chance, born, 8_000, 13_000)
    called = {first, second}
    if kind < 0.35:
        for twin in _twins(chance, home, later):
            called.update(twin["name"][0]["given"])
            yield twin
    elif kind < 0.5:
        junior = _patient(chance, home, first, "male", later)
        if chance.random() < 0.5:
            junior["name"][0]["suffix"] = ["Jr."]
        yield junior
    for _ in range(chance.randrange(3)):
        gender = chance.choice(("male", "female"))
        child = _later(chance, born, 8_000, 14_000)
        given = _given(chance, home.culture, gender)
        if given not in called:
            called.add(given)
            yield _patient(chance, home, given, gender, child)


def _twins(chance: random.Random, home: Home, born: date) -> Iterator[dict[str, Any]]:
    if chance.random() < 0.4:
        first, gender, second, other = chance.choice(ALIKE_TWINS)
    else:
        gender, other = chance.choice((("male", "male"), ("female", "female"), ("male", "female")))
        first = second = _given(chance, home.culture, gender)
        while first == second:
            second = _given(chance, home.culture, other)
    for order, (name, its) in enumerate(((first, gender), (second, other)), 1):
        twin = _patient(chance, home, name, its, born)
        if chance.random() < 0.3:
            twin["multipleBirthInteger"] = order
        yield twin


def _home(chance: random.Random) -> Home:
    culture = chance.choice(CULTURES)
    city, region = chance.choice(culture.cities)
    street = f"{chance.randrange(1, 200)} {_word(chance)} {chance.choice(culture.streets)}"
    place = {"line": [street], "city": city, "state": region, "postalCode": _digits(chance, culture.postal)}
    kind = chance.random()
    if kind < 0.15:
        family = chance.choice(TRANSLITERATED_FAMILIES)[0]
    else:
        family = chance.choice(culture.families) if kind < 0.5 else _word(chance)
    return Home(culture, family, place, _digits(chance, culture.phone))


def _word(chance: random.Random) -> str:
    """A name that nobody else is likely to have."""
    return "".join(chance.choice(SYLLABLES) for _ in range(3)).capitalize()


def _given(chance: random.Random, culture: Culture, gender: str) -> str:
    special = chance.random()
    if special < 0.12:
        return chance.choice(TRANSLITERATED)[0]
    if special < 0.2:
        return chance.choice(NICKNAMES)[0]
    return chance.choice(culture.women if gender == "female" else culture.men)


def _patient(chance: random.Random, home: Home, given: str, gender: str, born: date) -> dict[str, Any]:
    if chance.random() < 0.06:
        born = born.replace(month=1, day=1)
    patient = {
        "resourceType": "Patient",
        "name": [{"family": home.family, "given": [given]}],
        "gender": gender,
        "birthDate": born.isoformat(),
        "address": [dict(home.place)],
        "telecom": [{"system": "phone", "value": home.phone}],
    }
    if chance.random() < 0.3:
        mail = f"{given}.{chance.randrange(10_000)}@example.org".lower()
        patient["telecom"].append({"system": "email", "value": mail})
    if chance.random() < 0.5:
        patient["identifier"] = [{"system": "urn:mrn", "value": str(chance.randrange(10**7, 10**8))}]
    return patient


def _later(chance: random.Random, born: date, least: int, most: int) -> date:
    return born + timedelta(days=chance.randrange(least, most))


def _digits(chance: random.Random, pattern: str) -> str:
    return "".join(str(chance.randrange(10)) if char == "#" else char for char in pattern)


# -- their second records


def _again(chance: random.Random, patient: dict[str, Any]) -> dict[str, Any]:
    """One or two things are another way, and the register is another one's."""
    again = {**patient, "name": [{**patient["name"][0], "given": list(patient["name"][0]["given"])}]}
    again["address"] = [dict(patient["address"][0])]
    again["telecom"] = [dict(one) for one in patient["telecom"]]
    if chance.random() < 0.7:
        again.pop("identifier", None)
    for change in chance.sample(CHANGES, chance.choice((1, 1, 2))):
        change(chance, again)
    return again


def _slip(chance: random.Random, text: str) -> str:
    if len(text) < 4:
        return text
    at = chance.randrange(1, len(text) - 1)
    match chance.randrange(3):
        case 0:
            return text[:at] + text[at + 1 :]
        case 1:
            return text[: at - 1] + text[at] + text[at - 1] + text[at + 1 :]
        case _:
            return text[:at] + chance.choice("aeinrst") + text[at:]


def _other_spelling(chance: random.Random, patient: dict[str, Any]) -> None:
    name = patient["name"][0]
    others = {**dict(TRANSLITERATED), **dict(TRANSLITERATED_FAMILIES)}
    name["given"] = [others.get(one, one) for one in name["given"]]
    name["family"] = others.get(name["family"], name["family"])


def _nickname(chance: random.Random, patient: dict[str, Any]) -> None:
    name = patient["name"][0]
    name["given"] = [dict(NICKNAMES).get(one, one) for one in name["given"]]


def _slip_in_given(chance: random.Random, patient: dict[str, Any]) -> None:
    name = patient["name"][0]
    name["given"][0] = _slip(chance, name["given"][0])


def _slip_in_family(chance: random.Random, patient: dict[str, Any]) -> None:
    patient["name"][0]["family"] = _slip(chance, patient["name"][0]["family"])


def _swapped(chance: random.Random, patient: dict[str, Any]) -> None:
    name = patient["name"][0]
    name["given"], name["family"] = [name["family"]], name["given"][0]


def _married(chance: random.Random, patient: dict[str, Any]) -> None:
    name = patient["name"][0]
    other = chance.choice(chance.choice(CULTURES).families)
    pair = [name["family"], other]
    chance.shuffle(pair)
    name["family"] = "-".join(pair)


def _first_of_january(chance: random.Random, patient: dict[str, Any]) -> None:
    patient["birthDate"] = f"{patient['birthDate'][:4]}-01-01"


def _day_and_month(chance: random.Random, patient: dict[str, Any]) -> None:
    year, month, day = patient["birthDate"].split("-")
    if int(day) <= 12:
        patient["birthDate"] = f"{year}-{day}-{month}"


def _slip_in_date(chance: random.Random, patient: dict[str, Any]) -> None:
    born = date.fromisoformat(patient["birthDate"])
    patient["birthDate"] = born.replace(day=born.day % 10 + 10).isoformat()


def _moved(chance: random.Random, patient: dict[str, Any]) -> None:
    patient["address"] = [_home(chance).place]


def _number_changed(chance: random.Random, patient: dict[str, Any]) -> None:
    patient["telecom"] = [{"system": "phone", "value": _digits(chance, "+1-555-###-####")}]


def _nothing_of_the_place(chance: random.Random, patient: dict[str, Any]) -> None:
    del patient["address"]


def _middle_name(chance: random.Random, patient: dict[str, Any]) -> None:
    patient["name"][0]["given"].append(chance.choice(chance.choice(CULTURES).men))


CHANGES: list[Callable[[random.Random, dict[str, Any]], None]] = [
    _other_spelling,
    _nickname,
    _slip_in_given,
    _slip_in_family,
    _swapped,
    _married,
    _first_of_january,
    _day_and_month,
    _slip_in_date,
    _moved,
    _number_changed,
    _nothing_of_the_place,
    _middle_name,
]

"""Which slice each value of an element belongs to: https://hl7.org/fhir/R4/profiling.html#slicing

A slice's rule is turned into tests, one for each discriminator, when values are first divided.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fhirserver.fhir.profile.discriminators import tests_of
from fhirserver.fhir.profile.examination import Place
from fhirserver.fhir.profile.item import Conforms, Item
from fhirserver.fhir.profile.plan import Divided, ElementPlan


def divide(
    element: ElementPlan, divided: Divided, items: Sequence[Item], place: Place, conforms: Conforms
) -> Iterator[tuple[ElementPlan, list[Item]]]:
    """Each slice with the values that belong to it; values that belong to none, or stand in the wrong order,
    are reported where the slicing forbids it."""
    members: list[list[Item]] = [[] for _ in divided.slices]
    order: list[int | None] = []
    doubtful = False
    for item in items:
        found: int | None = None
        for number, slice_ in enumerate(divided.slices):
            verdict = _matches(divided, slice_, item, place, conforms)
            if verdict:
                found = number
                break
            doubtful = doubtful or verdict is None
        order.append(found)
        if found is not None:
            members[found].append(item)
    _check_order(element, divided, items, order, doubtful, place)
    for slice_, belonging in zip(divided.slices, members, strict=True):
        short = slice_.min is not None and len(belonging) < slice_.min
        if short and doubtful and len(belonging) < len(items):
            text = f"whether the slice '{slice_.rule.slice_name}' of {element.name} is there cannot be told"
            place.exam.say("warning", "not-found", text, _where(items, place), element.label)
            continue
        if belonging or slice_.required:
            yield slice_, belonging


def _where(items: Sequence[Item], place: Place) -> str:
    return items[0].path.rpartition("[")[0] or items[0].path if items else place.path


def _matches(
    divided: Divided, slice_: ElementPlan, item: Item, place: Place, conforms: Conforms
) -> bool | None:
    """None where it takes a value set that is not held to tell."""
    if slice_.tests is None:
        slice_.tests = tests_of(divided.slicing.discriminators, slice_.rule, place.exam.library.profile)
    verdict: bool | None = True
    for test in slice_.tests:
        one = test(item, place, conforms)
        if one is False:
            return False
        if one is None:
            verdict = None
    return verdict


def _check_order(
    element: ElementPlan,
    divided: Divided,
    items: Sequence[Item],
    order: list[int | None],
    doubtful: bool,
    place: Place,
) -> None:
    """https://hl7.org/fhir/R4/valueset-resource-slicing-rules.html"""
    slicing, exam = divided.slicing, place.exam
    outer = element.rule.slice_name
    of = f"{element.name}:{outer}" if outer else element.name
    highest, outside = -1, False
    for item, number in zip(items, order, strict=True):
        if number is None:
            outside = True
            if slicing.rules == "closed" and divided.slices:
                names = ", ".join(str(one.rule.slice_name) for one in divided.slices)
                severity = "warning" if doubtful else "error"
                exam.say(severity, "structure", f"fits no slice of {of}: {names}", item.path, element.label)
            continue
        if outside and slicing.rules == "openAtEnd":
            text = f"values that fit no slice of {of} stand behind all others"
            exam.say("error", "structure", text, item.path, element.label)
        if slicing.ordered and number < highest:
            names = ", ".join(str(one.rule.slice_name) for one in divided.slices)
            exam.say(
                "error",
                "structure",
                f"the slices of {of} stand in the order {names}",
                item.path,
                element.label,
            )
        highest = max(highest, number)

"""The judge: walks a value beside a plan and names each defect where it stands.

https://hl7.org/fhir/R4/validation.html. Structure is judged before (`fhir.validate`); what it refused may be
walked all the same, so that nothing here relies on a value's shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fhirserver.fhir.profile import bindings, extensions, invariants, resources, same, slices, targets
from fhirserver.fhir.profile.examination import DEPTH_MAX, Place
from fhirserver.fhir.profile.item import Item, shown
from fhirserver.fhir.profile.plan import ElementPlan, Entry, ObjectPlan, ValuePlan, is_inline


def check_value(plan: ValuePlan, item: Item, place: Place) -> None:
    """One value, by the plan for its type. Raises Full."""
    exam = place.exam
    value: Any = item.value
    if is_inline(plan.type) and item.path != place.path:
        _check_inline(plan, item, place)
        return
    if isinstance(value, (dict, list)) if plan.primitive else not isinstance(value, dict):
        return  # a defect of structure
    if exam.depth == DEPTH_MAX:
        return
    exam.depth += 1
    if value is not None:
        _check_content(plan, item, place)
    if not plan.primitive:
        check_object(plan.nested, item.value, item.path, place)
    elif isinstance(item.companion, dict) or plan.rule.children:
        companion = item.companion if isinstance(item.companion, dict) else {}
        check_object(plan.nested, companion, item.path, place, host=plan.type)
    exam.depth -= 1


def check_object(plan: ObjectPlan, value: dict[str, Any], path: str, place: Place, host: str = "") -> None:
    """What is in an object; `host` is the type of a primitive whose companion it is."""
    entries = plan.entries
    seen: list[ElementPlan] = []
    for key, held in value.items():
        entry = entries.get(key)
        if entry is None or (key[0] == "_" and entry.key in value and entry.key in entries):
            continue  # what is beside a value is judged with it, if anything is demanded of the value
        element = entry.element
        items = _items(entry, value, held if key == entry.key else None, path)
        seen.append(element)
        check_element(element, items, f"{path}.{element.name}", place)
        if element.is_extension:
            for known, item in extensions.known(element, items, host or plan.structure.name, place):
                check_value(known, item, place)
    for element in plan.required:
        if element not in seen:
            check_element(element, (), f"{path}.{element.name}", place)


def _items(entry: Entry, value: dict[str, Any], held: Any, path: str) -> list[Item]:
    """The values of a property with their companions and paths."""
    element, plan, key = entry.element, entry.plan, entry.key
    path = f"{path}.{element.name}"
    if element.element.choice:
        path = f"{path}.ofType({plan.type})"
    companion = value.get("_" + key) if plan.primitive else None
    if not element.element.many:
        return [Item(held, companion, path, plan.type, plan)]
    values = held if isinstance(held, list) else [] if held is None else [held]
    beside = companion if isinstance(companion, list) else []
    return [
        Item(
            values[index] if index < len(values) else None,
            beside[index] if index < len(beside) else None,
            f"{path}[{index}]",
            plan.type,
            plan,
        )
        for index in range(max(len(values), len(beside)))
    ]


def check_element(element: ElementPlan, items: Sequence[Item], path: str, place: Place) -> None:
    """How often an element stands, in which types, in which slices, and each of its values."""
    _check_count(element, items, path, place)
    for item in items:
        plan = element.by_type.get(item.type)
        if plan is None:
            text = (
                f"the type {item.type} is not allowed here; allowed: {', '.join(element.by_type) or 'none'}"
            )
            place.exam.say("error", "structure", text, item.path, element.label)
        elif not plan.primitive or item.companion is not None or plan.checks_value:
            check_value(plan, item, place)
    if element.divided is not None and element.max != 0:
        for slice_, members in slices.divide(element, element.divided, items, place, conforms):
            check_element(slice_, members, path, place)


def _check_count(element: ElementPlan, items: Sequence[Item], path: str, place: Place) -> None:
    count, low, high = len(items), element.min, element.max
    name = element.rule.slice_name
    what = f"the slice '{name}' of {element.name}" if name else element.name
    if low is not None and count < low:
        text = f"{what} is required" if low == 1 else f"{what}: at least {low} are needed, not {count}"
        place.exam.say("error", "required", text, path, element.label)
    if high is not None and count > high:
        text = f"{what}: at most {high}, not {count}" if high else f"{what} is not allowed"
        place.exam.say("error", "structure", text, items[high].path if name else path, element.label)


def _check_content(plan: ValuePlan, item: Item, place: Place) -> None:
    """Everything that is demanded of a value as a whole."""
    rule, value, exam, path = plan.rule, item.value, place.exam, item.path
    if rule.fixed is not None:
        _check_fixed(plan, item, rule.fixed[0], place)
    if rule.pattern is not None and not same.pattern(value, rule.pattern[0]):
        text = f"must have at least {shown(rule.pattern[0])}, not only {shown(value)}"
        exam.say("error", "value", text, path, plan.label)
    if plan.binding is not None or plan.type in bindings.CODED:
        bindings.check(plan, value, path, place)
    if rule.length_max is not None and isinstance(value, str) and len(value) > rule.length_max:
        text = f"at most {rule.length_max} characters are allowed, not {len(value)}"
        exam.say("error", "too-long", text, path, plan.label)
    if rule.minimum is not None and same.compare(value, *rule.minimum) == -1:
        exam.say("error", "value", f"must be at least {shown(rule.minimum[1])}", path, plan.label)
    if rule.maximum is not None and same.compare(value, *rule.maximum) == 1:
        exam.say("error", "value", f"must be at most {shown(rule.maximum[1])}", path, plan.label)
    if plan.targets or plan.type_ref.aggregation:
        targets.check(plan, item, place, conforms)
    if plan.profiles:
        _check_profiles(plan, item, place)
    if exam.invariants and plan.invariants:
        invariants.check(plan, value, path, place, conforms)


def _check_fixed(plan: ValuePlan, item: Item, wanted: Any, place: Place) -> None:
    """Nothing more, nothing less: ElementDefinition.fixed[x]"""
    if not same.fixed(item.value, wanted):
        text = f"must be {shown(wanted)}, not {shown(item.value)}"
    elif item.companion is not None:
        text = f"must be {shown(wanted)} and nothing more, so that it has no id and no extensions"
    else:
        return
    place.exam.say("error", "value", text, item.path, plan.label)


def _check_profiles(plan: ValuePlan, item: Item, place: Place) -> None:
    """A value meets one of its type's profiles: https://hl7.org/fhir/R4/elementdefinition.html#type"""
    if plan.type == "Extension" and item.value.get("url") in plan.profiles:
        return  # judged by its own definition anyhow
    found = [resources.plan_at(canonical, item.path, place) for canonical in plan.profiles]
    held = [one for one in found if one is not None]
    if len(held) != len(found):
        return
    if len(held) == 1:
        check_value(held[0], item, place)
    elif not any(conforms(one, item, place) for one in held):
        names = ", ".join(one.label for one in held)
        place.exam.say("error", "structure", f"meets none of the profiles {names}", item.path, plan.label)


def _check_inline(plan: ValuePlan, item: Item, place: Place) -> None:
    """A resource within another: contained, in a Bundle's entry, or in Parameters."""
    for own, one, inside in resources.inline(plan, item, place):
        check_value(own, one, inside)


def conforms(plan: ValuePlan, item: Item, place: Place) -> bool:
    """Whether a value has no errors by a plan; nothing is reported. What refers to itself conforms."""
    key = id(item.value), plan.scope.profile.url
    judging = place.exam.judging
    if key not in judging:
        judging[key] = True
        apart = place.asking()
        check_value(plan, item, apart)
        judging[key] = not apart.exam.failed
    return judging[key]

"""Answers to questions: their types, their options, and the conditions that speak of them.

https://hl7.org/fhir/R4/valueset-item-type.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from fhirserver.fhir.primitives import show
from fhirserver.fhir.profile import same
from fhirserver.fhir.profile.examination import Place
from fhirserver.fhir.profile.item import text_of

Json = dict[str, Any]

_TYPES: Final = {
    "boolean": ("Boolean",),
    "decimal": ("Decimal",),
    "integer": ("Integer",),
    "date": ("Date",),
    "dateTime": ("DateTime",),
    "time": ("Time",),
    "string": ("String",),
    "text": ("String",),
    "url": ("Uri",),
    "choice": ("Coding",),
    "open-choice": ("Coding", "String"),
    "attachment": ("Attachment",),
    "reference": ("Reference",),
    "quantity": ("Quantity",),
}
_CHOICES: Final = frozenset({"choice", "open-choice"})
_COMPARED: Final = {
    "Decimal": "Decimal",
    "Integer": "Decimal",
    "Date": "Date",
    "DateTime": "DateTime",
    "Time": "Time",
    "Quantity": "Quantity",
}


def _value(holder: Mapping[str, Any], prefix: str) -> tuple[str, Any] | None:
    """The type, as in the property's name, and the value of a choice."""
    for key, value in holder.items():
        if key.startswith(prefix) and key[len(prefix) : len(prefix) + 1].isupper():
            return key.removeprefix(prefix), value
    return None


def check(question: Json, answer: Json, questionnaire: Json, path: str, place: Place) -> None:
    """One answer: of the question's type, not too long, among its options."""
    found = _value(answer, "value")
    if found is None:
        return
    type_, value = found
    where = f"{path}.value.ofType({type_ if isinstance(value, dict) else type_[0].lower() + type_[1:]})"
    allowed = _allowed(question)
    if allowed and type_ not in allowed:
        text = f"{show(question.get('linkId'))} is answered by {' or '.join(sorted(allowed))}, not by {type_}"
        place.exam.say("error", "structure", text, where)
        return
    limit = question.get("maxLength")
    if isinstance(limit, int) and isinstance(value, str) and len(value) > limit:
        place.exam.say("error", "too-long", f"at most {limit} characters, not {len(value)}", where)
    if question.get("type") in _CHOICES and not (question["type"] == "open-choice" and type_ == "String"):
        _check_option(question, questionnaire, type_, value, where, place)


def _allowed(question: Json) -> set[str]:
    """The types of answers; a choice may be among options of other types than Coding."""
    allowed = set(_TYPES.get(question.get("type", ""), ()))
    if question.get("type") in _CHOICES:
        options = {type_ for type_, _ in _options(question)}
        if options:
            allowed = options | (allowed - {"Coding"})
    return allowed


def _options(question: Json) -> Iterator[tuple[str, Any]]:
    options = question.get("answerOption")
    for one in options if isinstance(options, list) else ():
        found = _value(one, "value") if isinstance(one, dict) else None
        if found is not None:
            yield found


def _check_option(
    question: Json, questionnaire: Json, type_: str, value: Any, path: str, place: Place
) -> None:
    options = list(_options(question))
    if options:
        if not any(of == type_ and _equal(type_, value, option) for of, option in options):
            shown = ", ".join(_named(option) for _, option in options[:8])
            text = f"{_named(value)} is none of the options of {show(question.get('linkId'))}: {shown}"
            place.exam.say("error", "code-invalid", text, path)
        return
    value_set = question.get("answerValueSet")
    if isinstance(value_set, str) and isinstance(value, dict) and isinstance(value.get("code"), str):
        _check_value_set(value_set, questionnaire, value, path, place)


def _check_value_set(value_set: str, questionnaire: Json, value: Json, path: str, place: Place) -> None:
    if value_set.startswith("#"):
        listed = _listed(value_set[1:], questionnaire)
        membership = "unknown" if listed is None else "not-member"
        if listed is not None and (text_of(value, "system"), value["code"]) in listed:
            membership = "member"
    else:
        membership = place.exam.terms.validate(value_set, text_of(value, "system"), value["code"]).membership
    if membership == "not-member":
        place.exam.say("error", "code-invalid", f"{_named(value)} is not in the value set {value_set}", path)
    elif membership == "unknown":
        place.exam.say("warning", "not-found", f"the value set {value_set} was not checked", path)


def _listed(id_: str, questionnaire: Json) -> set[tuple[Any, Any]] | None:
    """The codes that a value set in the questionnaire lists; None where it does more than list codes."""
    contained = questionnaire.get("contained", ())
    found = next((one for one in contained if isinstance(one, dict) and one.get("id") == id_), None)
    if found is None:
        return None
    listed: set[tuple[Any, Any]] = set()
    for part in found.get("compose", {}).get("include", ()):
        if "concept" not in part or "valueSet" in part:
            return None
        listed |= {(part.get("system"), concept.get("code")) for concept in part["concept"]}
    for one in found.get("expansion", {}).get("contains", ()):
        listed.add((one.get("system"), one.get("code")))
    return listed or None


def _named(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value.get('system', '')}#{value.get('code')}" if "code" in value else show(value)
    return show(value)


# -- conditions


def holds(condition: Json, given: Sequence[Json]) -> bool:
    """Whether one enableWhen holds: some answer compares as it says.

    https://hl7.org/fhir/R4/valueset-questionnaire-enable-operator.html
    """
    wanted = _value(condition, "answer")
    values = [found for answer in given if (found := _value(answer, "value")) is not None]
    operator = condition.get("operator")
    if operator == "exists":
        return bool(values) == (wanted is None or wanted[1] is not False)
    return wanted is not None and any(_compares(operator, found, wanted) for found in values)


def _compares(operator: Any, found: tuple[str, Any], wanted: tuple[str, Any]) -> bool:
    type_, value = found
    if operator in ("=", "!="):
        return _equal(type_, value, wanted[1]) == (operator == "=")
    sign = same.compare(value, _COMPARED.get(type_, ""), wanted[1])
    if sign is None:
        return False
    return {">": sign > 0, "<": sign < 0, ">=": sign >= 0, "<=": sign <= 0}.get(operator, False)


def _equal(type_: str, value: Any, other: Any) -> bool:
    """Codes are the same by system and code, whatever they are called; quantities by unit and value."""
    if not isinstance(value, dict) or not isinstance(other, dict):
        return same.fixed(value, other)
    if type_ == "Coding":
        return value.get("code") == other.get("code") and value.get("system") == other.get("system")
    if type_ == "Quantity":
        return same.compare(value, "Quantity", other) == 0
    if type_ == "Reference":
        return value.get("reference") == other.get("reference")
    return same.fixed(value, other)

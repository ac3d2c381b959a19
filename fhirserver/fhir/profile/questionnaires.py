"""QuestionnaireResponses by the Questionnaire that they answer.

https://hl7.org/fhir/R4/questionnaireresponse.html#notes, https://hl7.org/fhir/R4/questionnaire.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from fhirserver.fhir.primitives import show
from fhirserver.fhir.profile import answers
from fhirserver.fhir.profile.examination import Place

Json = dict[str, Any]

_FINISHED: Final = frozenset({"completed", "amended"})
_DEPTH_MAX: Final = 64


def items_of(holder: Json) -> list[Json]:
    """The items directly in a Questionnaire, response, item or answer."""
    items = holder.get("item")
    return [one for one in items if isinstance(one, dict)] if isinstance(items, list) else []


def answers_of(item: Json) -> list[Json]:
    found = item.get("answer")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def every_item(holder: Json, depth: int = 0) -> Iterator[Json]:
    """All items within, those of answers included."""
    if depth > _DEPTH_MAX:
        return
    for item in items_of(holder):
        yield item
        yield from every_item(item, depth + 1)
        for answer in answers_of(item):
            yield from every_item(answer, depth + 1)


def check_questionnaire(questionnaire: Json, path: str, place: Place) -> None:
    """Conditions speak of questions that there are."""
    known = {item.get("linkId") for item in every_item(questionnaire)}
    _check_conditions(items_of(questionnaire), known, path, place)


def _check_conditions(items: Sequence[Json], known: set[Any], path: str, place: Place) -> None:
    for index, item in enumerate(items):
        where = f"{path}.item[{index}]"
        conditions = item.get("enableWhen")
        for number, one in enumerate(conditions if isinstance(conditions, list) else ()):
            if isinstance(one, dict) and one.get("question") not in known:
                text = f"there is no item {show(one.get('question'))} in the questionnaire"
                place.exam.say("error", "not-found", text, f"{where}.enableWhen[{number}].question")
        _check_conditions(items_of(item), known, where, place)


def check_response(response: Json, path: str, place: Place) -> None:
    """A response, if its questionnaire is contained in it or held by this server."""
    canonical = response.get("questionnaire")
    if not isinstance(canonical, str):
        place.exam.say(
            "warning", "not-found", "no questionnaire is named, so that the answers mean little", path
        )
        return
    questionnaire = (
        place.target(canonical) if canonical.startswith("#") else place.exam.questionnaires.get(canonical)
    )
    if questionnaire is None or questionnaire.get("resourceType") != "Questionnaire":
        text = f"this server does not hold the questionnaire {show(canonical)}; the answers were not checked"
        place.exam.say("warning", "not-found", text, f"{path}.questionnaire")
        return
    _Response(response, questionnaire, place).check(path)


class _Response:
    """One response beside its questionnaire."""

    def __init__(self, response: Json, questionnaire: Json, place: Place) -> None:
        self._response = response
        self._questionnaire = questionnaire
        self._place = place
        self._finished = response.get("status") in _FINISHED
        self._given: dict[str, list[Json]] = {}
        for item in every_item(response):
            if isinstance(item.get("linkId"), str):
                self._given.setdefault(item["linkId"], []).extend(answers_of(item))
        self._all_ids = {item.get("linkId") for item in every_item(questionnaire)}

    def check(self, path: str) -> None:
        self._items(items_of(self._questionnaire), items_of(self._response), path)

    def _say(self, severity: str, code: str, text: str, path: str) -> None:
        self._place.exam.say(severity, code, text, path)

    def _items(self, defined: Sequence[Json], given: Sequence[Json], path: str) -> None:
        """The items of one level: known, in order, as often as they may stand, and each by its definition."""
        numbers = {one.get("linkId"): number for number, one in enumerate(defined)}
        highest = -1
        for index, item in enumerate(given):
            where, link = f"{path}.item[{index}]", item.get("linkId")
            number = numbers.get(link)
            if number is None:
                self._say_unknown(link, where)
                continue
            if number < highest:
                self._say(
                    "error", "structure", f"the item {show(link)} is not in the questionnaire's order", where
                )
            highest = max(highest, number)
            self._item(defined[number], item, where)
        self._counts(defined, given, path)

    def _say_unknown(self, link: Any, where: str) -> None:
        if link in self._all_ids:
            text = f"the item {show(link)} stands elsewhere in the questionnaire"
        else:
            text = f"the questionnaire has no item {show(link)}"
        self._say("error", "not-found", text, f"{where}.linkId")

    def _counts(self, defined: Sequence[Json], given: Sequence[Json], path: str) -> None:
        counts = Counter(item.get("linkId") for item in given)
        for one in defined:
            link, count = one.get("linkId"), counts[one.get("linkId")]
            if count > 1 and (one.get("type") != "group" or not one.get("repeats")):
                text = f"the item {show(link)} stands {count} times; answers that repeat are in one item"
                self._say("error", "structure", text, path)
            if not count and one.get("required") and one.get("type") != "display" and self._enabled(one):
                severity = "error" if self._finished else "information"
                self._say(severity, "required", f"the item {show(link)} is required", path)

    def _item(self, defined: Json, item: Json, path: str) -> None:
        given, link = answers_of(item), show(defined.get("linkId"))
        text = item.get("text")
        if isinstance(text, str) and isinstance(defined.get("text"), str) and text != defined["text"]:
            self._say("warning", "value", f"the questionnaire words {link} otherwise", f"{path}.text")
        if not self._enabled(defined) and (given or items_of(item)):
            self._say("error", "structure", f"the item {link} is not enabled by the other answers", path)
            return
        match defined.get("type"):
            case "group":
                if given:
                    self._say(
                        "error", "structure", f"{link} is a group, which has items but no answers", path
                    )
                self._items(items_of(defined), items_of(item), path)
            case "display":
                if given or items_of(item):
                    self._say("error", "structure", f"{link} is text to be shown, not to be answered", path)
            case _:
                self._question(defined, item, given, path)

    def _question(self, defined: Json, item: Json, given: Sequence[Json], path: str) -> None:
        link = show(defined.get("linkId"))
        if items_of(item):
            text = f"{link} is a question: what follows from an answer is in the answer"
            self._say("error", "structure", text, f"{path}.item")
        if len(given) > 1 and not defined.get("repeats"):
            text = f"{link} takes one answer, not {len(given)}"
            self._say("error", "structure", text, f"{path}.answer[1]")
        if not given and defined.get("required") and self._enabled(defined):
            severity = "error" if self._finished else "information"
            self._say(severity, "required", f"the question {link} must be answered", path)
        for index, answer in enumerate(given):
            where = f"{path}.answer[{index}]"
            answers.check(defined, answer, self._questionnaire, where, self._place)
            self._items(items_of(defined), items_of(answer), where)

    def _enabled(self, defined: Json) -> bool:
        """https://hl7.org/fhir/R4/questionnaire-definitions.html#Questionnaire.item.enableWhen"""
        conditions = defined.get("enableWhen")
        if not isinstance(conditions, list) or not conditions:
            return True
        results = [answers.holds(one, self._answers_to(one)) for one in conditions if isinstance(one, dict)]
        return all(results) if defined.get("enableBehavior") == "all" else any(results)

    def _answers_to(self, condition: Mapping[str, Any]) -> Sequence[Json]:
        return self._given.get(condition.get("question", ""), [])

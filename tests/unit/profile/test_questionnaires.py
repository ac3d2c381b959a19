"""QuestionnaireResponses by their questionnaires, question by question."""

from __future__ import annotations

from typing import Any

import pytest

from fhirserver.fhir.profile.library import R4
from fhirserver.fhir.profile.terms import BuiltIn
from fhirserver.fhir.profile.validate import examine

Json = dict[str, Any]
URL = "urn:q"


def question(link: str, type_: str = "string", **more: Any) -> Json:
    return {"linkId": link, "type": type_, **more}


def item(link: str, *values: Json, **more: Any) -> Json:
    return {"linkId": link, **({"answer": list(values)} if values else {}), **more}


def text(value: str) -> Json:
    return {"valueString": value}


def errors(questions: list[Json], items: list[Json], status: str = "completed", **more: Any) -> list[str]:
    questionnaire = {
        "resourceType": "Questionnaire",
        "url": URL,
        "status": "active",
        "item": questions,
        **more,
    }
    response = {
        "resourceType": "QuestionnaireResponse",
        "questionnaire": URL,
        "status": status,
        "item": items,
    }
    found = examine(response, R4, BuiltIn(), questionnaires={URL: questionnaire})
    return [one.expression or "" for one in found if one.severity == "error"]


ANSWER = "QuestionnaireResponse.item[0].answer[0].value.ofType"


def test_items_that_there_are_in_their_order() -> None:
    questions = [question("1"), question("2")]
    assert errors(questions, [item("1", text("a")), item("2", text("b"))]) == []
    assert errors(questions, [item("2", text("a")), item("1", text("b"))]) == [
        "QuestionnaireResponse.item[1]"
    ]
    assert errors(questions, [item("3", text("a"))]) == ["QuestionnaireResponse.item[0].linkId"]
    nested = [question("g", "group", item=[question("1")])]
    assert errors(nested, [item("1", text("a"))]) == ["QuestionnaireResponse.item[0].linkId"]
    assert errors(nested, [item("g", item=[item("1", text("a"))])]) == []


def test_required_questions_of_what_is_finished() -> None:
    questions = [question("1", required=True), question("2")]
    assert errors(questions, [item("2", text("a"))]) == ["QuestionnaireResponse"]
    assert errors(questions, [item("2", text("a"))], status="in-progress") == []


def test_answers_that_repeat() -> None:
    twice = [item("1", text("a"), text("b"))]
    assert errors([question("1")], twice) == ["QuestionnaireResponse.item[0].answer[1]"]
    assert errors([question("1", repeats=True)], twice) == []
    assert errors([question("1", repeats=True)], [item("1", text("a")), item("1", text("b"))]) == [
        "QuestionnaireResponse"
    ]
    groups = [item("g", item=[item("1", text("a"))])] * 2
    assert errors([question("g", "group", repeats=True, item=[question("1")])], groups) == []
    assert errors([question("g", "group", item=[question("1")])], groups) == ["QuestionnaireResponse"]


@pytest.mark.parametrize(
    ("type_", "right", "wrong"),
    [
        ("boolean", {"valueBoolean": True}, {"valueString": "true"}),
        ("integer", {"valueInteger": 1}, {"valueString": "1"}),
        ("date", {"valueDate": "2020"}, {"valueDateTime": "2020"}),
        ("dateTime", {"valueDateTime": "2020"}, {"valueDate": "2020"}),
        ("text", {"valueString": "a"}, {"valueBoolean": True}),
        ("url", {"valueUri": "urn:a"}, {"valueString": "urn:a"}),
        ("quantity", {"valueQuantity": {"value": 1}}, {"valueInteger": 1}),
        ("reference", {"valueReference": {"reference": "Patient/1"}}, {"valueString": "Patient/1"}),
    ],
)
def test_types_of_answers(type_: str, right: Json, wrong: Json) -> None:
    assert errors([question("1", type_)], [item("1", right)]) == []
    (found,) = errors([question("1", type_)], [item("1", wrong)])
    assert found.startswith(ANSWER)


def test_groups_and_texts_have_no_answers() -> None:
    for type_ in ("group", "display"):
        assert errors([question("1", type_)], [item("1", text("a"))]) == ["QuestionnaireResponse.item[0]"]


def test_what_follows_from_an_answer_is_in_the_answer() -> None:
    questions = [question("1", item=[question("2")])]
    assert errors(questions, [item("1", {**text("a"), "item": [item("2", text("b"))]})]) == []
    assert errors(questions, [item("1", text("a"), item=[item("2", text("b"))])])[0] == (
        "QuestionnaireResponse.item[0].item"
    )


def test_options() -> None:
    options = [{"valueCoding": {"system": "urn:s", "code": "a"}}]
    right, wrong = ({"valueCoding": {"system": "urn:s", "code": code, "display": "A"}} for code in "ab")
    for type_ in ("choice", "open-choice"):
        questions = [question("1", type_, answerOption=options)]
        assert errors(questions, [item("1", right)]) == []
        assert errors(questions, [item("1", wrong)]) == [f"{ANSWER}(Coding)"]
    assert errors([question("1", "open-choice", answerOption=options)], [item("1", text("other"))]) == []
    assert errors([question("1", "choice", answerOption=options)], [item("1", text("other"))]) == [
        f"{ANSWER}(string)"
    ]
    numbers = [question("1", "choice", answerOption=[{"valueInteger": 1}])]
    assert errors(numbers, [item("1", {"valueInteger": 1})]) == []
    assert errors(numbers, [item("1", {"valueInteger": 2})]) == [f"{ANSWER}(integer)"]


def test_value_sets() -> None:
    gender = "http://hl7.org/fhir/ValueSet/administrative-gender"
    questions = [question("1", "choice", answerValueSet=gender)]
    system = "http://hl7.org/fhir/administrative-gender"
    assert errors(questions, [item("1", {"valueCoding": {"system": system, "code": "male"}})]) == []
    assert errors(questions, [item("1", {"valueCoding": {"system": system, "code": "x"}})]) == [
        f"{ANSWER}(Coding)"
    ]
    listed: Json = {"resourceType": "ValueSet", "id": "v", "status": "active"}
    listed["compose"] = {"include": [{"system": "urn:s", "concept": [{"code": "a"}]}]}
    questions = [question("1", "choice", answerValueSet="#v")]
    for code, count in (("a", 0), ("b", 1)):
        answer = {"valueCoding": {"system": "urn:s", "code": code}}
        assert len(errors(questions, [item("1", answer)], contained=[listed])) == count


def test_length() -> None:
    assert errors([question("1", maxLength=2)], [item("1", text("abc"))]) == [f"{ANSWER}(string)"]


@pytest.mark.parametrize(
    ("operator", "wanted", "enabled", "disabled"),
    [
        ("exists", {"answerBoolean": True}, {"valueInteger": 1}, None),
        ("exists", {"answerBoolean": False}, None, {"valueInteger": 1}),
        ("=", {"answerInteger": 1}, {"valueInteger": 1}, {"valueInteger": 2}),
        ("!=", {"answerInteger": 1}, {"valueInteger": 2}, {"valueInteger": 1}),
        (">", {"answerInteger": 1}, {"valueInteger": 2}, {"valueInteger": 1}),
        ("<=", {"answerInteger": 1}, {"valueInteger": 1}, {"valueInteger": 2}),
        ("=", {"answerInteger": 1}, {"valueInteger": 1}, None),
    ],
)
def test_conditions(operator: str, wanted: Json, enabled: Json | None, disabled: Json | None) -> None:
    condition = {"question": "1", "operator": operator, **wanted}
    questions = [question("1", "integer"), question("2", required=True, enableWhen=[condition])]
    for given, is_enabled in ((enabled, True), (disabled, False)):
        before = [item("1", given)] if given is not None else []
        with_answer = errors(questions, [*before, item("2", text("a"))])
        assert (with_answer == []) is is_enabled
        without = errors(questions, before or [item("1")])
        assert (without == []) is not is_enabled


def test_all_conditions_or_any() -> None:
    conditions = [{"question": "1", "operator": "=", "answerInteger": number} for number in (1, 2)]
    for behaviour, count in (("all", 1), ("any", 0)):
        questions = [
            question("1", "integer"),
            question("2", enableWhen=conditions, enableBehavior=behaviour),
        ]
        assert len(errors(questions, [item("1", {"valueInteger": 1}), item("2", text("a"))])) == count


def test_a_questionnaire_that_is_contained_or_unknown() -> None:
    inner = {"resourceType": "Questionnaire", "id": "q", "status": "active", "item": [question("1")]}
    response = {
        "resourceType": "QuestionnaireResponse",
        "contained": [inner],
        "questionnaire": "#q",
        "status": "completed",
        "item": [item("2", text("a"))],
    }
    found = examine(response, R4, BuiltIn())
    assert "QuestionnaireResponse.item[0].linkId" in [one.expression for one in found]
    found = examine({**response, "questionnaire": "urn:unknown"}, R4, BuiltIn(), advice=False)
    assert ("warning", "QuestionnaireResponse.questionnaire") in [
        (one.severity, one.expression) for one in found
    ]


def test_conditions_speak_of_questions_that_there_are() -> None:
    condition = {"question": "9", "operator": "exists", "answerBoolean": True}
    questionnaire = {
        "resourceType": "Questionnaire",
        "status": "active",
        "item": [question("1", enableWhen=[condition])],
    }
    found = examine(questionnaire, R4, BuiltIn())
    assert "Questionnaire.item[0].enableWhen[0].question" in [one.expression for one in found]

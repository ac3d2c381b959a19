"""Pages, totals and parts of resources."""

from collections.abc import Iterator
from random import Random

import pytest

from tests.oracle import definitions as d
from tests.oracle import results
from tests.oracle.evaluate import Search
from tests.oracle.including import Include, included
from tests.oracle.judging import Judge, Question, compare, difference, finds, of_type
from tests.oracle.matrix import Count, Matrix, settle
from tests.oracle.server import Answer, Server

PAGED = (
    ("Observation", "_sort=-date", 40),
    ("Observation", "_sort=value-quantity,-_id", 33),
    ("Observation", "_sort=_lastUpdated&status=final", 50),
    ("Patient", "_sort=family,-birthdate", 7),
    ("Patient", "name:missing=false&_sort=-_lastUpdated", 5),
    ("ValueSet", "", 20),
    ("Encounter", "date=ge1990&_include=Encounter:subject", 9),
    ("", "_type=Patient,Location,Claim&_sort=_lastUpdated", 11),
    ("Patient/g1/*", "", 4),
)


def _pages(server: Server, url: str, relation: str) -> Iterator[Answer]:
    """A page and all that its links lead to, one after the other."""
    following: str | None = url
    while following is not None:
        (answer,) = server.ask([following])
        assert answer.status == 200, answer.body
        yield answer
        following = answer.link(relation)


@pytest.mark.parametrize(("path", "query", "size"), PAGED)
def test_pages_are_the_whole(server: Server, search: Search, path: str, query: str, size: int) -> None:
    """Forwards and back again, each page with its own includes, and the total of all on each."""
    (whole,) = server.ask([f"{path}?{query}&_count=10000"])
    expected = whole.paths()
    pages = list(_pages(server, f"{path}?{query}&_count={size}", "next"))
    assert [one for page in pages for one in page.paths()] == expected
    assert all(len(page.paths()) == size for page in pages[:-1]) and len(pages) > 2
    assert {page.body["total"] for page in pages} == {len(expected)}
    back = list(_pages(server, pages[-1].link("self") or "", "previous"))
    assert [page.paths() for page in back] == [page.paths() for page in reversed(pages)]
    if "_include" in query:
        include = Include.of("_include", query.rpartition("_include=")[2])
        for page in pages:
            assert set(page.paths("include")) == included(search.world, page.paths(), [include])


def test_totals(server: Server, search: Search) -> None:
    """https://hl7.org/fhir/R4/search.html#total, #count"""
    matrix = Matrix()
    for type_ in d.TYPES:
        size = len(search.world.by_type[type_])
        controls = (
            "_count=0",
            "_summary=count",
            "_total=accurate",
            "_total=accurate&_count=1",
            "_total=none",
        )
        answers = server.ask([f"{type_}?_lastUpdated=gt2000&{control}" for control in controls])
        for control, answer in zip(controls, answers, strict=True):
            assert answer.status == 200, answer.body
            total = answer.body.get("total")
            assert total == size or (control == "_total=none" and total is None), (type_, control, total)
            assert not answer.entries or control.startswith("_total"), (type_, control)
            count = matrix.row(control)
            count.compared += 1
            count.telling += 1
            count.hit.add(type_)
        (estimated,) = server.ask([f"{type_}?_total=estimate"])
        assert estimated.body["total"] >= 0
    settle("totals", matrix.table("control", hit="types"))


def _controls(type_: str, pick: Random) -> Iterator[tuple[str, str]]:
    for summary in ("true", "text", "data", "false"):
        yield "_summary", summary
    names = sorted(
        {name for name, _ in d.elements(type_).values()} - {"id", "meta", "contained", "extension"}
    )
    yield "_elements", ",".join(pick.sample(names, min(3, len(names))))


def _parts(search: Search) -> Iterator[Question]:
    pick = Random("parts")
    for type_ in d.TYPES:
        ids = pick.sample(sorted(search.world.by_type[type_]), min(6, len(search.world.by_type[type_])))
        for name, value in _controls(type_, pick):
            row = f"{name}={value}" if name == "_summary" else name
            yield Question(type_, (("_id", ",".join(ids)), (name, value)), (row,), type_)


def _has_its_parts(search: Search) -> Judge:
    def judge(question: Question, answer: Answer, count: Count) -> str | None:
        control = dict(question.criteria)
        elements = frozenset(control["_elements"].split(",")) if "_elements" in control else None
        for entry in answer.entries:
            found = entry["resource"]
            whole = search.world.by_type[question.path][found["id"]].resource
            kept = results.kept(whole, control.get("_summary"), elements)
            count.telling += kept != whole.keys()
            if set(found) - {"meta"} != kept - {"meta"}:
                return f"{found['id']}: {sorted(set(found) ^ kept)}"
            if kept != whole.keys() and not results.is_marked(found):
                return f"{found['id']} does not say that it is not whole"
        return difference(answer, {f"{question.path}/{id_}" for id_ in control["_id"].split(",")})

    return judge


def test_parts(server: Server, search: Search) -> None:
    """https://hl7.org/fhir/R4/search.html#summary, #elements"""
    questions = list(_parts(search))
    matrix = compare(server, _has_its_parts(search), questions, (), singly=True)
    settle("parts", matrix.table("control", hit="types"))


def test_parts_in_a_batch(server: Server, search: Search) -> None:
    questions = list(_parts(search))[:100]
    compare(server, _has_its_parts(search), questions, ())


def test_contained_chains(server: Server, search: Search) -> None:
    """ "A chained condition will be evaluated inside contained resources": #contained"""
    inside = Search(search.world, into_contained=True)
    questions = [
        Question("MedicationRequest", ((name, value),), ("chain into a contained resource",), name, LABELS)
        for name, value in (
            ("medication:Medication.ingredient-code", "a1x"),
            ("medication.ingredient-code", "a1x"),
            ("medication:Medication.code", "a1"),
            ("medication.code:missing", "false"),
        )
    ]
    matrix = compare(server, finds(of_type(inside)), questions)
    settle("contained chains", matrix.table("chain", hit="names"))


LABELS = ("chain into a contained resource",)

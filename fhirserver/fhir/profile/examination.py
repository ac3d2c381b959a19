"""One judgement: what was found, what is judged by, and which resource the walk is in.

Issues are found once however many rules lead to them, and bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fhirserver.errors import Issue
from fhirserver.fhir.fhirpath import Environment, Node
from fhirserver.fhir.profile.library import Library
from fhirserver.fhir.profile.terms import Terms

ISSUES_MAX: Final = 2_000
DEPTH_MAX: Final = 200
"""Objects within each other, those reached through references included."""
SLOW_S: Final = 0.005
"""An invariant that takes longer is slow: a hundred times what they usually take."""
PATIENCE_S: Final = 3.0
"""What slow invariants may take together, and once more so long those of R4."""


class Full(Exception):
    """ISSUES_MAX is reached."""


class Patience:
    """What is left of the time for invariants that take theirs: each has limits of its own, but a definition
    can have thousands of them."""

    __slots__ = ("left_s",)

    def __init__(self) -> None:
        self.left_s = PATIENCE_S

    def is_over(self, *, of_r4: bool = False) -> bool:
        return self.left_s < (-PATIENCE_S if of_r4 else 0)

    def spend(self, seconds: float) -> None:
        """Count an evaluation, if it is a slow one."""
        if seconds > SLOW_S:
            self.left_s -= seconds


class Examination:
    """Collects issues; `library` and `terms` are what is judged by.

    `advice` says whether what is merely worth knowing is said too: must-support elements that are absent,
    rules that could not be evaluated, preferred codes. `invariants` is off for resources whose structure is
    broken, on which expressions have no meaning. `questionnaires` are those at hand, by canonical URL as
    responses name them.
    """

    __slots__ = (
        "_seen",
        "advice",
        "depth",
        "invariants",
        "issues",
        "judging",
        "library",
        "patience",
        "questionnaires",
        "terms",
        "unknown",
    )

    def __init__(
        self,
        library: Library,
        terms: Terms,
        *,
        advice: bool = True,
        invariants: bool = True,
        questionnaires: Mapping[str, Any] | None = None,
    ) -> None:
        self.library = library
        self.questionnaires = questionnaires or {}
        self.terms = terms
        self.advice = advice
        self.invariants = invariants
        self.issues: list[Issue] = []
        self.depth = 0
        self.judging: dict[tuple[int, str], bool] = {}
        """By identity of a value and profile, whether it conforms; True while that is being found out."""
        self.patience = Patience()
        self.unknown: str | None = None
        """What an expression asked and nobody here knows, while it is evaluated."""
        self._seen: set[Issue] = set()

    def say(self, severity: str, code: str, text: str, path: str, label: str = "") -> None:
        """Report an issue; `label` names the profile whose rule it is. Raises Full."""
        if severity == "information" and not self.advice:
            return
        issue = Issue(severity, code, f"{text} [{label}]" if label else text, path)
        if issue in self._seen:
            return
        self._seen.add(issue)
        self.issues.append(issue)
        if len(self.issues) == ISSUES_MAX:
            raise Full

    def apart(self) -> Examination:
        """An examination whose issues are its own, for asking whether something conforms."""
        other = Examination(
            self.library,
            self.terms,
            advice=False,
            invariants=self.invariants,
            questionnaires=self.questionnaires,
        )
        other.judging = self.judging
        other.patience = self.patience
        other.depth = self.depth
        return other

    @property
    def failed(self) -> bool:
        return any(issue.severity == "error" for issue in self.issues)


class Place:
    """The resource that a walk is in, with what its references may mean.

    `environment` is what expressions may ask there, made when the first is evaluated. `contained` are the
    resources within the outermost one by id, `bundle` those of the Bundle around it by full URL and by
    `Type/id`.
    """

    __slots__ = ("bundle", "contained", "environment", "exam", "is_contained", "outer", "path", "resource")

    def __init__(
        self,
        exam: Examination,
        resource: Node,
        path: str,
        *,
        outer: Place | None = None,
        bundle: Mapping[str, Any] | None = None,
    ) -> None:
        self.exam = exam
        self.resource = resource
        self.path = path
        self.environment: Environment | None = None
        self.outer = outer
        self.is_contained = outer is not None
        self.bundle: Mapping[str, Any] = (bundle if outer is None else outer.bundle) or {}
        self.contained = outer.contained if outer is not None else _contained(resource.value)

    @property
    def root(self) -> Node:
        """The outermost resource that stands for itself."""
        return self.resource if self.outer is None else self.outer.resource

    def target(self, reference: str) -> dict[str, Any] | None:
        """The resource that a literal reference means, if it is at hand."""
        if reference == "#":
            return self.root.value
        if reference.startswith("#"):
            return self.contained.get(reference[1:])
        return self.bundle.get(reference.partition("/_history/")[0])

    def asking(self) -> Place:
        """The same place in an examination apart."""
        other = object.__new__(Place)
        for name in ("bundle", "contained", "is_contained", "outer", "path", "resource"):
            setattr(other, name, getattr(self, name))
        other.environment = None
        other.exam = self.exam.apart()
        return other


def _contained(resource: Any) -> dict[str, dict[str, Any]]:
    items = resource.get("contained") if isinstance(resource, dict) else None
    return {
        item["id"]: item
        for item in (items if isinstance(items, list) else ())
        if isinstance(item, dict) and isinstance(item.get("id"), str)
    }

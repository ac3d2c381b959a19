"""The definitions that resources are judged by: R4's, and those that a tenant holds.

https://hl7.org/fhir/R4/references.html#canonical
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from fhirserver.fhir.profile.definition import PREFIX, Definition, of_r4
from fhirserver.fhir.profile.model import Profile, compiled
from fhirserver.fhir.profile.plan import ValuePlan, plan_of
from fhirserver.fhir.profile.snapshot import Missing, Unmade, with_snapshot
from fhirserver.fhir.profile.tree import Misplaced
from fhirserver.fhir.structure import STRUCTURES


class Unusable(Exception):
    """A definition is held but cannot be judged by; the text says why."""


class Library:
    """Definitions by canonical URL, compiled when first needed.

    Of several versions the newest of a URL is meant where no version is asked for, in the order given. Own
    ones by the URL of one of R4's types change nothing.
    """

    def __init__(self, own: Iterable[Definition] = ()) -> None:
        self._own: dict[str, Definition] = {}
        for one in own:
            if (built_in := of_r4(one.url)) is not None and not built_in.is_profile:
                continue  # the types of R4 are what they are
            self._own[one.canonical] = one
            self._own[one.url] = one
        self._profiles: dict[str, Profile | Unusable] = {}
        self._plans: dict[str, ValuePlan] = {}

    def __iter__(self) -> Iterator[Definition]:
        """The own definitions, each once."""
        return iter({id(one): one for one in self._own.values()}.values())

    def find(self, canonical: str) -> Definition | None:
        """The definition by `url` or `url|version`; None for one that is not held."""
        found = self._own.get(canonical)
        if found is not None:
            return found
        url, _, version = canonical.partition("|")
        built_in = of_r4(url)
        if built_in is not None and version in ("", built_in.version):
            return built_in
        # A version that is not held is not replaced by another: it may demand something else.
        return None

    def profile(self, canonical: str) -> Profile | None:
        """The rules of a definition. Raises Unusable."""
        if self is not R4 and canonical not in self._own:
            return R4.profile(canonical)
        found = self._profiles.get(canonical)
        if found is None:
            definition = self.find(canonical)
            if definition is None:
                return None
            try:
                found = compiled(with_snapshot(definition, self.find))
            except (Unmade, Misplaced) as error:
                found = Unusable(str(error))
            self._profiles[canonical] = found
        if isinstance(found, Unusable):
            raise found
        return found

    def plan(self, canonical: str) -> ValuePlan | None:
        """What is checked for a profile. Raises Unusable."""
        if self is not R4 and canonical not in self._own:
            return R4.plan(canonical)
        found = self._plans.get(canonical)
        if found is None:
            profile = self.profile(canonical)
            if profile is None:
                return None
            if profile.type not in STRUCTURES:
                raise Unusable(f"'{profile.url}' is of the type '{profile.type}', which R4 does not have")
            found = self._plans[canonical] = plan_of(profile)
        return found

    def fault(self, definition: Definition) -> str | None:
        """Why nothing can be judged by a definition, whatever else is held; nothing is kept of it.

        Raises Missing where what it builds upon is not held.
        """
        try:
            compiled(with_snapshot(definition, self.find))
        except Missing:
            raise
        except (Unmade, Misplaced) as error:
            return str(error)
        return None

    def type_of(self, canonical: str) -> str | None:
        """The type that a definition is of or constrains; None for one that is not held."""
        name = canonical.removeprefix(PREFIX)
        if name in STRUCTURES:
            return name
        found = self.find(canonical)
        return None if found is None else found.type


R4: Final = Library()

"""What waits in the journal tells what it told before."""

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fhirserver.policy.audit import Asker, Deed, Happening, Outcome, Site, Subject, codes, folded, unfolded
from fhirserver.policy.principal import Principal, Role

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
PATHS = st.from_regex(r"[A-Z][a-z]{2,5}/[a-z0-9-]{1,9}", fullmatch=True)
CODINGS = st.builds(codes.Coding, TEXTS, TEXTS)
PRINCIPALS = st.builds(
    Principal,
    id=TEXTS,
    client=st.none() | TEXTS,
    user=st.none() | st.tuples(st.sampled_from(["Patient", "Practitioner"]), st.just("p-1")),
    roles=st.lists(st.builds(Role, TEXTS, st.just(())), max_size=2).map(tuple),
)
ASKERS = st.builds(
    Asker,
    PRINCIPALS,
    address=st.none() | st.ip_addresses().map(str),
    purpose=st.sampled_from([None, "TREAT", "BTG"]),
    reason=st.none() | TEXTS,
    login=st.none() | TEXTS,
)
OTHERS = st.fixed_dictionaries({"what": st.fixed_dictionaries({"display": TEXTS}), "description": TEXTS})
HAPPENINGS = st.builds(
    Happening,
    st.builds(Site, TEXTS, TEXTS),
    ASKERS,
    st.builds(Deed, st.sampled_from("CRUDE"), st.lists(CODINGS, max_size=3).map(tuple), CODINGS)
    | st.just(Deed("R", (codes.interaction("read"),))),
    st.builds(Outcome, st.sampled_from("048"), st.none() | TEXTS),
    st.builds(
        Subject,
        st.none() | PATHS,
        st.lists(PATHS, max_size=3).map(tuple),
        st.none() | TEXTS,
        st.lists(OTHERS, max_size=2).map(tuple),
    ),
    st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    st.none() | TEXTS,
)


def events(told: list[Happening]) -> list[str]:
    return sorted(json.dumps(one.resource(), sort_keys=True) for one in told)


def test_what_postgresql_cannot_hold_is_replaced() -> None:
    site, asker, deed = Site("b", "a"), Asker(Principal("")), Deed("R", ())
    told = Happening(site, asker, deed, Outcome(), Subject(None, ("Patient/\0",)), datetime.now(UTC))
    assert "\\u0000" not in folded([told])
    assert unfolded(folded([told]))[0].subject.data == ("Patient/\ufffd",)


def test_callers_are_told_apart_as_before() -> None:
    """Templates are found by who asks: if all had one hash, that would take as long as there are callers."""
    told = [
        Happening(
            Site("b", "a"),
            Asker(Principal("", client=client, user=("Practitioner", str(number)))),
            Deed("R", ()),
            Outcome(),
            Subject(),
            datetime.now(UTC),
        )
        for number in range(50)
        for client in ("x", "y")
    ]
    assert len({hash(one.asker) for one in unfolded(folded(told))}) == len(told)


@given(st.lists(HAPPENINGS, max_size=6))
def test_what_is_unfolded_gives_the_same_events(told: list[Happening]) -> None:
    twice: list[Any] = [*told, *told[:2]]  # of one kind
    assert events(unfolded(folded(twice))) == events(twice)

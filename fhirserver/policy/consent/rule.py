"""A rule: one node of a consent's tree of provisions, as a row of the table `consent_rule`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

from fhirserver.fhir.dates import DATE_MAX, DATE_MIN


@dataclass(frozen=True, slots=True)
class Rule:
    """What a node demands and says. None in place of a criterion: the node does not have it.

    `node` numbers the nodes of a consent from 0, its base; `path` are the nodes from there down to this one,
    all of which must match. `permit` None: the node says nothing itself. `patient` is the key of whose
    consent it is, None for a policy of the organisation. The rule holds in [starts, ends), microseconds.
    `vague` are the criteria that name something that cannot be understood: what they do not match otherwise,
    they perhaps match; with `rule` among them this is so of the node.

    `actors` are keys of who asks; `authors` and `custodians` are `Type/id`. `purposes`, `labels` and `codes`
    are `system|code`, `actions` are codes. `level` counts the confidentiality from 1. `classes` are `type:`,
    `profile:`, `format:` and `code:` with what follows, `data` a meaning, a space and `Type/id`. Data are
    those of [data_lo, data_hi).
    """

    node: int
    path: tuple[int, ...]
    patient: int | None
    permit: bool | None
    starts: int = DATE_MIN
    ends: int = DATE_MAX
    vague: tuple[str, ...] = ()
    actors: tuple[int, ...] | None = None
    authors: tuple[str, ...] | None = None
    custodians: tuple[str, ...] | None = None
    actions: tuple[str, ...] | None = None
    purposes: tuple[str, ...] | None = None
    level: int | None = None
    labels: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None
    codes: tuple[str, ...] | None = None
    data_lo: int | None = None
    data_hi: int | None = None
    data: tuple[str, ...] | None = None

    def row(self) -> tuple[Any, ...]:
        """In the order of `COLUMNS`."""
        return tuple(getattr(self, name) for name in COLUMNS)


COLUMNS: Final = tuple(field.name for field in fields(Rule))
"""Of the table, after `tenant` and before `rid`."""

"""Whether the tables hold only whole transactions and the index rows that their versions call for."""

from collections import defaultdict
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads

from fhirserver.fhir import json
from fhirserver.fhir.keys import Keys
from fhirserver.params.index import indexer
from fhirserver.params.registry import r4
from tests.crash.ledger import Ledger, write_of
from tests.crash.promises import Mark
from tests.support.exact import exact

INDEX_COLUMNS = {
    "tok": ("key", "ord"),
    "str": ("key", "val"),
    "dat": ("key", "lo", "hi"),
    "qty": ("key", "lo", "hi"),
}
TRANSACTION_TYPES = ["Basic", "Observation", "Observation", "Organization", "Patient"]
TENANT = 1
Row = dict[str, Any]


class Tables:
    """Checks the rows that were written since the last check, and the shape of all."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._rid = 0

    def check(self, dsn: str, since: Mark) -> None:
        """Raise AssertionError with what is there in part."""
        with psycopg.connect(dsn, row_factory=dict_row) as connection:
            set_json_loads(
                lambda text: json.loads(text if isinstance(text, bytes) else text.encode()), connection
            )
            assert broken_chains(connection) == []
            assert orphans(connection) == {}
            rows = connection.execute("SELECT * FROM resource WHERE rid > %s", (self._rid,)).fetchall()
            self._indexes_agree(connection, rows)
        self._transactions_are_whole(rows, since)
        self._rid = max((row["rid"] for row in rows), default=self._rid)

    def hold(self, dsn: str) -> None:
        """Raise AssertionError unless the tables hold every acknowledged version there ever was."""
        with psycopg.connect(dsn) as connection:
            stored = {
                (f"{type_}/{id_}", version): text and json.loads(text.encode())
                for type_, id_, version, text in connection.execute(
                    "SELECT type, id, version, content::text FROM resource"
                )
            }
        missing = {
            key: body
            for key, body in self._ledger.bodies.items()
            if key not in stored or exact(stored[key]) != exact(body and _content(body))
        }
        assert missing == {}

    def _indexes_agree(self, connection: psycopg.Connection[Row], rows: list[Row]) -> None:
        secret = connection.execute("SELECT value FROM server WHERE name = 'key_secret'").fetchone()
        assert secret is not None
        index = indexer(r4(), Keys(secret["value"], TENANT), (), ZoneInfo("UTC"))
        stored = {name: self._index_rows(connection, name) for name in INDEX_COLUMNS}
        for row in rows:
            rid = row["rid"]
            if row["method"] == "DELETE":
                assert [name for name in stored if rid in stored[name]] == []
                continue
            entries = index(row["type"], row["id"], {"resourceType": row["type"], **row["content"]})
            assert row["keys"][0] == entries.keys[0], row
            assert sorted(row["keys"][1:]) == sorted(entries.keys[1:]), row
            assert sorted(row["compartments"]) == sorted(entries.compartments), row
            assert (row["ptk"], row["d_lo"], row["d_hi"]) == (entries.ptk, entries.d_lo, entries.d_hi)
            expected = {
                "tok": [(key, row["ord"]) for key in entries.tok],
                "str": entries.str,
                "dat": entries.dat,
                "qty": entries.qty,
            }
            for name, wanted in expected.items():
                assert sorted(stored[name].get(rid, [])) == sorted(wanted), (name, row["type"], row["id"])

    def _index_rows(self, connection: psycopg.Connection[Row], name: str) -> dict[int, list[tuple[Any, ...]]]:
        columns = INDEX_COLUMNS[name]
        found: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
        statement = f"SELECT rid, {', '.join(columns)} FROM {name} WHERE rid > %s"
        for row in connection.execute(statement, (self._rid,)):
            found[row["rid"]].append(tuple(row[column] for column in columns))
        return found

    def _transactions_are_whole(self, rows: list[Row], since: Mark) -> None:
        """All that a write sent is there, each once, and what it deletes is deleted; or nothing of it."""
        made: dict[str, list[str]] = defaultdict(list)
        subjects: dict[str, set[str]] = defaultdict(set)
        buried = {f"{row['type']}/{row['id']}" for row in rows if row["method"] == "DELETE"}
        for row in rows:
            if row["method"] == "DELETE":
                continue
            resource = {"resourceType": row["type"], **row["content"]}
            assert self._ledger.was_sent(resource), resource
            made[write_of(resource)].append(f"{row['type']}/{row['id']}")
            if "subject" in resource:
                subjects[write_of(resource)].add(resource["subject"]["reference"])
        for write, paths in made.items():
            if write not in self._ledger.transactions:
                assert len(paths) == 1, (write, paths)
                continue
            assert sorted(path.partition("/")[0] for path in paths) == TRANSACTION_TYPES, (write, paths)
            assert subjects[write] == {path for path in paths if path.startswith("Patient/")}
        for transaction in islice(self._ledger.transactions.values(), since.transactions, None):
            assert transaction.write in made or not transaction.acknowledged, transaction
            if transaction.buries is not None:
                assert (transaction.buries in buried) == (transaction.write in made), transaction


def _content(resource: Row) -> Row:
    return {name: value for name, value in resource.items() if name not in ("resourceType", "id", "meta")}


def broken_chains(connection: psycopg.Connection[Row]) -> list[Row]:
    """Resources whose versions are not 1 to n, or of which not exactly the last is current."""
    return connection.execute(
        """
        SELECT type, id, array_agg(version ORDER BY version) AS versions, count(*) FILTER (WHERE died IS NULL)
        FROM resource GROUP BY type, id
        HAVING min(version) <> 1 OR max(version) <> count(*)
            OR count(*) FILTER (WHERE died IS NULL)
               <> (array_agg(method <> 'DELETE' ORDER BY version DESC))[1]::int
            OR max(version) FILTER (WHERE died IS NULL) <> max(version)
        """
    ).fetchall()


def orphans(connection: psycopg.Connection[Row]) -> dict[str, int]:
    """Index rows of versions that do not exist, by table."""
    counts: dict[str, int] = {}
    for name in INDEX_COLUMNS:
        row = connection.execute(
            f"SELECT count(*) FROM {name} i WHERE NOT EXISTS (SELECT FROM resource r WHERE r.rid = i.rid)"
        ).fetchone()
        if row is not None and row["count"]:
            counts[name] = row["count"]
    return counts

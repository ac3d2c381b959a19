"""Rebuilding what is derived from resources, while they are searched and written.

`run` does it in the background of a server whenever definitions of search parameters change; the command
`fhirserver reindex` does the same from outside. A step reads some versions, makes their entries anew and
mends what is different, in one transaction with the progress: whoever dies, the next one goes on there.
docs/adr/0009-search-parameters-at-run-time.md has the reasoning.
"""

from fhirserver.jobs.rebuild.background import run

__all__ = ["run"]

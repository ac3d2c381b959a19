"""How files become requests: found, taken apart without decoding what is only passed on, sent, counted."""

from fhirserver.cli.loading.run import Report, Unreachable, load
from fhirserver.cli.loading.send import Failure

__all__ = ["Failure", "Report", "Unreachable", "load"]

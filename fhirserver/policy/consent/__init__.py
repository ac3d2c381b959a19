"""Consent as rules: what R4's Consent says, compiled at write into rows that SQL evaluates.

Pure: neither database nor ASGI. docs/explanation/consent.md has the semantics, line by line.
"""

from fhirserver.policy.consent.asking import Asking
from fhirserver.policy.consent.compile import Compiled, Fault, compile_consent
from fhirserver.policy.consent.rule import COLUMNS, Rule

__all__ = ["COLUMNS", "Asking", "Compiled", "Fault", "Rule", "compile_consent"]

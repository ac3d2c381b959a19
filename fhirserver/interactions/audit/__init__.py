"""Recording what callers do: AuditEvents of every interaction, Provenances of writes.

docs/explanation/audit.md says what is recorded when.
"""

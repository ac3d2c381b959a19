"""Merging Patients, undoing it, and moving references: docs/adr/0019-a-merge-is-one-transaction.md

`asked` reads what is meant, `plan` says what would become of it, `perform` does it in one transaction,
`settle` follows up what was written meanwhile, `background` does what takes long.
"""

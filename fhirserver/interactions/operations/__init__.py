"""Operations: `$name` on the system, a type or an instance: https://hl7.org/fhir/R4/operations.html

To add one: its definition in `definitions`, its work in a module of its name, both in `run.HANDLERS`.
"""

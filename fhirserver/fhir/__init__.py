"""The FHIR R4 data model: formats, structures, validation, references, dates and units."""

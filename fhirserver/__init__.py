"""A FHIR R4 (4.0.1) server over versioned JSONB tables in PostgreSQL."""

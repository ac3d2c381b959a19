"""Who people are: accounts, passwords, sessions, and the FHIR resources that say what somebody may do."""

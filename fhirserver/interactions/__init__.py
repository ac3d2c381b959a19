"""One module for each interaction of https://hl7.org/fhir/R4/http.html."""

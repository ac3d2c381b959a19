"""`_filter`: its text, its operators and the conditions that they mean.

https://hl7.org/fhir/R4/search_filter.html
"""

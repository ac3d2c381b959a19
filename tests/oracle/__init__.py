"""A slow evaluator of R4 search, written from the text of the specification, and what compares the server with it."""

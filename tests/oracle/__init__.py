"""A slow evaluator of R4 search, written from its text, and what compares the server with it."""

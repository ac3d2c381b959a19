"""Search parameters: which there are, what they take from a resource, how each type compares."""

"""Attempts to see, infer or change what is not one's own: each a test through the door."""

"""The REST door: the only layer that knows ASGI."""

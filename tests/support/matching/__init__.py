"""People of whom it is known who is who."""

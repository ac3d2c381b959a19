"""What a 2xx promises, under kill -9: the version is on disk with its index rows, or nothing is there at all."""

"""Profiles: their snapshots, and resources judged by them."""

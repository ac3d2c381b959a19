"""Tests of accounts and of the pages on which people sign in."""

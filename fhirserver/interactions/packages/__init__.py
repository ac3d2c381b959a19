"""Packages installed into a tenant and removed from it: docs/how-to/packages.md"""

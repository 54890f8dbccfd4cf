"""Expansion of the entries of a manifest into jobs."""

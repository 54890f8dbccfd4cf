"""Entries of a manifest to jobs."""

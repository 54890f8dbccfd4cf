"""Execution of a batch."""

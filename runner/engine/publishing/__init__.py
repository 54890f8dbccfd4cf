"""Copies and sidecars of delivered files: what is missing or stale, and the threads that make it."""

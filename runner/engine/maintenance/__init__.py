"""Maintenance of an output folder: cancel, reconcile, verify and repair."""

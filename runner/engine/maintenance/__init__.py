"""Commands on a folder: cancel, reconcile, verify and repair."""

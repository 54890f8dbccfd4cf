"""Decisions about each job of a manifest. Nothing here changes anything."""

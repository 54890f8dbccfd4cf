"""Decisions about each job of a manifest. This package changes nothing."""
